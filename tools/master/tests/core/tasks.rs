//! Tasks from their launch to their acknowledged end.

use crate::support::*;
use master::view::View;
use mesos_proto::internal::*;
use mesos_proto::mesos::{self, ExecutorId, FrameworkId, SlaveId, TaskInfo, TaskState};
use mesos_proto::resources::scalar;
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{call, event};

#[test]
fn a_task_from_offer_to_its_acknowledged_end() {
    let (mut world, agent, fw, offer) = ready();
    assert_eq!((agent.as_str(), fw.0.as_str()), ("m-S0", "m-0000"));
    assert_eq!(offer.id.value, "m-O0");
    assert_eq!(offer.hostname, "node-1.test");
    assert_eq!(offer.allocation_info.unwrap().role(), "ops");
    let amounts: Vec<_> =
        offer.resources.iter().map(|r| (r.name.as_str(), r.scalar.unwrap().value)).collect();
    assert_eq!(amounts, [("cpus", 2.0), ("mem", 64.0)]);

    let offer = v1::Offer { allocation_info: None, ..offer };
    world.launch(&fw, &offer, vec![task("t", &agent, 0.5, 16.0)]);
    let run: RunTaskMessage = world.got(&pid(1));
    assert_eq!(run.pid(), "@0.0.0.0:0");
    assert!(run.launch_executor());
    assert_eq!(run.framework.id.unwrap().value, fw.0);
    assert_eq!(run.task.resources[0].allocation_info.as_ref().unwrap().role(), "ops");
    // The rest is filtered: no offer for five seconds, although the interval is one.
    world.pass(4900);
    assert!(world.next_event(event::Type::Offers).is_none());
    world.pass(1100);
    let rest = world.offer();
    assert_eq!(rest.resources[0].scalar.unwrap().value, 1.5);

    world.status(1, &agent, &fw.0, "t", TaskState::TaskRunning, 1);
    let update = world.update();
    assert_eq!((update.state(), update.uuid()), (v1::TaskState::TaskRunning, &[1; 16][..]));
    assert_eq!(update.agent_id.unwrap().value, agent);
    world.acknowledge(&fw, &agent, "t", 1);
    let ack: StatusUpdateAcknowledgementMessage = world.got(&pid(1));
    assert_eq!((ack.uuid, ack.task_id.value.as_str()), (vec![1; 16], "t"));
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING".into())]);

    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 2);
    assert_eq!(world.update().state(), v1::TaskState::TaskFinished);
    // Its resources are free before the acknowledgement, and offered at once.
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 0.5);
    world.acknowledge(&fw, &agent, "t", 2);
    world.got::<StatusUpdateAcknowledgementMessage>(&pid(1));
    assert_eq!(world.states(), [("t".into(), "TASK_FINISHED".into())]);
    let metrics = world.core.view(View::Metrics);
    assert_eq!(metrics["master/tasks_finished"], 1.0);
    assert_eq!(metrics["master/cpus_used"], 0.0);
    assert_eq!(metrics["allocator/mesos/resources/cpus/offered_or_allocated"], 2.0, "all of it is offered");
}

#[test]
fn what_may_not_be_launched_gets_an_error_and_nothing_is_lost() {
    let (mut world, agent, fw, offer) = ready();
    let mut both = task("both", &agent, 0.1, 1.0);
    both.executor = Some(mesos::ExecutorInfo::default());
    let mut empty = task("empty", &agent, 0.1, 1.0);
    empty.resources.clear();
    let good = task("good", &agent, 1.0, 32.0);
    let tasks = vec![
        task("big", &agent, 3.0, 1.0),
        empty,
        both,
        task("a/b", &agent, 0.1, 1.0),
        task("elsewhere", "m-S9", 0.1, 1.0),
        task("tiny", &agent, 0.0001, 1.0),
        good.clone(),
        good,
    ];
    world.launch(&fw, &offer, tasks);
    let mut errors = Vec::new();
    while let Some(event) = world.next_event(event::Type::Update) {
        let status = event.update.unwrap().status;
        assert_eq!(status.state(), v1::TaskState::TaskError);
        assert_eq!(status.reason(), v1::task_status::Reason::TaskInvalid);
        assert!(status.uuid.is_none());
        errors.push((status.task_id.value.clone(), status.message().to_owned()));
    }
    let ids: Vec<_> = errors.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["big", "empty", "both", "a/b", "elsewhere", "tiny", "good"]);
    assert!(errors[0].1.contains("more than available"), "{errors:?}");
    assert!(errors[6].1.contains("duplicate"), "{errors:?}");
    assert_eq!(world.got::<RunTaskMessage>(&pid(1)).task.task_id.value, "good");
    assert!(world.take::<RunTaskMessage>(&pid(1)).is_none());
    // The offer is spent: using it again is an error of another kind.
    world.launch(&fw, &offer, vec![task("late", &agent, 0.1, 1.0)]);
    let status = world.update();
    assert_eq!(status.state(), v1::TaskState::TaskDropped);
    assert_eq!(status.reason(), v1::task_status::Reason::InvalidOffers);
    world.pass(6000);
    assert_eq!(world.offer().resources[0].scalar.unwrap().value, 1.0);
}

#[test]
fn kill_reaches_the_agent_and_an_unknown_task_is_reconciled() {
    let (mut world, agent, fw) = running();
    let kill = |task: &str| call::Kill {
        task_id: v1::TaskId { value: task.into() },
        agent_id: Some(v1::AgentId { value: agent.clone() }),
        kill_policy: Some(v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds: 5 }) }),
    };
    world.framework_call(&fw, call::Type::Kill, |call| call.kill = Some(kill("t")));
    let message: KillTaskMessage = world.got(&pid(1));
    assert_eq!(message.kill_policy.unwrap().grace_period.unwrap().nanoseconds, 5);
    world.framework_call(&fw, call::Type::Kill, |call| call.kill = Some(kill("never")));
    let status = world.update();
    assert_eq!(status.state(), v1::TaskState::TaskGone);
    assert_eq!(status.reason(), v1::task_status::Reason::Reconciliation);
}

#[test]
fn reconciliation_says_what_is_known() {
    let (mut world, agent, fw) = running();
    let ask = |world: &mut World, task: &str, agent: Option<&str>| {
        let agent_id = agent.map(|agent| v1::AgentId { value: agent.into() });
        let task = call::reconcile::Task { task_id: v1::TaskId { value: task.into() }, agent_id };
        let reconcile = call::Reconcile { tasks: vec![task] };
        world.framework_call(&fw, call::Type::Reconcile, |call| call.reconcile = Some(reconcile));
        world.update().state()
    };
    assert_eq!(ask(&mut world, "t", None), v1::TaskState::TaskRunning);
    assert_eq!(ask(&mut world, "x", Some(&agent)), v1::TaskState::TaskGone);
    assert_eq!(ask(&mut world, "x", Some("m-S99")), v1::TaskState::TaskUnknown);
    world.pass(PING * 7);
    world.events.clear();
    assert_eq!(ask(&mut world, "t", None), v1::TaskState::TaskUnreachable);
    assert_eq!(ask(&mut world, "x", Some(&agent)), v1::TaskState::TaskUnreachable);
}

#[test]
fn messages_and_failures_of_executors() {
    let (mut world, agent, fw, offer) = ready();
    let executor = mesos::ExecutorInfo {
        executor_id: ExecutorId { value: "e".into() },
        command: Some(mesos::CommandInfo::default()),
        ..Default::default()
    };
    let own = TaskInfo { command: None, executor: Some(executor), ..task("t", &agent, 1.0, 32.0) };
    world.launch(&fw, &offer, vec![own]);
    world.events.clear();
    let message = ExecutorToFrameworkMessage {
        slave_id: SlaveId { value: agent.clone() },
        framework_id: FrameworkId { value: fw.0.clone() },
        executor_id: ExecutorId { value: "t".into() },
        data: b"21.5".to_vec(),
    };
    world.agent_sends(&pid(1), &message);
    assert_eq!(world.next_event(event::Type::Message).unwrap().message.unwrap().data, b"21.5");
    let exited = ExitedExecutorMessage {
        slave_id: SlaveId { value: agent.clone() },
        framework_id: FrameworkId { value: fw.0.clone() },
        executor_id: ExecutorId { value: "e".into() },
        status: 9,
    };
    world.agent_sends(&pid(1), &exited);
    let failure = world.next_event(event::Type::Failure).unwrap().failure.unwrap();
    assert_eq!((failure.status(), failure.executor_id.unwrap().value.as_str()), (9, "e"));
    let message = call::Message {
        agent_id: v1::AgentId { value: agent },
        executor_id: v1::ExecutorId { value: "t".into() },
        data: b"hello".to_vec(),
    };
    world.framework_call(&fw, call::Type::Message, |call| call.message = Some(message));
    assert_eq!(world.got::<FrameworkToExecutorMessage>(&pid(1)).data, b"hello");
}

#[test]
fn a_custom_executor_is_paid_for_once_and_launched_once() {
    let (mut world, agent, fw, offer) = ready();
    let executor = mesos::ExecutorInfo {
        executor_id: ExecutorId { value: "e".into() },
        command: Some(mesos::CommandInfo::default()),
        resources: vec![scalar("cpus", 0.5)],
        ..Default::default()
    };
    let custom =
        |id: &str| TaskInfo { command: None, executor: Some(executor.clone()), ..task(id, &agent, 0.5, 8.0) };
    world.launch(&fw, &offer, vec![custom("a"), custom("b")]);
    assert!(world.got::<RunTaskMessage>(&pid(1)).launch_executor());
    assert!(!world.got::<RunTaskMessage>(&pid(1)).launch_executor());
    world.pass(6000);
    let rest = world.offer();
    assert_eq!(rest.resources[0].scalar.unwrap().value, 0.5);
    assert_eq!(rest.executor_ids.len(), 1);
}

#[test]
fn updates_of_strangers_and_late_states_change_nothing() {
    let (mut world, agent, fw) = running();
    world.status(9, &agent, &fw.0, "t", TaskState::TaskFailed, 5);
    assert!(world.next_event(event::Type::Update).is_none());
    assert_eq!(world.core.counter("invalid_status_updates"), 1);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 6);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskRunning, 7);
    assert_eq!(world.states(), [("t".into(), "TASK_FINISHED".into())]);
    // Only the acknowledgement of the terminal update removes the task.
    world.acknowledge(&fw, &agent, "t", 6);
    assert_eq!(world.core.view(View::State)["frameworks"][0]["completed_tasks"].as_array().unwrap().len(), 1);
}
