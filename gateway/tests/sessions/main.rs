//! Sessions and a scripted node over a channel that loses, doubles and reorders, in virtual time, with restarts of
//! the gateway from its records.

mod leases;
mod long;
mod security;
mod world;

use gateway::bridge::{FromNode, ToNode};
use gateway::store::Table;
use node_coap::{Code, Endpoint, Request};
use node_proto::{Failure, Order, Poll, Power, State, Status, encode, paths};
use proptest::prelude::*;
use world::*;

fn status(task: u16, seq: u16, state: State) -> Status {
    Status { task, seq, state, note: Default::default() }
}

fn number(order: &Order) -> (u8, u16) {
    match order {
        Order::Launch(launch) => (0, launch.task),
        Order::Kill { task, .. } => (1, *task),
        Order::Message { task, .. } => (2, *task),
        Order::Fetch { task, .. } => (3, *task),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// What is ordered arrives once and in order, what is reported is told once and in order, whenever the gateway
    /// is killed and whatever the radio does.
    #[test]
    fn commands_and_statuses_pass_once_and_in_order(
        seed in 1u64..1_000_000,
        loss_permille in 0u64..350,
        battery in any::<bool>(),
        secure in any::<bool>(),
        steps in proptest::collection::vec((1u64..9_000, any::<bool>()), 1..10),
    ) {
        let power = if battery { Power::Battery(80) } else { Power::Mains };
        let mut world = if secure { World::secure } else { World::new }(seed, loss_permille, power);
        while !world.registered {
            world.run_until(world.now + 5_000);
            prop_assert!(world.now < 10_000_000);
        }
        let mut ordered = Vec::new();
        let mut reported = Vec::new();
        for (number, (pause, restart)) in steps.into_iter().enumerate() {
            let task = number as u16 + 1;
            prop_assert!(world.launch(task));
            world.kill(task);
            ordered.extend([(0, task), (1, task)]);
            for (seq, state) in [(1, State::Starting), (2, State::Running), (3, State::Killed)] {
                world.statuses.push_back(status(task, seq, state));
                reported.push((task, seq, state));
            }
            world.run_until(world.now + pause);
            if restart {
                world.restart();
            }
        }
        let limit = world.now + 20_000_000;
        while world.orders.len() < ordered.len() || !world.statuses.is_empty() {
            world.run_until(world.now + 10_000);
            prop_assert!(world.now < limit, "stands still: {:?}", world.orders);
        }
        world.loss_permille = 0;
        world.run_until(world.now + 600_000);
        prop_assert_eq!(world.orders.iter().map(number).collect::<Vec<_>>(), ordered);
        let told: Vec<_> = world.events.iter().filter_map(|event| match event {
            FromNode::Status { task, seq, state, .. } => Some((*task, *seq, *state)),
            _ => None,
        }).collect();
        prop_assert_eq!(told, reported);
        prop_assert_eq!(world.sessions.view(NODE, world.now).unwrap().mailbox, 0);
        prop_assert!(!world.disk.keys().any(|(table, _)| *table == Table::Command));
    }

    /// Random bytes, and random payloads in proper requests, change nothing for a node that behaves.
    #[test]
    fn what_is_no_message_does_no_harm(
        datagrams in proptest::collection::vec((0u16..3, proptest::collection::vec(any::<u8>(), 0..80)), 1..40),
        payloads in proptest::collection::vec(
            ("[rpsmlidc](/[0-9]{1,6})?", proptest::collection::vec(any::<u8>(), 0..60)), 1..20),
    ) {
        let mut world = World::new(9, 0, Power::Mains);
        world.run_until(3_000);
        for (port, bytes) in &datagrams {
            world.sessions.handle_datagram(address(7_001 + port), bytes, world.now);
            while world.sessions.poll_output().is_some() {}
        }
        for (path, payload) in &payloads {
            let mut client = Endpoint::new(node_params(), 77);
            client.request(GATEWAY, &Request::post(path, payload), world.now).unwrap();
            while let Some((_, bytes)) = client.poll_transmit() {
                world.sessions.handle_datagram(address(7_009), &bytes, world.now);
            }
            while world.sessions.poll_output().is_some() {}
        }
        prop_assert!(world.launch(1));
        world.run_until(world.now + 60_000);
        prop_assert_eq!(world.orders.iter().map(number).collect::<Vec<_>>(), [(0, 1)]);
    }
}

#[test]
fn a_stranger_is_unauthorized_and_costs_nothing() {
    let mut world = World::new(5, 0, Power::Mains);
    let poll =
        encode(&Poll { seen: 0, power: Power::Mains, next_s: 15, news: node_proto::News::Nothing }).unwrap();
    for path in [paths::POLL, paths::STATUS, paths::MESSAGE, paths::LOG, "nowhere"] {
        let response = world.direct(address(9_999), &Request::post(path, &poll));
        assert_eq!(response.code, Code::UNAUTHORIZED);
    }
    assert!(world.events.is_empty() && world.sessions.view(NODE, 0).is_none());
    assert_eq!(world.sessions.counters().0.unknown_peers, 5);
    // A node that the gateway knew before its restart is told so, and comes back by itself.
    world.run_until(5_000);
    assert!(world.registered && world.refusals.is_empty());
    world.restart();
    world.events.clear();
    world.run_until(10_000);
    assert!(world.registered && world.refusals == [Code::UNAUTHORIZED]);
    assert!(world.events.iter().any(|event| matches!(event, FromNode::Online(_))));
}

#[test]
fn a_lease_lapses_once_and_comes_back_with_the_next_poll() {
    let mut world = World::new(5, 0, Power::Mains);
    world.run_until(5_000);
    world.events.clear();
    world.loss_permille = 1_000;
    world.run_until(500_000);
    assert_eq!(world.events, [FromNode::Lapsed]);
    assert!(!world.sessions.view(NODE, world.now).unwrap().online);
    world.events.clear();
    world.loss_permille = 0;
    world.run_until(900_000);
    assert!(matches!(world.events[0], FromNode::Alive { .. }), "{:?}", world.events[0]);
    assert!(!world.events.contains(&FromNode::Lapsed));
    // After a restart a node that stays away lapses too.
    world.restart();
    world.events.clear();
    world.loss_permille = 1_000;
    world.run_until(1_400_000);
    assert_eq!(world.events, [FromNode::Lapsed]);
}

#[test]
fn a_node_that_moves_in_the_middle_of_a_push_is_pushed_to_again() {
    let mut world = World::new(5, 0, Power::Mains);
    world.run_until(5_000);
    world.loss_permille = 1_000;
    assert!(world.launch(1));
    world.run_until(world.now + 100);
    world.loss_permille = 0;
    world.home = address(7_002);
    let register = encode(&world.register()).unwrap();
    assert_eq!(world.direct(world.home, &Request::post(paths::REGISTER, &register)).code, Code::CREATED);
    world.next_poll_ms = u64::MAX;
    world.node = Endpoint::new(node_params(), 99);
    world.asked = None;
    world.run_until(world.now + 60_000);
    assert_eq!(world.orders.len(), 1, "without a poll");
}

#[test]
fn a_node_that_has_seen_every_number_is_refused_orders() {
    let mut world = World::new(5, 0, Power::Mains);
    world.seen = u32::MAX;
    world.run_until(5_000);
    assert!(world.registered);
    assert!(!world.launch(1));
    assert!(world.orders.is_empty());
}

#[test]
fn a_launch_that_was_taken_by_a_node_which_lost_its_storage_is_told_as_failed() {
    let mut world = World::new(5, 0, Power::Battery(50));
    world.run_until(5_000);
    for task in [1, 2] {
        assert!(world.launch(task));
        // Two polls: one brings the order, one says that it was seen.
        world.run_until(world.now + 5_000);
    }
    world.statuses.push_back(status(2, 1, State::Running));
    world.run_until(world.now + 5_000);
    assert_eq!(world.orders.len(), 2);
    assert!(world.launch(3)); // waits in the mailbox
    world.events.clear();
    (world.seen, world.boot, world.epoch) = (0, 1, 2);
    let register = encode(&world.register()).unwrap();
    world.direct(world.home, &Request::post(paths::REGISTER, &register));
    let told: Vec<_> = world.events.iter().filter(|event| !matches!(event, FromNode::Online(_))).collect();
    let [FromNode::Forgot, FromNode::Status { task: 1, seq: 1, state, .. }] = told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(*state, State::Failed(Failure::Restarted));
    world.run_until(world.now + 5_000);
    assert_eq!(world.orders.last().map(number), Some((0, 3)));
}

#[test]
fn a_registration_that_comes_late_changes_nothing() {
    let mut world = World::new(5, 0, Power::Mains);
    world.run_until(5_000);
    let old = encode(&world.register()).unwrap();
    // The node starts anew, takes a task and goes on.
    (world.boot, world.registered) = (2, false);
    world.run_until(world.now + 5_000);
    assert!(world.launch(1));
    world.run_until(world.now + 5_000);
    world.statuses.push_back(status(1, 1, State::Running));
    world.run_until(world.now + 5_000);
    assert_eq!(world.orders.len(), 1);
    world.events.clear();
    // What the network kept since before that, from where the node was then.
    let response = world.direct(address(7_009), &Request::post(paths::REGISTER, &old));
    assert_eq!(response.code, Code::CONFLICT);
    assert!(world.events.is_empty(), "{:?}", world.events);
    assert_eq!(world.sessions.view(NODE, world.now).unwrap().peer, Some(world.home));
    // Of the same start, an older number of commands is no loss of storage either.
    world.seen = 0;
    let repeated = encode(&world.register()).unwrap();
    let response = world.direct(world.home, &Request::post(paths::REGISTER, &repeated));
    assert_eq!(response.code, Code::CREATED);
    assert!(!world.events.contains(&FromNode::Forgot));
}

#[test]
fn a_wiped_node_is_found_however_quick_it_was() {
    let mut world = World::new(5, 0, Power::Mains);
    world.run_until(5_000);
    world.events.clear();
    // It has acted on no command, so nothing but the number of its storage tells.
    world.epoch = 7;
    let register = encode(&world.register()).unwrap();
    world.direct(world.home, &Request::post(paths::REGISTER, &register));
    assert!(world.events.contains(&FromNode::Forgot));
    world.restart();
    world.events.clear();
    world.direct(world.home, &Request::post(paths::REGISTER, &register));
    assert!(!world.events.contains(&FromNode::Forgot), "once");
}

#[test]
fn an_image_that_is_not_in_memory_is_asked_for_once() {
    let mut world = World::new(5, 0, Power::Mains);
    world.run_until(5_000);
    let block = |world: &mut World, path: &str| {
        world.direct(world.home, &Request::get_block(path, node_coap::Block::at(0, 2))).code
    };
    assert_eq!(block(&mut world, "i/9"), Code::UNAVAILABLE);
    assert_eq!(block(&mut world, "i/9"), Code::UNAVAILABLE);
    assert_eq!(world.loads, [9]);
    world.sessions.add_image(9, vec![1; 100].into());
    assert_eq!(block(&mut world, "i/9"), Code::CONTENT);
    world.sessions.no_image(8);
    assert_eq!(block(&mut world, "i/8"), Code::NOT_FOUND);
}

#[test]
fn messages_leave_room_for_launches_and_kills() {
    let mut world = World::new(5, 0, Power::Battery(50));
    world.run_until(5_000);
    let mut order = |order| world.sessions.order(NODE, order, world.now);
    let taken = (0..100).filter(|number| order(ToNode::Message { task: 1, data: vec![*number] })).count();
    assert_eq!(taken, 32);
    assert!(world.launch(2));
    let mut order = |order| world.sessions.order(NODE, order, world.now);
    for _ in 0..500 {
        assert!(order(ToNode::Kill { task: 1, grace_ms: 3_000 }));
    }
    assert!(order(ToNode::Kill { task: 1, grace_ms: 0 }), "a shorter grace is another kill");
    assert_eq!(world.sessions.view(NODE, world.now).unwrap().mailbox, 32 + 1 + 2);
}

#[test]
fn an_end_counts_once_whatever_its_number() {
    let mut world = World::new(5, 0, Power::Mains);
    world.run_until(5_000);
    assert!(world.launch(1));
    let say = |world: &mut World, seq, state| {
        let status = node_proto::Status { task: 1, seq, state, note: Default::default() };
        world.direct(world.home, &Request::post(paths::STATUS, &encode(&status).unwrap())).code
    };
    assert_eq!(say(&mut world, 1, State::Starting), Code::CHANGED);
    assert_eq!(say(&mut world, 2, State::Running), Code::CHANGED);
    world.events.clear();
    // A node that could not write restarts from an older record.
    let cut_off = State::Failed(node_proto::Failure::Restarted);
    for _ in 0..2 {
        assert_eq!(say(&mut world, 2, cut_off), Code::CHANGED);
    }
    let ends = |event: &&FromNode| matches!(event, FromNode::Status { state, .. } if *state == cut_off);
    assert_eq!(world.events.iter().filter(ends).count(), 1);
    // What runs there in spite of it is not wanted.
    assert_eq!(say(&mut world, 2, State::Running), Code::NOT_FOUND);
}
