//! Operators who watch: SUBSCRIBE, and the events that follow (src/master/master.cpp, `Master::Subscribers`). Nothing
//! is made for them while nobody watches; what the page shows of it is written down in any case.

use super::cluster::task_message;
use crate::core::{MasterCore, Output};
use crate::limits::MAX_WATCHERS;
use mesos_proto::mesos::{FrameworkInfo, TaskState, TaskStatus};
use mesos_proto::recast;
use mesos_proto::v1::master::Event;
use mesos_proto::v1::master::event::{
    AgentAdded, AgentRemoved, FrameworkAdded, FrameworkRemoved, FrameworkUpdated, Subscribed, TaskAdded,
    TaskUpdated, Type,
};
use mesos_proto::v1::{AgentId, FrameworkId};

fn event(kind: Type) -> Event {
    Event { r#type: Some(kind as i32), ..Default::default() }
}

impl MasterCore {
    /// Opens a stream: the whole state first, then a heartbeat, then whatever changes.
    pub(super) fn watch(&mut self, request: u64, stream: String) {
        self.outputs.push(Output::Subscribed { request, stream: stream.clone() });
        if self.watchers.len() >= MAX_WATCHERS
            && let Some(oldest) = self.watchers.pop_front()
        {
            tracing::info!(stream = oldest, "too many operators watch: the oldest's stream ends");
            self.outputs.push(Output::Close { stream: oldest });
        }
        self.watchers.push_back(stream.clone());
        let subscribed = Event {
            subscribed: Some(Subscribed {
                get_state: Some(self.get_state()),
                heartbeat_interval_seconds: Some(self.config.heartbeat_ms as f64 / 1000.0),
            }),
            ..event(Type::Subscribed)
        };
        let event = Box::new(subscribed);
        self.outputs.push(Output::OperatorEvent { streams: vec![stream.clone()], event });
        self.watch_heartbeat(stream);
    }

    /// A heartbeat for one watcher, if it is still there, and the next one later.
    pub(crate) fn watch_heartbeat(&mut self, stream: String) {
        if self.watchers.contains(&stream) {
            let event = Box::new(event(Type::Heartbeat));
            self.outputs.push(Output::OperatorEvent { streams: vec![stream.clone()], event });
            self.heartbeat_watcher_later(stream);
        }
    }

    /// A stream is gone; it may be a scheduler's.
    pub(crate) fn unwatch(&mut self, stream: &str) {
        self.watchers.retain(|watcher| watcher != stream);
    }

    fn tell_watchers(&mut self, make: impl FnOnce(&Self) -> Option<Event>) {
        if self.watchers.is_empty() {
            return;
        }
        if let Some(event) = make(self) {
            let streams = self.watchers.iter().cloned().collect();
            self.outputs.push(Output::OperatorEvent { streams, event: Box::new(event) });
        }
    }

    /// A task was launched, or came back with its agent.
    pub(crate) fn watch_task_added(&mut self, framework: &str, task: &str) {
        self.note_task_added(framework, task);
        self.tell_watchers(|core| {
            let record = core.frameworks.get(framework)?.tasks.get(task)?;
            let task_added = Some(TaskAdded { task: task_message(&record.task)? });
            Some(Event { task_added, ..event(Type::TaskAdded) })
        });
    }

    /// A task has a new status; `latest` may be newer than what the status says.
    pub(crate) fn watch_task_updated(&mut self, framework: &str, status: &TaskStatus, latest: TaskState) {
        self.note_task_updated(framework, status, latest);
        self.tell_watchers(|_| {
            let mut status = status.clone();
            status.data = None;
            let updated = TaskUpdated {
                framework_id: FrameworkId { value: framework.to_owned() },
                status: recast(&status).ok()?,
                state: latest as i32,
            };
            Some(Event { task_updated: Some(updated), ..event(Type::TaskUpdated) })
        });
    }

    /// An agent was admitted.
    pub(crate) fn watch_agent_added(&mut self, id: &str) {
        self.note_agent_added(id);
        self.tell_watchers(|core| {
            let agent = core.agent_message(id, core.agents.get(id)?)?;
            Some(Event { agent_added: Some(AgentAdded { agent }), ..event(Type::AgentAdded) })
        });
    }

    /// An agent is no longer one, whatever became of it.
    pub(crate) fn watch_agent_removed(&mut self, id: &str) {
        self.note_agent_removed(id);
        self.tell_watchers(|_| {
            let agent_id = AgentId { value: id.to_owned() };
            Some(Event { agent_removed: Some(AgentRemoved { agent_id }), ..event(Type::AgentRemoved) })
        });
    }

    /// A framework subscribed for the first time, or an agent reported it.
    pub(crate) fn watch_framework_added(&mut self, id: &str) {
        self.note_framework_added(id);
        self.tell_watchers(|core| {
            let framework = core.framework_message(id, core.frameworks.get(id)?, &core.executors_of(id))?;
            let framework_added = Some(FrameworkAdded { framework });
            Some(Event { framework_added, ..event(Type::FrameworkAdded) })
        });
    }

    /// A framework came back or changed its info.
    pub(crate) fn watch_framework_updated(&mut self, id: &str) {
        self.note_framework_updated(id);
        self.tell_watchers(|core| {
            let framework = core.framework_message(id, core.frameworks.get(id)?, &core.executors_of(id))?;
            let framework_updated = Some(FrameworkUpdated { framework });
            Some(Event { framework_updated, ..event(Type::FrameworkUpdated) })
        });
    }

    /// A framework is over.
    pub(crate) fn watch_framework_removed(&mut self, info: &FrameworkInfo) {
        self.note_framework_removed(info);
        self.tell_watchers(|_| {
            let framework_removed = Some(FrameworkRemoved { framework_info: recast(info).ok()? });
            Some(Event { framework_removed, ..event(Type::FrameworkRemoved) })
        });
    }
}
