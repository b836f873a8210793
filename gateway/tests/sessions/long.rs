//! Messages that are too long for one frame: put together of blocks, and kept until the node has fetched them.

use crate::world::*;
use gateway::bridge::{FromNode, ToNode};
use node_coap::{Block, Code, Method, Request, Response, Upload};
use node_proto::limits::{MESSAGE_LONG_MAX, UPLINK_MAX};
use node_proto::{LongMessage, Message, News, Order, Poll, Power, Register, State, Status, encode, paths};

/// A gateway whose one node has registered from its home and is silent after that.
fn world() -> World {
    let mut world = World::new(5, 0, Power::Mains);
    world.run_until(5_000);
    world.next_poll_ms = u64::MAX;
    assert!(world.launch(1));
    world.run_until(10_000);
    world.events.clear();
    world
}

fn said(world: &World) -> Vec<(u16, Vec<u8>)> {
    let of = |event: &FromNode| match event {
        FromNode::Message { task, data } => Some((*task, data.clone())),
        _ => None,
    };
    world.events.iter().filter_map(of).collect()
}

fn ask(world: &mut World, request: &Request) -> Response {
    world.direct(world.home, request)
}

/// The blocks of a message.
fn blocks(task: u16, seq: u32, data: &[u8]) -> Vec<Request> {
    let body = LongMessage { task, seq, data }.encode().unwrap();
    let mut upload = Upload::new(1);
    let mut blocks = Vec::new();
    loop {
        let block = upload.request(&format!("m/{task}"), &body, &LongMessage::tag(seq));
        upload.answered(body.len(), Code::CONTINUE, block.block1);
        let more = block.block1.unwrap().more;
        blocks.push(block);
        if !more {
            return blocks;
        }
    }
}

#[test]
fn a_message_of_blocks_is_passed_on_once() {
    let mut world = world();
    let data = [7; MESSAGE_LONG_MAX];
    let blocks = blocks(1, 1, &data);
    let (last, rest) = blocks.split_last().unwrap();
    for block in rest {
        for _ in 0..2 {
            let answer = ask(&mut world, block);
            let (szx, more) = (block.block1.unwrap().szx, true);
            let num = block.block1.unwrap().num;
            assert_eq!((answer.code, answer.block1), (Code::CONTINUE, Some(Block { num, more, szx })));
        }
    }
    assert!(said(&world).is_empty());
    for _ in 0..3 {
        let answer = ask(&mut world, last);
        assert_eq!((answer.code, answer.block1), (Code::CHANGED, last.block1));
    }
    assert_eq!(said(&world), [(1, data.to_vec())]);
    // From the start once more, by a node that does not know that it has arrived, to a gateway that was killed since.
    world.restart();
    let register = encode(&world.register()).unwrap();
    ask(&mut world, &Request::post(paths::REGISTER, &register));
    assert_eq!(ask(&mut world, last).code, Code::INCOMPLETE);
    let codes: Vec<_> = blocks.iter().map(|block| ask(&mut world, block).code).collect();
    assert_eq!(codes.last(), Some(&Code::CHANGED));
    assert_eq!(said(&world).len(), 1, "its number is on disk");
    // The next one, in one piece.
    let message = Message { task: 1, seq: 2, data: [1].into_iter().collect() };
    ask(&mut world, &Request::post(paths::MESSAGE, &encode(&message).unwrap()));
    assert_eq!(said(&world).len(), 2);
}

#[test]
fn what_is_not_finished_goes_with_the_task_the_lease_and_the_node() {
    let mut world = world();
    assert!(world.launch(2));
    let (one, two) = (blocks(1, 1, &[1; 300]), blocks(2, 1, &[2; 300]));
    for (one, two) in one.iter().zip(&two).take(5) {
        for block in [one, two] {
            assert_eq!(ask(&mut world, block).code, Code::CONTINUE, "each task has its own");
        }
    }
    assert!(world.sessions.order(NODE, ToNode::Forget { task: 2 }, world.now));
    assert_eq!(ask(&mut world, &two[5]).code, Code::NOT_FOUND);
    assert!(world.launch(2));
    assert_eq!(ask(&mut world, &two[5]).code, Code::INCOMPLETE);
    assert_eq!(ask(&mut world, &one[5]).code, Code::CONTINUE);
    world.run_until(world.now + 200_000);
    assert!(world.events.contains(&FromNode::Lapsed));
    assert_eq!(ask(&mut world, &one[6]).code, Code::INCOMPLETE);
    assert_eq!(ask(&mut world, &one[0]).code, Code::CONTINUE);
    let register = encode(&Register { boot: 2, ..world.register() }).unwrap();
    assert_eq!(ask(&mut world, &Request::post(paths::REGISTER, &register)).code, Code::CREATED);
    assert_eq!(ask(&mut world, &one[1]).code, Code::INCOMPLETE, "it has started anew");
}

#[test]
fn a_task_that_starts_again_begins_its_messages_anew() {
    let mut world = world();
    let before = blocks(1, 1, &[1; 100]);
    before.iter().for_each(|block| drop(ask(&mut world, block)));
    let status = Status { task: 1, seq: 1, state: State::Running, note: Default::default() };
    ask(&mut world, &Request::post(paths::STATUS, &encode(&status).unwrap()));
    assert_eq!(ask(&mut world, before.last().unwrap()).code, Code::INCOMPLETE, "that was another run");
    blocks(1, 1, &[2; 100]).iter().for_each(|block| drop(ask(&mut world, block)));
    assert_eq!(said(&world), [(1, vec![1; 100]), (1, vec![2; 100])]);
}

#[test]
fn blocks_of_no_message_are_refused() {
    let mut world = world();
    assert_eq!(ask(&mut world, &blocks(3, 1, &[1; 300])[0]).code, Code::NOT_FOUND, "no such task");
    let mut wrong = blocks(1, 1, &[1; 100]);
    for block in &mut wrong {
        block.path = "m/x".into();
    }
    assert_eq!(ask(&mut world, &wrong[0]).code, Code::NOT_FOUND);
    assert!(world.launch(2));
    for mut block in blocks(2, 1, &[1; 100]) {
        block.path = "m/1".into();
        let code = ask(&mut world, &block).code;
        let last = !block.block1.unwrap().more;
        assert_eq!(code, if last { Code::BAD_REQUEST } else { Code::CONTINUE }, "another task's body");
    }
    let block = |num, more, szx| Some(Block { num, more, szx });
    let refused = |world: &mut World, block1, payload: &[u8]| {
        ask(world, &Request { block1, ..Request::post("m/1", payload) })
    };
    let huge = refused(&mut world, block(0xf_ffff, true, 6), &[0; 1024]);
    assert_eq!((huge.code, huge.size1), (Code::TOO_LARGE, Some(522)));
    assert_eq!(refused(&mut world, block(0, true, 6), &[0; 1024]).code, Code::TOO_LARGE);
    assert_eq!(refused(&mut world, block(0, false, 2), b"x").code, Code::BAD_REQUEST, "it ends too early");
    // Where nothing comes in blocks.
    for path in [paths::POLL, paths::STATUS, paths::MESSAGE, paths::LOG, paths::REGISTER] {
        let request = Request { block1: block(0, true, 0), ..Request::post(path, &[0; 16]) };
        let answer = ask(&mut world, &request);
        assert_eq!((answer.code, answer.size1), (Code::TOO_LARGE, Some(UPLINK_MAX as u32)), "{path}");
    }
    let get = Request { block1: block(0, true, 0), method: Method::Get, ..Request::post("d/1", &[0; 16]) };
    assert_eq!(ask(&mut world, &get).code, Code::BAD_OPTION);
    let put =
        Request { method: Method::Other(3), block1: block(0, true, 0), ..Request::post("i/1", &[0; 16]) };
    assert_eq!(ask(&mut world, &put).code, Code::METHOD_NOT_ALLOWED);
    assert!(said(&world).is_empty());
}

#[test]
fn a_long_message_stays_in_the_mailbox_until_it_is_seen() {
    let mut world = world();
    let data: Vec<u8> = (0..300).map(|at| at as u8).collect();
    let before = world.seen;
    assert!(world.sessions.order(NODE, ToNode::Message { task: 1, data: data.clone() }, world.now));
    world.drain();
    world.run_until(world.now + 1_000);
    assert_eq!(world.orders.last(), Some(&Order::Fetch { task: 1, len: 300 }), "pushed");
    let seq = world.seen;
    assert_eq!(seq, before + 1);
    let mailbox = |world: &World| world.sessions.view(NODE, world.now).unwrap().mailbox;
    assert_eq!(mailbox(&world), 1, "the node has been told, and no more");
    world.restart();
    let register = encode(&Register { seen: before, ..world.register() }).unwrap();
    ask(&mut world, &Request::post(paths::REGISTER, &register));
    let mut got = Vec::new();
    while got.len() < data.len() {
        let answer =
            ask(&mut world, &Request::get_block(&format!("b/{seq}"), Block::at(got.len() as u32, 2)));
        assert_eq!(answer.code, Code::CONTENT);
        got.extend_from_slice(&answer.payload);
    }
    assert_eq!(got, data);
    let poll = Poll { seen: seq, power: Power::Mains, next_s: 15, news: News::Nothing };
    ask(&mut world, &Request::post(paths::POLL, &encode(&poll).unwrap()));
    assert_eq!(mailbox(&world), 0);
    let gone = ask(&mut world, &Request::get_block(&format!("b/{seq}"), Block::at(0, 2)));
    assert_eq!(gone.code, Code::NOT_FOUND);
    world.orders.clear();
    world.kill(1);
    world.next_poll_ms = world.now;
    world.run_until(world.now + 1_000);
    assert_eq!(world.orders.len(), 1, "what is behind it comes");
}

#[test]
fn a_mailbox_holds_few_long_messages() {
    let mut world = World::new(5, 0, Power::Battery(50));
    world.run_until(5_000);
    let mut order = |len: usize| {
        let data = vec![1; len];
        world.sessions.order(NODE, ToNode::Message { task: 1, data }, world.now)
    };
    assert!(!order(MESSAGE_LONG_MAX + 1));
    assert_eq!((0..20).filter(|_| order(MESSAGE_LONG_MAX)).count(), 8);
    assert!(order(48), "a short one has room");
}
