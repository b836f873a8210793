//! Offers, filters, suppression.

use crate::support::*;
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{call, event};

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
