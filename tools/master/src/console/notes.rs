//! What happened, for people: written down where operators who watch by the operator API are told too.

use crate::core::MasterCore;
use crate::jobs::News;
use mesos_proto::mesos::{FrameworkInfo, TaskState, TaskStatus};
use page::events::{Severity, cut};
use serde::Serialize;

const AGENT: &str = "agent";
const FRAMEWORK: &str = "framework";
const TASK: &str = "task";
const JOB: &str = "job";
pub(super) const KINDS: [&str; 4] = [AGENT, FRAMEWORK, TASK, JOB];

pub(crate) type Events = page::events::Events<About>;

/// What an event is about.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct About {
    agent_id: Option<Box<str>>,
    framework_id: Option<Box<str>>,
    task_id: Option<Box<str>>,
    job_id: Option<Box<str>>,
}

impl About {
    fn agent(id: &str) -> Self {
        Self { agent_id: Some(cut(id)), ..Self::default() }
    }

    fn framework(id: &str) -> Self {
        Self { framework_id: Some(cut(id)), ..Self::default() }
    }
}

impl MasterCore {
    fn note(&mut self, kind: (&'static str, Severity), about: About, text: &str) {
        let now_ms = self.now_ms;
        self.events.add(kind, about, text, now_ms);
    }

    /// Something happened to a job.
    pub(crate) fn note_job(&mut self, news: &News) {
        let about = About { job_id: Some(cut(&news.job)), ..About::default() };
        let severity = if news.trouble { Severity::Warning } else { Severity::Info };
        self.note((JOB, severity), about, &news.text);
    }

    /// An agent was admitted, or came back.
    pub(crate) fn note_agent_added(&mut self, id: &str) {
        let Some(agent) = self.agents.get(id) else { return };
        let text = format!("agent {} at {} is here", agent.info.hostname, agent.pid.addr);
        self.note((AGENT, Severity::Info), About::agent(id), &text);
    }

    /// An agent is no longer one.
    pub(crate) fn note_agent_removed(&mut self, id: &str) {
        self.note((AGENT, Severity::Warning), About::agent(id), "the agent is not here any more");
    }

    /// A framework subscribed for the first time, or an agent reported it.
    pub(crate) fn note_framework_added(&mut self, id: &str) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let text = format!("framework {} is here", framework.info.name);
        self.note((FRAMEWORK, Severity::Info), About::framework(id), &text);
    }

    /// A framework came back or changed its info.
    pub(crate) fn note_framework_updated(&mut self, id: &str) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let text = format!("framework {} subscribed again, or is another now", framework.info.name);
        self.note((FRAMEWORK, Severity::Info), About::framework(id), &text);
    }

    /// A framework is over.
    pub(crate) fn note_framework_removed(&mut self, info: &FrameworkInfo) {
        let id = info.id.as_ref().map_or("", |id| &id.value);
        let text = format!("framework {} is over", info.name);
        self.note((FRAMEWORK, Severity::Info), About::framework(id), &text);
    }

    /// A task was launched, or came back with its agent.
    pub(crate) fn note_task_added(&mut self, framework: &str, task: &str) {
        let record = self.frameworks.get(framework).and_then(|known| known.tasks.get(task));
        let Some(record) = record else { return };
        let about = About { agent_id: Some(cut(&record.task.slave_id.value)), ..of_task(framework, task) };
        let text = record.task.state().as_str_name();
        self.note((TASK, Severity::Info), about, text);
    }

    /// A task has a new status; `latest` may be newer than what the status says.
    pub(crate) fn note_task_updated(&mut self, framework: &str, status: &TaskStatus, latest: TaskState) {
        let severity = match latest {
            TaskState::TaskFailed | TaskState::TaskError => Severity::Error,
            TaskState::TaskLost
            | TaskState::TaskDropped
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator
            | TaskState::TaskUnreachable => Severity::Warning,
            _ => Severity::Info,
        };
        let agent_id = status.slave_id.as_ref().map(|id| cut(&id.value));
        let about = About { agent_id, ..of_task(framework, &status.task_id.value) };
        let state = latest.as_str_name();
        match status.message() {
            "" => self.note((TASK, severity), about, state),
            message => self.note((TASK, severity), about, &format!("{state}: {message}")),
        }
    }
}

fn of_task(framework: &str, task: &str) -> About {
    About { task_id: Some(cut(task)), ..About::framework(framework) }
}
