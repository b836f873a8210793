//! Task groups, custom executors, and what the master is told of executors.

use crate::rig::*;
use gateway::bridge::ToNode;
use mesos_proto::internal::*;
use mesos_proto::mesos::{self, TaskState, executor_info, task_status};
use mesos_proto::resources::scalar;
use node_proto::{Failure, State};
use prost::Name;

fn executor(id: &str, kind: executor_info::Type) -> mesos::ExecutorInfo {
    mesos::ExecutorInfo {
        executor_id: mesos::ExecutorId { value: id.into() },
        framework_id: Some(mesos::FrameworkId { value: "F".into() }),
        resources: vec![scalar("cpus", 0.01)],
        r#type: Some(kind as i32),
        ..Default::default()
    }
}

fn group(rig: &mut Rig, ids: &[&str], starts: bool) {
    rig.master(&RunTaskGroupMessage {
        framework: framework("F", true),
        executor: executor("E", executor_info::Type::Default),
        task_group: mesos::TaskGroupInfo { tasks: ids.iter().map(|id| task(id)).collect() },
        launch_executor: Some(starts),
        ..Default::default()
    });
}

/// A task whose executor is the framework's own, of the image that tasks have elsewhere.
fn custom(id: &str) -> mesos::TaskInfo {
    let mut task = task(id);
    let command = task.command.take();
    task.executor = Some(mesos::ExecutorInfo { command, ..executor("E", executor_info::Type::Custom) });
    task
}

fn run_custom(rig: &mut Rig, id: &str, starts: bool) {
    rig.master(&RunTaskMessage {
        framework: framework("F", true),
        task: custom(id),
        launch_executor: Some(starts),
        ..Default::default()
    });
}

fn states(rig: &mut Rig) -> Vec<(String, TaskState)> {
    let mut said: Vec<_> = rig
        .updates()
        .into_iter()
        .map(|update| (update.status.task_id.value, TaskState::try_from(update.status.state).unwrap()))
        .collect();
    said.sort();
    said
}

fn acknowledge_all(rig: &mut Rig) {
    loop {
        let updates = rig.updates();
        if updates.is_empty() {
            return;
        }
        updates.iter().for_each(|update| rig.acknowledge(update));
    }
}

#[test]
fn a_group_runs_under_one_executor_that_goes_with_its_last_task() {
    let mut rig = Rig::registered();
    group(&mut rig, &["a", "b"], true);
    rig.image();
    assert_eq!(rig.orders.len(), 2);
    rig.restart();
    let message = rig.reregistered();
    assert_eq!(message.executor_infos.len(), 1);
    let info = &message.executor_infos[0];
    assert_eq!(info.framework_id.as_ref().unwrap().value, "F");
    let allocated = |resources: &[mesos::Resource]| resources.iter().all(|r| r.allocation_info.is_some());
    assert!(allocated(&info.resources), "a real master aborts otherwise");
    for task in &message.tasks {
        assert!(allocated(&task.resources));
        assert_eq!(task.executor_id.as_ref().unwrap().value, "E");
    }
    rig.status(1, 1, State::Exited(0));
    assert!(rig.sent.iter().all(|(.., name, _)| *name != ExitedExecutorMessage::full_name()));
    rig.status(2, 1, State::Exited(0));
    let mut exited: Vec<ExitedExecutorMessage> = rig.taken();
    assert_eq!(exited.len(), 1);
    assert_eq!((exited.remove(0).executor_id.value.as_str(), rig.orders.len()), ("E", 2));
}

#[test]
fn a_group_ends_together_when_one_of_it_fails() {
    let mut rig = Rig::registered();
    group(&mut rig, &["a", "b", "c"], true);
    rig.image();
    for task in 1..=3 {
        rig.status(task, 1, State::Running);
    }
    acknowledge_all(&mut rig);
    rig.orders.clear();
    rig.status(1, 2, State::Exited(0));
    assert!(rig.orders.is_empty(), "an end without fault is no reason");
    rig.status(2, 2, State::Failed(Failure::Trap));
    assert_eq!(rig.orders, [ToNode::Kill { task: 3, grace_ms: 3_000 }]);
    rig.status(3, 2, State::Killed);
    let said = states(&mut rig);
    use TaskState::*;
    assert_eq!(said, [("a".into(), TaskFinished), ("b".into(), TaskFailed), ("c".into(), TaskKilled)]);
}

#[test]
fn a_group_that_has_not_reached_the_node_is_killed_whole() {
    let mut rig = Rig::registered();
    group(&mut rig, &["a", "b"], true);
    rig.kill("a", None);
    let updates = rig.updates();
    assert_eq!(updates.len(), 2);
    for update in updates {
        assert_eq!(update.status.state, TaskState::TaskKilled as i32);
        assert_eq!(update.status.reason, Some(task_status::Reason::TaskKilledDuringLaunch as i32));
    }
    rig.image();
    assert!(rig.orders.is_empty());
}

#[test]
fn an_image_that_cannot_be_had_ends_the_group() {
    let mut rig = Rig::registered();
    let mut other = task("b");
    other.command.as_mut().unwrap().uris[0].value = "http://images/gone.wasm".into();
    rig.master(&RunTaskGroupMessage {
        framework: framework("F", true),
        executor: executor("E", executor_info::Type::Default),
        task_group: mesos::TaskGroupInfo { tasks: vec![task("a"), other] },
        launch_executor: Some(true),
        ..Default::default()
    });
    rig.agents.image("http://images/gone.wasm", Err("404".into()), rig.now);
    rig.drain();
    rig.image();
    use TaskState::*;
    assert_eq!(states(&mut rig), [("a".into(), TaskKilled), ("b".into(), TaskFailed)]);
    assert!(rig.orders.is_empty());
}

#[test]
fn the_master_and_the_agent_agree_on_executors_or_the_launch_is_dropped() {
    // (is there, is to be started, launched, says that it is gone)
    for (there, starts, launched, exits) in
        [(false, true, true, 0), (true, false, true, 0), (true, true, false, 1), (false, false, false, 0)]
    {
        let mut rig = Rig::registered();
        if there {
            run_custom(&mut rig, "first", true);
            rig.image();
            rig.status(1, 1, State::Running);
        }
        rig.fetches.clear();
        rig.sent.clear();
        run_custom(&mut rig, "a", starts);
        assert_eq!(rig.fetches.len(), usize::from(launched), "{there} {starts}");
        let exited =
            rig.sent.iter().filter(|(.., name, _)| *name == ExitedExecutorMessage::full_name()).count();
        assert_eq!(exited, exits, "{there} {starts}");
        if !launched {
            let status = rig.update().status;
            assert_eq!(status.state, TaskState::TaskDropped as i32);
            assert_eq!(status.reason, Some(task_status::Reason::ExecutorTerminated as i32));
        }
    }
}

#[test]
fn a_custom_executor_is_the_image_that_runs_and_gets_the_data() {
    let mut rig = Rig::registered();
    let mut task = custom("a");
    task.data = Some(b"7".to_vec());
    rig.master(&RunTaskMessage { framework: framework("F", true), task, ..Default::default() });
    rig.image();
    let Some(ToNode::Launch { document, .. }) = rig.orders.pop() else { panic!("no launch") };
    assert_eq!(postcard::from_bytes::<node_proto::Document>(&document).unwrap().data, b"7");
    // Messages to the executor are for its tasks.
    rig.master(&FrameworkToExecutorMessage {
        slave_id: "S0".into_id(),
        framework_id: mesos::FrameworkId { value: "F".into() },
        executor_id: mesos::ExecutorId { value: "E".into() },
        data: b"hi".to_vec(),
    });
    assert_eq!(rig.orders.pop(), Some(ToNode::Message { task: 1, data: b"hi".to_vec() }));
}

#[test]
fn an_executor_that_is_shut_down_has_its_grace_and_no_more() {
    let shutdown = |rig: &mut Rig| {
        rig.orders.clear();
        rig.sent.clear();
        rig.master(&ShutdownExecutorMessage {
            executor_id: Some(mesos::ExecutorId { value: "E".into() }),
            framework_id: Some(mesos::FrameworkId { value: "F".into() }),
        });
        assert_eq!(rig.orders, [ToNode::Kill { task: 1, grace_ms: 4_000 }]);
    };
    let mut rig = Rig::registered();
    run_custom(&mut rig, "a", true);
    rig.image();
    shutdown(&mut rig);
    rig.run_until(rig.now + 4_999);
    assert!(rig.updates().is_empty());
    run_custom(&mut rig, "late", false);
    assert_eq!(states(&mut rig), [("late".into(), TaskState::TaskDropped)]);
    rig.run_until(rig.now + 1);
    let sent: Vec<String> = rig.sent.iter().map(|(.., name, _)| name.clone()).collect();
    assert!(sent.contains(&ExitedExecutorMessage::full_name()), "{sent:?}");
    let status = rig.update().status;
    assert_eq!((status.state, status.reason), (TaskState::TaskFailed as i32, Some(1)));

    let mut rig = Rig::registered();
    run_custom(&mut rig, "a", true);
    rig.image();
    shutdown(&mut rig);
    rig.status(1, 1, State::Killed);
    assert_eq!(states(&mut rig), [("a".into(), TaskState::TaskKilled)]);
    rig.master(&PingSlaveMessage { connected: true });
    rig.run_until(rig.now + 9_000);
    assert!(rig.updates().is_empty());
}
