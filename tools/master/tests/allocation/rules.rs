//! Mesos' rules of who may be offered what.

use crate::cluster::{able, cluster, give_back, join, join_as, plain, pool, reserved, round};
use master::allocator::constraints::{self, Facts};
use master::allocator::{Abilities, Allocator, Grant, RuleError, Rules};
use master::policy::Drf;
use mesos_proto::mesos::resource::{ReservationInfo, reservation_info};
use mesos_proto::mesos::{Resource, SlaveInfo};
use mesos_proto::pool::Pool;
use mesos_proto::resources::{Scalars, scalar};
use std::collections::{BTreeMap, BTreeSet};

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
fn a_short_filter_of_much_does_not_end_a_long_one_of_little() {
    let mut allocator = cluster(Drf, plain(), &[(4.0, 64.0)]);
    join(&mut allocator, "A", "a");
    allocator.hold("A", "a", "S0", &pool(3.0, 0.0));
    allocator.filter("A", "a", "S0", pool(1.0, 64.0), 60_000);
    allocator.filter("A", "a", "S0", pool(4.0, 64.0), 1000);
    assert_eq!(round(&mut allocator, 2000), []);
    allocator.expire_filters(2000);
    assert_eq!(round(&mut allocator, 2000), []);
    allocator.expire_filters(60_000);
    assert_eq!(round(&mut allocator, 60_000).len(), 1);
}

#[test]
fn a_filter_is_for_one_framework_one_role_and_one_agent() {
    let mut allocator = cluster(Drf, plain(), &[(4.0, 64.0), (4.0, 64.0)]);
    join_as(&mut allocator, "A", &["x", "y"], able());
    allocator.filter("A", "x", "S0", pool(4.0, 64.0), 1000);
    let offered = |allocator: &mut Allocator| {
        let grants = round(allocator, 0);
        grants.iter().for_each(|grant| give_back(allocator, grant));
        grants.into_iter().map(|grant| (grant.agent, grant.role)).collect::<BTreeSet<_>>()
    };
    let seen: BTreeSet<_> = (0..8).flat_map(|_| offered(&mut allocator)).collect();
    let pair = |agent: &str, role: &str| (agent.to_owned(), role.to_owned());
    assert_eq!(seen, BTreeSet::from([pair("S0", "y"), pair("S1", "x")]));
    allocator.revive("A", &["y".into()]);
    assert!(!(0..8).flat_map(|_| offered(&mut allocator)).any(|seen| seen == pair("S0", "x")));
    allocator.revive("A", &["x".into()]);
    assert!((0..8).flat_map(|_| offered(&mut allocator)).any(|seen| seen == pair("S0", "x")));
}

#[test]
fn suppressed_means_none_and_revived_means_at_once() {
    let mut allocator = cluster(Drf, Rules::default(), &[(4.0, 64.0)]);
    join_as(&mut allocator, "A", &["x", "y"], able());
    allocator.suppress("A", &["x".into()]);
    let grants = round(&mut allocator, 0);
    assert_eq!(grants[0].role, "y");
    give_back(&mut allocator, &grants[0]);
    allocator.suppress("A", &[]);
    assert_eq!(round(&mut allocator, 0), []);
    allocator.revive("A", &["x".into()]);
    assert_eq!(round(&mut allocator, 0)[0].role, "x");
}

#[test]
fn a_framework_that_changes_its_roles_keeps_what_it_holds() {
    let mut allocator = cluster(Drf, plain(), &[(4.0, 64.0)]);
    join_as(&mut allocator, "A", &["x", "y"], able());
    allocator.hold("A", "x", "S0", &pool(1.0, 1.0));
    allocator.filter("A", "y", "S0", pool(4.0, 64.0), u64::MAX);
    let update = |allocator: &mut Allocator, roles: &[&str], suppressed: &[&str]| {
        let set = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
        allocator.add_framework("A", set(roles), set(suppressed), able(), BTreeMap::new());
    };
    update(&mut allocator, &["y"], &[]);
    assert_eq!(round(&mut allocator, 0), []);
    assert_eq!(allocator.allocated("x").unwrap().to_string(), "cpus:1; mem:1");
    // No longer suppressed means revived: the filter is gone.
    update(&mut allocator, &["y"], &["y"]);
    update(&mut allocator, &["y"], &[]);
    let grants = round(&mut allocator, 0);
    assert_eq!(grants[0].role, "y");
    allocator.recover("A", "x", "S0", &pool(1.0, 1.0));
    assert_eq!(allocator.allocated("x"), None);
    // A framework that goes still counts for what it has not given back.
    allocator.remove_framework("A");
    assert_eq!(allocator.allocated("y").unwrap().to_string(), "cpus:3; mem:63");
    give_back(&mut allocator, &grants[0]);
    assert_eq!(allocator.allocated("y"), None);
    assert_eq!(allocator.used("S0"), Some(&Pool::default()));
}

#[test]
fn too_little_to_be_useful_is_not_offered_unless_somebody_says_so() {
    let crumbs = [(0.005, 31.0)];
    let mut allocator = cluster(Drf, Rules::default(), &crumbs);
    join(&mut allocator, "A", "a");
    assert_eq!(round(&mut allocator, 0), []);
    let mut allocator = cluster(Drf, plain(), &crumbs);
    join(&mut allocator, "A", "a");
    assert_eq!(round(&mut allocator, 0).len(), 1);
    // A framework may say it for each of its roles: less, more, or that anything will do.
    let mut allocator = cluster(Drf, Rules::default(), &crumbs);
    let amounts = |amounts: [(&str, f64); 2]| vec![Scalars::from_amounts(amounts)];
    let own = [
        ("enough", amounts([("cpus", 0.005), ("mem", 31.0)])),
        ("more", amounts([("cpus", 0.005), ("mem", 32.0)])),
        ("all", Vec::new()),
    ];
    let roles = own.iter().map(|(role, _)| (*role).to_owned()).collect();
    let own = own.into_iter().map(|(role, least)| (role.to_owned(), least)).collect();
    allocator.add_framework("A", roles, BTreeSet::new(), able(), own);
    allocator.set_framework_active("A", true);
    let seen: BTreeSet<_> = (0..6)
        .flat_map(|_| {
            let grants = round(&mut allocator, 0);
            grants.iter().for_each(|grant| give_back(&mut allocator, grant));
            grants
        })
        .map(|grant| grant.role)
        .collect();
    assert_eq!(seen, BTreeSet::from(["all".to_owned(), "enough".to_owned()]));
}

#[test]
fn a_reservation_goes_to_its_role_and_the_rest_to_the_other() {
    let mut allocator = Allocator::new(Box::new(Drf), Rules::default(), 1);
    let total = Pool::of(&[reserved("b", 1.0), scalar("cpus", 3.0)]).unwrap();
    allocator.add_agent("S0", total.clone(), able());
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    let grants = round(&mut allocator, 0);
    let said: Vec<_> = grants.iter().map(|g| (g.framework.as_str(), g.resources.to_string())).collect();
    assert_eq!(said, [("A", "cpus:3".into()), ("B", "cpus(b):1".into())]);
    assert_eq!(allocator.used("S0"), Some(&total));
}

#[test]
fn what_is_reserved_for_a_role_is_for_the_roles_below_it_too() {
    let mut allocator = Allocator::new(Box::new(Drf), plain(), 1);
    let total =
        Pool::of(&[reserved("eng", 1.0), reserved("eng/dev", 2.0), reserved("english", 4.0)]).unwrap();
    allocator.add_agent("S0", total, able());
    join(&mut allocator, "other", "ops");
    assert_eq!(round(&mut allocator, 0), []);
    join(&mut allocator, "dev", "eng/dev");
    let grants = round(&mut allocator, 0);
    assert_eq!(grants[0].resources.to_string(), "cpus(eng):1; cpus(eng/dev):2");
    give_back(&mut allocator, &grants[0]);
    allocator.remove_framework("dev");
    join(&mut allocator, "qa", "eng/qa");
    assert_eq!(round(&mut allocator, 0)[0].resources.to_string(), "cpus(eng):1");
}

#[test]
fn who_cannot_tell_a_reservation_within_a_reservation_gets_the_rest() {
    let within = |role: &str| ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic as i32),
        role: Some(role.into()),
        ..Default::default()
    };
    let refined = Resource { reservations: vec![within("eng"), within("eng/dev")], ..scalar("cpus", 2.0) };
    let mut allocator = Allocator::new(Box::new(Drf), plain(), 1);
    allocator.add_agent("S0", Pool::of(&[refined, scalar("cpus", 1.0)]).unwrap(), able());
    join_as(&mut allocator, "old", &["eng/dev"], Abilities { refinement: false, ..able() });
    let said = |grants: &[Grant]| -> Vec<_> {
        grants.iter().map(|grant| (grant.framework.clone(), grant.resources.to_string())).collect()
    };
    let grants = round(&mut allocator, 0);
    assert_eq!(said(&grants), [("old".to_owned(), "cpus:1".to_owned())]);
    assert_eq!(round(&mut allocator, 0), []);
    join(&mut allocator, "new", "eng/dev");
    let more = round(&mut allocator, 0);
    assert_eq!(said(&more), [("new".to_owned(), "cpus(eng/dev):2".to_owned())]);
    // In one pass, too: the next of the role gets what the first could not have. Who holds something comes second.
    grants.iter().chain(&more).for_each(|grant| give_back(&mut allocator, grant));
    allocator.hold("new", "eng/dev", "elsewhere", &pool(0.001, 0.0));
    let grants = round(&mut allocator, 0);
    assert_eq!(grants.iter().map(|grant| grant.framework.as_str()).collect::<Vec<_>>(), ["old", "new"]);
}

#[test]
fn reserved_resources_count_in_the_share_once_held() {
    // A holds 2 CPUs that are reserved for it and so comes after B, which holds 1; what is reserved for B and not held
    // does not count.
    let mut allocator = cluster(Drf, plain(), &[(8.0, 8.0), (2.0, 2.0)]);
    allocator.add_agent("R", Pool::of(&[reserved("a", 2.0), reserved("b", 50.0)]).unwrap(), able());
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    allocator.hold("A", "a", "R", &Pool::of(&[reserved("a", 2.0)]).unwrap());
    allocator.hold("B", "b", "S0", &pool(1.0, 0.0));
    assert_eq!(allocator.allocate(["S1"], 0)[0].framework, "B");
}

#[test]
fn capabilities_decide_who_sees_an_agent() {
    let gpus = Pool::of(&[scalar("gpus", 1.0), scalar("cpus", 1.0)]).unwrap();
    let agent = |abilities: Abilities| {
        let mut allocator = Allocator::new(Box::new(Drf), plain(), 1);
        allocator.add_agent("S0", gpus.clone(), abilities);
        allocator
    };
    let sees = |mut allocator: Allocator, role: &str, abilities: Abilities| {
        join_as(&mut allocator, "A", &[role], abilities);
        round(&mut allocator, 0).len() == 1
    };
    let none = Abilities::default();
    let multi = Abilities { multi_role: true, ..none };
    let gpu = Abilities { gpus: true, ..none };
    assert!(sees(agent(none), "a", none));
    assert!(!sees(agent(none), "a", multi));
    assert!(sees(agent(multi), "a", multi));
    assert!(sees(agent(multi), "a", none));
    assert!(!sees(agent(gpu), "a", none));
    assert!(sees(agent(gpu), "a", gpu));
    assert!(!sees(agent(none), "a/b", none));
    assert!(sees(agent(Abilities { hierarchical_role: true, ..none }), "a/b", none));
}

#[test]
fn what_nobody_wanted_is_offered_once_somebody_does() {
    let mut allocator = cluster(Drf, plain(), &[(1.0, 1.0)]);
    join(&mut allocator, "A", "a");
    let on = |host: &str| {
        let text = format!(
            r#"{{"role_constraints": {{"a": {{"groups": [{{"attribute_constraints": [{{
                "selector": {{"pseudoattribute_type": "HOSTNAME"}},
                "predicate": {{"text_equals": {{"value": "{host}"}}}}}}]}}]}}}}}}"#
        );
        constraints::read(&mesos_proto::json::from_json(text.as_bytes()).unwrap()).unwrap()
    };
    let facts = |host: &str| Facts::of(&SlaveInfo { hostname: host.into(), ..SlaveInfo::default() });
    let offered = |allocator: &mut Allocator| {
        let grants = round(allocator, 0);
        grants.iter().for_each(|grant| give_back(allocator, grant));
        grants.len()
    };
    allocator.describe_agent("S0", facts("x"));
    allocator.constrain("A", on("y"));
    assert_eq!((offered(&mut allocator), offered(&mut allocator)), (0, 0));
    allocator.constrain("A", on("x"));
    assert_eq!(offered(&mut allocator), 1);
    allocator.describe_agent("S0", facts("y"));
    assert_eq!((offered(&mut allocator), offered(&mut allocator)), (0, 0));
    allocator.describe_agent("S0", facts("x"));
    assert_eq!(offered(&mut allocator), 1);
}

#[test]
fn what_makes_no_sense_as_a_weight_is_refused() {
    let mut allocator = cluster(Drf, plain(), &[]);
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = allocator.set_weight("a", weight);
        assert!(matches!(refused, Err(RuleError::Weight(_, role)) if role == "a"), "{weight}");
    }
    allocator.set_weight("a", 0.5).unwrap();
    assert_eq!(allocator.weights(), &BTreeMap::from([("a".to_owned(), 0.5)]));
}

#[test]
fn a_name_of_any_depth_is_a_role() {
    let mut allocator = cluster(Drf, plain(), &[(4.0, 4.0)]);
    let deep = vec!["r"; 100].join("/");
    let roles = [deep.as_str(), "", "/", "a//b", "a/.", "a"];
    roles.iter().for_each(|role| join(&mut allocator, role, role));
    for _ in roles {
        let grant = round(&mut allocator, 0).remove(0);
        assert_eq!(grant.framework, grant.role);
        give_back(&mut allocator, &grant);
        allocator.remove_framework(&grant.framework);
    }
    assert_eq!(round(&mut allocator, 0), []);
    assert!(roles.iter().all(|role| allocator.allocated(role).is_none()));
}
