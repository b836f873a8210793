//! Authentication, draining, checks, shutdown of an agent, and orders from strangers.

use crate::rig::*;
use gateway::agent::{Agents, Config};
use gateway::bridge::{FromNode, ToNode};
use libprocess::{Message as WireMessage, Upid};
use mesos_proto::cram::{self, Credential};
use mesos_proto::internal::*;
use mesos_proto::mesos::{self, TaskState, health_check, task_status};
use node_proto::{Failure, Power, Register, State};
use prost::{Message, Name};

fn credential() -> Credential {
    Credential::parse("agents s3cret").unwrap()
}

/// Agents that have to prove who they are.
fn guarded() -> Rig {
    let mut rig = Rig::new();
    let config = Config {
        version: "1.11.0".into(),
        domain: "micro".into(),
        port: 5051,
        epoch_ms: 0,
        credential: Some(credential()),
        offers: Default::default(),
        trust: Default::default(),
    };
    rig.agents = Agents::new(config, "10.0.0.5:5051".parse().unwrap(), &[], 7, 0);
    rig.sent.clear();
    rig.agents.master_detected(Some(master()), 0);
    rig.node(FromNode::Online(online()));
    rig.run_until(1_000);
    rig
}

fn tell<M: Message + Name>(rig: &mut Rig, from: &Upid, message: &M) {
    let message = WireMessage {
        from: Some(from.clone()),
        to: "crammd5-authenticatee(1)".into(),
        name: M::full_name(),
        body: message.encode_to_vec().into(),
    };
    rig.agents.from_master(&message, rig.now);
    rig.drain();
    rig.run_until(rig.now + 1);
}

fn session(number: u32) -> Upid {
    format!("crammd5-authenticator-session({number})@10.0.0.1:5050").parse().unwrap()
}

fn names(rig: &mut Rig) -> Vec<String> {
    let short = |name: &str| name.trim_start_matches("mesos.internal.").to_owned();
    std::mem::take(&mut rig.sent).iter().map(|(.., name, _)| short(name)).collect()
}

fn mechanisms() -> AuthenticationMechanismsMessage {
    AuthenticationMechanismsMessage { mechanisms: vec!["PLAIN".into(), cram::MECHANISM.into()] }
}

#[test]
fn an_agent_proves_who_it_is_before_it_registers() {
    let mut rig = guarded();
    let (from, to, name, body) = rig.sent.remove(0);
    assert_eq!(
        (from.as_str(), to, name),
        ("crammd5-authenticatee(1)", master(), AuthenticateMessage::full_name())
    );
    assert_eq!(AuthenticateMessage::decode(&*body).unwrap().pid, "slave(1)@10.0.0.5:5051");
    tell(&mut rig, &session(1), &mechanisms());
    assert_eq!(rig.sent[0].1, session(1), "the session is answered, not the master");
    let start: AuthenticationStartMessage = rig.taken().remove(0);
    assert_eq!((start.mechanism.as_str(), start.data), (cram::MECHANISM, Some(Vec::new())));
    let challenge = b"<1.2@master>".to_vec();
    tell(&mut rig, &session(9), &AuthenticationStepMessage { data: challenge.clone() });
    assert!(rig.sent.is_empty(), "another session learns nothing");
    tell(&mut rig, &session(1), &AuthenticationStepMessage { data: challenge.clone() });
    let step: AuthenticationStepMessage = rig.taken().remove(0);
    assert!(cram::verify(&credential(), &challenge, &step.data));
    tell(&mut rig, &session(9), &AuthenticationCompletedMessage {});
    assert!(rig.sent.is_empty());
    tell(&mut rig, &session(1), &AuthenticationCompletedMessage {});
    assert_eq!(names(&mut rig), ["RegisterSlaveMessage"]);
    rig.master(&SlaveRegisteredMessage { slave_id: "S0".into_id(), connection: None });
    names(&mut rig);
    // A lost connection takes the proof with it.
    rig.master(&PingSlaveMessage { connected: false });
    rig.run_until(rig.now + 1_000);
    assert_eq!(names(&mut rig), ["PongSlaveMessage", "AuthenticateMessage"]);
}

#[test]
fn an_attempt_that_comes_to_nothing_is_made_again() {
    let mut rig = guarded();
    names(&mut rig);
    rig.run_until(rig.now + 4_000);
    assert!(rig.sent.is_empty(), "an attempt has at least five seconds");
    rig.run_until(rig.now + 3_000);
    assert_eq!(names(&mut rig), ["AuthenticateMessage"]);
    tell(&mut rig, &session(2), &mechanisms());
    names(&mut rig);
    tell(&mut rig, &session(2), &AuthenticationFailedMessage {});
    rig.run_until(rig.now + 50_000);
    assert!(rig.sent.is_empty(), "refused: not in a hurry");
    rig.run_until(rig.now + 15_000);
    assert_eq!(names(&mut rig), ["AuthenticateMessage"]);
    let error = AuthenticationErrorMessage { error: Some("No authenticator loaded".into()) };
    tell(&mut rig, &master(), &error);
    assert_eq!(names(&mut rig), ["RegisterSlaveMessage"]);
}

#[test]
fn draining_kills_all_and_says_why() {
    for (mark_gone, aware) in [(false, true), (true, true), (true, false)] {
        let mut rig = Rig::registered();
        for id in ["a", "b"] {
            let mut task = task(id);
            let grace = mesos::DurationInfo { nanoseconds: 20_000_000_000 };
            task.kill_policy = (id == "a").then_some(mesos::KillPolicy { grace_period: Some(grace) });
            rig.master(&RunTaskMessage { framework: framework("F", aware), task, ..Default::default() });
        }
        rig.image();
        rig.orders.clear();
        let max_grace_period = Some(mesos::DurationInfo { nanoseconds: 10_000_000_000 });
        let config = mesos::DrainConfig { max_grace_period, mark_gone: Some(mark_gone) };
        rig.master(&DrainSlaveMessage { config });
        let kill = |task, grace_ms| ToNode::Kill { task, grace_ms };
        assert_eq!(rig.orders, [kill(1, 10_000), kill(2, 3_000)]);
        rig.restart(); // a drain outlives the gateway
        rig.reregistered();
        rig.sent.clear();
        let late =
            |id| RunTaskMessage { framework: framework("F", aware), task: task(id), ..Default::default() };
        rig.master(&late("late"));
        let dropped = rig.update();
        assert_eq!(dropped.status.reason, Some(task_status::Reason::SlaveDraining as i32));
        rig.acknowledge(&dropped);
        let expected = if mark_gone && aware { TaskState::TaskGoneByOperator } else { TaskState::TaskKilled };
        for task in [1, 2] {
            rig.status(task, 1, State::Killed);
            let update = rig.update();
            assert_eq!(update.status.state, expected as i32);
            assert_eq!(update.status.reason, Some(task_status::Reason::SlaveDraining as i32));
            rig.acknowledge(&update);
        }
        rig.fetches.clear();
        rig.master(&late("after"));
        assert_eq!(rig.fetches, [URI], "drained: open again");
    }
}

#[test]
fn what_a_check_says_is_a_running_update() {
    let mut rig = Rig::registered();
    let mut checked = task("a");
    checked.check = Some(mesos::CheckInfo {
        r#type: Some(mesos::check_info::Type::Command as i32),
        command: Some(mesos::check_info::Command {
            command: mesos::CommandInfo { value: Some("probe".into()), ..Default::default() },
        }),
        ..Default::default()
    });
    rig.run(checked);
    rig.image();
    rig.status(1, 1, State::Running);
    let running = rig.update();
    let exit_code = |update: &StatusUpdate| {
        update.status.check_status.expect("always there").command.expect("of this kind").exit_code
    };
    assert_eq!(exit_code(&running), None);
    rig.status(1, 2, State::Checked(3));
    rig.acknowledge(&running);
    let update = rig.update();
    assert_eq!((update.status.state, exit_code(&update)), (TaskState::TaskRunning as i32, Some(3)));
    assert_eq!(update.status.reason, Some(task_status::Reason::TaskCheckStatusUpdated as i32));
    rig.acknowledge(&update);
    rig.status(1, 3, State::Exited(0));
    assert_eq!(exit_code(&rig.update()), Some(3));
}

#[test]
fn a_health_check_is_passed_on_and_its_kill_told() {
    let mut rig = Rig::registered();
    let mut healthy = task("a");
    healthy.health_check = Some(mesos::HealthCheck {
        command: Some(mesos::CommandInfo { value: Some("well".into()), ..Default::default() }),
        ..Default::default()
    });
    rig.run(healthy);
    rig.image();
    let Some(ToNode::Launch { document, .. }) = rig.orders.pop() else { panic!("no launch") };
    let document: node_proto::Document = postcard::from_bytes(&document).unwrap();
    assert_eq!(document.check.map(|check| (check.entry, check.failures)), Some(("well", 3)));
    let step = |rig: &mut Rig, seq, state| {
        rig.status(1, seq, state);
        let update = rig.update();
        rig.acknowledge(&update);
        (TaskState::try_from(update.status.state).unwrap(), update.status.healthy, update.status.reason)
    };
    let reason = Some(task_status::Reason::TaskHealthCheckStatusUpdated as i32);
    use TaskState::*;
    assert_eq!(step(&mut rig, 1, State::Running), (TaskRunning, None, None));
    assert_eq!(step(&mut rig, 2, State::Health(true)), (TaskRunning, Some(true), reason));
    assert_eq!(step(&mut rig, 3, State::Health(false)), (TaskRunning, Some(false), reason));
    assert_eq!(step(&mut rig, 4, State::Failed(Failure::Unhealthy)), (TaskKilled, Some(false), None));
}

#[test]
fn a_lease_check_follows_the_node() {
    let mut rig = Rig::registered();
    let mut leased = task("a");
    leased.health_check = Some(mesos::HealthCheck {
        r#type: Some(health_check::Type::Command as i32),
        command: Some(mesos::CommandInfo { value: Some(gateway::agent::LEASE.into()), ..Default::default() }),
        ..Default::default()
    });
    rig.run(leased);
    rig.image();
    rig.status(1, 1, State::Running);
    let mut healthy = Vec::new();
    let mut look = |rig: &mut Rig| {
        while let Some(update) = rig.updates().pop() {
            healthy.push(update.status.healthy);
            rig.acknowledge(&update);
        }
    };
    look(&mut rig);
    rig.node(FromNode::Lapsed);
    look(&mut rig);
    rig.node(FromNode::Lapsed);
    look(&mut rig);
    rig.node(FromNode::Alive { power: Power::Mains, news: node_proto::News::Nothing });
    look(&mut rig);
    assert_eq!(healthy, [None, Some(true), Some(false), Some(true)]);
}

#[test]
fn an_agent_that_was_shut_down_stays_away_until_its_node_starts_anew() {
    let mut rig = Rig::launched("a");
    rig.status(1, 1, State::Running);
    rig.sent.clear();
    rig.master(&ShutdownMessage { message: Some("gone".into()) });
    assert!(rig.orders.contains(&ToNode::Kill { task: 1, grace_ms: 0 }));
    let quiet = |rig: &mut Rig| {
        rig.run_until(rig.now + 100_000);
        rig.wire(
            master(),
            &PingSlaveMessage::full_name(),
            PingSlaveMessage { connected: true }.encode_to_vec(),
        );
        assert!(rig.sent.is_empty(), "{:?}", rig.sent);
    };
    quiet(&mut rig);
    rig.node(FromNode::Alive { power: Power::Mains, news: node_proto::News::Nothing });
    quiet(&mut rig);
    rig.restart();
    quiet(&mut rig);
    rig.node(FromNode::Online(Register { boot: 2, ..online() }));
    let (name, body) = rig.await_registration();
    assert_eq!(name, RegisterSlaveMessage::full_name(), "a new agent");
    assert!(RegisterSlaveMessage::decode(&*body).unwrap().slave.id.is_none());
}

#[test]
fn only_the_master_gives_orders() {
    let mut rig = Rig::registered();
    let run = RunTaskMessage { framework: framework("F", false), task: task("a"), ..Default::default() };
    for stranger in ["master@10.0.0.9:5050", "scheduler@10.0.0.1:5050"] {
        let body = run.encode_to_vec();
        rig.wire(stranger.parse().unwrap(), &RunTaskMessage::full_name(), body);
        let body = ShutdownMessage { message: None }.encode_to_vec();
        rig.wire(stranger.parse().unwrap(), &ShutdownMessage::full_name(), body);
    }
    assert!(rig.fetches.is_empty());
    assert_eq!(rig.agents.view(NODE).unwrap().state, "registered");
    assert_eq!(rig.agents.counters().not_master, 4);
}

#[test]
fn a_time_limit_goes_with_the_launch_and_its_end_is_a_failure() {
    let mut rig = Rig::registered();
    let mut limited = task("a");
    limited.max_completion_time = Some(mesos::DurationInfo { nanoseconds: 90_000_000_001 });
    rig.run(limited);
    rig.image();
    assert!(matches!(rig.orders[0], ToNode::Launch { max_run_s: 91, .. }));
    rig.status(1, 1, State::Failed(Failure::Timeout));
    let status = rig.update().status;
    assert_eq!(status.state, TaskState::TaskFailed as i32);
    assert_eq!(status.reason, Some(task_status::Reason::MaxCompletionTimeReached as i32));
    assert_eq!(status.source, Some(task_status::Source::Executor as i32));
}

#[test]
fn ten_thousand_agents_do_not_come_at_once() {
    let mut rig = Rig::new();
    for number in 0..10_000u32 {
        let mut register = online();
        register.eui64 = [&[9, 9, 9, 9][..], &number.to_be_bytes()].concat().try_into().unwrap();
        let id = gateway::bridge::NodeId(register.eui64);
        rig.agents.from_node(id, FromNode::Online(register), rig.now);
    }
    while rig.agents.poll_output().is_some() {}
    rig.agents.master_detected(Some(master()), rig.now);
    let mut per_second = Vec::new();
    for _ in 0..5 {
        let end = rig.now + 1_000;
        let mut sent = 0;
        while let Some(at) = rig.agents.next_timeout().filter(|at| *at <= end) {
            rig.agents.handle_timeout(at);
            while let Some(output) = rig.agents.poll_output() {
                if let gateway::agent::Output::Send { name, .. } = output {
                    sent += usize::from(name == RegisterSlaveMessage::full_name());
                }
            }
            rig.now = at;
        }
        rig.now = end;
        per_second.push(sent);
    }
    assert!(per_second.iter().all(|sent| *sent < 5_500), "{per_second:?}");
    assert!(per_second.iter().sum::<usize>() >= 10_000, "all have tried: {per_second:?}");
}

#[test]
fn agents_that_are_unregistered_do_not_come_back() {
    let mut rig = Rig::launched("a");
    rig.sent.clear();
    rig.agents.unregister_all();
    rig.drain();
    assert_eq!(names(&mut rig), ["UnregisterSlaveMessage"]);
    assert!(rig.orders.contains(&ToNode::Kill { task: 1, grace_ms: 0 }));
    rig.node(FromNode::Alive { power: Power::Mains, news: node_proto::News::Nothing });
    rig.run_until(rig.now + 5_000);
    assert!(rig.sent.is_empty(), "the gateway is about to stop");
    // Another gateway on the same store begins with a new agent.
    rig.restart();
    assert_eq!(rig.await_registration().0, RegisterSlaveMessage::full_name());
}

#[test]
fn nothing_but_its_end_follows_killing() {
    let mut rig = Rig::registered();
    let kind = mesos::framework_info::capability::Type::TaskKillingState as i32;
    let mut info = framework("F", true);
    info.capabilities.push(mesos::framework_info::Capability { r#type: Some(kind) });
    rig.master(&RunTaskMessage { framework: info, task: task("a"), ..Default::default() });
    rig.image();
    rig.kill("a", None);
    let killing = rig.update();
    assert_eq!(killing.status.state, mesos::TaskState::TaskKilling as i32);
    // The node has taken both orders, and says of the first that it starts.
    rig.status(1, 1, State::Starting);
    rig.status(1, 2, State::Killed);
    rig.acknowledge(&killing);
    assert_eq!(rig.update().status.state, mesos::TaskState::TaskKilled as i32);
}
