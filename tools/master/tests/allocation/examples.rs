//! Examples worked by hand.

use crate::cluster::{able, cluster, fill, give_back, join, plain, pool, round, tasks, weighted};
use master::allocator::Rules;
use master::policy::{Drf, StrictPriority};
use std::collections::BTreeMap;

#[test]
fn the_example_of_the_drf_paper() {
    // NSDI 2011, section 4.1: 9 CPUs and 18 GB; A's tasks want <1, 4>, B's <3, 1>. A task of A is 4/18 = 2/9 of the
    // memory, one of B 3/9 of the CPUs. Three and two make 6/9 each, and all CPUs are in use.
    let mut allocator = cluster(Drf, plain(), &[(9.0, 18.0)]);
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    let ran = fill(&mut allocator, &BTreeMap::from([("A", pool(1.0, 4.0)), ("B", pool(3.0, 1.0))]));
    assert_eq!(ran, tasks([("A", 3), ("B", 2)]));
    assert_eq!(allocator.allocated("a").unwrap().to_string(), "cpus:3; mem:12");
    assert_eq!(allocator.allocated("b").unwrap().to_string(), "cpus:6; mem:2");
    let share = |role: &str, name: &str, of: f64| allocator.allocated(role).unwrap().get(name) / of;
    assert_eq!((share("a", "mem", 18.0), share("b", "cpus", 9.0)), (2.0 / 3.0, 2.0 / 3.0));
}

#[test]
fn the_same_tasks_with_weights() {
    // 13 CPUs and 26 GB, A of weight 2. A task of A is 4/26 = 2/13 of the memory and counts half, so 1/13; one of B is
    // 3/13 of the CPUs. They are level whenever A has three tasks for each of B: at 3 and 1 there is room (6 CPUs, 13
    // GB), at 6 and 2 all of the memory is in use (24 + 2) and 12 CPUs. A's share is 12/13, twice B's 6/13.
    let mut allocator = cluster(Drf, weighted([("a", 2.0)]), &[(13.0, 26.0)]);
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    let ran = fill(&mut allocator, &BTreeMap::from([("A", pool(1.0, 4.0)), ("B", pool(3.0, 1.0))]));
    assert_eq!(ran, tasks([("A", 6), ("B", 2)]));
}

#[test]
fn a_tree_of_roles() {
    // 36 CPUs, tasks of one CPU. "eng" has weight 2 and "ops" 1: 24 and 12. Below "eng" three compete: its own framework
    // (the leaf ".", weight 1), "eng/dev" with weight 2 and "eng/qa" with 1: 24 are 6, 12 and 6. Were the roles flat,
    // weights 2, 2, 1 and 1 would make "ops" 6.
    let mut allocator = cluster(Drf, weighted([("eng", 2.0), ("eng/dev", 2.0)]), &[(36.0, 3600.0)]);
    let roles = [("lead", "eng"), ("dev", "eng/dev"), ("qa", "eng/qa"), ("ops", "ops")];
    roles.iter().for_each(|(id, role)| join(&mut allocator, id, role));
    let ran = fill(&mut allocator, &roles.iter().map(|(id, _)| (*id, pool(1.0, 1.0))).collect());
    assert_eq!(ran, tasks([("lead", 6), ("dev", 12), ("qa", 6), ("ops", 12)]));
    assert_eq!(allocator.allocated("eng").unwrap().get("cpus"), 24.0);
}

#[test]
fn two_resources_in_a_tree_of_roles() {
    // 12 CPUs and 24 GB. "eng/dev" wants <2, 1>: 1/6 of the CPUs each. "eng/db" wants <1, 4>: 1/6 of the memory each.
    // "ops" wants <1, 2>: 1/12 of both. A node's share is the largest part of any resource that all below it have.
    // eng  dev db ops | eng's CPUs, GB | eng's share, ops' share, before the next
    //       0   0   0 |  0,  0 |  0     0      equal, "eng" by name; in it "db" by name
    //       0   1   0 |  1,  4 | 2/12   0      ops, twice: 2/12
    //       0   1   2 |  1,  4 | 2/12  2/12    equal; eng was given something once, ops twice: eng; dev, which has none
    //       1   1   2 |  3,  5 | 3/12  2/12    ops
    //       1   1   3 |  3,  5 | 3/12  3/12    equal; twice and three times: eng; dev and db equal, once each: db
    //       1   2   3 |  4,  9 | 4.5/12 3/12   ops, twice: 5/12
    //       1   2   5 |  4,  9 | 4.5/12 5/12   eng: dev has 2/12, db 4/12: dev. In use: 11 CPUs, 20 GB
    //       2   2   5 |  6, 10 | 6/12  5/12    ops: 12 CPUs, 22 GB; no CPU is left
    let mut allocator = cluster(Drf, plain(), &[(12.0, 24.0)]);
    let roles = [("dev", "eng/dev"), ("db", "eng/db"), ("ops", "ops")];
    roles.iter().for_each(|(id, role)| join(&mut allocator, id, role));
    let demands = [("dev", pool(2.0, 1.0)), ("db", pool(1.0, 4.0)), ("ops", pool(1.0, 2.0))];
    let ran = fill(&mut allocator, &BTreeMap::from(demands));
    assert_eq!(ran, tasks([("dev", 2), ("db", 2), ("ops", 6)]));
}

#[test]
fn frameworks_of_one_role_share_it_by_their_shares() {
    // Two roles, 6 CPUs each; A and B share the first, 3 each. The weight of a role is not a framework's.
    let mut allocator = cluster(Drf, plain(), &[(12.0, 1200.0)]);
    [("A", "x"), ("B", "x"), ("C", "y")].iter().for_each(|(id, role)| join(&mut allocator, id, role));
    let demand = pool(1.0, 1.0);
    let ran = fill(&mut allocator, &["A", "B", "C"].map(|id| (id, demand.clone())).into());
    assert_eq!(ran, tasks([("A", 3), ("B", 3), ("C", 6)]));
}

#[test]
fn a_weight_set_at_run_time_counts_from_then_on() {
    let mut allocator = cluster(Drf, plain(), &[(30.0, 3000.0)]);
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    allocator.set_weight("a", 2.0).unwrap();
    let demand = pool(1.0, 1.0);
    let demands = BTreeMap::from([("A", demand.clone()), ("B", demand.clone())]);
    assert_eq!(fill(&mut allocator, &demands), tasks([("A", 20), ("B", 10)]));
    // 30 more CPUs, and the weights the other way round: what is in use stays and counts, so B gets all of them. Only
    // with 40 to A's 20 it has twice as much.
    allocator.set_weight("a", 1.0).unwrap();
    allocator.set_weight("b", 2.0).unwrap();
    allocator.add_agent("S1", pool(30.0, 3000.0), able());
    ["A", "B"].iter().for_each(|id| allocator.revive(id, &[]));
    assert_eq!(fill(&mut allocator, &demands), tasks([("A", 0), ("B", 30)]));
}

fn strict(priorities: &[(&str, i64)]) -> Rules {
    let priorities = priorities.iter().map(|(role, priority)| ((*role).to_owned(), *priority)).collect();
    Rules { priorities, ..plain() }
}

#[test]
fn a_higher_priority_takes_all_it_wants() {
    let mut allocator = cluster(StrictPriority, strict(&[("b", 1)]), &[(9.0, 900.0)]);
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    let ran = fill(&mut allocator, &BTreeMap::from([("A", pool(1.0, 1.0)), ("B", pool(2.0, 1.0))]));
    assert_eq!(ran, tasks([("A", 1), ("B", 4)]));
}

#[test]
fn a_priority_is_inherited_and_lifts_nobody_over_a_stranger() {
    // "b" (3) is before "a" (1), whatever "a/y" (5) says. In "a", "a/y" is before the others, which inherit 1.
    let mut allocator =
        cluster(StrictPriority, strict(&[("a", 1), ("a/y", 5), ("b", 3), ("c", 1)]), &[(1.0, 1.0)]);
    let roles = [("own", "a"), ("x", "a/x"), ("y", "a/y"), ("b", "b"), ("c", "c")];
    roles.iter().for_each(|(id, role)| join(&mut allocator, id, role));
    let mut order = Vec::new();
    loop {
        let grants = round(&mut allocator, 0);
        let Some(grant) = grants.first() else { break };
        give_back(&mut allocator, grant);
        allocator.suppress(&grant.framework, &[]);
        order.push(grant.framework.clone());
    }
    // "a" and "c" are equals: who was served less often.
    assert_eq!(order, ["b", "y", "c", "own", "x"]);
    // "a/x" inherits what "a" is given later; "a/y" keeps its own.
    allocator.set_priority("a", 7).unwrap();
    ["own", "x", "y", "b", "c"].iter().for_each(|id| allocator.revive(id, &[]));
    let first = round(&mut allocator, 0).remove(0);
    assert_eq!(first.framework, "own");
}
