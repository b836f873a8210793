//! `/view/tasks` and `/view/task/FRAMEWORK_ID/TASK_ID`.

use super::shape::{StatusShown, TaskShown, made_ms, role};
use super::{LIST_DEFAULT, LIST_MAX};
use crate::core::MasterCore;
use crate::state::{Framework, is_terminal};
use mesos_proto::mesos::{Task, TaskState};
use page::{Asked, Paging, Refusal};
use serde::Serialize;
use std::cmp::Reverse;

/// The attribute by which a gateway's agents are known: there is a log to be read at their address.
const MICRO: &str = "eui64";

#[derive(Debug, Serialize)]
pub(super) struct TasksShown {
    total: usize,
    matching: usize,
    offset: usize,
    /// Those under way first, then the newest first.
    tasks: Vec<TaskShown>,
}

#[derive(Debug, Serialize)]
pub(super) struct TaskInFull {
    task: TaskShown,
    /// The oldest first, as far as they are still known.
    statuses: Vec<StatusShown>,
    /// Where its log is read, if it is on a micro node.
    log_at: Option<String>,
}

/// A question about tasks.
pub(super) struct TasksQuery {
    text: String,
    state: Option<TaskState>,
    role: Option<String>,
    framework: Option<String>,
    agent: Option<String>,
    page: Paging,
}

impl TasksQuery {
    pub fn of(asked: &Asked) -> Result<Self, Refusal> {
        let query = &asked.query;
        // `running` is as good as `TASK_RUNNING`.
        let state = query.text("state").map(|text| {
            let name = format!("TASK_{}", text.to_ascii_uppercase().trim_start_matches("TASK_"));
            let bad = || Refusal::bad("state: expected a state of tasks, such as TASK_RUNNING");
            TaskState::from_str_name(&name).ok_or_else(bad)
        });
        let text = |name| query.text(name).map(str::to_owned);
        Ok(Self {
            text: query.text("q").unwrap_or_default().to_ascii_lowercase(),
            state: state.transpose()?,
            role: text("role"),
            framework: text("framework"),
            agent: text("agent"),
            page: query.paging(LIST_DEFAULT, LIST_MAX)?,
        })
    }

    fn takes(&self, core: &MasterCore, framework: &Framework, task: &Task) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        let role = role(task).unwrap_or_default();
        let hostname = || core.agents.get(&task.slave_id.value).map_or("", |agent| &agent.info.hostname);
        self.state.is_none_or(|state| state == task.state())
            && is(&self.role, role)
            && is(&self.framework, &task.framework_id.value)
            && is(&self.agent, &task.slave_id.value)
            && (self.text.is_empty()
                || page::finds(
                    &self.text,
                    &[&task.task_id.value, &task.name, &framework.info.name, role, hostname()],
                )
                || page::finds(&self.text, &[&task.framework_id.value, &task.slave_id.value]))
    }
}

pub(super) fn tasks(core: &MasterCore, query: &TasksQuery) -> TasksShown {
    let mut list: Vec<&Task> = Vec::new();
    let mut total = 0;
    for framework in core.frameworks.values() {
        for task in framework.known() {
            total += 1;
            if query.takes(core, framework, task) {
                list.push(task);
            }
        }
    }
    let key = |(at, task): (usize, &&Task)| {
        let newest = task.statuses.last().and_then(made_ms).unwrap_or(u64::MAX);
        (is_terminal(task.state()), Reverse(newest), at)
    };
    let found: Vec<_> = list.iter().enumerate().map(key).collect();
    let matching = found.len();
    let shown = query.page.cut(found).into_iter();
    let tasks = shown.map(|(.., at)| core.task_shown(list[at])).collect();
    TasksShown { total, matching, offset: query.page.offset, tasks }
}

pub(super) fn task(core: &MasterCore, framework: &str, id: &str) -> Result<TaskInFull, Refusal> {
    let known = core.frameworks.get(framework);
    let found = known.and_then(|known| known.known().find(|task| task.task_id.value == id));
    let task = found.ok_or_else(|| {
        Refusal::not_found(format!("no task {id} of framework {framework} here; /view/tasks lists them"))
    })?;
    Ok(TaskInFull {
        task: core.task_shown(task),
        statuses: task.statuses.iter().map(StatusShown::of).collect(),
        log_at: core.log_at(task),
    })
}

impl MasterCore {
    fn log_at(&self, task: &Task) -> Option<String> {
        let agent = self.agents.get(&task.slave_id.value)?;
        let is_micro = agent.info.attributes.iter().any(|attribute| attribute.name == MICRO);
        let (framework, id) = (page::encode(&task.framework_id.value), page::encode(&task.task_id.value));
        is_micro.then(|| format!("http://{}/view/log/{framework}/{id}", agent.pid.addr))
    }
}
