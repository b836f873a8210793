//! Agents marked gone, drained, deactivated.

use crate::support::*;
use mesos_proto::internal::*;
use mesos_proto::mesos::{DrainState, SlaveId, TaskState, slave_info};
use mesos_proto::v1;
use mesos_proto::v1::master::{Call, call};
use mesos_proto::v1::scheduler::event;

fn agent_id(id: &str) -> v1::AgentId {
    v1::AgentId { value: id.into() }
}

fn mark_gone(world: &mut World, id: &str) -> u16 {
    let field = call::MarkAgentGone { agent_id: agent_id(id) };
    world.operator(call::Type::MarkAgentGone, |call| call.mark_agent_gone = Some(field)).0
}

fn drain(world: &mut World, id: &str, gone: bool) -> u16 {
    let longest = call::drain_agent::Duration { seconds: Some(10), nanos: Some(5) };
    let field =
        call::DrainAgent { agent_id: agent_id(id), max_grace_period: Some(longest), mark_gone: Some(gone) };
    world.operator(call::Type::DrainAgent, |call| call.drain_agent = Some(field)).0
}

fn deactivate(world: &mut World, id: &str) -> u16 {
    let field = call::DeactivateAgent { agent_id: agent_id(id) };
    world.operator(call::Type::DeactivateAgent, |call| call.deactivate_agent = Some(field)).0
}

fn reactivate(world: &mut World, id: &str) -> u16 {
    let field = call::ReactivateAgent { agent_id: agent_id(id) };
    world.operator(call::Type::ReactivateAgent, |call| call.reactivate_agent = Some(field)).0
}

/// What `GET_AGENTS` says of the drain of the one agent.
fn drain_state(world: &mut World) -> Option<DrainState> {
    let agents = world.agents();
    let info = agents.first()?.drain_info?;
    DrainState::try_from(info.state).ok()
}

#[test]
fn an_agent_marked_gone_is_shut_down_and_refused_for_ever() {
    let (mut world, agent, fw) = running();
    assert_eq!(mark_gone(&mut world, &agent), 200);
    world.got::<ShutdownMessage>(&pid(1));
    let update = world.update();
    assert_eq!(update.state(), v1::TaskState::TaskGoneByOperator);
    assert_eq!(update.reason(), v1::task_status::Reason::AgentRemovedByOperator);
    assert!(world.next_event(event::Type::Failure).is_some());
    for restarts in 0..3 {
        reregister(
            &mut world,
            1,
            &agent,
            vec![known("t", &fw.0, &agent, TaskState::TaskRunning)],
            vec![framework()],
        );
        world.got::<ShutdownMessage>(&pid(1));
        assert!(world.take::<SlaveReregisteredMessage>(&pid(1)).is_none(), "after {restarts} restarts");
        assert!(world.agents().is_empty());
        assert_eq!(mark_gone(&mut world, &agent), 200, "it is already");
        world.restart();
    }
    assert_eq!(mark_gone(&mut world, "nobody"), 404);
}

#[test]
fn absent_agents_can_be_marked_gone_and_their_tasks_are() {
    let (mut world, agent, fw) = running();
    world.pass(6 * PING);
    assert_eq!(world.update().state(), v1::TaskState::TaskUnreachable);
    assert_eq!(mark_gone(&mut world, &agent), 200);
    assert_eq!(world.update().state(), v1::TaskState::TaskGoneByOperator);
    reregister(&mut world, 1, &agent, vec![known("t", &fw.0, &agent, TaskState::TaskRunning)], Vec::new());
    world.got::<ShutdownMessage>(&pid(1));

    let mut world = World::new();
    let agent = world.register(1);
    world.restart();
    assert_eq!(mark_gone(&mut world, &agent), 200);
    world.sent.clear();
    reregister(&mut world, 1, &agent, Vec::new(), Vec::new());
    world.got::<ShutdownMessage>(&pid(1));
}

#[test]
fn a_drain_ends_with_the_last_acknowledgement_and_outlives_restarts() {
    let (mut world, agent, fw) = running();
    assert_eq!(drain(&mut world, &agent, false), 200);
    let config = world.got::<DrainSlaveMessage>(&pid(1)).config;
    assert_eq!(config.max_grace_period.unwrap().nanoseconds, 10_000_000_005);
    world.pass(60_000 - 1);
    assert!(world.next_event(event::Type::Offers).is_none());
    assert_eq!(reactivate(&mut world, &agent), 400, "still draining");
    // A restart in between: the agent is told again, and the task is still there.
    world.restart();
    let fw = world.subscribe(mesos_proto::mesos::FrameworkInfo {
        id: Some(mesos_proto::mesos::FrameworkId { value: fw.0 }),
        ..framework()
    });
    world.events.clear();
    let mut slave = slave(1, 2.0, 64.0);
    slave.id = Some(SlaveId { value: agent.clone() });
    world.agent_sends(
        &pid(1),
        &ReregisterSlaveMessage {
            slave,
            tasks: vec![known("t", &fw.0, &agent, TaskState::TaskRunning)],
            version: Some("1.11.0".into()),
            agent_capabilities: capabilities(),
            ..Default::default()
        },
    );
    world.got::<DrainSlaveMessage>(&pid(1));
    assert_eq!(drain_state(&mut world), Some(DrainState::Draining));
    world.status(1, &agent, &fw.0, "t", TaskState::TaskKilled, 9);
    assert_eq!(world.update().state(), v1::TaskState::TaskKilled);
    assert_eq!(drain_state(&mut world), Some(DrainState::Draining), "its end is not acknowledged");
    world.acknowledge(&fw, &agent, "t", 9);
    assert_eq!(drain_state(&mut world), Some(DrainState::Drained));
    world.pass(5000);
    assert!(world.next_event(event::Type::Offers).is_none());
    world.restart();
    world.subscribe(framework());
    reregister(&mut world, 1, &agent, Vec::new(), Vec::new());
    assert_eq!(drain_state(&mut world), Some(DrainState::Drained));
    assert!(world.next_event(event::Type::Offers).is_none());
    assert_eq!(reactivate(&mut world, &agent), 200);
    assert_eq!(world.offer().agent_id.value, agent);
    assert_eq!(drain_state(&mut world), None);
}

#[test]
fn a_drain_that_marks_gone_does_so_at_its_end_alone() {
    let (mut world, agent, fw) = running();
    assert_eq!(drain(&mut world, &agent, true), 200);
    // Not answering is no end of what runs there.
    world.pass(6 * PING);
    assert_eq!(world.update().state(), v1::TaskState::TaskUnreachable);
    reregister(&mut world, 1, &agent, vec![known("t", &fw.0, &agent, TaskState::TaskRunning)], Vec::new());
    assert_eq!(world.agents().len(), 1);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskGoneByOperator, 9);
    world.acknowledge(&fw, &agent, "t", 9);
    world.got::<ShutdownMessage>(&pid(1));
    assert!(world.agents().is_empty());
    world.restart();
    reregister(&mut world, 1, &agent, Vec::new(), Vec::new());
    world.got::<ShutdownMessage>(&pid(1));
}

#[test]
fn an_empty_agent_is_drained_at_once_and_one_that_cannot_is_refused() {
    let mut world = World::new();
    let agent = world.register(1);
    assert_eq!(drain(&mut world, &agent, false), 200);
    assert_eq!(drain_state(&mut world), Some(DrainState::Drained));
    assert_eq!(drain(&mut world, "nobody", false), 400);
    let message = RegisterSlaveMessage {
        slave: slave(2, 2.0, 64.0),
        version: Some("1.11.0".into()),
        agent_capabilities: capabilities()
            .into_iter()
            .filter(|c| c.r#type != Some(slave_info::capability::Type::AgentDraining as i32))
            .collect(),
        ..Default::default()
    };
    world.agent_sends(&pid(2), &message);
    let other = world.got::<SlaveRegisteredMessage>(&pid(2)).slave_id.value;
    assert_eq!(drain(&mut world, &other, false), 400);
    assert!(world.replies.last().unwrap().2.contains("not capable of draining"));
    let empty = Call { r#type: Some(call::Type::DrainAgent as i32), ..Default::default() };
    assert_eq!(world.operator(call::Type::DrainAgent, |call| *call = empty).0, 400);
}

#[test]
fn a_deactivated_agent_keeps_its_tasks_and_is_not_offered() {
    let (mut world, agent, _) = running();
    assert_eq!(reactivate(&mut world, &agent), 400, "it is active");
    assert_eq!(deactivate(&mut world, &agent), 200);
    assert!(world.take::<DrainSlaveMessage>(&pid(1)).is_none());
    world.pass(10_000);
    assert!(world.next_event(event::Type::Offers).is_none());
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);
    let agents = world.agents();
    assert!(agents[0].deactivated() && !agents[0].active && agents[0].drain_info.is_none());
    // Its connection breaks and is back: still nothing.
    world.input(master::core::Input::Exited(pid(1).addr));
    reregister(&mut world, 1, &agent, Vec::new(), Vec::new());
    world.pass(10_000);
    assert!(world.next_event(event::Type::Offers).is_none());
    assert_eq!(reactivate(&mut world, &agent), 200);
    world.offer();
    assert!(world.agents()[0].active);
}
