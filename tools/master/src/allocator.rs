//! Shares agents' free resources out among frameworks, by a [`Policy`], agents in random order, the whole free part
//! of an agent at a time (src/master/allocator/mesos/hierarchical.cpp). Pure: what is allocated is returned, and
//! comes back by [`Allocator::recover`]. It never gives out what is not free.

use crate::limits::MAX_FILTERS;
use crate::policy::{Claim, Policy};
use mesos_proto::pool::Pool;
use mesos_proto::resources::Scalars;
use std::collections::{BTreeMap, BTreeSet};

/// Weights, priorities and thresholds.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Weight by role; 1 if absent.
    pub weights: BTreeMap<String, f64>,
    /// Priority by role; 0 if absent.
    pub priorities: BTreeMap<String, i64>,
    /// An agent's free part is offered if it has all of any of these (`--min_allocatable_resources`); always if
    /// there is none.
    pub min_allocatable: Vec<Scalars>,
}

impl Default for Rules {
    fn default() -> Self {
        let alternatives = [("cpus", 0.01), ("mem", 32.0)];
        Self {
            weights: BTreeMap::new(),
            priorities: BTreeMap::new(),
            min_allocatable: alternatives.map(|amount| Scalars::from_amounts([amount])).to_vec(),
        }
    }
}

/// What an agent's or framework's capabilities mean for allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Capability MULTI_ROLE.
    pub multi_role: bool,
    /// An agent has gpus; a framework can use them (GPU_RESOURCES).
    pub gpus: bool,
}

/// Something allocated: to become an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The framework's id.
    pub framework: String,
    /// In which of its roles.
    pub role: String,
    /// The agent's id.
    pub agent: String,
    /// What.
    pub resources: Pool,
}

#[derive(Debug, Default)]
struct AgentEntry {
    total: Pool,
    used: Pool,
    active: bool,
    abilities: Abilities,
}

#[derive(Debug, Default)]
struct Share {
    allocated: Scalars,
    allocations: u64,
}

impl Share {
    fn claim<'a>(&'a self, name: &'a str, weight: f64, priority: i64) -> Claim<'a> {
        Claim { name, allocated: &self.allocated, weight, priority, allocations: self.allocations }
    }
}

#[derive(Debug, Default)]
struct FrameworkEntry {
    active: bool,
    abilities: Abilities,
    roles: BTreeSet<String>,
    suppressed: BTreeSet<String>,
    shares: BTreeMap<String, Share>,
    min_allocatable: BTreeMap<String, Vec<Scalars>>,
    /// (role, agent) -> what was refused, and until when.
    filters: BTreeMap<(String, String), (Pool, u64)>,
}

/// The allocator's state.
pub struct Allocator {
    policy: Box<dyn Policy>,
    rules: Rules,
    agents: BTreeMap<String, AgentEntry>,
    frameworks: BTreeMap<String, FrameworkEntry>,
    roles: BTreeMap<String, Share>,
    total: Scalars,
    random: u64,
}

impl Allocator {
    /// An empty cluster. `seed` fixes the order in which agents are visited.
    pub fn new(policy: Box<dyn Policy>, rules: Rules, seed: u64) -> Self {
        Self {
            policy,
            rules,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            roles: BTreeMap::new(),
            total: Scalars::default(),
            random: seed | 1,
        }
    }

    /// The policy's name.
    pub fn policy_name(&self) -> &'static str {
        self.policy.name()
    }

    /// The weights that are not 1, by role.
    pub fn weights(&self) -> &BTreeMap<String, f64> {
        &self.rules.weights
    }

    /// Adds an agent or replaces its total and abilities; what is used of it stays used.
    pub fn add_agent(&mut self, id: &str, total: Pool, abilities: Abilities) {
        let entry = self.agents.entry(id.to_owned()).or_default();
        self.total.subtract(&entry.total.quantities());
        self.total.add(&total.quantities());
        *entry = AgentEntry { total, active: true, abilities, used: std::mem::take(&mut entry.used) };
    }

    /// Removes an agent. What frameworks held of it must have been recovered before.
    pub fn remove_agent(&mut self, id: &str) {
        if let Some(entry) = self.agents.remove(id) {
            self.total.subtract(&entry.total.quantities());
            for framework in self.frameworks.values_mut() {
                framework.filters.retain(|(_, agent), _| agent != id);
            }
        }
    }

    /// Lets an agent be offered or not.
    pub fn set_agent_active(&mut self, id: &str, active: bool) {
        if let Some(entry) = self.agents.get_mut(id) {
            entry.active = active;
        }
    }

    /// Adds a framework or replaces its roles; shares and filters stay.
    pub fn add_framework(
        &mut self,
        id: &str,
        roles: BTreeSet<String>,
        suppressed: BTreeSet<String>,
        abilities: Abilities,
        min_allocatable: BTreeMap<String, Vec<Scalars>>,
    ) {
        let entry = self.frameworks.entry(id.to_owned()).or_default();
        entry.roles = roles;
        entry.suppressed = suppressed;
        entry.abilities = abilities;
        entry.min_allocatable = min_allocatable;
    }

    /// Removes a framework. What it held must have been recovered before.
    pub fn remove_framework(&mut self, id: &str) {
        self.frameworks.remove(id);
    }

    /// Lets a framework get offers or not; its filters go when it stops.
    pub fn set_framework_active(&mut self, id: &str, active: bool) {
        if let Some(entry) = self.frameworks.get_mut(id) {
            entry.active = active;
            if !active {
                entry.filters.clear();
            }
        }
    }

    /// No offers for these roles (all if empty) until revived.
    pub fn suppress(&mut self, id: &str, roles: &[String]) {
        if let Some(entry) = self.frameworks.get_mut(id) {
            let chosen = |role: &&String| roles.is_empty() || roles.contains(role);
            let more: Vec<_> = entry.roles.iter().filter(chosen).cloned().collect();
            entry.suppressed.extend(more);
        }
    }

    /// Ends suppression and filters of these roles (all if empty).
    pub fn revive(&mut self, id: &str, roles: &[String]) {
        if let Some(entry) = self.frameworks.get_mut(id) {
            let chosen = |role: &String| roles.is_empty() || roles.contains(role);
            entry.suppressed.retain(|role| !chosen(role));
            entry.filters.retain(|(role, _), _| !chosen(role));
        }
    }

    /// Keeps subsets of `refused` on this agent from the framework's role until `until_ms`.
    pub fn filter(&mut self, framework: &str, role: &str, agent: &str, refused: Pool, until_ms: u64) {
        let Some(entry) = self.frameworks.get_mut(framework) else { return };
        if entry.filters.len() < MAX_FILTERS && !refused.is_empty() && self.agents.contains_key(agent) {
            entry.filters.insert((role.to_owned(), agent.to_owned()), (refused, until_ms));
        }
    }

    /// Marks resources as held, as an agent reports them or an offer has them.
    pub fn hold(&mut self, framework: &str, role: &str, agent: &str, resources: &Pool) {
        if let Some(entry) = self.agents.get_mut(agent) {
            entry.used.add(resources);
        }
        let quantities = resources.quantities();
        self.roles.entry(role.to_owned()).or_default().allocated.add(&quantities);
        if let Some(entry) = self.frameworks.get_mut(framework) {
            entry.shares.entry(role.to_owned()).or_default().allocated.add(&quantities);
        }
    }

    /// Takes resources back.
    pub fn recover(&mut self, framework: &str, role: &str, agent: &str, resources: &Pool) {
        if let Some(entry) = self.agents.get_mut(agent) {
            entry.used.subtract(resources);
        }
        let quantities = resources.quantities();
        if let Some(share) = self.roles.get_mut(role) {
            share.allocated.subtract(&quantities);
        }
        let share = self.frameworks.get_mut(framework).and_then(|entry| entry.shares.get_mut(role));
        if let Some(share) = share {
            share.allocated.subtract(&quantities);
        }
    }

    /// What an agent has in use, offers included.
    pub fn used(&self, agent: &str) -> Option<&Pool> {
        self.agents.get(agent).map(|entry| &entry.used)
    }

    /// All agents.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(String::as_str)
    }

    /// Shares out what these agents have free.
    pub fn allocate<'a>(&mut self, agents: impl IntoIterator<Item = &'a str>, now_ms: u64) -> Vec<Grant> {
        if !self.frameworks.values().any(|framework| framework.active) {
            return Vec::new();
        }
        let mut order: Vec<_> =
            agents.into_iter().map(|agent| (self.next_random(), agent.to_owned())).collect();
        order.sort_unstable();
        let mut grants = Vec::new();
        for (_, agent) in order {
            self.allocate_agent(&agent, now_ms, &mut grants);
        }
        grants
    }

    fn allocate_agent(&mut self, agent: &str, now_ms: u64, grants: &mut Vec<Grant>) {
        // Each round gives to one claimant; several rounds only where reservations are left for other roles.
        let Some(mut free) = self.free(agent) else { return };
        let mut served = BTreeSet::new();
        while !free.is_empty() {
            let Some((framework, role)) = self.next_claimant(agent, &free, &served, now_ms) else { return };
            let resources = free.usable_by(&role);
            free.subtract(&resources);
            self.hold(&framework, &role, agent, &resources);
            self.roles.entry(role.clone()).or_default().allocations += 1;
            if let Some(entry) = self.frameworks.get_mut(&framework) {
                entry.shares.entry(role.clone()).or_default().allocations += 1;
            }
            served.insert((framework.clone(), role.clone()));
            grants.push(Grant { framework, role, agent: agent.to_owned(), resources });
        }
    }

    fn free(&self, agent: &str) -> Option<Pool> {
        let entry = self.agents.get(agent).filter(|entry| entry.active)?;
        let mut free = entry.total.clone();
        free.subtract(&entry.used);
        Some(free)
    }

    fn next_claimant(
        &self,
        agent: &str,
        free: &Pool,
        served: &BTreeSet<(String, String)>,
        now_ms: u64,
    ) -> Option<(String, String)> {
        let nothing = Share::default();
        let roles: BTreeSet<&String> = self
            .frameworks
            .values()
            .filter(|framework| framework.active)
            .flat_map(|framework| framework.roles.difference(&framework.suppressed))
            .collect();
        let mut roles: Vec<_> = roles
            .into_iter()
            .map(|role| {
                let weight = self.rules.weights.get(role).copied().unwrap_or(1.0);
                let priority = self.rules.priorities.get(role).copied().unwrap_or(0);
                self.roles.get(role).unwrap_or(&nothing).claim(role, weight, priority)
            })
            .collect();
        self.sort(&mut roles);
        for role in roles.iter().map(|claim| claim.name) {
            let usable = free.usable_by(role);
            if usable.is_empty() {
                continue;
            }
            let mut frameworks: Vec<_> = self
                .frameworks
                .iter()
                .filter(|(id, framework)| {
                    !served.contains(&((*id).clone(), role.to_owned()))
                        && self.eligible(framework, role, agent, &usable, now_ms)
                })
                .map(|(id, framework)| framework.shares.get(role).unwrap_or(&nothing).claim(id, 1.0, 0))
                .collect();
            self.sort(&mut frameworks);
            if let Some(framework) = frameworks.first() {
                return Some((framework.name.to_owned(), role.to_owned()));
            }
        }
        None
    }

    fn sort(&self, claims: &mut [Claim<'_>]) {
        claims.sort_by(|a, b| self.policy.compare(a, b, &self.total));
    }

    fn eligible(&self, framework: &FrameworkEntry, role: &str, agent: &str, usable: &Pool, now: u64) -> bool {
        let Some(entry) = self.agents.get(agent) else { return false };
        if !framework.active || !framework.roles.contains(role) || framework.suppressed.contains(role) {
            return false;
        }
        if framework.abilities.multi_role && !entry.abilities.multi_role
            || entry.abilities.gpus && !framework.abilities.gpus
        {
            return false;
        }
        let least = framework.min_allocatable.get(role).unwrap_or(&self.rules.min_allocatable);
        let quantities = usable.quantities();
        if !least.is_empty() && !least.iter().any(|least| quantities.contains(least)) {
            return false;
        }
        let filter = framework.filters.get(&(role.to_owned(), agent.to_owned()));
        !filter.is_some_and(|(refused, until)| *until > now && refused.contains(usable))
    }

    /// Forgets filters that are over.
    pub fn expire_filters(&mut self, now_ms: u64) {
        for framework in self.frameworks.values_mut() {
            framework.filters.retain(|_, (_, until)| *until > now_ms);
        }
    }

    /// splitmix64: an order without favourites, the same for the same seed.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
