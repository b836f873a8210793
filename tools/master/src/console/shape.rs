//! What several documents show: amounts, tasks, statuses.

use crate::core::MasterCore;
use crate::sums::ByRole;
use mesos_proto::mesos::{Task, TaskState, TaskStatus};
use mesos_proto::pool::Pool;
use mesos_proto::resources::Scalars;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Amounts by name.
pub(super) type Amounts = BTreeMap<String, f64>;

pub(super) fn amounts(scalars: &Scalars) -> Amounts {
    scalars.iter().map(|(name, milli)| (name.to_owned(), milli as f64 / 1000.0)).collect()
}

/// The sum of all roles, in scalars.
pub(super) fn sum(by_role: &ByRole<'_>) -> Scalars {
    let mut all = Scalars::default();
    by_role.values().for_each(|pool| all.add(&pool.quantities()));
    all
}

/// A resource: what there is of it and who has it.
#[derive(Debug, Serialize)]
pub(super) struct Resource {
    name: String,
    total: f64,
    used: f64,
    offered: f64,
}

pub(super) fn resources(total: &Scalars, used: &Scalars, offered: &Scalars) -> Vec<Resource> {
    let resource = |(name, milli): (&str, i64)| Resource {
        name: name.to_owned(),
        total: milli as f64 / 1000.0,
        used: used.get(name),
        offered: offered.get(name),
    };
    total.iter().map(resource).collect()
}

/// Tasks by the last word of their state, those that are under way always.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn new() -> Self {
        use TaskState::{TaskKilling, TaskRunning, TaskStaging, TaskStarting};
        let always = [TaskStaging, TaskStarting, TaskRunning, TaskKilling];
        Self(always.map(|state| (state.as_str_name(), 0)).into())
    }

    pub fn add(&mut self, state: TaskState, count: u64) {
        if count > 0 {
            *self.0.entry(state.as_str_name()).or_default() += count;
        }
    }

    pub fn shown(self) -> BTreeMap<String, u64> {
        let short = |name: &str| name.trim_start_matches("TASK_").to_ascii_lowercase();
        self.0.into_iter().map(|(name, count)| (short(name), count)).collect()
    }
}

/// A task.
#[derive(Debug, Serialize)]
pub(super) struct TaskShown {
    task_id: String,
    name: String,
    framework_id: String,
    framework: Option<String>,
    role: Option<String>,
    agent_id: String,
    hostname: Option<String>,
    state: &'static str,
    resources: Map<String, Value>,
    /// Unix time since when it has been in its state, as far as the statuses say that are still known.
    since_ms: Option<u64>,
}

/// When a status was made, Unix time in milliseconds.
pub(super) fn made_ms(status: &TaskStatus) -> Option<u64> {
    status.timestamp.map(|seconds| (seconds * 1000.0) as u64)
}

/// The role that a task's resources are allocated to.
pub(super) fn role(task: &Task) -> Option<&str> {
    task.resources.iter().find_map(|held| held.allocation_info.as_ref()?.role.as_deref())
}

impl MasterCore {
    pub(super) fn task_shown(&self, task: &Task) -> TaskShown {
        let framework = self.frameworks.get(&task.framework_id.value);
        TaskShown {
            task_id: task.task_id.value.clone(),
            name: task.name.clone(),
            framework_id: task.framework_id.value.clone(),
            framework: framework.map(|framework| framework.info.name.clone()),
            role: role(task).map(str::to_owned),
            agent_id: task.slave_id.value.clone(),
            hostname: self.agents.get(&task.slave_id.value).map(|agent| agent.info.hostname.clone()),
            state: task.state().as_str_name(),
            resources: Pool::of(&task.resources).unwrap_or_default().to_json(None),
            since_ms: task.statuses.last().and_then(made_ms),
        }
    }
}

/// A status.
#[derive(Debug, Serialize)]
pub(super) struct StatusShown {
    state: &'static str,
    at_ms: Option<u64>,
    source: Option<&'static str>,
    reason: Option<&'static str>,
    message: Option<String>,
    /// Schedulers acknowledge to agents: what has become of a status is not known here.
    acknowledged: Option<bool>,
    healthy: Option<bool>,
}

impl StatusShown {
    pub fn of(status: &TaskStatus) -> Self {
        Self {
            state: status.state().as_str_name(),
            at_ms: made_ms(status),
            source: status.source.map(|_| status.source().as_str_name()),
            reason: status.reason.map(|_| status.reason().as_str_name()),
            message: status.message.clone(),
            acknowledged: None,
            healthy: status.healthy,
        }
    }
}
