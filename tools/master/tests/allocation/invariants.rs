//! What holds whatever happens: the books are exact, nobody is passed over for one who has more, nobody starves, and
//! the same seed gives the same.

use crate::cluster::{able, cluster, give_back, join_as, plain, pool, reserved, round};
use master::allocator::{Allocator, Grant, Rules};
use master::policy::{self, Drf};
use mesos_proto::pool::Pool;
use mesos_proto::resources::{Scalars, scalar};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ROLES: [&str; 7] = ["a", "a/x", "a/y", "a/y/z", "b", "b/x", "c"];
const AGENTS: usize = 4;
const FRAMEWORKS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
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
}

fn step() -> impl Strategy<Value = Step> {
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
    ]
}

/// What the test knows besides, in the plainest form.
struct World {
    allocator: Allocator,
    agents: BTreeMap<String, (Pool, bool)>,
    /// Roles and suppressed roles, and whether it is active.
    frameworks: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>, bool)>,
    weights: BTreeMap<String, f64>,
    priorities: BTreeMap<String, i64>,
    strict: bool,
    held: Vec<Grant>,
}

fn roles_of(bits: u8) -> BTreeSet<String> {
    let chosen = ROLES.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
    chosen.map(|(_, role)| (*role).to_owned()).collect()
}

fn is_in(role: &str, top: &str) -> bool {
    role == top || role.starts_with(&format!("{top}/"))
}

/// The nodes of a role's path, the virtual leaf of its frameworks included.
fn nodes(role: &str) -> Vec<String> {
    let ends = role.match_indices('/').map(|(at, _)| at).chain([role.len()]);
    ends.map(|end| role[..end].to_owned()).chain([format!("{role}/.")]).collect()
}

impl World {
    fn new(strict: bool) -> Self {
        let policy = policy::by_name(if strict { "priority" } else { "drf" }).unwrap();
        Self {
            allocator: Allocator::new(policy, plain(), 7),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            weights: BTreeMap::new(),
            priorities: BTreeMap::new(),
            strict,
            held: Vec::new(),
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
    fn check_choice(&self, framework: &str, role: &str) -> Result<(), TestCaseError> {
        let mine = nodes(role);
        for (id, other) in self.wanting() {
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

    fn take(&mut self, step: &Step) -> Result<Vec<Grant>, TestCaseError> {
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
                let active = self.frameworks.get(&id).is_some_and(|(_, _, active)| *active);
                self.frameworks.insert(id, (roles, suppressed, active));
            }
            Step::FrameworkGoes(number) => {
                // What it holds is given back later, as by agents that learn of it late.
                self.allocator.remove_framework(&framework(number));
                self.frameworks.remove(&framework(number));
            }
            Step::FrameworkActive(number, on) => {
                self.allocator.set_framework_active(&framework(number), *on);
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
                let grants = self.allocator.allocate([id.as_str()], 0);
                let free = self.agents.get(&id).filter(|(_, active)| *active).is_some_and(|(total, _)| {
                    let mut free = total.clone();
                    free.subtract(&self.sum(|grant| grant.agent == id));
                    !free.is_empty()
                });
                prop_assert_eq!(grants.len(), usize::from(free && !self.wanting().is_empty()));
                for grant in &grants {
                    prop_assert!(self.wanting().contains(&(grant.framework.as_str(), grant.role.as_str())));
                    self.check_choice(&grant.framework, &grant.role)?;
                }
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
        }
        Ok(Vec::new())
    }

    fn check_books(&self) -> Result<(), TestCaseError> {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_books_are_exact_and_the_choice_is_fair(
        steps in proptest::collection::vec(step(), 1..80),
        strict in any::<bool>(),
    ) {
        let mut world = World::new(strict);
        let mut again = World::new(strict);
        for number in 0..2 {
            for world in [&mut world, &mut again] {
                world.take(&Step::Agent(number, 4, 4))?;
                world.take(&Step::Framework(number, 0x7f, 0))?;
                world.take(&Step::FrameworkActive(number, true))?;
            }
        }
        for step in &steps {
            let grants = world.take(step)?;
            prop_assert_eq!(grants, again.take(step)?, "the same twice is not the same");
            world.check_books()?;
        }
        while !world.held.is_empty() {
            world.take(&Step::GiveBack(0, false))?;
        }
        (0..FRAMEWORKS).try_for_each(|number| world.take(&Step::FrameworkGoes(number)).map(drop))?;
        world.check_books()?;
        prop_assert!(ROLES.iter().all(|role| world.allocator.allocated(role).is_none()));
    }

    /// A pass gives nobody what is reserved for others, and leaves nothing that somebody who wants it may use.
    #[test]
    fn reservations_go_where_they_may_and_all_of_them_go(
        parts in proptest::collection::vec((0..ROLES.len(), 1u32..5), 0..6),
        shared in 0u32..3,
        frameworks in proptest::collection::vec(1u8..0x80, 1..4),
    ) {
        let mut resources: Vec<_> = parts.iter().map(|(role, cpus)| reserved(ROLES[*role], f64::from(*cpus))).collect();
        resources.push(scalar("cpus", f64::from(shared)));
        let total = Pool::of(&resources).unwrap();
        let mut allocator = cluster(Drf, plain(), &[]);
        allocator.add_agent("S0", total.clone(), able());
        for (number, roles) in frameworks.iter().enumerate() {
            let roles = roles_of(*roles);
            let roles: Vec<_> = roles.iter().map(String::as_str).collect();
            join_as(&mut allocator, &format!("F{number}"), &roles, able());
        }
        for grant in round(&mut allocator, 0) {
            prop_assert!(total.usable_by(&grant.role).contains(&grant.resources));
        }
        let mut left = total.clone();
        left.subtract(allocator.used("S0").unwrap());
        for role in frameworks.iter().flat_map(|roles| roles_of(*roles)) {
            prop_assert_eq!(left.usable_by(&role), Pool::default());
        }
        // With a framework of every role there is nothing left at all.
        join_as(&mut allocator, "all", &ROLES, able());
        round(&mut allocator, 0);
        prop_assert_eq!(allocator.used("S0"), Some(&total));
    }

    /// Everybody gives everything back each time. At each node siblings are then served in turn, so a framework is
    /// served once in as many rounds as the numbers of siblings on its path multiply to.
    #[test]
    fn nobody_starves(roles in proptest::collection::btree_set(0..ROLES.len(), 1..ROLES.len()), each in 1usize..4) {
        let mut allocator = cluster(Drf, plain(), &[(1.0, 1.0)]);
        let roles: Vec<_> = roles.into_iter().map(|role| ROLES[role]).collect();
        let mut waiting = BTreeSet::new();
        for role in &roles {
            for number in 0..each {
                let id = format!("{role}#{number}");
                join_as(&mut allocator, &id, &[role], able());
                waiting.insert(id);
            }
        }
        let all: BTreeSet<String> = roles.iter().flat_map(|role| nodes(role)).collect();
        let above = |node: &str| node.rsplit_once('/').map(|(above, _)| above.to_owned());
        let siblings = |node: &String| all.iter().filter(|other| above(other) == above(node)).count();
        let turns = |role: &&str| each * nodes(role).iter().map(siblings).product::<usize>();
        for _ in 0..roles.iter().map(turns).max().unwrap() {
            let grants = round(&mut allocator, 0);
            prop_assert_eq!(grants.len(), 1);
            give_back(&mut allocator, &grants[0]);
            waiting.remove(&grants[0].framework);
        }
        prop_assert_eq!(waiting, BTreeSet::new());
    }

    /// More want an agent than there are, and each keeps one for a round.
    #[test]
    fn everybody_has_a_turn(agents in 1usize..6, wanting in 1usize..20) {
        let mut allocator = cluster(Drf, Rules::default(), &vec![(1.0, 64.0); agents]);
        let mut waiting = BTreeSet::new();
        for number in 0..wanting {
            let id = format!("F{number}");
            join_as(&mut allocator, &id, &[&format!("role{number}")], able());
            waiting.insert(id);
        }
        for _ in 0..wanting.div_ceil(agents) {
            let grants = round(&mut allocator, 0);
            prop_assert_eq!(grants.len(), agents);
            for grant in grants {
                give_back(&mut allocator, &grant);
                waiting.remove(&grant.framework);
            }
        }
        prop_assert_eq!(waiting, BTreeSet::new());
    }
}
