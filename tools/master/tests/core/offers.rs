//! Offers, filters, suppression.

use crate::support::*;
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{Call, call, event};

#[test]
fn declined_is_filtered_and_revived_is_offered_at_once() {
    let (mut world, _, fw, offer) = ready();
    let decline = |world: &mut World, offer: &v1::Offer, seconds| {
        let filters = Some(v1::Filters { refuse_seconds: Some(seconds) });
        let decline = call::Decline { offer_ids: vec![offer.id.clone()], filters };
        assert_eq!(world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline)), 202);
    };
    decline(&mut world, &offer, 30.0);
    world.pass(29_500);
    assert!(world.next_event(event::Type::Offers).is_none());
    world.pass(1500);
    let offer = world.offer();
    decline(&mut world, &offer, 1e300);
    world.pass(40_000);
    assert!(world.next_event(event::Type::Offers).is_none());
    world.framework_call(&fw, call::Type::Revive, |_| {});
    let offer = world.offer();
    world.framework_call(&fw, call::Type::Suppress, |_| {});
    decline(&mut world, &offer, 0.0);
    world.pass(10_000);
    assert!(world.next_event(event::Type::Offers).is_none());
}

#[test]
fn a_decline_is_another_frameworks_chance() {
    let (mut world, _, fw, offer) = ready();
    let other = world.subscribe(framework());
    let decline = call::Decline { offer_ids: vec![offer.id], filters: None };
    world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline));
    let (stream, event) = world.events.iter().find(|(_, e)| e.r#type() == event::Type::Offers).unwrap();
    assert_eq!(*stream, other.1);
    assert_eq!(event.offers.as_ref().unwrap().offers[0].framework_id.value, other.0);
}

#[test]
fn offers_come_only_from_agents_that_meet_the_constraints() {
    let mut world = World::new();
    let agents = [world.register(1), world.register(2)];
    let constraints = |regex: &str| {
        let json = format!(
            r#"{{"role_constraints": {{"ops": {{"groups": [{{"attribute_constraints": [{{
                "selector": {{"pseudoattribute_type": "HOSTNAME"}},
                "predicate": {{"text_matches": {{"regex": "{regex}"}}}}}}]}}]}}}}}}"#
        );
        Some(mesos_proto::json::from_json(json.as_bytes()).unwrap())
    };
    let subscribe = call::Subscribe {
        framework_info: mesos_proto::recast(&framework()).unwrap(),
        offer_constraints: constraints("node-2.*"),
        ..Default::default()
    };
    let call =
        Call { r#type: Some(call::Type::Subscribe as i32), subscribe: Some(subscribe), ..Default::default() };
    assert_eq!(world.call(None, call), 200);
    let id = world.next_event(event::Type::Subscribed).unwrap().subscribed.unwrap().framework_id.value;
    let fw = (id, "stream-1".to_owned());
    assert_eq!(world.offer().agent_id.value, agents[1]);
    world.pass(5000);
    assert!(world.next_event(event::Type::Offers).is_none());
    // Changed while it runs; what is not valid changes nothing.
    let update = |world: &mut World, offer_constraints| {
        let mut framework_info: v1::FrameworkInfo = mesos_proto::recast(&framework()).unwrap();
        framework_info.id = Some(v1::FrameworkId { value: fw.0.clone() });
        let update = call::UpdateFramework { framework_info, offer_constraints, ..Default::default() };
        world.framework_call(&fw, call::Type::UpdateFramework, |call| call.update_framework = Some(update))
    };
    assert_eq!(update(&mut world, constraints("(")), 400);
    assert!(world.next_event(event::Type::Offers).is_none());
    assert_eq!(update(&mut world, constraints("node-.*")), 200);
    assert_eq!(world.offer().agent_id.value, agents[0]);
}

#[test]
fn roles_that_are_not_the_frameworks_are_not_revived_or_suppressed() {
    let (mut world, _, fw, offer) = ready();
    let suppress = call::Suppress { roles: vec!["dev".into()] };
    assert_eq!(world.framework_call(&fw, call::Type::Suppress, |call| call.suppress = Some(suppress)), 202);
    let decline = call::Decline { offer_ids: vec![offer.id], filters: None };
    world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline));
    world.pass(6000);
    assert!(world.next_event(event::Type::Offers).is_some(), "it did not suppress its own role");
    assert_eq!(world.core.counter("scheduler_calls_dropped"), 1);
}
