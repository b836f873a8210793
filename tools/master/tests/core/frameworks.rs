//! Frameworks: calls, streams, failover, removal.

use crate::support::*;
use master::core::Input;
use master::view::View;
use mesos_proto::internal::*;
use mesos_proto::mesos::{FrameworkId, TaskState};
use mesos_proto::recast;
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{Call, call, event};

#[test]
fn failover_keeps_tasks_and_closes_the_old_stream() {
    let (mut world, agent, fw) = running();
    let mut info = framework();
    info.id = Some(FrameworkId { value: fw.0.clone() });
    let new = world.subscribe(info);
    assert_eq!(new.0, fw.0);
    assert_eq!(world.closed, [fw.1.as_str()]);
    let error = world.next_event(event::Type::Error).unwrap().error.unwrap();
    assert_eq!(error.message, "Framework failed over");
    world.got::<UpdateFrameworkMessage>(&pid(1));
    // The old instance is out, the new one is in.
    assert_eq!(world.framework_call(&fw, call::Type::Revive, |_| {}), 400);
    assert_eq!(world.framework_call(&new, call::Type::Revive, |_| {}), 202);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 3);
    let at = world.events.iter().position(|(_, e)| e.r#type() == event::Type::Update).unwrap();
    assert_eq!(world.events[at].0, new.1);
}

#[test]
fn a_framework_that_stays_away_is_removed_after_its_timeout() {
    let (mut world, _, fw) = running();
    world.input(Input::Closed { stream: fw.1.clone() });
    world.pass(59_000);
    assert_eq!(world.framework_call(&fw, call::Type::Revive, |_| {}), 403);
    assert!(world.take::<ShutdownFrameworkMessage>(&pid(1)).is_none());
    world.pass(2000);
    assert_eq!(world.got::<ShutdownFrameworkMessage>(&pid(1)).framework_id.value, fw.0);
    assert_eq!(world.framework_call(&fw, call::Type::Revive, |_| {}), 400);
    // The id does not come back.
    let mut info = framework();
    info.id = Some(FrameworkId { value: fw.0.clone() });
    let call = Call {
        r#type: Some(call::Type::Subscribe as i32),
        framework_id: Some(v1::FrameworkId { value: fw.0.clone() }),
        subscribe: Some(call::Subscribe { framework_info: recast(&info).unwrap(), ..Default::default() }),
        ..Default::default()
    };
    world.call(None, call);
    let error = world.next_event(event::Type::Error).unwrap().error.unwrap();
    assert_eq!(error.message, "Framework has been removed");
}

#[test]
fn a_framework_that_comes_back_in_time_stays() {
    let (mut world, _, fw) = running();
    world.input(Input::Closed { stream: fw.1.clone() });
    world.pass(30_000);
    let mut info = framework();
    info.id = Some(FrameworkId { value: fw.0.clone() });
    world.subscribe(info);
    world.sent.retain(|(.., name, _)| !name.ends_with("PingSlaveMessage"));
    world.pass(40_000);
    assert!(world.take::<ShutdownFrameworkMessage>(&pid(1)).is_none());
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
}

#[test]
fn teardown_shuts_the_framework_down_everywhere() {
    let (mut world, _, fw) = running();
    assert_eq!(world.framework_call(&fw, call::Type::Teardown, |_| {}), 202);
    world.got::<ShutdownFrameworkMessage>(&pid(1));
    assert_eq!(world.closed, [fw.1]);
    let metrics = world.core.view(View::Metrics);
    assert_eq!(metrics["master/cpus_used"], 0.0);
    assert_eq!(metrics["master/tasks_running"], 0.0);
}

#[test]
fn calls_are_refused_as_mesos_refuses_them() {
    let (mut world, _, fw, _) = ready();
    let revive = |id: Option<&str>| Call {
        r#type: Some(call::Type::Revive as i32),
        framework_id: id.map(|id| v1::FrameworkId { value: id.into() }),
        ..Default::default()
    };
    assert_eq!(world.call(Some(&fw.1), revive(None)), 400);
    assert_eq!(world.call(Some(&fw.1), revive(Some("nobody"))), 400);
    assert_eq!(world.call(None, revive(Some(&fw.0))), 400);
    assert_eq!(world.call(Some("other"), revive(Some(&fw.0))), 400);
    assert_eq!(world.call(Some(&fw.1), revive(Some(&fw.0))), 202);
    assert_eq!(world.framework_call(&fw, call::Type::Accept, |_| {}), 400);
}

#[test]
fn heartbeats_come_while_subscribed() {
    let (mut world, _, fw, _) = ready();
    world.pass(15_000);
    assert!(world.next_event(event::Type::Heartbeat).is_some());
    world.input(Input::Closed { stream: fw.1 });
    world.events.clear();
    world.pass(60_000);
    assert!(world.next_event(event::Type::Heartbeat).is_none());
}
