//! What comes seldom: maintenance, schedules that end, kills over a restart, texts that nobody would write, many jobs.

use crate::world::{START, World, job};
use crate::{agents, three_nodes};
use master::jobs::{Constraint, Input, Request, Spec};
use mesos_proto::v1::TaskState::*;
use mesos_proto::v1::scheduler::{Event, call, event};
use mesos_proto::v1::{self};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn nothing_new_goes_where_maintenance_is_at_hand() {
    let mut world = three_nodes();
    world.away.insert("A".into(), START + 600_000);
    world.away.insert("C".into(), START + 86_400_000);
    world.submit(job("sensing", json!({"instances": 2, "constraints": ["on=temp-sensor", "unique=node"]})));
    world.settle();
    assert_eq!(agents(&world, "sensing"), ["C"]);
    let why = world.show("sensing")["why"]["text"].as_str().unwrap().to_owned();
    assert!(why.contains("1 fail planned maintenance"), "{why}");
    // Those that are there stay until they are drained.
    let offer = v1::InverseOffer { id: v1::OfferId { value: "I1".into() }, ..Default::default() };
    world.input(Input::Event(Box::new(Event {
        r#type: Some(event::Type::InverseOffers as i32),
        inverse_offers: Some(event::InverseOffers { inverse_offers: vec![offer] }),
        ..Default::default()
    })));
    assert_eq!(world.count(call::Type::DeclineInverseOffers), 1);
}

#[test]
fn a_schedule_that_comes_to_its_end_ends_the_job() {
    let mut world = three_nodes();
    // 2023-11-14 is the day of START, a Tuesday.
    world.submit(job("newyear", json!({"schedule": {"cron": "0 0 0 1 1 * 2024"}, "ttl": "60days"})));
    world.settle();
    assert_eq!(world.state("newyear"), "waiting");
    world.pass(49 * 86_400_000);
    world.end_one("newyear", TaskFinished);
    let shown = world.show("newyear");
    assert_eq!((&shown["state"], &shown["runs"]["finished"]), (&json!("finished"), &json!(1)));
}

#[test]
fn a_kill_that_did_not_go_out_goes_out_after_the_restart() {
    let mut world = three_nodes();
    world.submit(job("two", json!({"instances": 2})));
    world.settle();
    world.fuse = Some(1);
    world.ask(Request::Kill { id: "two".into(), purge: true });
    assert!(world.jobs.is_none() && world.alive("two").len() == 2);
    world.start();
    world.settle();
    assert_eq!(world.alive("two").len(), 0, "at once, not at the next turn");
    assert_eq!(world.ask(Request::Show("two".into())).status, 404, "forgotten, as was asked");
}

#[test]
fn spreading_waits_for_a_node_that_lately_had_room_but_not_for_ever() {
    let mut world = three_nodes();
    // Something that fits nowhere makes all nodes known.
    world.submit(job("nowhere", json!({"constraints": ["on=camera"]})));
    world.settle();
    // Somebody else has taken the only node of the other rack.
    world.agents.get_mut("C").unwrap().connected = false;
    world.submit(job("even", json!({"instances": 2, "constraints": ["group-by=rack"]})));
    world.pass(60_000);
    assert_eq!(world.alive("even").len(), 1, "one waits for the other rack");
    world.pass(120_000);
    assert_eq!(world.alive("even").len(), 2);
}

#[test]
fn a_task_that_nobody_knows_of_is_given_up_after_an_hour() {
    let mut world = three_nodes();
    world.submit(job("service", json!({"restart": {"policy": "always"}, "constraints": ["rack=1"]})));
    world.settle();
    let (id, task) = world.alive("service").pop().unwrap();
    world.kill();
    // Its agent came back as another, and its task is no more.
    world.tasks.remove(&id);
    let agent = world.agents.remove(&task.agent).unwrap();
    world.agents.insert("Z".into(), agent);
    world.start();
    world.pass(3_500_000);
    let shown = world.show("service");
    assert_eq!((world.alive("service").len(), &shown["instances"][0]["state"]), (0, &json!("unreachable")));
    world.pass(200_000);
    assert_eq!(world.alive("service").len(), 1);
}

#[test]
fn ten_thousand_jobs_are_taken_and_no_more() {
    let mut world = World::new();
    for number in 0..10_000 {
        let reply = world.submit(job(&format!("j{number}"), json!({"constraints": ["on=camera"]})));
        assert_eq!(reply.status, 201);
    }
    let reply = world.submit(job("more", json!({})));
    assert_eq!((reply.status, reply.body["error"].as_str().unwrap().contains("--purge")), (503, true));
    for number in 0..256 {
        world.agent(&format!("A{number}"), &[], &[("cpus", 1.0), ("mem", 1.0)]);
    }
    world.settle();
    assert_eq!(world.count(call::Type::Accept), 0);
    let mut wide = three_nodes();
    for number in 0..100 {
        let reply =
            wide.submit(job(&format!("w{number}"), json!({"instances": 1000, "resources": {"cpus": 9.0}})));
        assert_eq!(reply.status, 201);
    }
    assert_eq!(wide.submit(job("w", json!({"instances": 1}))).status, 503);
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader_of_jobs(
        text in ".{0,80}",
        cron in "[0-9*,/LW#? A-Z-]{0,40}",
        constraint in "[a-z=!<>~:(){}\\[\\]*+?0-9|^$.-]{0,60}",
    ) {
        let spec = |more: serde_json::Value| Spec::parse(job("a", more).to_string().as_bytes());
        // Whatever it is, it is taken or refused, and what is taken reads back the same.
        for taken in [
            Spec::parse(text.as_bytes()),
            spec(json!({"ttl": text.clone(), "role": text.clone()})),
            spec(json!({"schedule": {"cron": cron}})),
            spec(json!({"constraints": [constraint.clone()]})),
        ].into_iter().flatten() {
            prop_assert_eq!(Spec::parse(&serde_json::to_vec(&taken).unwrap()).unwrap(), taken);
        }
        let _ = constraint.parse::<Constraint>(); // neither end of it is wrong
    }
}
