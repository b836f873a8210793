//! Agents: registration, pings, loss, return.

use crate::support::*;
use master::core::Input;
use master::view::View;
use mesos_proto::internal::*;
use mesos_proto::mesos::{FrameworkId, SlaveInfo, TaskState};
use mesos_proto::resources::scalar;
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{call, event};

#[test]
fn registering_again_gives_the_same_id_only_while_connected() {
    let mut world = World::new();
    assert_eq!(world.register(1), "m-S0");
    assert_eq!(world.register(1), "m-S0");
    assert_eq!(world.register(2), "m-S1");
    world.input(Input::Exited(pid(1).addr));
    assert_eq!(world.register(1), "m-S2");
    let slaves = world.core.view(View::Slaves);
    let ids: Vec<_> =
        slaves["slaves"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["m-S1", "m-S2"]);
}

#[test]
fn old_versions_and_nonsense_resources_are_not_admitted() {
    let mut world = World::new();
    for (version, resource) in
        [("0.28.2", scalar("cpus", 1.0)), ("1.11.0", scalar("cpus", 0.0004)), ("x", scalar("cpus", 1.0))]
    {
        let slave = SlaveInfo { hostname: "h".into(), resources: vec![resource], ..Default::default() };
        let message = RegisterSlaveMessage { slave, version: Some(version.into()), ..Default::default() };
        world.agent_sends(&pid(1), &message);
    }
    assert!(world.sent.is_empty());
    assert_eq!(world.core.counter("slave_registrations_refused"), 3);
}

#[test]
fn a_silent_agent_is_unreachable_after_five_pings() {
    let (mut world, agent, fw) = running();
    let mut pings = 0;
    for _ in 0..5 {
        world.pass(PING);
        let ping: PingSlaveMessage = world.got(&pid(1));
        assert!(ping.connected);
        pings += 1;
    }
    assert_eq!(pings, 5);
    assert!(world.next_event(event::Type::Update).is_none());
    world.pass(PING);
    let update = world.update();
    assert_eq!(update.state(), v1::TaskState::TaskUnreachable);
    assert_eq!(update.reason(), v1::task_status::Reason::AgentRemoved);
    assert!(update.unreachable_time.is_some() && update.uuid.is_none());
    let failure = world.next_event(event::Type::Failure).unwrap().failure.unwrap();
    assert_eq!(failure.agent_id.unwrap().value, agent);
    assert!(world.next_event(event::Type::Rescind).is_some(), "its offers are withdrawn");

    // It comes back with the task: the framework hears that it runs after all.
    reregister(&mut world, 1, &agent, vec![known("t", &fw.0, &agent, TaskState::TaskRunning)], vec![]);
    let answer: SlaveReregisteredMessage = world.got(&pid(1));
    assert!(answer.reconciliations.is_empty());
    let update = world.update();
    assert_eq!(update.state(), v1::TaskState::TaskRunning);
    assert_eq!(update.reason(), v1::task_status::Reason::AgentReregistered);
    world.pass(1000);
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 1.0, "what the task holds is not offered");
}

#[test]
fn an_answered_ping_keeps_an_agent_for_ever() {
    let (mut world, agent, _) = running();
    for _ in 0..40 {
        world.pass(PING);
        let at = world.sent.iter().position(|(.., name, _)| name.ends_with("PingSlaveMessage")).unwrap();
        let (observer, ..) = world.sent.remove(at);
        // A stranger's pong counts for nothing.
        world.send_to(&pid(9), &observer, &PongSlaveMessage {});
        world.send_to(&pid(1), &observer, &PongSlaveMessage {});
    }
    assert_eq!(world.core.counter("messages_from_wrong_sender"), 40);
    assert_eq!(world.core.view(View::Slaves)["slaves"][0]["id"], agent.as_str());
}

#[test]
fn a_disconnected_agent_loses_its_offers_and_keeps_its_checkpointed_tasks() {
    let (mut world, agent, fw) = running();
    world.pass(6000);
    let offer = world.offer();
    world.input(Input::Exited(pid(1).addr));
    let rescinded = world.next_event(event::Type::Rescind).unwrap().rescind.unwrap().offer_id;
    assert_eq!(rescinded, offer.id);
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
    world.sent.clear();
    world.pass(PING);
    assert!(!world.got::<PingSlaveMessage>(&pid(1)).connected);
    // A kill for it waits until it is back.
    let kill = call::Kill { task_id: v1::TaskId { value: "t".into() }, ..Default::default() };
    assert_eq!(world.framework_call(&fw, call::Type::Kill, |call| call.kill = Some(kill)), 202);
    assert!(world.take::<KillTaskMessage>(&pid(1)).is_none());
    reregister(&mut world, 1, &agent, vec![known("t", &fw.0, &agent, TaskState::TaskRunning)], vec![]);
    assert_eq!(world.got::<SlaveReregisteredMessage>(&pid(1)).slave_id.value, agent);
    assert_eq!(world.got::<KillTaskMessage>(&pid(1)).task_id.value, "t");
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
}

#[test]
fn a_launch_that_the_agent_never_saw_is_reconciled() {
    let (mut world, agent, fw) = running();
    reregister(&mut world, 1, &agent, vec![], vec![]);
    let answer: SlaveReregisteredMessage = world.got(&pid(1));
    assert_eq!(answer.reconciliations.len(), 1);
    assert_eq!(answer.reconciliations[0].statuses[0].task_id.value, "t");
    world.status(1, &agent, &fw.0, "t", TaskState::TaskDropped, 7);
    assert_eq!(world.update().state(), v1::TaskState::TaskDropped);
}

#[test]
fn a_task_that_an_unreachable_agent_comes_back_without_is_gone() {
    let (mut world, agent, fw, offer) = ready();
    world.launch(&fw, &offer, vec![task("t", &agent, 1.0, 32.0)]);
    world.pass(7 * PING);
    assert_eq!(world.update().state(), v1::TaskState::TaskUnreachable);
    reregister(&mut world, 1, &agent, vec![], vec![]);
    let asked = call::reconcile::Task {
        task_id: v1::TaskId { value: "t".into() },
        agent_id: Some(v1::AgentId { value: agent }),
    };
    let reconcile = call::Reconcile { tasks: vec![asked] };
    world.framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(reconcile));
    assert_eq!(world.update().state(), v1::TaskState::TaskGone);
}

#[test]
fn an_acknowledged_end_is_not_taken_over_from_a_late_registration() {
    let (mut world, agent, fw) = running();
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 2);
    world.acknowledge(&fw, &agent, "t", 2);
    // Sent before the acknowledgement reached the agent.
    let tasks = vec![known("t", &fw.0, &agent, TaskState::TaskFinished)];
    reregister(&mut world, 1, &agent, tasks, vec![]);
    world.sent.clear();
    reregister(&mut world, 1, &agent, vec![], vec![]);
    let answer = world.got::<SlaveReregisteredMessage>(&pid(1));
    assert!(answer.reconciliations.is_empty(), "nobody asks for it again");
}

#[test]
fn an_end_that_was_not_acknowledged_comes_back_with_its_agent() {
    let (mut world, agent, fw) = running();
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 2);
    world.pass(7 * PING);
    let tasks = vec![known("t", &fw.0, &agent, TaskState::TaskFinished)];
    reregister(&mut world, 1, &agent, tasks, vec![]);
    world.events.clear();
    let asked = call::reconcile::Task { task_id: v1::TaskId { value: "t".into() }, agent_id: None };
    let reconcile = call::Reconcile { tasks: vec![asked] };
    world.framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(reconcile));
    assert_eq!(world.update().state(), v1::TaskState::TaskFinished);
}

#[test]
fn an_unknown_agent_brings_back_its_frameworks_and_tasks() {
    // As after a restart of the master.
    let mut world = World::new();
    let mut info = framework();
    info.id = Some(FrameworkId { value: "old-0000".into() });
    let tasks = vec![known("t", "old-0000", "old-S7", TaskState::TaskRunning)];
    reregister(&mut world, 1, "old-S7", tasks, vec![info.clone()]);
    assert_eq!(world.got::<SlaveReregisteredMessage>(&pid(1)).slave_id.value, "old-S7");
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
    // Its framework returns under its id and finds the task.
    let fw = world.subscribe(info);
    assert_eq!(fw.0, "old-0000");
    world.got::<UpdateFrameworkMessage>(&pid(1));
    world
        .framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(call::Reconcile::default()));
    assert_eq!(world.update().state(), v1::TaskState::TaskRunning);
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 1.0);
}

#[test]
fn another_host_under_the_same_id_is_told_to_shut_down() {
    let mut world = World::new();
    let agent = world.register(1);
    reregister(&mut world, 2, &agent, vec![], vec![]);
    assert!(world.got::<ShutdownMessage>(&pid(2)).message().contains("different IP or hostname"));
}
