//! A cluster with frameworks that answer offers, for all tests of allocation.
//!
//! The model of the axioms is progressive filling, one task at a time: all that is free is allocated; the first grant
//! is answered, by one task if it fits or else by a refusal for ever; all other grants go back as if they had not been.
//! So each task is started by the one who was first in order, knowing what everybody holds, and the end is reached when
//! nobody is offered anything. Frameworks always want more tasks, tasks never end, and nothing is too little to be
//! offered.

use master::allocator::{Abilities, Allocator, Grant, Rules};
use master::policy::Policy;
use mesos_proto::mesos::Resource;
use mesos_proto::pool::Pool;
use mesos_proto::resources::scalar;
use std::collections::{BTreeMap, BTreeSet};

pub fn pool(cpus: f64, mem: f64) -> Pool {
    Pool::of(&[scalar("cpus", cpus), scalar("mem", mem)]).unwrap()
}

/// CPUs reserved for a role.
pub fn reserved(role: &str, cpus: f64) -> Resource {
    Resource { role: Some(role.into()), ..scalar("cpus", cpus) }
}

/// What a current agent or framework is able to.
pub fn able() -> Abilities {
    Abilities { multi_role: true, hierarchical_role: true, refinement: true, gpus: false }
}

/// Rules by which everything is worth an offer.
pub fn plain() -> Rules {
    Rules { min_allocatable: Vec::new(), ..Rules::default() }
}

pub fn weighted<'a>(weights: impl IntoIterator<Item = (&'a str, f64)>) -> Rules {
    let weights = weights.into_iter().map(|(role, weight)| (role.to_owned(), weight)).collect();
    Rules { weights, ..plain() }
}

/// Agents S0, S1 ... of these sizes.
pub fn cluster(policy: impl Policy + 'static, rules: Rules, agents: &[(f64, f64)]) -> Allocator {
    let mut allocator = Allocator::new(Box::new(policy), rules, 7);
    for (number, (cpus, mem)) in agents.iter().enumerate() {
        allocator.add_agent(&format!("S{number}"), pool(*cpus, *mem), able());
    }
    allocator
}

/// Adds an active framework with one role.
pub fn join(allocator: &mut Allocator, id: &str, role: &str) {
    join_as(allocator, id, &[role], able());
}

pub fn join_as(allocator: &mut Allocator, id: &str, roles: &[&str], abilities: Abilities) {
    let roles: BTreeSet<_> = roles.iter().map(|role| (*role).to_owned()).collect();
    allocator.add_framework(id, roles, BTreeSet::new(), abilities, BTreeMap::new());
    allocator.set_framework_active(id, true);
}

/// Allocates what all agents have free.
pub fn round(allocator: &mut Allocator, now: u64) -> Vec<Grant> {
    let agents: Vec<String> = allocator.agents().map(str::to_owned).collect();
    allocator.allocate(agents.iter().map(String::as_str), now)
}

pub fn give_back(allocator: &mut Allocator, grant: &Grant) {
    allocator.recover(&grant.framework, &grant.role, &grant.agent, &grant.resources);
}

/// Progressive filling with a task of this size for each framework; returns how many tasks each runs in the end.
pub fn fill(allocator: &mut Allocator, demands: &BTreeMap<&str, Pool>) -> BTreeMap<String, u64> {
    let mut tasks: BTreeMap<String, u64> = demands.keys().map(|id| ((*id).to_owned(), 0)).collect();
    loop {
        let mut grants = round(allocator, 0).into_iter();
        let Some(first) = grants.next() else { return tasks };
        grants.for_each(|grant| give_back(allocator, &grant));
        let demand = &demands[first.framework.as_str()];
        if first.resources.contains(demand) {
            let mut rest = first.resources.clone();
            rest.subtract(demand);
            allocator.recover(&first.framework, &first.role, &first.agent, &rest);
            *tasks.entry(first.framework).or_default() += 1;
        } else {
            give_back(allocator, &first);
            allocator.filter(&first.framework, &first.role, &first.agent, first.resources, u64::MAX);
        }
    }
}

/// What `fill` returns, written down.
pub fn tasks<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(id, count)| (id.to_owned(), count)).collect()
}
