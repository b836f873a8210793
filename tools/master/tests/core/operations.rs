//! Reservations and volumes: what frameworks do with offered resources, with agents that know operations and others.

use crate::support::*;
use mesos_proto::internal::*;
use mesos_proto::mesos::resource::{DiskInfo, ReservationInfo, disk_info::Persistence, reservation_info};
use mesos_proto::mesos::slave_info::{Capability, capability};
use mesos_proto::mesos::{
    FrameworkId, FrameworkInfo, OperationState, OperationStatus, Resource, SlaveId, SlaveInfo, Uuid, Volume,
    framework_info, volume,
};
use mesos_proto::reservations::popped;
use mesos_proto::resources::scalar;
use mesos_proto::v1::offer::{Operation, operation};
use mesos_proto::v1::scheduler::{call, event};
use mesos_proto::{recast, v1};

type Fw = (String, String);

fn knows(refined: bool) -> FrameworkInfo {
    let mut info = framework();
    if refined {
        let kind = framework_info::capability::Type::ReservationRefinement as i32;
        info.capabilities.push(framework_info::Capability { r#type: Some(kind) });
    }
    info
}

fn reserved(name: &str, amount: f64, roles: &[&str]) -> Resource {
    let reservation = |role: &&str| ReservationInfo {
        role: Some((*role).into()),
        r#type: Some(reservation_info::Type::Dynamic as i32),
        ..Default::default()
    };
    Resource { reservations: roles.iter().map(reservation).collect(), ..scalar(name, amount) }
}

fn on_disk(amount: f64, id: &str) -> Resource {
    let persistence = Some(Persistence { id: id.into(), ..Default::default() });
    let mode = volume::Mode::Rw as i32;
    let volume = Some(Volume { container_path: "data".into(), mode, ..Default::default() });
    Resource {
        disk: Some(DiskInfo { persistence, volume, ..Default::default() }),
        ..reserved("disk", amount, &["ops"])
    }
}

fn v1_of(resources: &[Resource]) -> Vec<v1::Resource> {
    resources.iter().map(|resource| recast(resource).unwrap()).collect()
}

fn named(kind: operation::Type, id: Option<&str>) -> Operation {
    let id = id.map(|id| v1::OperationId { value: id.into() });
    Operation { r#type: Some(kind as i32), id, ..Default::default() }
}

fn reserve(resources: &[Resource], id: Option<&str>) -> Operation {
    let reserve = operation::Reserve { resources: v1_of(resources), source: Vec::new() };
    Operation { reserve: Some(reserve), ..named(operation::Type::Reserve, id) }
}

fn unreserve(resources: &[Resource], id: Option<&str>) -> Operation {
    let unreserve = operation::Unreserve { resources: v1_of(resources) };
    Operation { unreserve: Some(unreserve), ..named(operation::Type::Unreserve, id) }
}

fn create(volumes: &[Resource]) -> Operation {
    let create = operation::Create { volumes: v1_of(volumes) };
    Operation { create: Some(create), ..named(operation::Type::Create, None) }
}

/// What agents know of operations.
#[derive(Clone, Copy, PartialEq)]
enum Knows {
    Checkpoints,
    Operations,
}

impl World {
    fn agent(&mut self, number: u32, knows: Knows) -> String {
        use capability::Type::*;
        let mut agent_capabilities = capabilities();
        if knows == Knows::Operations {
            let more = [ResourceProvider, AgentOperationFeedback, ResizeVolume];
            agent_capabilities.extend(more.map(|kind| Capability { r#type: Some(kind as i32) }));
        }
        let mut slave = slave(number, 2.0, 64.0);
        slave.resources.push(scalar("disk", 8.0));
        let message = RegisterSlaveMessage {
            slave,
            version: Some("1.11.0".into()),
            agent_capabilities,
            resource_version_uuid: Some(Uuid { value: vec![7; 16] }),
            ..Default::default()
        };
        self.agent_sends(&pid(number), &message);
        self.got::<SlaveRegisteredMessage>(&pid(number)).slave_id.value
    }

    fn operate(&mut self, fw: &Fw, offer: &v1::Offer, operations: Vec<Operation>) {
        let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
        let accept = call::Accept { offer_ids: vec![offer.id.clone()], operations, filters };
        assert_eq!(self.framework_call(fw, call::Type::Accept, |call| call.accept = Some(accept)), 202);
    }

    fn operation_says(
        &mut self,
        number: u32,
        agent: &str,
        fw: &str,
        uuid: &Uuid,
        state: OperationState,
        of: u8,
    ) {
        let status = OperationStatus {
            state: state as i32,
            uuid: Some(Uuid { value: vec![of; 16] }),
            slave_id: Some(SlaveId { value: agent.into() }),
            ..Default::default()
        };
        let message = UpdateOperationStatusMessage {
            framework_id: Some(FrameworkId { value: fw.into() }),
            slave_id: Some(SlaveId { value: agent.into() }),
            latest_status: Some(status.clone()),
            status,
            operation_uuid: Some(uuid.clone()),
        };
        self.agent_sends(&pid(number), &message);
    }

    fn operation_update(&mut self) -> v1::OperationStatus {
        let event = self.next_event(event::Type::UpdateOperationStatus).expect("a status of an operation");
        event.update_operation_status.unwrap().status
    }
}

fn text(offer: &v1::Offer) -> String {
    let resources: Vec<Resource> = offer.resources.iter().map(|resource| recast(resource).unwrap()).collect();
    mesos_proto::pool::Pool::of(&resources).unwrap().to_string()
}

#[test]
fn what_is_reserved_is_offered_to_its_role_and_comes_back() {
    let mut world = World::new();
    world.agent(1, Knows::Checkpoints);
    let fw = world.subscribe(knows(true));
    let offer = world.offer();
    let mine = [reserved("cpus", 0.5, &["ops"]), reserved("mem", 16.0, &["ops"])];
    world.operate(&fw, &offer, vec![reserve(&mine, None)]);
    // An agent that knows no operations hears all that it is to keep.
    let kept: CheckpointResourcesMessage = world.got(&pid(1));
    assert_eq!(kept.resources, mine);
    // Offered again at once: nobody has refused what has just become of it.
    let offer = world.offer();
    assert_eq!(text(&offer), "cpus:1.5; cpus(ops):0.5; disk:8; mem:48; mem(ops):16");
    let other = FrameworkInfo { roles: vec!["dev".into()], ..knows(true) };
    let other = world.subscribe(other);
    let decline = call::Decline { offer_ids: vec![offer.id], filters: None };
    world.framework_call(&fw, call::Type::Decline, |call| call.decline = Some(decline));
    let theirs = world.offer();
    assert_eq!(
        (theirs.framework_id.value.as_str(), text(&theirs).as_str()),
        (other.0.as_str(), "cpus:1.5; disk:8; mem:48")
    );
    world.framework_call(&fw, call::Type::Revive, |_| {});
    let offer = world.offer();
    assert_eq!(text(&offer), "cpus(ops):0.5; mem(ops):16");
    world.operate(&fw, &offer, vec![unreserve(&mine, None)]);
    assert!(world.got::<CheckpointResourcesMessage>(&pid(1)).resources.is_empty());
}

#[test]
fn reserving_and_launching_go_together_in_one_accept() {
    let mut world = World::new();
    let agent = world.agent(1, Knows::Operations);
    let fw = world.subscribe(knows(true));
    let offer = world.offer();
    let mut task = task("t", &agent, 0.5, 16.0);
    task.resources = vec![reserved("cpus", 0.5, &["ops"]), scalar("mem", 16.0), on_disk(4.0, "v")];
    let launch = Operation {
        launch: Some(operation::Launch { task_infos: vec![recast(&task).unwrap()] }),
        ..named(operation::Type::Launch, None)
    };
    let disk = reserved("disk", 4.0, &["ops"]);
    let reserve = reserve(&[reserved("cpus", 0.5, &["ops"]), disk], None);
    world.operate(&fw, &offer, vec![reserve, create(&[on_disk(4.0, "v")]), launch]);
    let first: ApplyOperationMessage = world.got(&pid(1));
    assert_eq!(first.resource_version_uuid.uuid.value, [7; 16]);
    let second: ApplyOperationMessage = world.got(&pid(1));
    assert_ne!(first.operation_uuid, second.operation_uuid);
    let run: RunTaskMessage = world.got(&pid(1));
    assert_eq!(run.resource_version_uuids[0].uuid.value, [7; 16]);
    assert_eq!(run.task.resources[2].disk.as_ref().unwrap().persistence.as_ref().unwrap().id, "v");
    world.pass(1000);
    assert_eq!(text(&world.offer()), "cpus:1.5; disk:4; mem:48");
    // Operations without an id are the master's to acknowledge.
    world.operation_says(1, &agent, &fw.0, &first.operation_uuid, OperationState::OperationFinished, 1);
    let acknowledged: AcknowledgeOperationStatusMessage = world.got(&pid(1));
    assert_eq!(acknowledged.operation_uuid, first.operation_uuid);
    assert_eq!(acknowledged.status_uuid.value, [1; 16]);
    assert!(world.next_event(event::Type::UpdateOperationStatus).is_none());
}

#[test]
fn an_operation_with_an_id_is_its_frameworks_to_acknowledge() {
    let mut world = World::new();
    let agent = world.agent(1, Knows::Operations);
    let fw = world.subscribe(knows(true));
    let offer = world.offer();
    world.operate(&fw, &offer, vec![reserve(&[reserved("cpus", 0.5, &["ops"])], Some("r1"))]);
    let sent: ApplyOperationMessage = world.got(&pid(1));
    assert_eq!(sent.operation_info.id.as_ref().unwrap().value, "r1");
    let reconcile = |world: &mut World, operations| {
        let asked = call::ReconcileOperations { operations };
        let status = world.framework_call(&fw, call::Type::ReconcileOperations, |call| {
            call.reconcile_operations = Some(asked)
        });
        assert_eq!(status, 202);
    };
    reconcile(&mut world, Vec::new());
    assert_eq!(world.operation_update().state(), v1::OperationState::OperationPending);

    world.operation_says(1, &agent, &fw.0, &sent.operation_uuid, OperationState::OperationFinished, 1);
    let status = world.operation_update();
    assert_eq!(status.operation_id.as_ref().unwrap().value, "r1");
    assert_eq!(
        (status.state(), status.uuid.as_ref().unwrap().value.clone()),
        (v1::OperationState::OperationFinished, vec![1; 16])
    );
    assert!(world.take::<AcknowledgeOperationStatusMessage>(&pid(1)).is_none());
    let acknowledge = |world: &mut World, uuid: u8| {
        let acknowledge = call::AcknowledgeOperationStatus {
            agent_id: Some(v1::AgentId { value: agent.clone() }),
            resource_provider_id: None,
            uuid: vec![uuid; 16],
            operation_id: v1::OperationId { value: "r1".into() },
        };
        world.framework_call(&fw, call::Type::AcknowledgeOperationStatus, |call| {
            call.acknowledge_operation_status = Some(acknowledge);
        })
    };
    // One that was never sent is not acknowledged.
    assert_eq!(acknowledge(&mut world, 9), 202);
    assert!(world.take::<AcknowledgeOperationStatusMessage>(&pid(1)).is_none());
    assert_eq!(acknowledge(&mut world, 1), 202);
    let acknowledged: AcknowledgeOperationStatusMessage = world.got(&pid(1));
    assert_eq!(acknowledged.operation_uuid, sent.operation_uuid);
    // Over and acknowledged, it is not known any more.
    reconcile(&mut world, Vec::new());
    assert!(world.next_event(event::Type::UpdateOperationStatus).is_none());
    let asked = |agent: Option<&str>| call::reconcile_operations::Operation {
        operation_id: v1::OperationId { value: "r1".into() },
        agent_id: agent.map(|agent| v1::AgentId { value: agent.into() }),
        resource_provider_id: None,
    };
    for there in [None, Some(agent.as_str()), Some("m-S99")] {
        reconcile(&mut world, vec![asked(there)]);
        assert_eq!(world.operation_update().state(), v1::OperationState::OperationUnknown);
    }
    world.pass(7 * PING);
    reconcile(&mut world, vec![asked(Some(&agent))]);
    assert_eq!(world.operation_update().state(), v1::OperationState::OperationUnreachable);
}

#[test]
fn what_may_not_be_done_is_answered_and_changes_nothing() {
    let mut world = World::new();
    world.agent(1, Knows::Operations);
    let fw = world.subscribe(knows(true));
    let offer = world.offer();
    let before = text(&offer);
    let mut fixed = reserved("cpus", 0.5, &["ops"]);
    fixed.reservations[0].r#type = Some(reservation_info::Type::Static as i32);
    let disk_operation = Operation {
        create_disk: Some(operation::CreateDisk {
            source: recast(&scalar("disk", 1.0)).unwrap(),
            ..Default::default()
        }),
        ..named(operation::Type::CreateDisk, Some("disk"))
    };
    let operations = vec![
        reserve(&[reserved("cpus", 5.0, &["ops"])], Some("too-much")),
        reserve(&[reserved("cpus", 0.5, &["dev"])], Some("another's")),
        reserve(&[reserved("cpus", 0.5, &["ops/a", "ops"])], Some("upside-down")),
        reserve(&[fixed], Some("static")),
        reserve(&[scalar("cpus", 0.0001)], Some("nothing")),
        unreserve(&[reserved("cpus", 0.5, &["ops"])], Some("never-was")),
        Operation {
            id: Some(v1::OperationId { value: "ro".into() }),
            ..create(&[{
                let mut volume = on_disk(1.0, "v");
                volume.disk.as_mut().unwrap().volume.as_mut().unwrap().mode = volume::Mode::Ro as i32;
                volume
            }])
        },
        disk_operation,
    ];
    let count = operations.len();
    world.operate(&fw, &offer, operations);
    assert!(world.take::<ApplyOperationMessage>(&pid(1)).is_none());
    let ids: Vec<_> = (0..count)
        .map(|_| {
            let status = world.operation_update();
            assert_eq!(status.state(), v1::OperationState::OperationError, "{status:?}");
            assert!(!status.message().is_empty() && status.uuid.is_none());
            status.operation_id.unwrap().value
        })
        .collect();
    let expected = ["too-much", "another's", "upside-down", "static", "nothing", "never-was", "ro", "disk"];
    assert_eq!(ids, expected);
    world.pass(1000);
    let offer = world.offer();
    assert_eq!(text(&offer), before);
    // An invalid offer, and an agent that cannot answer.
    world.operate(
        &fw,
        &v1::Offer { id: v1::OfferId { value: "none".into() }, ..offer.clone() },
        vec![reserve(&[], Some("lost"))],
    );
    assert!(world.operation_update().message().contains("no longer valid"));
    world.agent(2, Knows::Checkpoints);
    let offer = world.offer();
    world.operate(&fw, &offer, vec![reserve(&[reserved("cpus", 0.5, &["ops"])], Some("mute"))]);
    assert!(world.operation_update().message().contains("RESOURCE_PROVIDER"));
}

#[test]
fn volumes_grow_and_shrink_and_are_destroyed() {
    let mut world = World::new();
    world.agent(1, Knows::Operations);
    let fw = world.subscribe(knows(true));
    let offer = world.offer();
    let disk = |amount| reserved("disk", amount, &["ops"]);
    world.operate(&fw, &offer, vec![reserve(&[disk(6.0)], None), create(&[on_disk(2.0, "v")])]);
    let offer = world.offer();
    assert_eq!(text(&offer), "cpus:2; disk:2; disk(ops)[v]:2; disk(ops):4; mem:64");
    let grow = Operation {
        grow_volume: Some(operation::GrowVolume {
            volume: recast(&on_disk(2.0, "v")).unwrap(),
            addition: recast(&disk(3.0)).unwrap(),
        }),
        ..named(operation::Type::GrowVolume, None)
    };
    world.operate(&fw, &offer, vec![grow]);
    let offer = world.offer();
    assert_eq!(text(&offer), "cpus:2; disk:2; disk(ops)[v]:5; disk(ops):1; mem:64");
    let shrink = Operation {
        shrink_volume: Some(operation::ShrinkVolume {
            volume: recast(&on_disk(5.0, "v")).unwrap(),
            subtract: v1::value::Scalar { value: 4.0 },
        }),
        ..named(operation::Type::ShrinkVolume, None)
    };
    world.operate(&fw, &offer, vec![shrink]);
    let offer = world.offer();
    assert_eq!(text(&offer), "cpus:2; disk:2; disk(ops)[v]:1; disk(ops):5; mem:64");
    let destroy = Operation {
        destroy: Some(operation::Destroy { volumes: v1_of(&[on_disk(1.0, "v")]) }),
        ..named(operation::Type::Destroy, None)
    };
    world.operate(&fw, &offer, vec![destroy, unreserve(&[disk(6.0)], None)]);
    assert_eq!(text(&world.offer()), "cpus:2; disk:8; mem:64");
    let sent = std::iter::from_fn(|| world.take::<ApplyOperationMessage>(&pid(1))).count();
    assert_eq!(sent, 6);
}

#[test]
fn frameworks_that_know_no_refinement_see_the_older_format() {
    let mut world = World::new();
    world.agent(1, Knows::Operations);
    let day = world.subscribe(knows(true));
    let offer = world.offer();
    world.operate(&day, &offer, vec![reserve(&[reserved("cpus", 1.0, &["ops"])], None)]);
    world.framework_call(&day, call::Type::Teardown, |_| {});
    world.events.clear();
    // What is reserved for a role is offered to those below it, and refined there.
    let night = || vec!["ops/night".to_owned()];
    let fw = world.subscribe(FrameworkInfo { roles: night(), ..knows(true) });
    let offer = world.offer();
    let refined = reserved("cpus", 0.5, &["ops", "ops/night"]);
    assert_eq!(popped(std::slice::from_ref(&refined)), [reserved("cpus", 0.5, &["ops"])]);
    world.operate(&fw, &offer, vec![reserve(&[refined], None)]);
    assert_eq!(text(&world.offer()), "cpus:1; cpus(ops):0.5; cpus(ops/night):0.5; disk:8; mem:64");
    world.framework_call(&fw, call::Type::Teardown, |_| {});

    let plain = world.subscribe(FrameworkInfo { roles: night(), ..knows(false) });
    let offer = world.offer();
    assert_eq!(offer.framework_id.value, plain.0);
    assert_eq!(text(&offer), "cpus:1; cpus(ops):0.5; disk:8; mem:64");
    let theirs: Resource = recast(offer.resources.iter().find(|r| r.role() == "ops").unwrap()).unwrap();
    assert!(theirs.reservations.is_empty() && theirs.reservation.is_some());
}

#[test]
fn an_agent_comes_back_with_what_it_has_kept() {
    let mut world = World::new();
    let agent = world.agent(1, Knows::Operations);
    let fw = world.subscribe(knows(true));
    let offer = world.offer();
    world.operate(&fw, &offer, vec![reserve(&[reserved("cpus", 0.5, &["ops"])], Some("r"))]);
    let sent: ApplyOperationMessage = world.got(&pid(1));
    // It could not: it says so, and registers with what it really has.
    world.operation_says(1, &agent, &fw.0, &sent.operation_uuid, OperationState::OperationFailed, 3);
    assert_eq!(world.operation_update().state(), v1::OperationState::OperationFailed);
    let back = |kept: Vec<Resource>| ReregisterSlaveMessage {
        slave: SlaveInfo { id: Some(SlaveId { value: agent.clone() }), ..slave(1, 2.0, 64.0) },
        version: Some("1.11.0".into()),
        checkpointed_resources: kept,
        agent_capabilities: capabilities(),
        ..Default::default()
    };
    world.events.clear();
    world.agent_sends(&pid(1), &back(Vec::new()));
    assert_eq!(text(&world.offer()), "cpus:2; mem:64");
    world.agent_sends(&pid(1), &back(vec![reserved("mem", 4.0, &["ops"]), on_disk(1.0, "v")]));
    assert_eq!(world.core.counter("slave_registrations_refused"), 1, "it has no disk");
    world.agent_sends(&pid(1), &back(vec![reserved("mem", 4.0, &["ops"])]));
    assert_eq!(text(&world.offer()), "cpus:2; mem:60; mem(ops):4");

    // An operation that only the master knows of is asked for, one that only the agent knows of is taken over.
    let unknown = mesos_proto::mesos::Operation {
        framework_id: Some(FrameworkId { value: fw.0.clone() }),
        slave_id: Some(SlaveId { value: agent.clone() }),
        uuid: Uuid { value: vec![42; 16] },
        ..Default::default()
    };
    let update = UpdateSlaveMessage {
        slave_id: SlaveId { value: agent.clone() },
        operations: Some(update_slave_message::Operations { operations: vec![unknown] }),
        ..Default::default()
    };
    world.agent_sends(&pid(1), &update);
    let asked: ReconcileOperationsMessage = world.got(&pid(1));
    assert_eq!(asked.operations[0].operation_uuid.as_ref(), Some(&sent.operation_uuid));
    world.operation_says(
        1,
        &agent,
        &fw.0,
        &Uuid { value: vec![42; 16] },
        OperationState::OperationFinished,
        5,
    );
    world.got::<AcknowledgeOperationStatusMessage>(&pid(1));
    // An agent that goes takes its operations with it.
    world.pass(7 * PING);
    let status = world.operation_update();
    assert_eq!(status.state(), v1::OperationState::OperationUnreachable);
    assert_eq!(status.operation_id.unwrap().value, "r");
}
