//! What people are told and shown of agents.

use crate::rig::*;
use gateway::agent::Notice;
use gateway::bridge::FromNode;
use mesos_proto::mesos::TaskState;
use node_proto::{News, Power, State, Usage, Vitals};

fn notices(rig: &mut Rig) -> Vec<Notice> {
    std::iter::from_fn(|| rig.agents.poll_notice()).collect()
}

fn alive(rig: &mut Rig, news: News) {
    rig.node(FromNode::Alive { power: Power::Mains, news });
}

fn became(state: TaskState) -> Notice {
    let (framework_id, task_id) = ("F".into(), "a".into());
    Notice::Task { node: NODE, framework_id, task_id, state, message: String::new() }
}

#[test]
fn what_happens_is_told_once() {
    let mut rig = Rig::registered();
    let registered = |new| Notice::Registered { node: NODE, slave_id: "S0".into(), new };
    assert_eq!(notices(&mut rig), [Notice::New(NODE), registered(true)]);
    rig.node(FromNode::Lapsed);
    alive(&mut rig, News::Nothing);
    alive(&mut rig, News::Nothing);
    assert_eq!(notices(&mut rig), [Notice::Lapsed(NODE), Notice::Back(NODE)]);
    rig.restart();
    rig.reregistered();
    assert_eq!(notices(&mut rig), [registered(false)], "nobody was told that the node had gone");
    rig.node(FromNode::Forgot);
    rig.node(FromNode::Lapsed);
    rig.node(FromNode::Online(online()));
    assert_eq!(notices(&mut rig), [Notice::Forgot(NODE), Notice::Lapsed(NODE), Notice::Back(NODE)]);
}

#[test]
fn notices_that_nobody_takes_do_not_grow() {
    let mut rig = Rig::registered();
    for _ in 0..5_000 {
        rig.node(FromNode::Lapsed);
        alive(&mut rig, News::Nothing);
    }
    let waiting = notices(&mut rig);
    assert_eq!((waiting.len(), waiting.last()), (1_024, Some(&Notice::Back(NODE))));
}

#[test]
fn a_task_is_shown_with_its_grant_its_use_and_its_statuses() {
    let mut rig = Rig::launched("a");
    rig.now = 5_000;
    notices(&mut rig);
    rig.status(1, 1, State::Running);
    assert_eq!(notices(&mut rig), [became(TaskState::TaskRunning)]);
    let usage = |cpu_ms, granted_ms| {
        News::Usage(Usage { task: 1, cpu_ms, granted_ms, mem_bytes: 77, ..Usage::default() })
    };
    let used = |rig: &Rig| rig.agents.glance(NODE).unwrap().task("F", "a").unwrap().cpu_used_permille();
    alive(&mut rig, usage(1_000, 1_000));
    assert_eq!(used(&rig), None, "one report is no rate");
    alive(&mut rig, usage(1_030, 1_040));
    assert_eq!(used(&rig), Some(75), "three quarters of a tenth of the core");
    alive(&mut rig, usage(1_030, 1_040));
    assert_eq!(used(&rig), Some(75), "the same report once more");
    alive(&mut rig, usage(5, 10));
    assert_eq!(used(&rig), None, "it began anew");

    let update = rig.update();
    let agent = rig.agents.glance(NODE).unwrap();
    let task = agent.task("F", "a").unwrap();
    assert_eq!((task.role(), task.name(), task.state()), ("*", "a", TaskState::TaskRunning));
    assert_eq!(
        (task.granted().cpu_permille, task.granted().mem_bytes, task.total_bytes()),
        (100, 10_485, 100)
    );
    assert_eq!((task.since_ms(), task.usage().unwrap().mem_bytes), (Some(5_000), 77));
    let acknowledged = |rig: &Rig| -> Vec<bool> {
        let agent = rig.agents.glance(NODE).unwrap();
        agent.task("F", "a").unwrap().statuses().iter().map(|(_, known)| *known).collect()
    };
    assert_eq!(acknowledged(&rig), [false]);
    rig.acknowledge(&update);
    assert_eq!(acknowledged(&rig), [true]);
    rig.status(1, 2, State::Exited(0));
    let last = rig.update();
    rig.acknowledge(&last);
    let agent = rig.agents.glance(NODE).unwrap();
    assert!(agent.task("F", "a").is_none());
    let done = agent.completed().next().unwrap();
    assert_eq!(
        (done.handle, done.image, done.usage.unwrap().mem_bytes, done.task.statuses.len()),
        (1, Some(3), 77, 2)
    );
}

#[test]
fn an_agent_is_shown_with_what_it_offers_and_said() {
    let mut rig = Rig::registered();
    alive(&mut rig, News::Vitals(Vitals { uptime_s: 9, ..Vitals::default() }));
    let agent = rig.agents.glance(NODE).unwrap();
    assert_eq!((agent.total().cpu_permille, agent.total().mem_bytes), (1_000, 65_011));
    assert_eq!((agent.state(), agent.live(), agent.draining()), ("registered", true, false));
    assert_eq!((agent.slave_id(), agent.hostname().as_str()), (Some("S0"), "0200000000000001.micro"));
    assert_eq!(agent.vitals().unwrap().uptime_s, 9);
    assert_eq!(rig.agents.glances().count(), 1);
}
