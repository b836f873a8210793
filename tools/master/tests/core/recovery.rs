//! The master started again on what it has committed.

use crate::support::*;
use master::store::{Records, Table};
use mesos_proto::internal::*;
use mesos_proto::mesos::{FrameworkInfo, TaskState};
use mesos_proto::v1;
use mesos_proto::v1::scheduler::{call, event};

/// As long as agents have to come back.
const TIMEOUT: u64 = 600_000;

fn with_id(id: &str) -> FrameworkInfo {
    FrameworkInfo { id: Some(mesos_proto::mesos::FrameworkId { value: id.into() }), ..framework() }
}

fn reconcile(world: &mut World, fw: &(String, String), task: &str, agent: Option<&str>) {
    let agent_id = agent.map(|agent| v1::AgentId { value: agent.into() });
    let task = call::reconcile::Task { task_id: v1::TaskId { value: task.into() }, agent_id };
    let reconcile = call::Reconcile { tasks: vec![task] };
    assert_eq!(world.framework_call(fw, call::Type::Reconcile, |call| call.reconcile = Some(reconcile)), 202);
}

#[test]
fn no_number_is_given_twice() {
    let mut world = World::new();
    let agent = world.register(1);
    let (framework_id, _) = world.subscribe(framework());
    let offer = world.offer().id.value;
    world.restart();
    assert_eq!(world.core.id(), "m");
    assert_ne!(world.register(2), agent);
    assert_ne!(world.subscribe(framework()).0, framework_id);
    assert_ne!(world.offer().id.value, offer);
}

#[test]
fn records_restored_from_an_older_copy_give_no_id_that_is_known() {
    let mut world = World::new();
    world.register(1);
    let old = world.records.clone();
    let agent = world.register(2);
    let frameworks = (world.subscribe(framework()).0, world.subscribe(framework()).0);
    world.records = old;
    world.restart();
    reregister(&mut world, 2, &agent, Vec::new(), vec![with_id(&frameworks.0)]);
    assert_ne!(world.register(3), agent);
    assert_ne!(world.subscribe(framework()).0, frameworks.0);
}

#[test]
fn a_task_runs_on_over_a_restart_and_ends_once() {
    let (mut world, agent, fw) = running();
    world.restart();
    let fw = world.subscribe(with_id(&fw.0));
    assert_eq!(fw.0, "m-0000");
    // Nobody knows yet what became of it: nothing is said, with the agent's name or without.
    reconcile(&mut world, &fw, "t", Some(&agent));
    reconcile(&mut world, &fw, "t", None);
    assert!(world.next_event(event::Type::Update).is_none());
    reregister(
        &mut world,
        1,
        &agent,
        vec![known("t", &fw.0, &agent, TaskState::TaskRunning)],
        vec![framework()],
    );
    let answer: SlaveReregisteredMessage = world.got(&pid(1));
    assert_eq!(answer.slave_id.value, agent);
    assert!(world.next_event(event::Type::Update).is_none(), "expected, and no news");
    reconcile(&mut world, &fw, "t", Some(&agent));
    assert_eq!(world.update().state(), v1::TaskState::TaskRunning);
    reconcile(&mut world, &fw, "other", Some(&agent));
    assert_eq!(world.update().state(), v1::TaskState::TaskGone);
    world.status(1, &agent, &fw.0, "t", TaskState::TaskFinished, 2);
    assert_eq!(world.update().state(), v1::TaskState::TaskFinished);
    world.acknowledge(&fw, &agent, "t", 2);
    world.restart();
    let fw = world.subscribe(with_id(&fw.0));
    reregister(&mut world, 1, &agent, Vec::new(), Vec::new());
    world.pass(2 * TIMEOUT);
    assert!(world.next_event(event::Type::Update).is_none());
    assert_eq!(fw.0, "m-0000");
}

#[test]
fn a_new_agent_where_one_from_before_the_restart_was_ends_that_one() {
    let (mut world, agent, fw) = running();
    world.restart();
    let fw = world.subscribe(with_id(&fw.0));
    // It was never told its id, or has lost it.
    assert_ne!(world.register(1), agent);
    reconcile(&mut world, &fw, "t", Some(&agent));
    assert_eq!(world.update().state(), v1::TaskState::TaskGoneByOperator);
    // Another one says nothing of it.
    let other = world.register(2);
    world.restart();
    world.subscribe(with_id(&fw.0));
    world.register(3);
    reregister(&mut world, 2, &other, Vec::new(), Vec::new());
    let answer: SlaveReregisteredMessage = world.got(&pid(2));
    assert_eq!(answer.slave_id.value, other);
}

#[test]
fn an_agent_that_does_not_come_back_is_unreachable_and_may_be_back_later() {
    let (mut world, agent, fw) = running();
    world.restart();
    let fw = world.subscribe(with_id(&fw.0));
    world.pass(TIMEOUT - 1);
    assert!(world.next_event(event::Type::Failure).is_none());
    world.pass(2);
    let failure = world.next_event(event::Type::Failure).unwrap().failure.unwrap();
    assert_eq!(failure.agent_id.unwrap().value, agent);
    reconcile(&mut world, &fw, "t", Some(&agent));
    let update = world.update();
    assert_eq!(update.state(), v1::TaskState::TaskUnreachable);
    assert_eq!(update.unreachable_time.unwrap().nanoseconds, ((1_000_000 + TIMEOUT) * 1_000_000) as i64);
    // That outlives a restart too; and then it is back with its task.
    world.restart();
    let fw = world.subscribe(with_id(&fw.0));
    reconcile(&mut world, &fw, "t", Some(&agent));
    assert_eq!(world.update().state(), v1::TaskState::TaskUnreachable);
    reregister(&mut world, 1, &agent, vec![known("t", &fw.0, &agent, TaskState::TaskRunning)], Vec::new());
    assert_eq!(world.update().state(), v1::TaskState::TaskRunning);
}

#[test]
fn a_framework_torn_down_is_refused_after_a_restart_and_its_tasks_are_ended() {
    let (mut world, agent, fw) = running();
    assert_eq!(world.framework_call(&fw, call::Type::Teardown, |_| {}), 202);
    world.restart();
    reregister(
        &mut world,
        1,
        &agent,
        vec![known("t", &fw.0, &agent, TaskState::TaskRunning)],
        vec![with_id(&fw.0)],
    );
    assert_eq!(world.got::<ShutdownFrameworkMessage>(&pid(1)).framework_id.value, fw.0);
    assert!(world.states().is_empty());
    let subscribe = call::Subscribe {
        framework_info: mesos_proto::recast(&with_id(&fw.0)).unwrap(),
        ..Default::default()
    };
    let call = v1::scheduler::Call {
        r#type: Some(call::Type::Subscribe as i32),
        framework_id: Some(v1::FrameworkId { value: fw.0 }),
        subscribe: Some(subscribe),
        ..Default::default()
    };
    world.call(None, call);
    let error = world.next_event(event::Type::Error).unwrap().error.unwrap();
    assert!(error.message.contains("removed"), "{}", error.message);
}

#[test]
fn a_framework_without_failover_timeout_has_as_long_as_the_agents() {
    let mut world = World::new();
    let hasty = FrameworkInfo { failover_timeout: None, ..framework() };
    let (id, _) = world.subscribe(hasty);
    world.restart();
    world.pass(TIMEOUT - 1);
    let (id, stream) = world.subscribe(FrameworkInfo { failover_timeout: None, ..with_id(&id) });
    // Here again, its own timeout counts.
    world.input(master::core::Input::Closed { stream });
    world.pass(1);
    world.restart();
    assert!(world.records.iter().all(|(table, key, _)| *table != Table::Framework || *key != id.as_bytes()));
}

#[test]
fn with_too_many_away_nobody_is_given_up_and_with_a_rate_one_after_the_other() {
    let mut world = World::new();
    let agents: Vec<_> = (1..=4).map(|number| world.register(number)).collect();
    world.tune = |config| {
        config.recovery_agent_removal_limit = 0.5;
        config.agent_removal_interval_ms = 60_000;
    };
    world.restart();
    world.subscribe(framework());
    reregister(&mut world, 1, &agents[0], Vec::new(), Vec::new());
    let lost = |world: &mut World| std::iter::from_fn(|| world.next_event(event::Type::Failure)).count();
    world.sent.clear();
    world.pass_with_pongs(TIMEOUT + 1, &[1]);
    assert_eq!(lost(&mut world), 0, "three of four are missing");
    reregister(&mut world, 2, &agents[1], Vec::new(), Vec::new());
    world.pass_with_pongs(TIMEOUT, &[1, 2]);
    assert_eq!(lost(&mut world), 1, "the first at once");
    reregister(&mut world, 4, &agents[3], Vec::new(), Vec::new());
    world.pass_with_pongs(60_000, &[1, 2, 4]);
    assert_eq!(lost(&mut world), 0, "the second was back before its turn");
}

#[test]
fn records_that_say_nothing_are_refused() {
    let records: Records = vec![(Table::Agent, b"m-S0".to_vec(), vec![0xff])];
    let error = core_on(&records, 1, |_| {}).err().unwrap().to_string();
    assert!(error.contains("restore the state directory"), "{error}");
}
