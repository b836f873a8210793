//! Machines planned to go down, taken down and brought up again.

use crate::support::*;
use mesos_proto::internal::*;
use mesos_proto::v1::maintenance::{Schedule, Window};
use mesos_proto::v1::master::call;
use mesos_proto::v1::scheduler::event;
use mesos_proto::v1::{self, DurationInfo, MachineId, TimeInfo, Unavailability};

fn machine(number: u32) -> MachineId {
    // Hostnames are compared without regard to case.
    MachineId { hostname: Some(format!("Node-{number}.TEST")), ip: Some("10.0.0.5".into()) }
}

fn unavailable(start: i64) -> Unavailability {
    Unavailability {
        start: TimeInfo { nanoseconds: start },
        duration: Some(DurationInfo { nanoseconds: 60 }),
    }
}

fn window(start: i64, machines: &[u32]) -> Window {
    let machine_ids = machines.iter().map(|number| machine(*number)).collect();
    Window { machine_ids, unavailability: unavailable(start) }
}

fn plan(world: &mut World, windows: Vec<Window>) -> (u16, String) {
    let field = call::UpdateMaintenanceSchedule { schedule: Schedule { windows } };
    world.operator(call::Type::UpdateMaintenanceSchedule, |call| {
        call.update_maintenance_schedule = Some(field)
    })
}

fn down(world: &mut World, machines: Vec<MachineId>) -> (u16, String) {
    let field = call::StartMaintenance { machines };
    world.operator(call::Type::StartMaintenance, |call| call.start_maintenance = Some(field))
}

fn up(world: &mut World, machines: Vec<MachineId>) -> (u16, String) {
    let field = call::StopMaintenance { machines };
    world.operator(call::Type::StopMaintenance, |call| call.stop_maintenance = Some(field))
}

fn schedule(world: &mut World) -> Vec<Window> {
    let response = world.document(call::Type::GetMaintenanceSchedule);
    response.get_maintenance_schedule.unwrap().schedule.windows
}

/// How many machines drain, and how many are down.
fn status(world: &mut World) -> (usize, usize) {
    let status = world.document(call::Type::GetMaintenanceStatus).get_maintenance_status.unwrap().status;
    (status.draining_machines.len(), status.down_machines.len())
}

#[test]
fn offers_say_when_an_agents_machine_will_not_be_there() {
    let (mut world, _, _, offer) = ready();
    assert!(offer.unavailability.is_none());
    assert_eq!(plan(&mut world, vec![window(5, &[1])]).0, 200);
    let rescind = world.next_event(event::Type::Rescind).unwrap().rescind.unwrap();
    assert_eq!(rescind.offer_id, offer.id);
    let offer = world.offer();
    assert_eq!(offer.unavailability, Some(unavailable(5)));
    // The same again says nothing new.
    assert_eq!(plan(&mut world, vec![window(5, &[1])]).0, 200);
    assert!(world.next_event(event::Type::Rescind).is_none());
    assert_eq!(plan(&mut world, vec![]).0, 200);
    assert!(world.next_event(event::Type::Rescind).is_some());
    assert!(world.offer().unavailability.is_none());
    assert_eq!(status(&mut world), (0, 0));
}

#[test]
fn a_machine_goes_down_with_its_agents_and_only_its_own_and_comes_up() {
    let (mut world, agent, fw) = running();
    let other = world.register(2);
    assert_eq!(plan(&mut world, vec![window(5, &[1]), window(6, &[3])]).0, 200);
    assert_eq!(status(&mut world), (2, 0));
    assert_eq!(down(&mut world, vec![machine(1)]).0, 200);
    world.got::<ShutdownMessage>(&pid(1));
    let update = world.update();
    assert_eq!((update.state(), update.task_id.value.as_str()), (v1::TaskState::TaskGone, "t"));
    assert_eq!(world.agents().len(), 1);
    assert_eq!(world.agents()[0].agent_info.id.as_ref().unwrap().value, other);
    // Down it stays, over restarts.
    for _ in 0..2 {
        assert_eq!(status(&mut world), (1, 1));
        world.sent.clear();
        reregister(&mut world, 1, &agent, Vec::new(), Vec::new());
        world.got::<ShutdownMessage>(&pid(1));
        let message = RegisterSlaveMessage {
            slave: slave(1, 2.0, 64.0),
            version: Some("1.11.0".into()),
            agent_capabilities: capabilities(),
            ..Default::default()
        };
        world.agent_sends(&pid(1), &message);
        world.got::<ShutdownMessage>(&pid(1));
        assert!(world.take::<SlaveRegisteredMessage>(&pid(1)).is_none());
        let (refused, why) = plan(&mut world, vec![window(6, &[3])]);
        assert!(refused == 400 && why.contains("deactivated and cannot be removed"), "{why}");
        world.restart();
    }
    assert_eq!(up(&mut world, vec![machine(1)]).0, 200);
    assert_eq!(schedule(&mut world), [window(6, &[3])]);
    assert_eq!(status(&mut world), (1, 0));
    world.restart();
    assert_eq!((schedule(&mut world).len(), status(&mut world)), (1, (1, 0)));
    assert_ne!(world.register(1), agent);
    assert!(!fw.0.is_empty());
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let mut world = World::new();
    world.register(1);
    let nobody = MachineId::default();
    let nowhere = MachineId { ip: Some("10.0.0".into()), ..MachineId::default() };
    let negative = Unavailability { duration: Some(DurationInfo { nanoseconds: -1 }), ..unavailable(1) };
    let of = |machine_ids| Window { machine_ids, unavailability: unavailable(1) };
    let plans = [
        (vec![of(vec![])], "is empty"),
        (vec![of(vec![nobody.clone()])], "are empty"),
        (vec![of(vec![nowhere])], "IPv4"),
        (vec![Window { unavailability: negative, ..of(vec![machine(1)]) }], "negative"),
        (vec![window(1, &[1]), window(2, &[1])], "more than once"),
    ];
    for (windows, expected) in plans {
        let (status, why) = plan(&mut world, windows);
        assert!(status == 400 && why.contains(expected), "{status} {why}");
    }
    let (status, why) = down(&mut world, vec![machine(1)]);
    assert!(status == 400 && why.contains("not part of a maintenance schedule"), "{why}");
    assert!(why.contains(r#"{"hostname":"Node-1.TEST","ip":"10.0.0.5"}"#), "{why}");
    assert_eq!(down(&mut world, vec![]).0, 400);
    assert_eq!(plan(&mut world, vec![window(1, &[1])]).0, 200);
    let (status, why) = up(&mut world, vec![machine(1)]);
    assert!(status == 400 && why.contains("not in DOWN mode"), "{why}");
    assert_eq!(down(&mut world, vec![machine(1), machine(1)]).0, 400);
    assert_eq!(down(&mut world, vec![machine(1), nobody]).0, 400);
    let agent = world.agents()[0].agent_info.id.clone().unwrap();
    let field = call::DrainAgent { agent_id: agent, max_grace_period: None, mark_gone: None };
    let (status, why) = world.operator(call::Type::DrainAgent, |call| call.drain_agent = Some(field));
    assert!(status == 400 && why.contains("maintenance schedule"), "{why}");
    assert_eq!(down(&mut world, vec![machine(1)]).0, 200);
    let (status, why) = down(&mut world, vec![machine(1)]);
    assert!(status == 400 && why.contains("not in DRAINING mode"), "{why}");
}
