//! Weights set while the master runs.

use crate::support::*;
use mesos_proto::v1::WeightInfo;
use mesos_proto::v1::master::call;
use mesos_proto::v1::scheduler::event;

fn set(world: &mut World, weights: &[(&str, f64)]) -> (u16, String) {
    let info = |(role, weight): &(&str, f64)| WeightInfo { role: Some((*role).into()), weight: *weight };
    let field = call::UpdateWeights { weight_infos: weights.iter().map(info).collect() };
    world.operator(call::Type::UpdateWeights, |call| call.update_weights = Some(field))
}

fn weights(world: &mut World) -> Vec<(String, f64)> {
    let infos = world.document(call::Type::GetWeights).get_weights.unwrap().weight_infos;
    infos.into_iter().map(|info| (info.role.unwrap(), info.weight)).collect()
}

#[test]
fn weights_are_set_all_or_none_and_outlive_a_restart() {
    let mut world = World::new();
    assert_eq!(set(&mut world, &[("ops", 2.0), (" dev ", 3.5)]), (200, String::new()));
    for bad in
        [("ops", 0.0), ("ops", -1.0), ("ops", f64::NAN), ("ops", f64::INFINITY), ("", 1.0), ("a b", 1.0)]
    {
        let (status, why) = set(&mut world, &[("dev", 9.0), bad]);
        assert!(status == 400 && why.contains("Failed to validate"), "{bad:?}: {status} {why}");
    }
    let expected = [("dev".to_owned(), 3.5), ("ops".to_owned(), 2.0)];
    assert_eq!(weights(&mut world), expected);
    world.restart();
    assert_eq!(weights(&mut world), expected);
    assert_eq!(set(&mut world, &[("ops", 4.0)]).0, 200);
    world.restart();
    assert_eq!(weights(&mut world)[1], ("ops".to_owned(), 4.0));
}

#[test]
fn offers_are_withdrawn_only_if_somebody_has_the_role() {
    let (mut world, _, _, offer) = ready();
    assert_eq!(set(&mut world, &[("nobody", 4.0)]).0, 200);
    assert!(world.next_event(event::Type::Rescind).is_none());
    assert_eq!(set(&mut world, &[("ops", 4.0)]).0, 200);
    assert_eq!(world.next_event(event::Type::Rescind).unwrap().rescind.unwrap().offer_id, offer.id);
    world.offer();
}
