//! Kills, pings, reconciliation, and bodies that are no messages.

use crate::rig::*;
use gateway::bridge::{FromNode, ToNode};
use libprocess::Upid;
use mesos_proto::internal::*;
use mesos_proto::mesos::{self, TaskState, task_status};
use node_proto::{Power, State};
use proptest::prelude::*;
use prost::{Message, Name};

#[test]
fn a_kill_before_delivery_never_reaches_the_node() {
    let mut rig = Rig::registered();
    rig.run(task("a"));
    rig.kill("a", None);
    let killed = rig.update();
    assert_eq!(killed.status.state, TaskState::TaskKilled as i32);
    assert_eq!(killed.status.reason, Some(task_status::Reason::TaskKilledDuringLaunch as i32));
    rig.image();
    rig.kill("a", None);
    assert!(rig.orders.is_empty() && rig.updates().is_empty());
    rig.acknowledge(&killed);
    assert_eq!(rig.orders, [ToNode::Forget { task: 1 }]);
}

#[test]
fn a_kill_has_the_grace_of_the_message_or_the_task_or_three_seconds() {
    for (own, said, grace_ms) in [
        (None, None, 3_000),
        (Some(5_000_000_000), None, 5_000),
        (Some(5_000_000_000), Some(0), 0),
        (None, Some(1_500_000), 1),
        (None, Some(-1), 0),
        (None, Some(i64::MAX), u32::MAX),
    ] {
        let mut rig = Rig::registered();
        let mut task = task("a");
        task.kill_policy = own
            .map(|nanoseconds| mesos::KillPolicy { grace_period: Some(mesos::DurationInfo { nanoseconds }) });
        rig.run(task);
        rig.image();
        rig.orders.clear();
        rig.kill("a", said);
        assert_eq!(rig.orders, [ToNode::Kill { task: 1, grace_ms }], "{own:?} {said:?}");
        assert!(rig.updates().is_empty(), "the node says when it has ended");
        rig.status(1, 1, State::Killed);
        assert_eq!(rig.update().status.state, TaskState::TaskKilled as i32);
    }
}

#[test]
fn a_ping_is_answered_to_its_sender_while_the_lease_is_live() {
    let mut rig = Rig::registered();
    let observer: Upid = "slave-observer(4)@10.0.0.1:5050".parse().unwrap();
    let ping = |rig: &mut Rig, connected| {
        rig.sent.clear();
        let body = PingSlaveMessage { connected }.encode_to_vec();
        rig.wire(observer.clone(), &PingSlaveMessage::full_name(), body);
        let pongs = rig.sent.iter().filter(|(.., name, _)| *name == PongSlaveMessage::full_name());
        pongs.map(|(_, to, ..)| to.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ping(&mut rig, true), std::slice::from_ref(&observer));
    rig.node(FromNode::Lapsed);
    assert!(ping(&mut rig, true).is_empty());
    rig.node(FromNode::Alive { power: Power::Mains, news: node_proto::News::Nothing });
    assert_eq!(ping(&mut rig, false), std::slice::from_ref(&observer));
    rig.reregistered();
    assert_eq!(rig.agents.view(NODE).unwrap().state, "registered");
    rig.run_until(rig.now + 74_999);
    assert_eq!(rig.agents.view(NODE).unwrap().state, "registered");
    rig.run_until(rig.now + 1);
    assert_ne!(rig.agents.view(NODE).unwrap().state, "registered", "five pings were missed");
    rig.reregistered();
}

#[test]
fn unknown_tasks_are_dropped_or_lost_and_known_ones_left_alone() {
    for (aware, expected) in [(true, TaskState::TaskDropped), (false, TaskState::TaskLost)] {
        let mut rig = Rig::launched("known");
        rig.restart();
        rig.await_registration();
        rig.sent.clear();
        let status = |id: &str| mesos::TaskStatus {
            task_id: mesos::TaskId { value: id.into() },
            state: TaskState::TaskRunning as i32,
            ..Default::default()
        };
        let reconciliation = ReconcileTasksMessage {
            framework_id: mesos::FrameworkId { value: "F".into() },
            statuses: vec![status("known"), status("unknown")],
            framework: Some(framework("F", aware)),
        };
        rig.master(&SlaveReregisteredMessage {
            slave_id: "S0".into_id(),
            reconciliations: vec![reconciliation],
            connection: None,
        });
        let updates = rig.updates();
        assert!(!updates.is_empty() && updates.iter().all(|update| *update == updates[0]), "{updates:?}");
        let status = &updates[0].status;
        assert_eq!((status.task_id.value.as_str(), status.state), ("unknown", expected as i32));
        assert_eq!(status.reason, Some(task_status::Reason::Reconciliation as i32));
        rig.acknowledge(&updates[0]);
        assert_eq!(rig.agents.view(NODE).unwrap().tasks.len(), 1);
    }
}

#[test]
fn absurd_numbers_and_amounts_from_a_master_are_survived() {
    for seconds in [f64::INFINITY, f64::NAN, 1e300, -1.0] {
        let mut rig = Rig::new();
        rig.run_until(5);
        rig.await_registration();
        let connection = Some(MasterSlaveConnection { total_ping_timeout_seconds: Some(seconds) });
        rig.master(&SlaveRegisteredMessage { slave_id: "S0".into_id(), connection });
        rig.master(&PingSlaveMessage { connected: true });
        assert_eq!(rig.agents.view(NODE).unwrap().state, "registered");
    }
    // More tasks than there are handles.
    let mut rig = Rig::registered();
    rig.restart();
    rig.await_registration();
    let statuses = (0..70_000).map(|number| mesos::TaskStatus {
        task_id: mesos::TaskId { value: number.to_string() },
        ..Default::default()
    });
    let reconciliation = ReconcileTasksMessage {
        framework_id: mesos::FrameworkId { value: "F".into() },
        statuses: statuses.collect(),
        framework: None,
    };
    rig.master(&SlaveReregisteredMessage {
        slave_id: "S0".into_id(),
        reconciliations: vec![reconciliation],
        connection: None,
    });
    let tasks = rig.agents.view(NODE).unwrap().tasks.len();
    assert!((64..=4_096).contains(&tasks), "{tasks}");
}

fn name() -> impl Strategy<Value = String> {
    let known = vec![
        PingSlaveMessage::NAME,
        SlaveRegisteredMessage::NAME,
        SlaveReregisteredMessage::NAME,
        RunTaskMessage::NAME,
        RunTaskGroupMessage::NAME,
        KillTaskMessage::NAME,
        StatusUpdateAcknowledgementMessage::NAME,
        FrameworkToExecutorMessage::NAME,
        ShutdownFrameworkMessage::NAME,
        ShutdownExecutorMessage::NAME,
        UpdateFrameworkMessage::NAME,
        ShutdownMessage::NAME,
        DrainSlaveMessage::NAME,
        CheckpointResourcesMessage::NAME,
        ApplyOperationMessage::NAME,
        AcknowledgeOperationStatusMessage::NAME,
        ReconcileOperationsMessage::NAME,
        "Unheard",
    ];
    prop_oneof![
        8 => proptest::sample::select(known).prop_map(|name| format!("mesos.internal.{name}")),
        1 => any::<String>(),
    ]
}

proptest! {
    /// Whatever comes, nothing panics, and the agent goes on.
    #[test]
    fn bodies_that_are_no_messages_do_no_harm(
        messages in proptest::collection::vec((name(), proptest::collection::vec(any::<u8>(), 0..64)), 1..16),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut rig = Rig::launched("a");
        let run = RunTaskMessage { framework: framework("F", true), task: task("b"), ..Default::default() };
        let mut damaged = run.encode_to_vec();
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        rig.wire(master(), &RunTaskMessage::full_name(), damaged);
        for (name, body) in messages {
            rig.wire(master(), &name, body);
        }
        rig.run_until(rig.now + 100_000);
        rig.node(FromNode::Alive { power: Power::Mains, news: node_proto::News::Nothing });
        rig.restart();
        // One of the messages may have shut the agent down until its node starts anew.
        rig.node(FromNode::Online(node_proto::Register { boot: 2, ..online() }));
        prop_assert!(rig.await_registration().0.contains("egister"));
    }
}
