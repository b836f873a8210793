//! The jobs against a scripted master: no sockets, no clock, a disk of bytes.

mod any;
mod edges;
mod world;

use master::jobs::{Input, Request};
use mesos_proto::v1::TaskState::*;
use mesos_proto::v1::scheduler::{Event, call, event};
use mesos_proto::v1::task_status::Reason;
use serde_json::{Value, json};
use world::{World, job};

fn three_nodes() -> World {
    let mut world = World::new();
    let amounts = [("cpus", 1.0), ("mem", 0.1), ("leds", 2.0)];
    world.agent("A", &[("rack", "1"), ("on", "temp-sensor")], &amounts);
    world.agent("B", &[("rack", "1"), ("floor", "2")], &amounts);
    world.agent("C", &[("rack", "2"), ("on", "temp-sensor")], &amounts[..2]);
    world
}

fn agents(world: &World, job: &str) -> Vec<String> {
    let mut agents: Vec<_> = world.alive(job).into_iter().map(|(_, task)| task.agent).collect();
    agents.sort();
    agents
}

#[test]
fn a_job_runs_once_and_is_remembered_until_its_time_is_over() {
    let mut world = three_nodes();
    assert_eq!(world.count(call::Type::Subscribe), 0, "nobody needs offers yet");
    let reply = world.submit(job(
        "hello",
        json!({"ttl": "1h", "arguments": ["a"], "environment": {"K": "v"},
        "labels": {"resume": "true"}, "entry": "go", "kill_grace": "5s", "max_completion_time": "1m"}),
    ));
    assert_eq!((reply.status, reply.location.as_deref()), (201, Some("/jobs/hello")));
    assert_eq!(reply.body["state"], "pending");
    world.settle();
    assert_eq!(world.state("hello"), "running");
    let (_, task) = world.alive("hello").pop().unwrap();
    let command = task.info.command.unwrap();
    assert_eq!(
        (command.uris[0].value.as_str(), command.value(), command.shell()),
        ("/x/task.wasm", "go", false)
    );
    assert_eq!(command.arguments, ["a"]);
    assert_eq!(command.environment.unwrap().variables[0].value(), "v");
    assert_eq!(task.info.labels.unwrap().labels[0].key, "resume");
    assert_eq!(task.info.max_completion_time.unwrap().nanoseconds, 60_000_000_000);
    assert_eq!(task.info.kill_policy.unwrap().grace_period.unwrap().nanoseconds, 5_000_000_000);
    assert!(world.suppressed.contains("*"), "nothing waits: no offers are asked for");
    world.end_one("hello", TaskFinished);
    let shown = world.show("hello");
    assert_eq!((&shown["state"], &shown["last"]["state"]), (&json!("finished"), &json!("TASK_FINISHED")));
    assert!(world.tasks.is_empty(), "acknowledged");
    world.pass(3_599_000);
    assert_eq!(world.state("hello"), "finished");
    world.pass(2_000);
    assert_eq!(world.ask(Request::Show("hello".into())).status, 404);
    assert_eq!(world.disk.len(), 1, "only what belongs to no job is left");
}

#[test]
fn constraints_hold_and_a_job_says_why_it_waits() {
    let mut world = three_nodes();
    for (id, more) in [
        ("sensing", json!({"instances": 2, "constraints": ["on=temp-sensor", "unique=node"]})),
        ("floor", json!({"constraints": ["floor>=2"]})),
        ("apart", json!({"instances": 2, "constraints": ["unique=rack"]})),
        ("even", json!({"instances": 4, "constraints": ["group-by=rack"]})),
        ("capped", json!({"instances": 9, "constraints": ["max-per=rack:2"]})),
        ("big", json!({"resources": {"cpus": 4}})),
        ("nowhere", json!({"constraints": ["on=camera", "rack!=1"]})),
    ] {
        assert_eq!(world.submit(job(id, more)).status, 201, "{id}");
    }
    world.settle();
    assert_eq!(agents(&world, "sensing"), ["A", "C"]);
    assert_eq!(agents(&world, "floor"), ["B"]);
    assert_eq!(agents(&world, "apart").iter().filter(|agent| *agent == "C").count(), 1);
    assert_eq!(agents(&world, "even").iter().filter(|agent| *agent == "C").count(), 2);
    assert_eq!(world.alive("capped").len(), 4);
    let why = |world: &mut World, id: &str| world.show(id)["why"]["text"].as_str().unwrap().to_owned();
    assert!(why(&mut world, "capped").contains("what other instances allow"));
    assert_eq!(world.state("big"), "placing");
    assert!(why(&mut world, "big").contains("3 fail cpus (needs 4, at most"), "{}", why(&mut world, "big"));
    let text = why(&mut world, "nowhere");
    assert!(
        text.contains("of 3 nodes") && text.contains("3 fail on=camera") && text.contains("2 fail rack!=1"),
        "{text}"
    );
    // What does not fit is refused for a minute, not asked for again and again.
    world.pass(1_000);
    let declines = world.count(call::Type::Decline);
    world.pass(50_000);
    assert_eq!(world.count(call::Type::Decline), declines);
    world.pass(70_000);
    assert!(world.count(call::Type::Decline) > declines, "and looked at again after that");
}

#[test]
fn higher_priorities_go_first_and_equal_ones_in_their_order() {
    let mut world = World::new();
    for (id, priority) in [("low", -1), ("first", 0), ("second", 0), ("high", 9)] {
        world.submit(job(id, json!({"priority": priority, "resources": {"cpus": 1.0}})));
    }
    let mut order = Vec::new();
    world.agent("A", &[], &[("cpus", 1.0)]);
    for _ in 0..4 {
        world.settle();
        let (id, _) = world.tasks.iter().next().map(|(id, task)| (id.clone(), task.clone())).unwrap();
        order.push(id.split('.').next().unwrap().to_owned());
        world.end(&id, TaskFinished, None);
    }
    assert_eq!(order, ["high", "first", "second", "low"]);
}

#[test]
fn failures_are_retried_with_growing_waits_and_then_not() {
    let mut world = three_nodes();
    let restart = json!({"restart": {"policy": "on-failure", "retries": 2}, "backoff": {"initial": "10s", "jitter": 0}});
    world.submit(job("shaky", restart));
    for wait in [10_000, 20_000] {
        world.settle();
        world.end_one("shaky", TaskFailed);
        let shown = world.show("shaky");
        assert_eq!((&shown["state"], &shown["next_ms"]), (&json!("waiting"), &json!(world.now + wait)));
        world.pass(wait - 1);
        assert!(world.alive("shaky").is_empty());
        world.pass(1);
        assert_eq!(world.alive("shaky").len(), 1);
    }
    let (id, _) = world.alive("shaky").pop().unwrap();
    world.end(&id, TaskFailed, Some(Reason::ContainerLaunchFailed));
    world.settle();
    let shown = world.show("shaky");
    assert_eq!(
        (&shown["state"], &shown["last"]["reason"]),
        (&json!("failed"), &json!("REASON_CONTAINER_LAUNCH_FAILED"))
    );
    assert_eq!(shown["history"]["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(shown["instances"][0]["failures"], 3);
}

#[test]
fn never_means_never_unless_it_never_ran() {
    let mut world = three_nodes();
    for id in ["a", "b"] {
        world.submit(job(id, json!({"backoff": {"initial": "1s"}})));
    }
    world.settle();
    let (id, _) = world.alive("a").pop().unwrap();
    world.end(&id, TaskDropped, Some(Reason::InvalidOffers));
    world.end_one("b", TaskLost);
    world.pass(5_000);
    assert_eq!((world.state("a").as_str(), world.state("b").as_str()), ("running", "failed"));
}

#[test]
fn always_begins_again_whatever_the_end_was_and_long_runs_forgive() {
    let mut world = three_nodes();
    let more =
        json!({"restart": {"policy": "always"}, "backoff": {"initial": "1s", "max": "8s", "jitter": 0}});
    world.submit(job("service", more));
    world.settle();
    for (end, wait) in [(TaskFailed, 1_000), (TaskFailed, 2_000), (TaskGone, 4_000), (TaskKilled, 8_000)] {
        world.end_one("service", end);
        world.pass(wait - 1);
        assert!(world.alive("service").is_empty(), "{end:?}");
        world.pass(1);
        assert_eq!(world.alive("service").len(), 1, "{end:?}");
    }
    world.pass(8_000);
    world.end_one("service", TaskFailed);
    world.pass(1_000);
    assert_eq!(world.alive("service").len(), 1, "it had run for as long as the longest wait");
    world.end_one("service", TaskFinished);
    world.pass(1_000);
    assert_eq!(world.alive("service").len(), 1);
}

#[test]
fn a_drained_node_moves_its_tasks_without_blame() {
    let mut world = three_nodes();
    world.submit(job("moved", json!({"restart": {"policy": "on-failure", "retries": 0}})));
    world.settle();
    let (id, _) = world.alive("moved").pop().unwrap();
    world.end(&id, TaskKilled, Some(Reason::AgentDraining));
    world.settle();
    world.pass(2_000);
    assert_eq!(
        (world.state("moved").as_str(), &world.show("moved")["instances"][0]["failures"]),
        ("running", &json!(0))
    );
}

#[test]
fn periodic_jobs_keep_their_phase_skip_what_overlaps_and_make_up_once() {
    let mut world = three_nodes();
    world.submit(job("tick", json!({"schedule": {"every": "60s"}})));
    world.settle();
    assert_eq!(world.alive("tick").len(), 1, "at once");
    world.pass(60_000);
    assert_eq!((world.alive("tick").len(), &world.show("tick")["runs"]["skipped"]), (1, &json!(1)));
    world.end_one("tick", TaskFinished);
    let shown = world.show("tick");
    assert_eq!((&shown["state"], &shown["next_ms"]), (&json!("waiting"), &json!(world::START + 120_000)));
    world.pass(60_000);
    world.end_one("tick", TaskFailed);
    assert_eq!(world.show("tick")["runs"], json!({"finished": 1, "failed": 1, "killed": 0, "skipped": 1}));
    // Down for ten periods: one run is made up for, and the phase stays.
    world.kill();
    world.now += 610_000;
    world.start();
    world.settle();
    assert_eq!(world.alive("tick").len(), 1);
    world.end_one("tick", TaskFinished);
    assert_eq!(world.show("tick")["next_ms"], json!(world::START + 780_000));
    // Now, because somebody asks.
    assert_eq!(world.ask(Request::Run("tick".into())).status, 202);
    assert_eq!(world.ask(Request::Run("tick".into())).status, 409, "one is under way");
    world.settle();
    world.end_one("tick", TaskFinished);
    assert_eq!(world.show("tick")["history"]["runs"].as_array().unwrap().last().unwrap()["manual"], true);
}

#[test]
fn runs_may_overlap_if_they_are_let() {
    let mut world = three_nodes();
    world.submit(job(
        "tick",
        json!({"schedule": {"every": "60s", "overlap": "allow"}, "resources": {"cpus": 0.01}}),
    ));
    world.settle();
    world.pass(20 * 60_000);
    assert_eq!((world.alive("tick").len(), &world.show("tick")["runs"]["skipped"]), (8, &json!(13)));
}

#[test]
fn a_kill_ends_all_and_a_purge_forgets() {
    let mut world = three_nodes();
    world.submit(job("three", json!({"instances": 3, "restart": {"policy": "always"}})));
    world.submit(job("stuck", json!({"constraints": ["on=camera"]})));
    world.settle();
    world.deaf = true;
    assert_eq!(world.ask(Request::Kill { id: "three".into(), purge: false }).status, 202);
    world.settle();
    assert_eq!(world.state("three"), "killing");
    world.deaf = false;
    world.pass(60_000);
    assert_eq!((world.state("three").as_str(), world.alive("three").len()), ("killed", 0));
    assert_eq!(world.ask(Request::Kill { id: "three".into(), purge: false }).status, 200);
    assert_eq!(world.ask(Request::Kill { id: "stuck".into(), purge: true }).status, 200);
    assert_eq!(world.ask(Request::Kill { id: "three".into(), purge: true }).status, 200);
    for id in ["stuck", "three"] {
        assert_eq!(world.ask(Request::Kill { id: id.into(), purge: true }).status, 404);
        assert_eq!(world.ask(Request::Run(id.into())).status, 404);
    }
    assert_eq!(world.disk.len(), 1);
    // Its id is free, its tasks' ids are not.
    world.submit(job("three", json!({})));
    world.settle();
    assert_eq!(world.alive("three").len(), 1);
}

#[test]
fn after_a_restart_tasks_go_on_and_lost_launches_are_made_again() {
    let mut world = three_nodes();
    world.submit(job("long", json!({"instances": 2})));
    world.settle();
    let before = world.alive("long");
    world.kill();
    world.start();
    world.settle();
    assert_eq!(world.alive("long").len(), 2);
    assert!(world.alive("long").iter().all(|(id, _)| before.iter().any(|(held, _)| held == id)));
    assert_eq!(world.frameworks.len(), 1, "the same framework");
    assert_eq!(world.count(call::Type::Reconcile), 1);
    // Written, but the process ended before the launch went out.
    world.submit(job("cut", json!({})));
    world.fuse = Some(1);
    world.offer(&["A".into(), "B".into(), "C".into()]);
    assert!(world.jobs.is_none() && world.alive("cut").is_empty());
    world.start();
    world.settle();
    world.pass(2_000);
    let shown = world.show("cut");
    assert_eq!((world.alive("cut").len(), &shown["instances"][0]["failures"]), (1, &json!(0)));
    assert_eq!(shown["instances"][0]["launches"], 2);
}

#[test]
fn what_ended_meanwhile_is_heard_of_and_what_is_unreachable_is_waited_for() {
    let mut world = three_nodes();
    world.submit(job("one", json!({"restart": {"policy": "always"}, "constraints": ["rack=2"]})));
    world.settle();
    world.kill();
    world.agents.get_mut("C").unwrap().connected = false;
    world.start();
    world.pass(7_200_000);
    let shown = world.show("one");
    assert_eq!((&shown["instances"][0]["state"], world.alive("one").len()), (&json!("unreachable"), 1));
    let (id, _) = world.alive("one").pop().unwrap();
    world.end(&id, TaskFinished, None);
    world.agents.get_mut("C").unwrap().connected = true;
    world.pass(30_000);
    assert_eq!(world.alive("one").len(), 1);
    assert_eq!(world.show("one")["last"]["task_id"], json!(id));
}

#[test]
fn a_removed_framework_is_followed_by_another_and_jobs_go_on() {
    let mut world = three_nodes();
    world.submit(job("service", json!({"restart": {"policy": "always"}})));
    world.settle();
    // An operator tears it down: agents end its tasks and say nothing.
    let teardown = |world: &mut World| {
        world.input(Input::Closed);
        world.now += 1_000;
        let subscribes = world.count(call::Type::Subscribe);
        world.fuse = Some(0);
        let calls = world.jobs.as_mut().unwrap().handle(Input::Tick, world.now);
        assert!(calls.iter().any(|output| matches!(output, master::jobs::Output::Call(_))));
        world.fuse = None;
        assert_eq!(world.count(call::Type::Subscribe), subscribes);
    };
    teardown(&mut world);
    world.tasks.clear();
    let error = event::Error { message: "Framework has been removed".into() };
    world.input(Input::Event(Box::new(Event {
        r#type: Some(event::Type::Error as i32),
        error: Some(error),
        ..Default::default()
    })));
    world.pass(10_000);
    assert_eq!((world.frameworks.len(), world.alive("service").len()), (2, 1));
}

#[test]
fn tasks_of_nobody_are_killed_and_acknowledged() {
    let mut world = three_nodes();
    world.submit(job("one", json!({})));
    world.settle();
    let (id, _) = world.alive("one").pop().unwrap();
    // Everything on disk is lost but the framework.
    world.kill();
    world.disk.retain(|(_, key), _| key.is_empty());
    world.start();
    world.submit(job("two", json!({})));
    world.end(&id, TaskRunning, None);
    world.tasks.get_mut(&id).unwrap().alive = true;
    world.settle();
    assert!(world.alive("one").is_empty());
    assert_eq!((world.tasks.len(), world.alive("two").len()), (1, 1));
}

#[test]
fn roles_are_the_jobs_own_and_only_those_that_wait_are_offered() {
    let mut world = three_nodes();
    world.submit(job("a", json!({"role": "ops"})));
    world.settle();
    world.submit(job("b", json!({"role": "lab", "constraints": ["on=camera"]})));
    world.settle();
    assert_eq!(world.roles.iter().map(String::as_str).collect::<Vec<_>>(), ["lab", "ops"]);
    assert_eq!(world.suppressed.iter().map(String::as_str).collect::<Vec<_>>(), ["ops"]);
    let (_, task) = world.alive("a").pop().unwrap();
    let allocated = task.info.resources[0].allocation_info.as_ref().unwrap().role();
    assert_eq!(allocated, "ops");
}

#[test]
fn requests_are_refused_with_the_way_out() {
    let mut world = three_nodes();
    world.submit(job("one", json!({})));
    let cases: [(Request, u16, &str); 5] = [
        (Request::Create(b"{".to_vec()), 400, "job"),
        (Request::Create(job("two", json!({"instances": 0})).to_string().into_bytes()), 400, "instances"),
        (Request::Create(job("one", json!({})).to_string().into_bytes()), 409, "--purge"),
        (Request::Show("nobody".into()), 404, "micro job list"),
        (Request::Run("one".into()), 409, "not periodic"),
    ];
    for (request, status, word) in cases {
        let reply = world.ask(request.clone());
        let error = reply.body["error"].as_str().unwrap();
        assert!(reply.status == status && error.contains(word), "{request:?}: {error}");
    }
    for number in 0..30 {
        world.submit(job(
            &format!("j{number}"),
            json!({"name": if number % 2 == 0 { "even" } else { "odd" }}),
        ));
    }
    let list = |world: &mut World, state: Option<&str>, text: Option<&str>, offset, limit| {
        let (state, text) = (state.map(str::to_owned), text.map(str::to_owned));
        world.ask(Request::List { state, text, offset, limit }).body
    };
    let page = list(&mut world, None, Some("even"), 2, Some(3));
    assert_eq!((&page["total"], &page["matching"]), (&json!(31), &json!(15)));
    let ids: Vec<&Value> = page["jobs"].as_array().unwrap().iter().map(|job| &job["id"]).collect();
    assert_eq!(ids, ["j24", "j22", "j20"]);
    assert_eq!(list(&mut world, Some("killed"), None, 0, None)["matching"], 0);
}
