//! Bodies sent in blocks: the examples of RFC 7959, whatever a channel and two restarting ends do, and hostile blocks.

use node_coap::message::DATAGRAM_MAX;
use node_coap::{
    Assembler, Block, Code, Endpoint, Event, Limits, Method, Next, Params, Request, Response, Taken, Upload,
};
use proptest::prelude::*;

const LIMITS: Limits =
    Limits { body_max: 600, bodies_max: 2, lifetime_ms: Limits::EXCHANGE_LIFETIME_MS, szx_max: 6 };

fn block(num: u32, more: bool, szx: u8) -> Block {
    Block { num, more, szx }
}

fn put(block: Block, payload: &[u8]) -> Request {
    Request { method: Method::Other(3), block1: Some(block), ..Request::post("options", payload) }
}

fn code(taken: &Taken) -> Code {
    match taken {
        Taken::Answer(response) => response.code,
        other => panic!("{other:?}"),
    }
}

/// RFC 7959 §3.2: what goes up, as (number, more, szx), and the szx that the answers have.
fn example(szx_max: u8, body_len: usize, up: &[(u32, bool, u8)], answered: u8) {
    let body: Vec<u8> = (0..body_len).map(|at| at as u8).collect();
    let mut upload = Upload::new(3);
    let mut server = Assembler::new(Limits { szx_max, ..LIMITS });
    for (at, (num, more, szx)) in up.iter().enumerate() {
        let request = upload.request("options", &body, &[]);
        assert_eq!(request.block1, Some(block(*num, *more, *szx)));
        let response = match server.take((), &request, 0) {
            Taken::Answer(response) => {
                assert_eq!(
                    (response.code, response.block1),
                    (Code::CONTINUE, Some(block(*num, true, answered)))
                );
                response
            }
            Taken::Whole(whole) => {
                assert_eq!((whole, at), (body.clone(), up.len() - 1));
                Response { block1: request.block1, ..Response::new(Code::CHANGED, &[]) }
            }
            Taken::Again => panic!("nothing came again"),
        };
        let next = if at + 1 < up.len() { Next::Block } else { Next::Done };
        assert_eq!(upload.answered(body.len(), response.code, response.block1), next);
    }
}

#[test]
fn a_simple_atomic_block_wise_put() {
    // Figure 7: 1:0/1/128, 1:1/1/128, 1:2/0/128.
    example(6, 300, &[(0, true, 3), (1, true, 3), (2, false, 3)], 3);
}

#[test]
fn early_negotiation_within_a_put() {
    // Figure 8: 1:0/1/128 is answered by 1:0/1/32; then 1:4/1/32, 1:5/1/32, 1:6/0/32.
    example(1, 208, &[(0, true, 3), (4, true, 1), (5, true, 1), (6, false, 1)], 1);
}

#[test]
fn the_examples_are_these_bytes() {
    let mut client: Endpoint<u8> = Endpoint::new(Params::default(), 1);
    let mut server: Endpoint<u8> = Endpoint::new(Params::default(), 2);
    let request = Request { size1: Some(300), tag: vec![7], ..put(block(2, false, 3), b"x") };
    client.request(1, &request, 0).unwrap();
    let wire = client.poll_transmit().unwrap().1;
    // Uri-Path "options", Block1 2/0/128, Size1 300, Request-Tag 7, payload.
    let options = [b"\xb7options\xd1\x03\x23\xd2\x14\x01\x2c\xd1\xdb\x07\xff".as_slice(), b"x"].concat();
    assert_eq!((wire[1], &wire[6..]), (3, options.as_slice()));
    server.handle(2, &wire, 0);
    let Some(Event::Request { id, request: read, .. }) = server.poll_event() else { panic!("no request") };
    assert_eq!(read, request);
    let response = Response { block1: Some(block(0, true, 1)), ..Response::new(Code::CONTINUE, &[]) };
    server.respond(2, id, &response, 0).unwrap();
    let wire = server.poll_transmit().unwrap().1;
    assert_eq!((wire[1], &wire[6..]), (0x5f, [0xd1, 14, 0x09].as_slice()));
    let response = Response::too_large(600);
    assert_eq!(Response::from_plaintext(&response.to_plaintext()), Some(response.clone()));
    assert_eq!(response.to_plaintext(), [0x8d, 0xd2, 47, 0x02, 0x58]);
}

#[test]
fn a_block_of_the_reserved_size_is_a_bad_request() {
    let mut server: Endpoint<u8> = Endpoint::new(Params::default(), 1);
    for option in [0xd1, 0xc1] {
        // Block1 (27) or Block2 (23) of size exponent 7.
        let (head, tail): (&[u8], &[u8]) = if option == 0xd1 {
            (&[0x40, 2, 0, 1], &[0xd1, 14, 0x07])
        } else {
            (&[0x40, 1, 0, 2], &[0xd1, 10, 0x07])
        };
        server.handle(1, &[head, tail].concat(), 0);
        assert_eq!(server.poll_transmit().unwrap().1[..2], [0x60, 0x80]);
    }
    assert!(server.poll_event().is_none());
}

#[test]
fn out_of_order_is_refused_and_a_repetition_answered_again() {
    let mut server = Assembler::new(LIMITS);
    let parts = [[1; 16], [2; 16], [3; 16]];
    assert_eq!(
        code(&server.take(1, &put(block(1, true, 0), &parts[1]), 0)),
        Code::INCOMPLETE,
        "no first block"
    );
    for _ in 0..2 {
        assert_eq!(code(&server.take(1, &put(block(0, true, 0), &parts[0]), 0)), Code::CONTINUE);
    }
    assert_eq!(
        code(&server.take(1, &put(block(2, true, 0), &parts[2]), 0)),
        Code::INCOMPLETE,
        "one is missing"
    );
    assert_eq!(
        code(&server.take(2, &put(block(1, true, 0), &parts[1]), 0)),
        Code::INCOMPLETE,
        "of another peer"
    );
    let other = Request { tag: vec![9], ..put(block(1, true, 0), &parts[1]) };
    assert_eq!(code(&server.take(1, &other, 0)), Code::INCOMPLETE, "of another body");
    for _ in 0..2 {
        assert_eq!(code(&server.take(1, &put(block(1, true, 0), &parts[1]), 0)), Code::CONTINUE);
    }
    assert_eq!(
        code(&server.take(1, &put(block(1, true, 0), &[9; 16]), 0)),
        Code::INCOMPLETE,
        "not what it was"
    );
    let last = put(block(2, false, 0), &parts[2]);
    assert_eq!(server.take(1, &last, 0), Taken::Whole(parts.concat()));
    assert_eq!(server.take(1, &last, 0), Taken::Again);
    assert_eq!(code(&server.take(1, &put(block(1, true, 0), &parts[1]), 0)), Code::INCOMPLETE);
    assert_eq!(server.held(), (1, 0), "of a body given out nothing is kept but which block was the last");
    server.forget(&1);
    assert_eq!(code(&server.take(1, &last, 0)), Code::INCOMPLETE);
}

#[test]
fn a_body_is_forgotten_after_a_time_or_for_a_newer_one() {
    let mut server = Assembler::new(LIMITS);
    let first = put(block(0, true, 0), &[1; 16]);
    let second = put(block(1, true, 0), &[2; 16]);
    let later = LIMITS.lifetime_ms;
    server.take(1, &first, 0);
    assert_eq!(code(&server.take(1, &second, later - 1)), Code::CONTINUE);
    assert_eq!(code(&server.take(1, &put(block(2, true, 0), &[3; 16]), 2 * later)), Code::INCOMPLETE);
    assert_eq!(server.held(), (0, 0));
    for key in 1..=3 {
        server.take(key, &first, 3 * later + key);
    }
    assert_eq!(server.held(), (2, 32));
    assert_eq!(code(&server.take(1, &second, 3 * later + 4)), Code::INCOMPLETE, "the oldest went");
    assert_eq!(code(&server.take(3, &second, 3 * later + 4)), Code::CONTINUE);
}

#[test]
fn a_refusal_says_what_would_be_taken() {
    let mut upload = Upload::new(6);
    let body = [7; 2000];
    assert_eq!(upload.request("m", &body, &[]).size1, Some(2000));
    let smaller = Response { block1: Some(block(0, false, 2)), ..Response::too_large(4000) };
    assert_eq!(upload.answered(body.len(), smaller.code, smaller.block1), Next::Block);
    let request = upload.request("m", &body, &[]);
    assert_eq!((request.block1, request.payload.len()), (Some(block(0, true, 2)), 64));
    let mut server = Assembler::new(LIMITS);
    let refused = server.take((), &request, 0);
    assert_eq!(refused, Taken::Answer(Response::too_large(600)), "by its first block");
    assert_eq!(upload.answered(body.len(), Code::TOO_LARGE, None), Next::TooLarge);
    assert_eq!(upload.answered(body.len(), Code::UNAVAILABLE, None), Next::Refused);
    assert_eq!(upload.request("m", &body, &[]), request, "once more, later");
    let end = (0..10).find(|_| upload.answered(2000, Code::INCOMPLETE, None) == Next::Refused);
    assert!(end.is_some(), "it does not begin anew for ever");
}

#[test]
fn hostile_blocks_cost_no_memory() {
    let mut server = Assembler::new(LIMITS);
    let huge = put(block(0xf_ffff, true, 6), &[0; 1024]);
    assert_eq!(code(&server.take(1, &huge, 0)), Code::TOO_LARGE);
    assert_eq!(code(&server.take(1, &put(block(0, true, 6), &[0; 1024]), 0)), Code::TOO_LARGE);
    assert_eq!(
        code(&server.take(1, &put(block(0, true, 2), &[0; 63]), 0)),
        Code::BAD_REQUEST,
        "more, but short"
    );
    assert_eq!(code(&server.take(1, &put(block(0, false, 2), &[0; 65]), 0)), Code::BAD_REQUEST);
    let claimed = Request { size1: Some(u32::MAX), ..put(block(0, true, 0), &[0; 16]) };
    assert_eq!(code(&server.take(1, &claimed, 0)), Code::TOO_LARGE);
    assert_eq!(code(&server.take(1, &Request::post("m", &[0; 601]), 0)), Code::TOO_LARGE);
    assert_eq!(server.held(), (0, 0));
    // One size after another, as long as each begins where the last one ended.
    assert_eq!(code(&server.take(1, &put(block(0, true, 2), &[1; 64]), 0)), Code::CONTINUE);
    assert_eq!(code(&server.take(1, &put(block(2, true, 1), &[2; 32]), 0)), Code::CONTINUE);
    assert_eq!(code(&server.take(1, &put(block(1, true, 3), &[0; 128]), 0)), Code::INCOMPLETE);
    assert_eq!(
        server.take(1, &put(block(6, false, 0), &[3]), 0),
        Taken::Whole([&[1; 64][..], &[2; 32], &[3]].concat())
    );
    for num in 0..1_000 {
        server.take(num % 7, &put(block(num as u32, true, 4), &[0; 256]), 0);
        assert!(server.held().0 <= LIMITS.bodies_max && server.held().1 <= 2 * LIMITS.body_max);
    }
}

/// What a channel and the ends do to one exchange.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Passes,
    RequestLost,
    AnswerLost,
    /// Passes, and then a request sent earlier arrives once more.
    Late(usize),
    ServerRestarts,
    ClientRestarts,
    LongPause,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Passes),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::AnswerLost),
        2 => any::<usize>().prop_map(Fate::Late),
        1 => Just(Fate::ServerRestarts),
        1 => Just(Fate::ClientRestarts),
        1 => Just(Fate::LongPause),
    ]
}

/// The taking end: what it has put together is in memory, the number of the body that is next is on disk.
struct Server {
    assembler: Assembler<()>,
    next: u8,
    bodies: Vec<Vec<u8>>,
}

impl Server {
    fn take(&mut self, request: &Request, now: u64) -> Response {
        let done = Response { block1: request.block1, ..Response::new(Code::CHANGED, &[]) };
        match self.assembler.take((), request, now) {
            Taken::Answer(response) => response,
            Taken::Again => done,
            Taken::Whole(body) => {
                if body[0] == self.next {
                    self.next += 1;
                    self.bodies.push(body);
                } else {
                    assert!(body[0] < self.next, "one was left out");
                }
                done
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Each body begins with its number, as a task's messages do.
    #[test]
    fn every_body_arrives_once_whatever_happens(
        lens in prop::collection::vec(1usize..600, 1..4), szx in 0u8..=6, szx_max in 0u8..=6,
        fates in prop::collection::vec(fate(), 0..80))
    {
        let bodies: Vec<Vec<u8>> = lens.iter().enumerate()
            .map(|(number, len)| (0..*len).map(|at| (number + at * 7 * (number + 1)) as u8).collect()).collect();
        let mut server = Server { assembler: Assembler::new(Limits { szx_max, ..LIMITS }), next: 0, bodies: vec![] };
        let (mut now, mut sent, mut fates) = (0, Vec::new(), fates.into_iter());
        for body in &bodies {
            let mut upload = Upload::new(szx);
            let mut exchanges = 0;
            loop {
                exchanges += 1;
                prop_assert!(exchanges < 600, "it does not end");
                let request = upload.request("m", body, &body[..1]);
                prop_assert!(request.to_plaintext().len() <= DATAGRAM_MAX);
                sent.push(request.clone());
                now += 1_000;
                let fate = fates.next().unwrap_or(Fate::Passes);
                match fate {
                    Fate::RequestLost => continue,
                    Fate::ServerRestarts => server.assembler.clear(),
                    Fate::LongPause => now += LIMITS.lifetime_ms,
                    Fate::ClientRestarts => upload = Upload::new(szx),
                    _ => {}
                }
                if matches!(fate, Fate::ClientRestarts) {
                    continue;
                }
                let response = server.take(&request, now);
                if let Fate::Late(which) = fate {
                    let late = &sent[which % sent.len()];
                    server.take(late, now);
                }
                if matches!(fate, Fate::AnswerLost) {
                    continue;
                }
                match upload.answered(body.len(), response.code, response.block1) {
                    Next::Block => {}
                    Next::Done => break,
                    Next::Refused => upload = Upload::new(szx), // it tries again later
                    Next::TooLarge => prop_assert!(false, "it is not"),
                }
            }
        }
        prop_assert_eq!(server.bodies, bodies);
        prop_assert!(server.assembler.held().0 <= 1);
    }

    #[test]
    fn any_blocks_are_survived_within_bounds(blocks in prop::collection::vec(
        (0u8..4, prop_oneof![0u32..12, any::<u32>().prop_map(|num| num & 0xf_ffff)], any::<bool>(), 0u8..=6,
         any::<bool>(), 0usize..1024, any::<u8>()), 0..80))
    {
        let mut server = Assembler::new(LIMITS);
        for (at, (key, num, more, szx, fits, len, tag)) in blocks.into_iter().enumerate() {
            let len = if fits { 16 << szx } else { len };
            let request = Request { tag: vec![tag % 2], ..put(block(num, more, szx), &vec![key; len]) };
            if let Taken::Whole(body) = server.take(key, &request, at as u64 * 10_000) {
                prop_assert!(body.len() <= LIMITS.body_max && body.iter().all(|byte| *byte == key));
            }
            let (bodies, bytes) = server.held();
            prop_assert!(bodies <= LIMITS.bodies_max && bytes <= bodies * LIMITS.body_max);
        }
    }
}
