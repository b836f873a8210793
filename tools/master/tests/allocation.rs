//! The allocator against the axioms of fair sharing and the example of the DRF paper.

#![allow(deprecated, reason = "an agent's reservations come in the old format")]

use master::allocator::{Abilities, Allocator, Grant, Rules};
use master::policy::{Drf, Policy, StrictPriority};
use mesos_proto::pool::Pool;
use mesos_proto::resources::scalar;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn pool(cpus: f64, mem: f64) -> Pool {
    Pool::of(&[scalar("cpus", cpus), scalar("mem", mem)]).unwrap()
}

fn cluster(policy: impl Policy + 'static, rules: Rules, agents: &[(f64, f64)]) -> Allocator {
    let mut allocator = Allocator::new(Box::new(policy), rules, 7);
    for (number, (cpus, mem)) in agents.iter().enumerate() {
        allocator.add_agent(&format!("S{number}"), pool(*cpus, *mem), Abilities::default());
    }
    allocator
}

fn join(allocator: &mut Allocator, id: &str, role: &str) {
    let roles = BTreeSet::from([role.to_owned()]);
    allocator.add_framework(id, roles, BTreeSet::new(), Abilities::default(), BTreeMap::new());
    allocator.set_framework_active(id, true);
}

fn round(allocator: &mut Allocator, now: u64) -> Vec<Grant> {
    let agents: Vec<String> = allocator.agents().map(str::to_owned).collect();
    allocator.allocate(agents.iter().map(String::as_str), now)
}

/// Frameworks take one task of each grant, decline the rest for the round, until nobody takes anything.
fn fill(allocator: &mut Allocator, demands: &BTreeMap<&str, Pool>) -> BTreeMap<String, usize> {
    let mut tasks = BTreeMap::new();
    let mut now = 0;
    let mut idle = 0;
    while idle <= demands.len() {
        now += 1000;
        let mut took = false;
        for grant in round(allocator, now) {
            let demand = &demands[grant.framework.as_str()];
            let mut rest = grant.resources.clone();
            let fits = rest.contains(demand);
            if fits {
                rest.subtract(demand);
                *tasks.entry(grant.framework.clone()).or_default() += 1;
                took = true;
            }
            allocator.recover(&grant.framework, &grant.role, &grant.agent, &rest);
            if !fits {
                allocator.filter(&grant.framework, &grant.role, &grant.agent, rest, u64::MAX);
            }
        }
        idle = if took { 0 } else { idle + 1 };
    }
    tasks
}

#[test]
fn the_example_of_the_drf_paper() {
    // NSDI 2011, section 4.1: 9 CPUs and 18 GB; A's tasks want <1, 4>, B's <3, 1>.
    let mut allocator = cluster(Drf, Rules::default(), &[(9.0, 18.0)]);
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    let tasks = fill(&mut allocator, &BTreeMap::from([("A", pool(1.0, 4.0)), ("B", pool(3.0, 1.0))]));
    assert_eq!(tasks, BTreeMap::from([("A".to_owned(), 3), ("B".to_owned(), 2)]));
}

#[test]
fn a_weight_of_two_gets_twice_as_much() {
    let rules = Rules { weights: BTreeMap::from([("a".to_owned(), 2.0)]), ..Rules::default() };
    let mut allocator = cluster(Drf, rules, &[(30.0, 3000.0)]);
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    let demand = pool(1.0, 1.0);
    let tasks = fill(&mut allocator, &BTreeMap::from([("A", demand.clone()), ("B", demand)]));
    assert_eq!(tasks, BTreeMap::from([("A".to_owned(), 20), ("B".to_owned(), 10)]));
}

#[test]
fn a_higher_priority_takes_all_it_wants() {
    let rules = Rules { priorities: BTreeMap::from([("b".to_owned(), 1)]), ..Rules::default() };
    let mut allocator = cluster(StrictPriority, rules, &[(9.0, 900.0)]);
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    let tasks = fill(&mut allocator, &BTreeMap::from([("A", pool(1.0, 1.0)), ("B", pool(2.0, 1.0))]));
    assert_eq!(tasks, BTreeMap::from([("A".to_owned(), 1), ("B".to_owned(), 4)]));
}

#[test]
fn a_filter_blocks_subsets_until_it_is_over_and_no_more() {
    let mut allocator = cluster(Drf, Rules::default(), &[(4.0, 64.0)]);
    join(&mut allocator, "A", "a");
    let grant = round(&mut allocator, 0).remove(0);
    let mut part = grant.resources.clone();
    part.subtract(&pool(1.0, 0.0));
    // One cpu stays in use; the rest is refused for five seconds.
    allocator.recover("A", "a", "S0", &part);
    allocator.filter("A", "a", "S0", part.clone(), 5000);
    assert_eq!(round(&mut allocator, 4999), []);
    assert_eq!(round(&mut allocator, 5000)[0].resources, part);
    allocator.recover("A", "a", "S0", &part);
    allocator.filter("A", "a", "S0", part, 60_000);
    // More than was refused is offered although the filter stands.
    allocator.recover("A", "a", "S0", &pool(1.0, 0.0));
    assert_eq!(round(&mut allocator, 6000)[0].resources, pool(4.0, 64.0));
}

#[test]
fn suppressed_means_none_and_revived_means_at_once() {
    let mut allocator = cluster(Drf, Rules::default(), &[(4.0, 64.0)]);
    join(&mut allocator, "A", "a");
    allocator.suppress("A", &[]);
    assert_eq!(round(&mut allocator, 0), []);
    allocator.revive("A", &[]);
    assert_eq!(round(&mut allocator, 0).len(), 1);
}

#[test]
fn too_little_to_be_useful_is_not_offered_unless_the_operator_says_so() {
    let crumbs = [(0.005, 31.0)];
    let mut allocator = cluster(Drf, Rules::default(), &crumbs);
    join(&mut allocator, "A", "a");
    assert_eq!(round(&mut allocator, 0), []);
    let mut allocator = cluster(Drf, Rules { min_allocatable: Vec::new(), ..Rules::default() }, &crumbs);
    join(&mut allocator, "A", "a");
    assert_eq!(round(&mut allocator, 0).len(), 1);
}

#[test]
fn a_reservation_goes_to_its_role_and_the_rest_to_the_other() {
    let mut allocator = Allocator::new(Box::new(Drf), Rules::default(), 1);
    let mine = mesos_proto::mesos::Resource { role: Some("b".into()), ..scalar("cpus", 1.0) };
    let total = Pool::of(&[mine, scalar("cpus", 3.0)]).unwrap();
    allocator.add_agent("S0", total.clone(), Abilities::default());
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    let grants = round(&mut allocator, 0);
    assert_eq!(grants.len(), 2);
    assert_eq!((grants[0].framework.as_str(), grants[0].resources.to_string()), ("A", "cpus:3".into()));
    assert_eq!((grants[1].framework.as_str(), grants[1].resources.to_string()), ("B", "cpus(b):1".into()));
    assert_eq!(allocator.used("S0"), Some(&total));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is granted, held and given back: never more than the agents have.
    #[test]
    fn nothing_is_given_twice(
        agents in proptest::collection::vec((1u32..8, 1u32..8), 1..5),
        steps in proptest::collection::vec((0usize..64, 0u8..3), 1..40),
        strict in any::<bool>(),
    ) {
        let sizes: Vec<_> = agents.iter().map(|(c, m)| (f64::from(*c), f64::from(*m) * 32.0)).collect();
        let mut allocator = if strict {
            cluster(StrictPriority, Rules::default(), &sizes)
        } else {
            cluster(Drf, Rules::default(), &sizes)
        };
        for id in ["A", "B", "C"] {
            join(&mut allocator, id, &id.to_lowercase());
        }
        let mut held: Vec<Grant> = Vec::new();
        let mut now = 0;
        for (pick, what) in steps {
            now += 1000;
            held.extend(round(&mut allocator, now));
            if !held.is_empty() && what > 0 {
                let grant = held.remove(pick % held.len());
                allocator.recover(&grant.framework, &grant.role, &grant.agent, &grant.resources);
                if what == 2 {
                    allocator.filter(&grant.framework, &grant.role, &grant.agent, grant.resources, now + 3000);
                }
            }
            for (number, (cpus, mem)) in sizes.iter().enumerate() {
                let id = format!("S{number}");
                let mut sum = Pool::default();
                held.iter().filter(|grant| grant.agent == id).for_each(|grant| sum.add(&grant.resources));
                prop_assert!(pool(*cpus, *mem).contains(&sum));
                prop_assert_eq!(allocator.used(&id), Some(&sum));
            }
        }
    }

    /// Sharing incentive and envy-freeness with equal weights, as far as whole tasks allow: nobody who still wants
    /// and could use more ends a task or more below another's dominant share.
    #[test]
    fn equal_demands_end_equal(agents in 1usize..4, wants in 2usize..5) {
        let sizes = vec![(8.0, 256.0); agents];
        let mut allocator = cluster(Drf, Rules::default(), &sizes);
        let names = ["A", "B", "C", "D"];
        let mut demands = BTreeMap::new();
        for name in &names[..wants] {
            join(&mut allocator, name, name);
            demands.insert(*name, pool(1.0, 32.0));
        }
        let tasks = fill(&mut allocator, &demands);
        // Pareto efficiency: everything is in use.
        prop_assert_eq!(tasks.values().sum::<usize>(), agents * 8);
        let most = tasks.values().max().copied().unwrap_or(0);
        let least = demands.keys().map(|name| tasks.get(*name).copied().unwrap_or(0)).min().unwrap_or(0);
        // One round hands out one task per agent before shares are compared again.
        prop_assert!(most - least <= agents, "{:?}", tasks);
    }

    /// Strategy-proofness in the example: asking for more than a task needs never runs more tasks.
    #[test]
    fn lying_about_demand_does_not_pay(extra_cpu in 0u32..3, extra_mem in 0u32..5) {
        let run = |a: Pool| {
            let mut allocator = cluster(Drf, Rules::default(), &[(9.0, 18.0)]);
            join(&mut allocator, "A", "a");
            join(&mut allocator, "B", "b");
            fill(&mut allocator, &BTreeMap::from([("A", a), ("B", pool(3.0, 1.0))]))
                .get("A").copied().unwrap_or(0)
        };
        let honest = run(pool(1.0, 4.0));
        prop_assert!(run(pool(1.0 + f64::from(extra_cpu), 4.0 + f64::from(extra_mem))) <= honest);
    }
}
