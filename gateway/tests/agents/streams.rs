//! Streams of updates, launches, and restarts from the records.

use crate::rig::*;
use gateway::bridge::ToNode;
use gateway::store::Table;
use mesos_proto::internal::*;
use mesos_proto::mesos::{self, TaskState, task_status};
use node_proto::State;
use prost::Name;

#[test]
fn an_update_is_sent_again_with_its_uuid_and_doubled_pauses_until_acknowledged() {
    let mut rig = Rig::launched("a");
    let start = rig.now;
    rig.status(1, 1, State::Running);
    let first = rig.update();
    assert_eq!(first.status.state, TaskState::TaskRunning as i32);
    let mut due = start;
    for pause in [10_000, 20_000] {
        due += pause;
        rig.run_until(due - 1);
        assert!(rig.updates().is_empty(), "before its time");
        rig.run_until(due);
        assert_eq!(rig.update(), first);
    }
    // Pings keep the agent registered while the third pause passes.
    rig.master(&PingSlaveMessage { connected: true });
    due += 40_000;
    rig.run_until(due - 1);
    assert!(rig.updates().is_empty());
    rig.run_until(due);
    assert_eq!(rig.update(), first);

    rig.status(1, 2, State::Exited(0));
    assert!(rig.updates().is_empty(), "one at a time");
    let mut wrong = first.clone();
    wrong.uuid = Some(vec![0; 16]);
    rig.acknowledge(&wrong);
    assert!(rig.updates().is_empty(), "not this one's acknowledgement");
    rig.acknowledge(&first);
    let last = rig.update();
    assert_eq!(last.status.state, TaskState::TaskFinished as i32);
    assert_ne!(last.uuid, first.uuid);
    assert!(!rig.orders.contains(&ToNode::Forget { task: 1 }));
    rig.acknowledge(&last);
    assert!(rig.orders.contains(&ToNode::Forget { task: 1 }));
    rig.sent.clear();
    rig.master(&PingSlaveMessage { connected: true });
    rig.run_until(rig.now + 74_000);
    assert!(rig.updates().is_empty(), "acknowledged");
    assert!(rig.disk.keys().all(|(table, _)| *table == Table::Agent), "nothing stays behind");
}

#[test]
fn a_restart_at_any_point_loses_no_update() {
    for restarts in 0..32 {
        let mut rig = Rig::registered();
        let actor = rig.agents.view(NODE).unwrap().actor;
        let maybe = |rig: &mut Rig, bit: u32| {
            if restarts >> bit & 1 == 1 {
                let before = rig.updates().last().cloned();
                rig.restart();
                let message = rig.reregistered();
                for task in &message.tasks {
                    assert_eq!(task.status_update_state.is_some(), task.status_update_uuid.is_some());
                }
                let after = rig.updates();
                if let Some(before) = before {
                    // Only `latest_state` may have moved on.
                    assert_eq!(after.len(), 1);
                    assert_eq!((&after[0].uuid, &after[0].status), (&before.uuid, &before.status));
                }
                rig.sent.clear();
                let heads: Vec<_> =
                    message.tasks.iter().filter_map(|task| task.status_update_uuid.clone()).collect();
                assert_eq!(heads, after.into_iter().filter_map(|update| update.uuid).collect::<Vec<_>>());
                // The head goes out once more, for what follows.
                rig.restart();
                rig.reregistered();
            }
        };
        maybe(&mut rig, 0);
        rig.run(task("a"));
        maybe(&mut rig, 1);
        assert_eq!(rig.fetches.last().unwrap(), URI, "a fetch under way begins again");
        rig.image();
        assert_eq!(rig.orders.iter().filter(|order| matches!(order, ToNode::Launch { .. })).count(), 1);
        maybe(&mut rig, 2);
        rig.image();
        rig.status(1, 1, State::Running);
        maybe(&mut rig, 3);
        rig.status(1, 2, State::Exited(0));
        maybe(&mut rig, 4);
        let running = rig.updates().pop().unwrap();
        assert_eq!(running.status.state, TaskState::TaskRunning as i32);
        rig.acknowledge(&running);
        let finished = rig.update();
        assert_eq!(finished.status.state, TaskState::TaskFinished as i32);
        rig.acknowledge(&finished);
        let view = rig.agents.view(NODE).unwrap();
        assert_eq!((view.actor, view.slave_id.as_deref()), (actor, Some("S0")));
        assert!(view.tasks.is_empty());
        assert_eq!(rig.orders.iter().filter(|order| matches!(order, ToNode::Launch { .. })).count(), 1);
    }
}

#[test]
fn a_task_ends_once_and_starts_once() {
    let mut rig = Rig::launched("a");
    rig.run(task("a"));
    rig.image();
    assert!(rig.orders.is_empty() && rig.fetches.len() == 1, "the same task again");
    let mut other = task("b");
    other.slave_id.value = "S1".into();
    rig.run(other);
    assert_eq!(rig.fetches.len(), 1, "a task for another agent");
    rig.status(1, 1, State::Exited(1));
    rig.status(1, 2, State::Killed);
    rig.status(1, 3, State::Running);
    let failed = rig.update();
    assert_eq!(failed.status.state, TaskState::TaskFailed as i32);
    rig.acknowledge(&failed);
    assert!(rig.updates().is_empty());
    rig.status(1, 4, State::Exited(0));
    assert!(rig.updates().is_empty() && rig.agents.view(NODE).unwrap().tasks.is_empty());
}

#[test]
fn a_launch_that_cannot_be_is_a_failure_with_its_reason() {
    let with = |change: &dyn Fn(&mut mesos::TaskInfo)| {
        let mut task = task("a");
        change(&mut task);
        task
    };
    let uri = "gopher://x/blink.wasm";
    let cases = [
        with(&|task| task.command.as_mut().unwrap().uris.clear()),
        with(&|task| task.command = None),
        with(&|task| task.container = Some(Default::default())),
        with(&|task| task.executor = Some(Default::default())),
        with(&|task| task.command.as_mut().unwrap().uris[0].value = uri.into()),
    ];
    for (number, task) in cases.into_iter().enumerate() {
        let mut rig = Rig::registered();
        let custom = task.executor.is_some();
        rig.run(task);
        if let Some(uri) = rig.fetches.pop() {
            let dir = tempfile::tempdir().unwrap();
            let fetcher = gateway::images::Fetcher::new(dir.path()).unwrap();
            let Err(why) = fetcher.fetch(&uri) else { panic!("fetched {uri}") };
            rig.agents.image(&uri, Err(why.to_string()), rig.now);
            rig.drain();
        }
        let exited =
            rig.sent.iter().filter(|(.., name, _)| *name == ExitedExecutorMessage::full_name()).count();
        assert_eq!(exited, usize::from(custom));
        let status = rig.update().status;
        assert_eq!(status.state, TaskState::TaskFailed as i32, "case {number}");
        assert_eq!(status.reason, Some(task_status::Reason::ContainerLaunchFailed as i32));
        assert_eq!(status.source, Some(task_status::Source::Slave as i32));
        assert!(status.message.is_some_and(|message| !message.is_empty()));
        assert!(rig.orders.is_empty());
    }
}
