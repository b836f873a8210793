//! Messages that are too long for one frame, up and down.

mod support;

use agent_core::Event;
use node_coap::{Block, Code, Request, Response};
use node_proto::limits::{MESSAGE_BLOCK_SZX, MESSAGE_LONG_MAX};
use node_proto::{Order, State, paths};
use proptest::prelude::*;
use support::Sim;
use support::gateway::Told;

fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256 + seed * 31) as u8).collect()
}

/// The messages that the gateway was told, with their numbers.
fn said(sim: &Sim) -> Vec<(u32, Vec<u8>)> {
    let of = |told: &Told| match told {
        Told::Message(message) => Some((message.seq, message.data.to_vec())),
        Told::Long(seq, data) => Some((*seq, data.clone())),
        Told::Status(_) | Told::Log(_) => None,
    };
    sim.gateway.told.iter().filter_map(of).collect()
}

/// A task that says these, and runs until it is killed.
fn talkative(lens: &[usize]) -> (Sim, Vec<(u32, Vec<u8>)>) {
    let mut sim = Sim::new(1);
    let messages: Vec<Vec<u8>> = lens.iter().enumerate().map(|(at, len)| bytes(*len, at)).collect();
    sim.world.borrow_mut().script =
        messages.iter().map(|message| (10, Event::Message(message.clone()))).collect();
    sim.world.borrow_mut().script.push((1_000_000, Event::Exited(0)));
    sim.launch(1, 100);
    (sim, (1..).zip(messages).collect())
}

#[test]
fn a_long_message_goes_up_in_blocks_of_one_frame() {
    let (mut sim, messages) = talkative(&[48, 49, MESSAGE_LONG_MAX, 1, 0]);
    sim.until("said", |sim| said(sim).len() == 5);
    assert_eq!(said(&sim), messages);
    assert!(sim.gateway.blocks.iter().all(|len| *len <= 16 << MESSAGE_BLOCK_SZX));
    let body = |len: usize| (len + 4_usize).div_ceil(32);
    assert_eq!(
        sim.gateway.blocks.len(),
        body(49) - 1 + 1 + body(MESSAGE_LONG_MAX),
        "short ones in one piece"
    );
}

#[test]
fn it_goes_on_after_a_lost_exchange_and_begins_anew_where_the_gateway_has_forgotten() {
    let (mut sim, messages) = talkative(&[512, 5]);
    sim.until("begun", |sim| sim.gateway.blocks.len() == 6);
    sim.loss_permille = 1000;
    sim.run(150_000); // the node gives up and registers for as long as nobody answers
    sim.loss_permille = 0;
    sim.until("said", |sim| said(sim).len() == 2);
    assert!(sim.gateway.registrations.len() > 1);
    assert!((17..=18).contains(&sim.gateway.blocks.len()), "{:?}", sim.gateway.blocks.len());
    assert_eq!(said(&sim), messages);
    let (mut sim, messages) = talkative(&[512, 5]);
    sim.until("begun", |sim| sim.gateway.blocks.len() == 6);
    sim.gateway.uploads.clear();
    sim.until("said", |sim| said(sim).len() == 2);
    assert_eq!((said(&sim), sim.gateway.blocks.len()), (messages, 7 + 17));
}

#[test]
fn what_the_gateway_will_never_have_is_given_up_and_what_it_has_no_room_for_waits() {
    let (mut sim, messages) = talkative(&[100, 5]);
    sim.gateway.refuse_blocks = Some(Response::new(Code::UNAVAILABLE, &[]));
    sim.until("refused", |sim| sim.gateway.blocks.len() == 3);
    sim.gateway.refuse_blocks = None;
    sim.until("said", |sim| said(sim).len() == 2);
    assert_eq!(said(&sim), messages);
    let (mut sim, messages) = talkative(&[100, 5]);
    sim.gateway.refuse_blocks = Some(Response::too_large(50));
    sim.until("said", |sim| said(sim).len() == 1);
    assert_eq!((said(&sim), sim.gateway.blocks.len()), (messages[1..].to_vec(), 1));
    let (mut sim, messages) = talkative(&[100, 5]);
    let smaller = Some(Block { num: 0, more: false, szx: 0 });
    sim.gateway.refuse_blocks = Some(Response { block1: smaller, ..Response::too_large(600) });
    sim.until("refused", |sim| sim.gateway.blocks.len() == 1);
    sim.gateway.refuse_blocks = None;
    sim.until("said", |sim| said(sim).len() == 2);
    assert_eq!(said(&sim), messages);
    assert!(sim.gateway.blocks[1..].iter().all(|len| *len <= 16), "{:?}", sim.gateway.blocks);
}

#[test]
fn a_long_message_comes_down_before_its_command_is_seen() {
    let (mut sim, _) = talkative(&[]);
    let message = bytes(MESSAGE_LONG_MAX, 0);
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    sim.gateway.order_long(1, &message);
    sim.gateway.order(Order::Message { task: 1, data: [1; 5].into_iter().collect() });
    let command = sim.gateway.last_seq - 1;
    sim.until("begun", |sim| sim.gateway.served_bodies == 2);
    assert!(sim.gateway.done < command, "the gateway has to keep it");
    sim.until("seen", |sim| sim.gateway.mailbox.is_empty());
    assert_eq!(sim.world.borrow().delivered, [(1, message), (1, vec![1; 5])]);
    assert_eq!(sim.gateway.served_bodies, MESSAGE_LONG_MAX / 64);
}

#[test]
fn it_is_fetched_once_however_often_it_is_pushed() {
    let (mut sim, _) = talkative(&[]);
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    let message = bytes(200, 0);
    sim.gateway.order_long(1, &message);
    let (seq, order) = sim.gateway.mailbox.back().unwrap().clone();
    for _ in 0..3 {
        let now = sim.now();
        sim.gateway.push(seq, order.clone(), now);
        sim.run(5);
    }
    sim.until("seen", |sim| sim.gateway.mailbox.is_empty());
    sim.gateway.push(seq, order, sim.now());
    sim.run(20_000);
    assert_eq!(
        (sim.gateway.push_answers.as_slice(), sim.gateway.served_bodies),
        (&[Code::CHANGED; 4][..], 4)
    );
    assert_eq!(sim.world.borrow().delivered, [(1, message)]);
}

#[test]
fn a_node_that_restarts_in_the_middle_fetches_it_again() {
    let mut sim = Sim::new(1);
    sim.world.borrow_mut().script = vec![(1_000_000, Event::Exited(0))];
    let message = bytes(512, 0);
    sim.gateway.refuse_statuses = None;
    sim.launch(1, 8000); // takes its time: the task waits while its message comes
    sim.until("fetching", |sim| sim.gateway.served_bytes > 500);
    sim.gateway.order_long(1, &message);
    sim.until("begun", |sim| sim.gateway.served_bodies == 3);
    sim.restart();
    sim.until("seen", |sim| sim.gateway.mailbox.is_empty());
    assert_eq!(sim.gateway.served_bodies, 3 + 8);
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    assert_eq!(sim.world.borrow().delivered, [(1, message)]);
}

#[test]
fn a_message_that_is_not_to_be_had_holds_up_no_command() {
    let (mut sim, _) = talkative(&[]);
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    sim.gateway.order_long(1, &bytes(300, 0));
    sim.gateway.bodies.clear();
    sim.gateway.order_long(9, &bytes(300, 0)); // for nobody
    sim.gateway.order(Order::Fetch { task: 1, len: 0 });
    sim.gateway.order(Order::Fetch { task: 1, len: 513 });
    sim.gateway.order(Order::Kill { task: 1, grace_ms: 0 });
    let begun = sim.now();
    sim.until("killed", |sim| sim.ended(1));
    assert!(sim.now() - begun < 30_000, "{} ms", sim.now() - begun);
    assert_eq!(sim.gateway.served_bodies, 8, "it was asked for, and nothing else was");
    assert!(sim.world.borrow().delivered.is_empty());
    sim.until("seen", |sim| sim.gateway.mailbox.is_empty());
}

#[test]
fn an_order_in_blocks_is_refused() {
    let (mut sim, _) = talkative(&[]);
    sim.until("running", |sim| sim.states(1).contains(&State::Running));
    let block1 = Some(Block { num: 0, more: true, szx: 0 });
    let order = Request { block1, ..Request::post(paths::COMMAND, &[0; 16]) };
    let get = Request { block1, ..Request::get_block("node", Block::at(0, 2)) };
    for (request, answer) in [(order, Code::TOO_LARGE), (get, Code::BAD_OPTION)] {
        let now = sim.now();
        sim.gateway.coap.request((), &request, now).unwrap();
        sim.run(1_000);
        assert_eq!(sim.gateway.push_answers.last(), Some(&answer));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Up and down, whatever the channel does and however often the gateway forgets what it has of a message.
    #[test]
    fn every_message_arrives_once_and_in_order(
        seed in any::<u32>(),
        loss_permille in 0u64..300,
        up in prop::collection::vec(0usize..=MESSAGE_LONG_MAX, 0..5),
        down in prop::collection::vec(0usize..=MESSAGE_LONG_MAX, 0..5),
        forgets in prop::collection::vec(1u64..20_000, 0..4),
    ) {
        let mut sim = Sim::new(u64::from(seed) + 1);
        (sim.loss_permille, sim.chaos) = (loss_permille, true);
        let up: Vec<Vec<u8>> = up.iter().enumerate().map(|(at, len)| bytes(*len, at)).collect();
        let down: Vec<Vec<u8>> = down.iter().enumerate().map(|(at, len)| bytes(*len, at)).collect();
        sim.world.borrow_mut().script =
            up.iter().map(|message| (100, Event::Message(message.clone()))).collect();
        sim.world.borrow_mut().script.push((10_000_000, Event::Exited(0)));
        sim.launch(1, 100);
        sim.until("running", |sim| sim.states(1).contains(&State::Running));
        for message in &down {
            match heapless::Vec::from_slice(message) {
                Ok(data) => sim.gateway.order(Order::Message { task: 1, data }),
                Err(_) => sim.gateway.order_long(1, message),
            }
        }
        for pause in forgets {
            sim.run(pause);
            sim.gateway.uploads.clear();
        }
        let all = up.len();
        sim.until("said and seen", |sim| said(sim).len() >= all && sim.gateway.mailbox.is_empty());
        sim.run(60_000);
        prop_assert_eq!(said(&sim), (1..).zip(up).collect::<Vec<_>>());
        let delivered = sim.world.borrow().delivered.clone();
        prop_assert_eq!(delivered, down.into_iter().map(|message| (1, message)).collect::<Vec<_>>());
    }
}
