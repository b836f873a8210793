//! Inverse offers: frameworks are asked to leave machines that are planned to go down, and say whether they will.

use crate::support::*;
use ::master::core::Input;
use mesos_proto::v1::allocator::inverse_offer_status::Status;
use mesos_proto::v1::maintenance::{Schedule, Window};
use mesos_proto::v1::master;
use mesos_proto::v1::scheduler::{call, event};
use mesos_proto::v1::{self, MachineId, TimeInfo, Unavailability};

type Fw = (String, String);

fn plan(world: &mut World, start: Option<i64>) {
    let window = |nanoseconds| Window {
        machine_ids: vec![MachineId { hostname: Some("node-1.test".into()), ip: Some("10.0.0.5".into()) }],
        unavailability: Unavailability { start: TimeInfo { nanoseconds }, duration: None },
    };
    let schedule = Schedule { windows: start.map(window).into_iter().collect() };
    let field = master::call::UpdateMaintenanceSchedule { schedule };
    let (status, why) = world.operator(master::call::Type::UpdateMaintenanceSchedule, |call| {
        call.update_maintenance_schedule = Some(field);
    });
    assert_eq!(status, 200, "{why}");
}

fn asked(world: &mut World) -> Option<v1::InverseOffer> {
    let mut offers = world.next_event(event::Type::InverseOffers)?.inverse_offers.unwrap().inverse_offers;
    assert_eq!(offers.len(), 1);
    offers.pop()
}

fn answers(world: &mut World) -> Vec<(Status, String)> {
    let document = world.document(master::call::Type::GetMaintenanceStatus);
    let status = document.get_maintenance_status.unwrap().status;
    let statuses = status.draining_machines.into_iter().flat_map(|machine| machine.statuses);
    statuses.map(|status| (status.status(), status.framework_id.value)).collect()
}

fn accept(world: &mut World, fw: &Fw, id: &v1::OfferId, seconds: f64) {
    let answer = call::AcceptInverseOffers {
        inverse_offer_ids: vec![id.clone()],
        filters: Some(v1::Filters { refuse_seconds: Some(seconds) }),
    };
    let kind = call::Type::AcceptInverseOffers;
    assert_eq!(world.framework_call(fw, kind, |call| call.accept_inverse_offers = Some(answer)), 202);
}

fn decline(world: &mut World, fw: &Fw, id: &v1::OfferId) {
    let answer = call::DeclineInverseOffers { inverse_offer_ids: vec![id.clone()], filters: None };
    let kind = call::Type::DeclineInverseOffers;
    assert_eq!(world.framework_call(fw, kind, |call| call.decline_inverse_offers = Some(answer)), 202);
}

#[test]
fn who_runs_something_is_asked_and_its_answer_is_shown() {
    let (mut world, agent, fw) = running();
    plan(&mut world, Some(7));
    let offer = asked(&mut world).unwrap();
    assert_eq!(offer.agent_id.unwrap().value, agent);
    assert_eq!(offer.framework_id.value, fw.0);
    assert_eq!(offer.unavailability.start.nanoseconds, 7);
    assert!(offer.resources.is_empty(), "all of it is meant");
    // It is asked once.
    world.pass(10_000);
    assert!(asked(&mut world).is_none());
    assert!(answers(&mut world).is_empty());
    // It may refuse, for a while; another cannot answer for it.
    let other = world.subscribe(framework());
    accept(&mut world, &other, &offer.id, 0.0);
    assert!(answers(&mut world).is_empty());
    decline(&mut world, &fw, &offer.id);
    assert_eq!(answers(&mut world), [(Status::Decline, fw.0.clone())]);
    world.pass(4000);
    assert!(asked(&mut world).is_none());
    world.pass(2000);
    let again = asked(&mut world).unwrap();
    accept(&mut world, &fw, &again.id, 600.0);
    assert_eq!(answers(&mut world), [(Status::Accept, fw.0.clone())]);
    // An answer counts once.
    decline(&mut world, &fw, &again.id);
    assert_eq!(answers(&mut world), [(Status::Accept, fw.0)]);
    world.pass(10_000);
    assert!(asked(&mut world).is_none());
}

#[test]
fn what_is_asked_is_withdrawn_when_the_plan_changes_or_the_agent_goes() {
    let (mut world, _, fw) = running();
    plan(&mut world, Some(7));
    let first = asked(&mut world).unwrap();
    plan(&mut world, Some(8));
    let rescinded =
        world.next_event(event::Type::RescindInverseOffer).unwrap().rescind_inverse_offer.unwrap();
    assert_eq!(rescinded.inverse_offer_id, first.id);
    let second = asked(&mut world).unwrap();
    accept(&mut world, &fw, &second.id, 600.0);
    // Another plan is another question.
    plan(&mut world, Some(9));
    assert!(answers(&mut world).is_empty());
    let third = asked(&mut world).unwrap();
    world.input(Input::Exited(pid(1).addr));
    let rescinded =
        world.next_event(event::Type::RescindInverseOffer).unwrap().rescind_inverse_offer.unwrap();
    assert_eq!(rescinded.inverse_offer_id, third.id);
    plan(&mut world, None);
    assert!(world.next_event(event::Type::RescindInverseOffer).is_none());
    assert!(asked(&mut world).is_none());
}

#[test]
fn a_framework_that_comes_back_is_asked_again() {
    let (mut world, _, fw) = running();
    plan(&mut world, Some(7));
    let first = asked(&mut world).unwrap();
    world.input(Input::Closed { stream: fw.1.clone() });
    world.pass(2000);
    assert!(asked(&mut world).is_none());
    let mut info = framework();
    info.id = Some(mesos_proto::mesos::FrameworkId { value: fw.0.clone() });
    let fw = world.subscribe(info);
    let again = asked(&mut world).unwrap();
    assert_ne!(again.id, first.id);
    decline(&mut world, &fw, &first.id);
    assert!(answers(&mut world).is_empty());
    accept(&mut world, &fw, &again.id, 0.0);
    world.framework_call(&fw, call::Type::Teardown, |_| {});
    assert!(answers(&mut world).is_empty());
}
