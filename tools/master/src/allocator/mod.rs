//! Shares agents' free resources out among the frameworks of each role, by a [`Policy`] at each level of the tree of
//! roles; agents in random order, the whole free part of an agent at a time
//! (src/master/allocator/mesos/hierarchical.cpp).
//!
//! `group` keeps siblings in the policy's order, `tree` is the roles, `books` who holds what, `filters` what was refused,
//! `constraints` which agents are wanted, `pass` the sharing out. Pure: what is allocated is returned, and comes back by
//! [`Allocator::recover`]. It never gives out what is not free, and asks no clock.
//!
//! As in Mesos, what a role holds of its own reservations counts in its share and what is reserved but not held does
//! not; a role may use what is reserved for the roles above it. Unlike Mesos there is no quota.

mod books;
pub mod constraints;
mod filters;
mod group;
mod pass;
mod rules;
mod tree;

pub use rules::{Abilities, RuleError, Rules};

use crate::limits::{MAX_FILTERS, MAX_WEIGHTS};
use crate::policy::Policy;
use constraints::{Facts, Groups};
use filters::Filters;
use group::{Scale, Total};
use mesos_proto::pool::Pool;
use mesos_proto::resources::Scalars;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tree::{NodeId, Tree};

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
    /// Never used again for another agent: filters go by it.
    number: u64,
    total: Pool,
    used: Pool,
    active: bool,
    abilities: Abilities,
    /// What frameworks' constraints look at.
    facts: Facts,
    /// What was refused last, shared by the filters of all who refuse the same.
    refused: Option<Arc<Pool>>,
    /// Nobody wanted what is free; forgotten when anything of the agent changes.
    unwanted: Option<Unwanted>,
}

/// How long it is sure that a pass over an agent, which found no taker, would find none again.
#[derive(Clone, Copy, Debug)]
struct Unwanted {
    /// The allocator's `wishes` at that time.
    wishes: u64,
    /// When the first filter ends that kept somebody from it.
    until_ms: u64,
}

#[derive(Debug, Default)]
struct Framework {
    id: String,
    /// False while it only holds something and was not added, or was removed.
    known: bool,
    active: bool,
    abilities: Abilities,
    /// By role, as long as it has the role or holds something for it.
    pairs: BTreeMap<String, usize>,
}

impl Framework {
    fn can_use(&self, agent: &AgentEntry) -> bool {
        (!self.abilities.multi_role || agent.abilities.multi_role)
            && (!agent.abilities.gpus || self.abilities.gpus)
    }
}

/// A framework in one role.
#[derive(Debug)]
struct Pair {
    framework: usize,
    node: NodeId,
    /// Where the node keeps it.
    slot: usize,
    subscribed: bool,
    suppressed: bool,
    least: Option<Vec<Scalars>>,
    /// Which agents it wants; all if it does not say.
    wanted: Option<Groups>,
    filters: Filters,
}

/// The allocator's state.
pub struct Allocator {
    policy: Box<dyn Policy>,
    rules: Rules,
    total: Total,
    agents: BTreeMap<String, AgentEntry>,
    next_agent: u64,
    frameworks: Slab<Framework>,
    by_id: HashMap<String, usize>,
    pairs: Slab<Pair>,
    tree: Tree,
    /// How often somebody began to want more than before.
    wishes: u64,
    random: u64,
}

fn scale<'a>(policy: &'a dyn Policy, total: &'a Total) -> Scale<'a> {
    Scale { policy, total }
}

fn valid_weight(weight: f64) -> bool {
    weight.is_finite() && weight > 0.0
}

impl Allocator {
    /// An empty cluster. `seed` fixes the order in which agents are visited.
    pub fn new(policy: Box<dyn Policy>, mut rules: Rules, seed: u64) -> Self {
        let mut weights = std::mem::take(&mut rules.weights);
        weights.retain(|_, weight| valid_weight(*weight));
        let tree = Tree::new(weights, std::mem::take(&mut rules.priorities));
        Self {
            policy,
            rules,
            total: Total::default(),
            agents: BTreeMap::new(),
            next_agent: 0,
            frameworks: Slab::new(),
            by_id: HashMap::new(),
            pairs: Slab::new(),
            tree,
            wishes: 0,
            random: seed | 1,
        }
    }

    /// The policy's name.
    pub fn policy_name(&self) -> &'static str {
        self.policy.name()
    }

    /// Weights that were given, by role.
    pub fn weights(&self) -> &BTreeMap<String, f64> {
        self.tree.weights()
    }

    /// Priorities that were given, by role.
    pub fn priorities(&self) -> &BTreeMap<String, i64> {
        self.tree.priorities()
    }

    /// Sets a role's weight, whether there is such a role yet or not. It counts from the next allocation on; what is
    /// offered or used stays (`updateWeights`).
    pub fn set_weight(&mut self, role: &str, weight: f64) -> Result<(), RuleError> {
        if !valid_weight(weight) {
            return Err(RuleError::Weight(weight, role.to_owned()));
        }
        if self.tree.weights().len() >= MAX_WEIGHTS && !self.tree.weights().contains_key(role) {
            return Err(RuleError::TooMany(MAX_WEIGHTS));
        }
        self.tree.set_weight(role, weight, scale(&*self.policy, &self.total));
        Ok(())
    }

    /// Sets a role's priority, which those below it inherit unless they have their own.
    pub fn set_priority(&mut self, role: &str, priority: i64) -> Result<(), RuleError> {
        if self.tree.priorities().len() >= MAX_WEIGHTS && !self.tree.priorities().contains_key(role) {
            return Err(RuleError::TooMany(MAX_WEIGHTS));
        }
        self.tree.set_priority(role, priority, scale(&*self.policy, &self.total));
        Ok(())
    }

    /// What a role and those below it hold, offered or used; none if no framework is in any of them.
    pub fn allocated(&self, role: &str) -> Option<&Scalars> {
        self.tree.held_below(role)
    }

    /// Adds an agent or replaces its total and abilities; what is used of it stays used.
    pub fn add_agent(&mut self, id: &str, total: Pool, abilities: Abilities) {
        if !self.agents.contains_key(id) {
            self.next_agent += 1;
            let entry = AgentEntry { number: self.next_agent, ..AgentEntry::default() };
            self.agents.insert(id.to_owned(), entry);
        }
        let Some(entry) = self.agents.get_mut(id) else { return };
        self.total.replace(&entry.total.quantities(), &total.quantities());
        entry.total = total;
        entry.unwanted = None;
        entry.active = true;
        entry.abilities = abilities;
    }

    /// Says what constraints may look at in an agent.
    pub fn describe_agent(&mut self, id: &str, facts: Facts) {
        if let Some(entry) = self.agents.get_mut(id) {
            entry.facts = facts;
            entry.unwanted = None;
        }
    }

    /// Replaces the constraints of a framework's roles: those that are not named want all agents.
    pub fn constrain(&mut self, id: &str, mut wanted: BTreeMap<String, Groups>) {
        self.wishes += 1;
        let framework = self.by_id.get(id).map(|number| &self.frameworks[*number]);
        for (role, pair) in framework.into_iter().flat_map(|framework| &framework.pairs) {
            self.pairs[*pair].wanted = wanted.remove(role);
        }
    }

    /// Replaces an agent's total; what is used of it stays used.
    pub fn set_total(&mut self, id: &str, total: Pool) {
        if let Some(entry) = self.agents.get_mut(id) {
            self.total.replace(&entry.total.quantities(), &total.quantities());
            entry.total = total;
            entry.unwanted = None;
        }
    }

    /// Removes an agent. What frameworks held of it must have been recovered before.
    pub fn remove_agent(&mut self, id: &str) {
        if let Some(entry) = self.agents.remove(id) {
            self.total.replace(&entry.total.quantities(), &Scalars::default());
            self.pairs.iter_mut().for_each(|(_, pair)| pair.filters.remove_agent(entry.number));
        }
    }

    /// Lets an agent be offered or not.
    pub fn set_agent_active(&mut self, id: &str, active: bool) {
        if let Some(entry) = self.agents.get_mut(id) {
            entry.active = active;
            entry.unwanted = None;
        }
    }

    /// All agents.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(String::as_str)
    }

    /// What an agent has in use, offers included.
    pub fn used(&self, agent: &str) -> Option<&Pool> {
        self.agents.get(agent).map(|entry| &entry.used)
    }

    /// Adds a framework or replaces what it said of itself. What it holds stays; the filters of a role go if it leaves
    /// the role or is no longer suppressed there (`updateFramework`).
    pub fn add_framework(
        &mut self,
        id: &str,
        roles: BTreeSet<String>,
        suppressed: BTreeSet<String>,
        abilities: Abilities,
        mut min_allocatable: BTreeMap<String, Vec<Scalars>>,
    ) {
        let number = self.framework(id);
        let framework = &mut self.frameworks[number];
        framework.known = true;
        framework.abilities = abilities;
        self.wishes += 1;
        let left: Vec<_> = framework.pairs.iter().filter(|(role, _)| !roles.contains(*role)).collect();
        let left: Vec<_> = left.into_iter().map(|(_, pair)| *pair).collect();
        for pair in left {
            self.pairs[pair].subscribed = false;
            self.pairs[pair].suppressed = false;
            self.pairs[pair].filters.clear();
            self.settle(pair);
        }
        for role in roles {
            let number = self.pair(number, &role);
            let pair = &mut self.pairs[number];
            let was = std::mem::replace(&mut pair.suppressed, suppressed.contains(&role));
            if was && !pair.suppressed {
                pair.filters.clear();
            }
            pair.subscribed = true;
            pair.least = min_allocatable.remove(&role);
            self.settle(number);
        }
    }

    /// Removes a framework. What it still holds counts until it is recovered.
    pub fn remove_framework(&mut self, id: &str) {
        let Some(number) = self.by_id.get(id).copied() else { return };
        self.frameworks[number].known = false;
        self.frameworks[number].active = false;
        for pair in self.pairs_of(id, &[]) {
            self.pairs[pair].subscribed = false;
            self.settle(pair);
        }
        self.forget(number);
    }

    /// Lets a framework get offers or not; its filters go when it stops.
    pub fn set_framework_active(&mut self, id: &str, active: bool) {
        let number = self.by_id.get(id).filter(|number| self.frameworks[**number].known);
        let Some(number) = number else { return };
        self.frameworks[*number].active = active;
        for pair in self.pairs_of(id, &[]) {
            if !active {
                self.pairs[pair].filters.clear();
            }
            self.settle(pair);
        }
    }

    /// No offers for these roles (all if empty) until revived.
    pub fn suppress(&mut self, id: &str, roles: &[String]) {
        for pair in self.pairs_of(id, roles) {
            self.pairs[pair].suppressed = true;
            self.settle(pair);
        }
    }

    /// Ends suppression and filters of these roles (all if empty).
    pub fn revive(&mut self, id: &str, roles: &[String]) {
        self.wishes += 1;
        for pair in self.pairs_of(id, roles) {
            self.pairs[pair].suppressed = false;
            self.pairs[pair].filters.clear();
            self.settle(pair);
        }
    }

    /// Keeps subsets of `refused` on this agent from the framework's role until `until_ms`.
    pub fn filter(&mut self, framework: &str, role: &str, agent: &str, refused: Pool, until_ms: u64) {
        let Some(framework) = self.by_id.get(framework).map(|number| &self.frameworks[*number]) else {
            return;
        };
        let Some(pair) = framework.pairs.get(role).copied() else { return };
        let Some(agent) = self.agents.get_mut(agent) else { return };
        let count: usize = framework.pairs.values().map(|pair| self.pairs[*pair].filters.len()).sum();
        if count >= MAX_FILTERS || refused.is_empty() || !self.pairs[pair].subscribed {
            return;
        }
        agent.unwanted = None;
        if agent.refused.as_deref() != Some(&refused) {
            agent.refused = Some(Arc::new(refused));
        }
        if let Some(refused) = agent.refused.clone() {
            self.pairs[pair].filters.add(agent.number, refused, until_ms);
        }
    }

    /// Forgets filters that are over.
    pub fn expire_filters(&mut self, now_ms: u64) {
        self.pairs.iter_mut().for_each(|(_, pair)| pair.filters.expire(now_ms));
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
