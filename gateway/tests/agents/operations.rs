//! Reservations and what a node cannot do.

use crate::rig::*;
use gateway::store::Table;
use mesos_proto::internal::*;
use mesos_proto::mesos::offer::{self, operation};
use mesos_proto::mesos::resource::{AllocationInfo, DiskInfo, ReservationInfo, reservation_info};
use mesos_proto::mesos::{self, OperationState, TaskState, task_status};
use mesos_proto::resources::{Scalars, scalar};

fn reserved(name: &str, amount: f64) -> mesos::Resource {
    mesos::Resource {
        allocation_info: Some(AllocationInfo { role: Some("a".into()) }),
        reservations: vec![ReservationInfo {
            role: Some("a".into()),
            r#type: Some(reservation_info::Type::Dynamic as i32),
            ..Default::default()
        }],
        ..scalar(name, amount)
    }
}

fn apply(rig: &mut Rig, number: u8, info: offer::Operation) {
    rig.master(&ApplyOperationMessage {
        framework_id: Some(mesos::FrameworkId { value: "F".into() }),
        operation_info: info,
        operation_uuid: mesos::Uuid { value: vec![number; 16] },
        resource_version_uuid: ResourceVersionUuid {
            uuid: mesos::Uuid { value: vec![0; 16] },
            ..Default::default()
        },
    });
}

fn reserve(amount: f64) -> offer::Operation {
    offer::Operation {
        r#type: Some(operation::Type::Reserve as i32),
        id: Some(mesos::OperationId { value: "O".into() }),
        reserve: Some(operation::Reserve { resources: vec![reserved("cpus", amount)], source: Vec::new() }),
        ..Default::default()
    }
}

fn create() -> offer::Operation {
    let mut volume = reserved("disk", 0.5);
    volume.disk = Some(DiskInfo {
        persistence: Some(mesos::resource::disk_info::Persistence { id: "v".into(), principal: None }),
        ..Default::default()
    });
    offer::Operation {
        r#type: Some(operation::Type::Create as i32),
        create: Some(operation::Create { volumes: vec![volume] }),
        ..Default::default()
    }
}

#[test]
fn a_reservation_is_kept_answered_and_stated_again() {
    let mut rig = Rig::registered();
    apply(&mut rig, 1, reserve(0.5));
    let mut said: Vec<UpdateOperationStatusMessage> = rig.taken();
    let first = said.remove(0);
    assert_eq!(first.status.state, OperationState::OperationFinished as i32);
    assert_eq!(first.slave_id, Some("S0".into_id()), "a real master aborts without it");
    assert!(first.status.uuid.is_some() && first.operation_uuid.is_some());
    assert_eq!(first.status.operation_id.as_ref().unwrap().value, "O");

    rig.restart();
    let message = rig.reregistered();
    assert_eq!(Scalars::of(&message.checkpointed_resources).get("cpus"), 0.5);
    assert!(message.checkpointed_resources.iter().all(|resource| resource.allocation_info.is_none()));
    let update: UpdateSlaveMessage = {
        let sent = rig.sent.clone();
        let update = rig.taken().remove(0);
        rig.sent = sent;
        update
    };
    assert!(update.resource_version_uuid.is_some());
    assert_eq!(update.operations.unwrap().operations.len(), 1);
    let again: Vec<UpdateOperationStatusMessage> = rig.taken();
    assert_eq!(again, std::slice::from_ref(&first), "with the same UUID");
    rig.master(&PingSlaveMessage { connected: true });
    rig.run_until(rig.now + 10_000);
    assert_eq!(rig.taken::<UpdateOperationStatusMessage>().len(), 1, "until it is acknowledged");
    rig.master(&AcknowledgeOperationStatusMessage {
        status_uuid: first.status.uuid.clone().unwrap(),
        operation_uuid: first.operation_uuid.clone().unwrap(),
        resource_provider_id: None,
    });
    assert!(rig.disk.keys().all(|(table, _)| *table != Table::Operation));
    let unreserve = offer::Operation {
        r#type: Some(operation::Type::Unreserve as i32),
        unreserve: Some(operation::Unreserve { resources: vec![reserved("cpus", 0.5)] }),
        ..Default::default()
    };
    apply(&mut rig, 2, unreserve);
    assert_eq!(rig.taken::<UpdateOperationStatusMessage>()[0].status.state, 2);
    rig.restart();
    assert!(rig.reregistered().checkpointed_resources.is_empty());
}

#[test]
fn what_a_node_cannot_do_is_refused_and_the_master_set_right() {
    let unknown = offer::Operation { r#type: Some(99), ..Default::default() };
    for operation in [create(), unknown, offer::Operation::default()] {
        let mut rig = Rig::registered();
        apply(&mut rig, 1, operation);
        let status = rig.taken::<UpdateOperationStatusMessage>().remove(0).status;
        assert_eq!(status.state, OperationState::OperationFailed as i32);
        assert!(status.message.is_some_and(|why| why.contains("node")));
        assert!(rig.reregistered().checkpointed_resources.is_empty());
    }
}

#[test]
fn a_task_on_an_unknown_reservation_is_dropped() {
    let run = |rig: &mut Rig| {
        let mut task = task("a");
        task.resources = vec![reserved("cpus", 0.2), scalar("mem", 0.01)];
        rig.master(&RunTaskMessage { framework: framework("F", true), task, ..Default::default() });
    };
    let mut rig = Rig::registered();
    run(&mut rig);
    let status = rig.update().status;
    assert_eq!(status.state, TaskState::TaskDropped as i32);
    assert_eq!(status.reason, Some(task_status::Reason::ResourcesUnknown as i32));
    let mut rig = Rig::registered();
    apply(&mut rig, 1, reserve(0.3));
    run(&mut rig);
    assert_eq!(rig.fetches, [URI]);
}

#[test]
fn a_node_that_comes_back_smaller_states_no_reservation_that_does_not_apply() {
    let mut rig = Rig::registered();
    apply(&mut rig, 1, reserve(0.8));
    let mut smaller = online();
    smaller.inventory.cpu_permille = 500;
    smaller.boot = 2;
    rig.node(gateway::bridge::FromNode::Online(smaller));
    let message = rig.reregistered();
    assert_eq!(Scalars::of(&message.slave.resources).get("cpus"), 0.5);
    assert!(message.checkpointed_resources.is_empty(), "a real master aborts otherwise");
}

#[test]
fn the_masters_question_names_what_never_arrived() {
    let mut rig = Rig::registered();
    apply(&mut rig, 1, reserve(0.3));
    rig.sent.clear();
    let ask = |rig: &mut Rig, framework: bool| {
        let operation = |number: u8| reconcile_operations_message::Operation {
            operation_uuid: Some(mesos::Uuid { value: vec![number; 16] }),
            ..Default::default()
        };
        rig.master(&ReconcileOperationsMessage {
            operations: vec![operation(1), operation(2)],
            framework_id: framework.then(|| mesos::FrameworkId { value: "F".into() }),
        });
        let said: Vec<UpdateOperationStatusMessage> = rig.taken();
        said.into_iter().map(|said| OperationState::try_from(said.status.state).unwrap()).collect::<Vec<_>>()
    };
    use OperationState::*;
    assert_eq!(ask(&mut rig, false), [OperationDropped]);
    assert_eq!(ask(&mut rig, true), [OperationFinished, OperationUnknown]);
}
