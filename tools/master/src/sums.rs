//! Who holds what: sums over tasks, executors and offers, by the role that resources are allocated to. Both forms of
//! documents are made of them. Reads the core, never changes it.

use crate::core::MasterCore;
use crate::state::{Agent, Executor, Framework};
use mesos_proto::pool::Pool;
use std::collections::BTreeMap;

/// What is held, by the role it is allocated to.
pub(crate) type ByRole<'a> = BTreeMap<&'a str, Pool>;

/// Executors of a framework, with their agents' ids.
pub(crate) type Executors<'a> = Vec<(&'a str, &'a Executor)>;

impl MasterCore {
    /// What tasks and executors hold of an agent.
    pub(crate) fn used_of<'a>(&'a self, agent: &'a Agent) -> ByRole<'a> {
        let records = agent
            .tasks
            .iter()
            .filter_map(|(framework, task)| self.frameworks.get(framework)?.tasks.get(task))
            .map(|record| (record.role.as_str(), &record.held));
        let executors = agent.executors.values().map(|executor| (executor.role.as_str(), &executor.held));
        by_role(records.chain(executors))
    }

    /// What is in these offers.
    pub(crate) fn offered<'a>(&'a self, offers: impl IntoIterator<Item = &'a String>) -> ByRole<'a> {
        let offers = offers.into_iter().filter_map(|offer| self.offers.get(offer));
        by_role(offers.map(|offer| (offer.role.as_str(), &offer.resources)))
    }

    /// All custom executors by framework: one pass over the agents, however many frameworks there are.
    pub(crate) fn executors(&self) -> BTreeMap<&str, Executors<'_>> {
        let mut all = BTreeMap::<&str, Executors<'_>>::new();
        for (id, agent) in &self.agents {
            for ((framework, _), executor) in &agent.executors {
                all.entry(framework).or_default().push((id, executor));
            }
        }
        all
    }

    /// The custom executors of one framework.
    pub(crate) fn executors_of<'a>(&'a self, framework: &str) -> Executors<'a> {
        let of_agent = |(id, agent): (&'a String, &'a Agent)| {
            let own = agent.executors.iter().filter(|((owner, _), _)| owner == framework);
            own.map(move |(_, executor)| (id.as_str(), executor)).collect::<Vec<_>>()
        };
        self.agents.iter().flat_map(of_agent).collect()
    }
}

/// What tasks and these executors of a framework hold.
pub(crate) fn used_by<'a>(framework: &'a Framework, executors: &Executors<'a>) -> ByRole<'a> {
    let records = framework.tasks.values().map(|record| (record.role.as_str(), &record.held));
    let executors = executors.iter().map(|(_, executor)| (executor.role.as_str(), &executor.held));
    by_role(records.chain(executors))
}

/// The sum over all roles.
pub(crate) fn total(all: &ByRole<'_>) -> Pool {
    let mut sum = Pool::default();
    all.values().for_each(|pool| sum.add(pool));
    sum
}

fn by_role<'a>(held: impl Iterator<Item = (&'a str, &'a Pool)>) -> ByRole<'a> {
    let mut all = ByRole::new();
    for (role, pool) in held {
        all.entry(role).or_default().add(pool);
    }
    all
}
