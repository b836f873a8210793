//! `/view/overview`: sums over the cluster, and who has what part of it.

use super::shape::{Amounts, Resource, Tally, amounts, resources, sum};
use crate::core::MasterCore;
use crate::policy::dominant_share;
use mesos_proto::mesos::{DrainState, TaskState};
use mesos_proto::resources::Scalars;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
struct Summary {
    agents: usize,
    active: usize,
    unreachable: usize,
    gone: usize,
    draining: usize,
    /// Known from before the master's start, and not back yet.
    recovering: usize,
    frameworks: usize,
    tasks: BTreeMap<String, u64>,
    resources: Vec<Resource>,
}

#[derive(Debug, Serialize)]
struct Role {
    role: String,
    weight: f64,
    priority: i64,
    dominant_share_permille: u64,
    frameworks: usize,
    allocated: Amounts,
}

#[derive(Debug, Serialize)]
pub(super) struct Overview {
    summary: Summary,
    roles: Vec<Role>,
}

pub(super) fn overview(core: &MasterCore) -> Overview {
    let (mut total, mut used, mut offered) = (Scalars::default(), Scalars::default(), Scalars::default());
    for agent in core.agents.values() {
        total.add(&agent.total.quantities());
        used.add(&sum(&core.used_of(agent)));
        offered.add(&sum(&core.offered(&agent.offers)));
    }
    let mut tasks = Tally::new();
    for framework in core.frameworks.values() {
        framework.tasks.values().for_each(|record| tasks.add(record.task.state(), 1));
        framework.completed.iter().for_each(|task| tasks.add(task.state(), 1));
        tasks.add(TaskState::TaskUnreachable, framework.unreachable.len() as u64);
    }
    let draining = core.drains.values().filter_map(|record| record.info.as_ref());
    let summary = Summary {
        agents: core.agents.len(),
        active: core.agents.values().filter(|agent| agent.active()).count(),
        unreachable: core.unreachable.len(),
        gone: core.gone.len(),
        draining: draining.filter(|info| info.state() == DrainState::Draining).count(),
        recovering: core.recovered.len(),
        frameworks: core.frameworks.len(),
        tasks: tasks.shown(),
        resources: resources(&total, &used, &offered),
    };
    Overview { summary, roles: roles(core, &total) }
}

/// Roles that frameworks are in, or that somebody has said something of.
fn roles(core: &MasterCore, total: &Scalars) -> Vec<Role> {
    let mut frameworks: BTreeMap<&str, usize> = BTreeMap::new();
    let said = core.allocator.weights().keys().chain(core.allocator.priorities().keys());
    for role in said {
        frameworks.entry(role).or_default();
    }
    for framework in core.frameworks.values() {
        framework.roles.iter().for_each(|role| *frameworks.entry(role).or_default() += 1);
    }
    let nothing = Scalars::default();
    let role = |(role, frameworks): (&str, usize)| {
        let held = core.allocator.allocated(role).unwrap_or(&nothing);
        Role {
            role: role.to_owned(),
            weight: core.allocator.weights().get(role).copied().unwrap_or(1.0),
            priority: core.allocator.priorities().get(role).copied().unwrap_or(0),
            dominant_share_permille: (dominant_share(held, total) * 1000.0).round() as u64,
            frameworks,
            allocated: amounts(held),
        }
    };
    frameworks.into_iter().map(role).collect()
}
