//! Anything that can happen to an allocator, and what must be true of it, told in the plainest form.

use crate::cluster::{able, give_back, plain, pool};
use master::allocator::{Allocator, Grant};
use master::policy;
use mesos_proto::pool::Pool;
use mesos_proto::resources::Scalars;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub const ROLES: [&str; 7] = ["a", "a/x", "a/y", "a/y/z", "b", "b/x", "c"];
pub const AGENTS: usize = 4;
pub const FRAMEWORKS: usize = 5;

#[derive(Clone, Debug)]
pub enum Step {
    /// An agent of this size comes, or is replaced by one of this size if nothing of it is held.
    Agent(usize, u32, u32),
    AgentGoes(usize),
    AgentActive(usize, bool),
    /// A framework comes or changes; bits are roles, then suppressed ones.
    Framework(usize, u8, u8),
    FrameworkGoes(usize),
    FrameworkActive(usize, bool),
    Suppress(usize, usize),
    Revive(usize, usize),
    Weight(usize, u32),
    Priority(usize, i64),
    /// An agent's free part is shared out.
    Allocate(usize),
    /// Somebody gives back: all, or all but a part of it.
    GiveBack(usize, bool),
    /// Somebody gives back and does not want it again for so long.
    Decline(usize, u64),
    /// Time goes by.
    Wait(u64),
}

pub fn step() -> impl Strategy<Value = Step> {
    let (agent, framework, role) = (0..AGENTS, 0..FRAMEWORKS, 0..ROLES.len());
    prop_oneof![
        2 => (agent.clone(), 1u32..8, 1u32..8).prop_map(|(n, c, m)| Step::Agent(n, c, m)),
        1 => agent.clone().prop_map(Step::AgentGoes),
        1 => (agent.clone(), any::<bool>()).prop_map(|(n, on)| Step::AgentActive(n, on)),
        2 => (framework.clone(), any::<u8>(), any::<u8>()).prop_map(|(n, r, s)| Step::Framework(n, r, s & r)),
        1 => framework.clone().prop_map(Step::FrameworkGoes),
        1 => (framework.clone(), any::<bool>()).prop_map(|(n, on)| Step::FrameworkActive(n, on)),
        1 => (framework.clone(), role.clone()).prop_map(|(n, r)| Step::Suppress(n, r)),
        1 => (framework, role.clone()).prop_map(|(n, r)| Step::Revive(n, r)),
        1 => (role.clone(), 1u32..5).prop_map(|(r, w)| Step::Weight(r, w)),
        1 => (role, 0i64..3).prop_map(|(r, p)| Step::Priority(r, p)),
        6 => agent.prop_map(Step::Allocate),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(n, part)| Step::GiveBack(n, part)),
        6 => (any::<usize>(), 1u64..20).prop_map(|(n, ms)| Step::Decline(n, ms)),
        2 => (1u64..8).prop_map(Step::Wait),
    ]
}

/// What the test knows besides, in the plainest form.
pub struct World {
    pub allocator: Allocator,
    agents: BTreeMap<String, (Pool, bool)>,
    /// Roles and suppressed roles, and whether it is active.
    frameworks: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>, bool)>,
    weights: BTreeMap<String, f64>,
    priorities: BTreeMap<String, i64>,
    strict: bool,
    pub held: Vec<Grant>,
    /// Refused grants, and until when.
    filters: Vec<(Grant, u64)>,
    now: u64,
}

pub fn roles_of(bits: u8) -> BTreeSet<String> {
    let chosen = ROLES.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
    chosen.map(|(_, role)| (*role).to_owned()).collect()
}

fn is_in(role: &str, top: &str) -> bool {
    role == top || role.starts_with(&format!("{top}/"))
}

/// The nodes of a role's path, the virtual leaf of its frameworks included.
pub fn nodes(role: &str) -> Vec<String> {
    let ends = role.match_indices('/').map(|(at, _)| at).chain([role.len()]);
    ends.map(|end| role[..end].to_owned()).chain([format!("{role}/.")]).collect()
}

impl World {
    pub fn new(strict: bool) -> Self {
        let policy = policy::by_name(if strict { "priority" } else { "drf" }).unwrap();
        Self {
            allocator: Allocator::new(policy, plain(), 7),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            weights: BTreeMap::new(),
            priorities: BTreeMap::new(),
            strict,
            held: Vec::new(),
            filters: Vec::new(),
            now: 0,
        }
    }

    fn sum(&self, of: impl Fn(&Grant) -> bool) -> Pool {
        let mut sum = Pool::default();
        self.held.iter().filter(|grant| of(grant)).for_each(|grant| sum.add(&grant.resources));
        sum
    }

    fn wanting(&self) -> Vec<(&str, &str)> {
        let active = self.frameworks.iter().filter(|(_, (_, _, active))| *active);
        active
            .flat_map(|(id, (roles, suppressed, _))| {
                roles.difference(suppressed).map(|r| (id.as_str(), r.as_str()))
            })
            .collect()
    }

    /// Of those who want something, who has not refused this much of an agent.
    fn takers(&self, agent: &str, free: &Pool) -> Vec<(&str, &str)> {
        let refused = |id: &str, role: &str| {
            self.filters.iter().any(|(grant, until)| {
                let same = grant.framework == id && grant.role == role && grant.agent == agent;
                same && *until > self.now && grant.resources.contains(free)
            })
        };
        self.wanting().into_iter().filter(|(id, role)| !refused(id, role)).collect()
    }

    /// By what a node is compared: less is served first. Who was served less often is left out.
    fn rank(&self, node: &str) -> (i64, f64) {
        let held = match node.strip_suffix("/.") {
            Some(role) => self.sum(|grant| grant.role == role),
            None => self.sum(|grant| is_in(&grant.role, node)),
        };
        let mut total = Scalars::default();
        self.agents.values().for_each(|(pool, _)| total.add(&pool.quantities()));
        let share =
            policy::dominant_share(&held.quantities(), &total) / self.weights.get(node).unwrap_or(&1.0);
        let inherited = nodes(node).into_iter().rev().find_map(|above| self.priorities.get(&above).copied());
        (if self.strict { -inherited.unwrap_or(0) } else { 0 }, share)
    }

    /// Nobody else was before this one in the order, at the node where their paths part.
    fn check_choice(&self, grant: &Grant) -> Result<(), TestCaseError> {
        let (framework, role) = (grant.framework.as_str(), grant.role.as_str());
        let mine = nodes(role);
        let takers = self.takers(&grant.agent, &grant.resources);
        prop_assert!(takers.contains(&(framework, role)));
        for (id, other) in takers {
            let theirs = nodes(other);
            match mine.iter().zip(&theirs).find(|(mine, theirs)| mine != theirs) {
                Some((mine, theirs)) => prop_assert!(
                    self.rank(mine) <= self.rank(theirs),
                    "{role} at {mine} was chosen before {other}: {:?} {:?}",
                    self.rank(mine),
                    self.rank(theirs)
                ),
                None => {
                    let share = |of: &str| self.sum(|grant| grant.framework == of && grant.role == role);
                    let share = |of: &str| {
                        let mut total = Scalars::default();
                        self.agents.values().for_each(|(pool, _)| total.add(&pool.quantities()));
                        policy::dominant_share(&share(of).quantities(), &total)
                    };
                    prop_assert!(share(framework) <= share(id));
                }
            }
        }
        Ok(())
    }

    pub fn take(&mut self, step: &Step) -> Result<Vec<Grant>, TestCaseError> {
        let agent = |number: &usize| format!("S{number}");
        let framework = |number: &usize| format!("F{number}");
        match step {
            Step::Agent(number, cpus, mem) => {
                let id = agent(number);
                if self.held.iter().all(|grant| grant.agent != id) {
                    let total = pool(f64::from(*cpus), f64::from(*mem));
                    self.allocator.add_agent(&id, total.clone(), able());
                    self.agents.insert(id, (total, true));
                }
            }
            Step::AgentGoes(number) => {
                let id = agent(number);
                let (gone, kept) = self.held.drain(..).partition(|grant| grant.agent == id);
                self.held = kept;
                let gone: Vec<Grant> = gone;
                gone.iter().for_each(|grant| give_back(&mut self.allocator, grant));
                self.allocator.remove_agent(&id);
                self.filters.retain(|(grant, _)| grant.agent != id);
                self.agents.remove(&id);
            }
            Step::AgentActive(number, on) => {
                self.allocator.set_agent_active(&agent(number), *on);
                self.agents.entry(agent(number)).and_modify(|(_, active)| *active = *on);
            }
            Step::Framework(number, roles, suppressed) => {
                let (roles, suppressed) = (roles_of(*roles), roles_of(*suppressed));
                let id = framework(number);
                self.allocator.add_framework(&id, roles.clone(), suppressed.clone(), able(), BTreeMap::new());
                let old =
                    self.frameworks.get(&id).map(|(_, suppressed, _)| suppressed.clone()).unwrap_or_default();
                self.filters.retain(|(grant, _)| {
                    let revived = old.contains(&grant.role) && !suppressed.contains(&grant.role);
                    grant.framework != id || roles.contains(&grant.role) && !revived
                });
                let active = self.frameworks.get(&id).is_some_and(|(_, _, active)| *active);
                self.frameworks.insert(id, (roles, suppressed, active));
            }
            Step::FrameworkGoes(number) => {
                // What it holds is given back later, as by agents that learn of it late.
                self.allocator.remove_framework(&framework(number));
                self.frameworks.remove(&framework(number));
                self.filters.retain(|(grant, _)| grant.framework != framework(number));
            }
            Step::FrameworkActive(number, on) => {
                self.allocator.set_framework_active(&framework(number), *on);
                self.filters.retain(|(grant, _)| *on || grant.framework != framework(number));
                self.frameworks.entry(framework(number)).and_modify(|(_, _, active)| *active = *on);
            }
            Step::Suppress(number, role) => {
                self.allocator.suppress(&framework(number), &[ROLES[*role].to_owned()]);
                self.frameworks.entry(framework(number)).and_modify(|(roles, suppressed, _)| {
                    suppressed.extend(roles.get(ROLES[*role]).cloned());
                });
            }
            Step::Revive(number, role) => {
                self.allocator.revive(&framework(number), &[ROLES[*role].to_owned()]);
                let other =
                    |grant: &Grant| grant.framework != framework(number) || grant.role != ROLES[*role];
                self.filters.retain(|(grant, _)| other(grant));
                self.frameworks.entry(framework(number)).and_modify(|(_, suppressed, _)| {
                    suppressed.remove(ROLES[*role]);
                });
            }
            Step::Weight(role, weight) => {
                self.allocator.set_weight(ROLES[*role], f64::from(*weight)).unwrap();
                self.weights.insert(ROLES[*role].to_owned(), f64::from(*weight));
            }
            Step::Priority(role, priority) => {
                self.allocator.set_priority(ROLES[*role], *priority).unwrap();
                self.priorities.insert(ROLES[*role].to_owned(), *priority);
            }
            Step::Allocate(number) => {
                let id = agent(number);
                let grants = self.allocator.allocate([id.as_str()], self.now);
                let mut free = match self.agents.get(&id) {
                    Some((total, true)) => total.clone(),
                    _ => Pool::default(),
                };
                free.subtract(&self.sum(|grant| grant.agent == id));
                let wanted = !free.is_empty() && !self.takers(&id, &free).is_empty();
                prop_assert_eq!(grants.len(), usize::from(wanted));
                grants.iter().try_for_each(|grant| self.check_choice(grant))?;
                self.held.extend(grants.iter().cloned());
                return Ok(grants);
            }
            Step::GiveBack(number, part) => {
                if self.held.is_empty() {
                    return Ok(Vec::new());
                }
                let mut grant = self.held.remove(number % self.held.len());
                let kept = if *part { pool(1.0, 0.0) } else { Pool::default() };
                if !kept.is_empty() && grant.resources.contains(&kept) {
                    grant.resources.subtract(&kept);
                    self.held.push(Grant { resources: kept, ..grant.clone() });
                }
                give_back(&mut self.allocator, &grant);
            }
            Step::Decline(number, ms) => {
                if self.held.is_empty() {
                    return Ok(Vec::new());
                }
                let grant = self.held.remove(number % self.held.len());
                give_back(&mut self.allocator, &grant);
                let until = self.now + ms;
                let Grant { framework, role, agent, resources } = &grant;
                self.allocator.filter(framework, role, agent, resources.clone(), until);
                if self.frameworks.get(framework).is_some_and(|(roles, _, _)| roles.contains(role)) {
                    self.filters.push((grant, until));
                }
            }
            Step::Wait(ms) => {
                self.now += ms;
                self.allocator.expire_filters(self.now);
            }
        }
        Ok(Vec::new())
    }

    pub fn check_books(&self) -> Result<(), TestCaseError> {
        for (id, (total, _)) in &self.agents {
            let sum = self.sum(|grant| grant.agent == *id);
            prop_assert!(total.contains(&sum));
            prop_assert_eq!(self.allocator.used(id), Some(&sum));
        }
        for role in ROLES {
            let sum = self.sum(|grant| is_in(&grant.role, role)).quantities();
            let allocated = self.allocator.allocated(role).cloned();
            let subscribed =
                self.frameworks.values().any(|(roles, _, _)| roles.iter().any(|r| is_in(r, role)));
            prop_assert_eq!(allocated.is_some(), subscribed || !sum.is_empty());
            prop_assert_eq!(allocated.unwrap_or_default(), sum);
        }
        Ok(())
    }
}
