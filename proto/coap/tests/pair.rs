//! Two endpoints and a channel that loses, doubles and reorders, in virtual time.

use node_coap::{Block, Code, Endpoint, Event, Params, Request, RequestId, Response, serve_block};
use proptest::prelude::*;
use std::collections::BTreeMap;

const CLIENT: u8 = 1;
const SERVER: u8 = 2;

struct Pair {
    now: u64,
    client: Endpoint<u8>,
    server: Endpoint<u8>,
    /// (arrival, order) -> (to server?, bytes)
    air: BTreeMap<(u64, u64), (bool, Vec<u8>)>,
    sent: u64,
    random: u64,
    loss_permille: u64,
    chaos: bool,
}

impl Pair {
    fn new(seed: u64, loss_permille: u64, chaos: bool) -> Self {
        let params = Params { exchange_lifetime_ms: 2_000_000, max_retransmit: 8, ..Params::default() };
        Self {
            now: 0,
            client: Endpoint::new(params, seed),
            server: Endpoint::new(params, seed + 1),
            air: BTreeMap::new(),
            sent: 0,
            random: seed | 1,
            loss_permille,
            chaos,
        }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    fn throw(&mut self, to_server: bool, bytes: Vec<u8>) {
        let copies = if self.chaos && self.dice(10) == 0 { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice(1000) < self.loss_permille {
                continue;
            }
            let delay = if self.chaos { 1 + self.dice(80) } else { 5 };
            self.sent += 1;
            self.air.insert((self.now + delay, self.sent), (to_server, bytes.clone()));
        }
    }

    /// Carries what is to be carried and moves time to the next thing that happens; false when nothing will.
    fn step(&mut self) -> bool {
        while let Some((_, bytes)) = self.client.poll_transmit() {
            self.throw(true, bytes);
        }
        while let Some((_, bytes)) = self.server.poll_transmit() {
            self.throw(false, bytes);
        }
        let next = [
            self.air.first_key_value().map(|((at, _), _)| *at),
            self.client.next_timeout(),
            self.server.next_timeout(),
        ];
        let Some(next) = next.into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.air.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to_server, bytes) = entry.remove();
            if to_server {
                self.server.handle(CLIENT, &bytes, self.now);
            } else {
                self.client.handle(SERVER, &bytes, self.now);
            }
        }
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        true
    }
}

/// Fetches `content` in blocks, as the node does.
fn transfer(pair: &mut Pair, content: &[u8], szx: u8) -> Vec<u8> {
    let mut got = Vec::new();
    let ask = |pair: &mut Pair, offset: usize| {
        let request = Request::get_block("i/7", Block::at(offset as u32, szx));
        pair.client.request(SERVER, &request, pair.now).unwrap();
    };
    ask(pair, 0);
    while got.len() < content.len() {
        assert!(pair.step(), "the transfer stands still");
        while let Some(event) = pair.server.poll_event() {
            if let Event::Request { peer, id, request } = event {
                assert_eq!(request.path, "i/7");
                let response = serve_block(content, b"etag", request.block2);
                pair.server.respond(peer, id, &response, pair.now).unwrap();
            }
        }
        while let Some(event) = pair.client.poll_event() {
            if let Event::Response { response, .. } = event {
                assert_eq!(response.block2.unwrap().offset(), got.len() as u64);
                got.extend_from_slice(&response.payload);
            }
            if got.len() < content.len() {
                ask(pair, got.len()); // after a failure too: resume by offset
            }
        }
    }
    got
}

#[test]
fn a_late_answer_comes_as_a_message_of_its_own() {
    let mut pair = Pair::new(3, 0, false);
    pair.client.request(SERVER, &Request::post("s", b"x"), 0).unwrap();
    let mut waiting: Option<(RequestId, u64)> = None;
    let mut answers = 0;
    while pair.step() {
        while let Some(Event::Request { id, .. }) = pair.server.poll_event() {
            waiting = Some((id, pair.now + 1_000));
        }
        if let Some((id, at)) = waiting.take() {
            if pair.now >= at {
                pair.server.respond(CLIENT, id, &Response::new(Code::CHANGED, b"late"), pair.now).unwrap();
            } else if pair.now + 250 < at && answers == 0 {
                // Past the acknowledgement delay nothing else happens: let the time come.
                pair.now = at.min(pair.now + 250);
                pair.server.handle_timeout(pair.now);
                waiting = Some((id, at.min(pair.now)));
            } else {
                waiting = Some((id, pair.now));
            }
        }
        while let Some(event) = pair.client.poll_event() {
            assert!(
                matches!(&event, Event::Response { response, .. } if response.payload == b"late"),
                "{event:?}"
            );
            answers += 1;
        }
    }
    assert_eq!(answers, 1);
    assert_eq!(pair.client.counters().retransmitted, 0, "the empty acknowledgement stopped them");
}

#[test]
fn a_peer_that_is_gone_costs_the_retransmissions_of_the_rfc() {
    let mut client: Endpoint<u8> = Endpoint::new(Params::default(), 9);
    client.request(SERVER, &Request::post("p", b""), 0).unwrap();
    let mut sent = 0;
    let mut failed = None;
    while failed.is_none() {
        while client.poll_transmit().is_some() {
            sent += 1;
        }
        let now = client.next_timeout().expect("a time-out is armed");
        client.handle_timeout(now);
        if let Some(Event::Failed { .. }) = client.poll_event() {
            failed = Some(now);
        }
    }
    assert_eq!(sent, 5, "one transmission and MAX_RETRANSMIT");
    // MAX_TRANSMIT_WAIT lies between 62 s (no jitter) and 93 s (RFC 7252 §4.8.2).
    assert!((62_000..=93_000).contains(&failed.unwrap()), "{failed:?}");
}

#[test]
fn an_unknown_critical_option_is_refused_and_a_ping_answered() {
    let mut server: Endpoint<u8> = Endpoint::new(Params::default(), 1);
    server.handle(CLIENT, &[0x40, 0x01, 0, 1, 0x50], 0); // option 5, If-None-Match
    assert_eq!(server.poll_transmit().unwrap().1, [0x60, 0x82, 0, 1]);
    server.handle(CLIENT, &[0x40, 0x00, 0, 2], 0);
    assert_eq!(server.poll_transmit().unwrap().1, [0x70, 0x00, 0, 2]);
    assert!(server.poll_event().is_none());
}

#[test]
fn a_measured_round_trip_shortens_the_timeout_but_not_below_its_least() {
    let params = Params { ack_timeout_ms: 2_000, min_timeout_ms: 300, ..Params::default() };
    let mut client: Endpoint<u8> = Endpoint::new(params, 4);
    let mut server: Endpoint<u8> = Endpoint::new(Params::default(), 5);
    let mut now = 0;
    let wait = |client: &mut Endpoint<u8>, now: u64| client.next_timeout().unwrap() - now;
    for _ in 0..4 {
        client.request(SERVER, &Request::post("p", b""), now).unwrap();
        now += 20;
        server.handle(CLIENT, &client.poll_transmit().unwrap().1, now);
        let Some(Event::Request { id, .. }) = server.poll_event() else { panic!("no request") };
        server.respond(CLIENT, id, &Response::new(Code::CHANGED, b""), now).unwrap();
        client.handle(SERVER, &server.poll_transmit().unwrap().1, now);
        assert!(matches!(client.poll_event(), Some(Event::Response { .. })));
    }
    client.request(SERVER, &Request::post("p", b""), now).unwrap();
    let short = wait(&mut client, now);
    assert!((300..=450).contains(&short), "{short}");
    // A minute of silence and the way has to be measured anew.
    let mut client: Endpoint<u8> = Endpoint::new(params, 4);
    client.request(SERVER, &Request::post("p", b""), 0).unwrap();
    let long = wait(&mut client, 0);
    assert!((2_000..=3_000).contains(&long), "{long}");
}

#[test]
fn an_idle_peer_is_forgotten() {
    let mut pair = Pair::new(5, 0, false);
    transfer(&mut pair, &[1; 40], 2);
    while pair.step() {}
    assert_eq!(pair.server.next_timeout(), None, "nothing is left to wake for");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn blocks_arrive_whole_over_a_channel_that_loses_doubles_and_reorders(
        seed in 1u64..u64::MAX / 2, len in 1usize..6000, szx in 0u8..=6)
    {
        let content: Vec<u8> = (0..len).map(|at| (at * 31 + at / 256) as u8).collect();
        let mut pair = Pair::new(seed, 200, true);
        prop_assert_eq!(transfer(&mut pair, &content, szx), content);
    }

    #[test]
    fn each_request_is_handled_at_most_once_and_ends_once(seed in 1u64..u64::MAX / 2) {
        let mut pair = Pair::new(seed, 250, true);
        let mut open = std::collections::BTreeSet::new();
        for n in 0..10u8 {
            open.insert(pair.client.request(SERVER, &Request::post("s", &[n]), 0).unwrap());
        }
        let mut handled = std::collections::BTreeSet::new();
        while !open.is_empty() {
            prop_assert!(pair.step());
            while let Some(event) = pair.server.poll_event() {
                if let Event::Request { peer, id, request } = event {
                    prop_assert!(handled.insert(request.payload[0]), "{} came twice", request.payload[0]);
                    pair.server.respond(peer, id, &Response::new(Code::CHANGED, &request.payload), pair.now).unwrap();
                }
            }
            while let Some(event) = pair.client.poll_event() {
                match event {
                    Event::Response { exchange, .. } | Event::Failed { exchange, .. } => {
                        prop_assert!(open.remove(&exchange), "an exchange ended twice");
                    }
                    Event::Request { .. } | Event::Undelivered { .. } => {
                        prop_assert!(false, "the client serves nothing");
                    }
                }
            }
        }
    }

    #[test]
    fn any_datagram_is_survived_within_bounds(datagrams in prop::collection::vec(
        (0u8..4, prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..60))
    {
        let params = Params { peers_max: 3, ..Params::default() };
        let mut endpoint: Endpoint<u8> = Endpoint::new(params, 1);
        for (at, (peer, mut bytes, look_valid)) in datagrams.into_iter().enumerate() {
            if look_valid && !bytes.is_empty() {
                bytes[0] = 0x40 | bytes[0] & 0x32;
            }
            endpoint.handle(peer, &bytes, at as u64);
            while endpoint.poll_event().is_some() {}
            while endpoint.poll_transmit().is_some() {}
        }
        endpoint.handle_timeout(1_000_000);
        while endpoint.poll_transmit().is_some() {}
    }
}

#[test]
fn a_message_id_is_not_drawn_anew_while_the_peer_may_remember_it() {
    let params = Params::default();
    let mut client = Endpoint::new(params, 5);
    let mut server = Endpoint::new(params, 6);
    let mut ids = Vec::new();
    let mut now = 0;
    for _ in 0..50 {
        client.request(SERVER, &Request::post("p", b""), now).unwrap();
        while let Some((_, bytes)) = client.poll_transmit() {
            ids.push(u16::from_be_bytes([bytes[2], bytes[3]]));
            server.handle(CLIENT, &bytes, now);
        }
        while let Some(Event::Request { peer, id, .. }) = server.poll_event() {
            server.respond(peer, id, &Response::new(Code::CHANGED, b""), now).unwrap();
        }
        while let Some((_, bytes)) = server.poll_transmit() {
            client.handle(SERVER, &bytes, now);
        }
        assert!(matches!(client.poll_event(), Some(Event::Response { .. })));
        now += u64::from(params.exchange_lifetime_ms) / 2;
        client.handle_timeout(now);
    }
    assert!(ids.windows(2).all(|two| two[1] == two[0].wrapping_add(1)), "{ids:?}");
    // And yet a peer that was silent for the lifetime costs nothing.
    now += u64::from(params.exchange_lifetime_ms);
    client.handle_timeout(now);
    assert_eq!(client.next_timeout(), None);
}
