//! Strangers, forgers, recordings and revoked nodes at the gateway's radio.

use crate::world::*;
use gateway::bridge::{FromNode, NodeId};
use gateway::session::{Config, Keyring, Output, Sessions};
use gateway::store::{Records, Table, Write};
use node_coap::{Code, Endpoint, Event, Request};
use node_oscore::{Binding, Context, Credential, Id};
use node_proto::{Power, encode, paths};
use std::collections::BTreeSet;

/// Sessions that nothing is lost on the way to.
struct Desk {
    sessions: Sessions,
    disk: Records,
    events: Vec<(NodeId, FromNode)>,
    node: Context,
    coap: Endpoint<()>,
    now: u64,
}

impl Desk {
    fn new() -> Self {
        let mut sessions = Sessions::new(Config::default(), &Records::new(), 7, 0);
        sessions.set_keys(keyring(), 0);
        let coap = Endpoint::new(node_params(), 3);
        Self { sessions, disk: Records::new(), events: Vec::new(), node: context(0), coap, now: 0 }
    }

    /// Gives datagrams to the gateway from an address; what it sends back there.
    fn send(&mut self, port: u16, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.sessions.handle_datagram(address(port), bytes, self.now);
        let mut back = Vec::new();
        while let Some(output) = self.sessions.poll_output() {
            match output {
                Output::Write(Write::Put(table, key, value)) => self.disk.push((table, key, value)),
                Output::Event(id, event) => self.events.push((id, event)),
                Output::Transmit(to, bytes) => {
                    assert_eq!(to, address(port));
                    back.push(bytes);
                }
                _ => {}
            }
        }
        back
    }

    fn datagram(&mut self, request: &Request) -> Vec<u8> {
        self.coap.request((), request, self.now).unwrap();
        self.coap.poll_transmit().unwrap().1
    }

    fn protected(&mut self, request: &Request) -> (Vec<u8>, Binding) {
        let (outer, binding) = self.node.protect_request(request).unwrap();
        (self.datagram(&outer), binding)
    }

    /// Asks as the node does, the answer to a challenge included; the answer and the datagram it came for.
    fn ask(&mut self, port: u16, request: Request) -> (node_coap::Response, Vec<u8>) {
        let (mut datagram, mut binding) = self.protected(&request);
        for _ in 0..2 {
            for bytes in self.send(port, &datagram) {
                self.coap.handle((), &bytes, self.now);
            }
            let Some(Event::Response { response, .. }) = self.coap.poll_event() else { panic!("no answer") };
            let response = self.node.open_response(&response, &binding).unwrap();
            if response.echo.is_empty() {
                return (response, datagram);
            }
            (datagram, binding) = self.protected(&Request { echo: response.echo, ..request.clone() });
        }
        panic!("challenged twice");
    }

    fn register(&mut self, port: u16) -> Vec<u8> {
        let register = World::new(1, 0, Power::Mains).register();
        let (response, datagram) =
            self.ask(port, Request::post(paths::REGISTER, &encode(&register).unwrap()));
        assert_eq!(response.code, Code::CREATED);
        datagram
    }
}

fn poll() -> Request {
    let poll = node_proto::Poll { seen: 0, power: Power::Mains, next_s: 15, news: node_proto::News::Nothing };
    Request::post(paths::POLL, &encode(&poll).unwrap())
}

#[test]
fn strangers_get_no_answer_leave_no_trace_and_are_counted() {
    let mut desk = Desk::new();
    let register = World::new(1, 0, Power::Mains).register();
    let plain = Request::post(paths::REGISTER, &encode(&register).unwrap());
    let stranger = Credential { kid: Id::new(&[9]).unwrap(), ..credential() };
    let forger = Credential { secret: [8; 16], ..credential() };
    let as_other = |credential: &Credential| {
        let mut context = Context::new(credential.node_keys().unwrap(), 0, None, [0; 8]);
        context.reserved(100);
        context.protect_request(&plain).unwrap().0
    };
    for (at, request) in [plain.clone(), as_other(&stranger), as_other(&forger)].iter().enumerate() {
        for port in 9_000..9_100 {
            let mut coap = Endpoint::new(node_params(), u64::from(port));
            coap.request((), request, 0).unwrap();
            let datagram = coap.poll_transmit().unwrap().1;
            assert!(desk.send(port, &datagram).is_empty(), "kind {at}");
        }
    }
    let (_, _, refused) = desk.sessions.counters();
    assert_eq!((refused.unprotected, refused.unknown, refused.forged), (100, 100, 100));
    assert!(desk.events.is_empty() && desk.disk.is_empty() && desk.sessions.next_timeout().is_none());
}

#[test]
fn a_recording_is_not_taken_again_not_even_after_a_restart() {
    let mut desk = Desk::new();
    let registration = desk.register(7_001);
    let (answer, recorded) = desk.ask(7_001, poll());
    assert_eq!(answer.code, Code::CHANGED);
    // From elsewhere, for the CoAP layer knows its message id where it came from.
    assert!(desk.send(9_001, &recorded).is_empty());
    assert!(desk.send(9_001, &registration).is_empty());
    assert_eq!(desk.sessions.counters().2.replayed, 2);
    // The gateway starts anew: the recording is challenged, which whoever plays it cannot answer.
    desk.sessions = Sessions::new(Config::default(), &desk.disk, 8, 0);
    desk.sessions.set_keys(keyring(), 0);
    desk.events.clear();
    for _ in 0..3 {
        assert_eq!(desk.send(9_002, &registration).len(), 1);
        desk.now += 300_000;
        desk.sessions.handle_timeout(desk.now);
        while desk.sessions.poll_output().is_some() {}
    }
    assert_eq!(desk.sessions.view(NODE, desk.now).unwrap().peer, None);
    assert!(desk.events.is_empty());
    // The node itself needs no new registration.
    assert_eq!(desk.ask(7_001, poll()).0.code, Code::CHANGED);
    assert!(matches!(desk.events[..], [(NODE, FromNode::Alive { .. }), ..]));
}

#[test]
fn a_node_is_followed_to_where_it_speaks_from() {
    let mut desk = Desk::new();
    desk.register(7_001);
    assert_eq!(desk.ask(7_002, poll()).0.code, Code::CHANGED);
    assert_eq!(desk.sessions.view(NODE, 0).unwrap().peer, Some(address(7_002)));
}

#[test]
fn a_node_speaks_for_itself_alone() {
    let mut desk = Desk::new();
    let mut register = World::new(1, 0, Power::Mains).register();
    register.eui64[7] = 99;
    let (answer, _) = desk.ask(7_001, Request::post(paths::REGISTER, &encode(&register).unwrap()));
    assert_eq!(answer.code, Code::BAD_REQUEST);
    assert!(desk.events.is_empty());
}

#[test]
fn a_revoked_node_is_silenced_at_once() {
    let mut desk = Desk::new();
    desk.register(7_001);
    desk.events.clear();
    let revoked = Keyring { credentials: Vec::new(), revoked: vec![credential().kid] };
    desk.sessions.set_keys(revoked, 0);
    let (datagram, _) = desk.protected(&poll());
    assert!(desk.send(7_001, &datagram).is_empty());
    assert_eq!(desk.events, [(NODE, FromNode::Lapsed)]);
    assert_eq!(desk.sessions.counters().2.revoked, 1);
    assert!(!desk.sessions.view(NODE, 0).unwrap().online);
}

#[test]
fn the_gateway_uses_no_number_twice_whatever_is_lost() {
    let mut used = BTreeSet::new();
    let mut records = Records::new();
    // Ten starts on one store, then ten with a lost store each, seconds apart.
    for start in 0..20u64 {
        if start >= 10 {
            records.clear();
        }
        let epoch_ms = 1_800_000_000_000 + start * 60_000;
        let mut sessions = Sessions::new(Config { epoch_ms, ..Config::default() }, &records, start, 0);
        sessions.set_keys(keyring(), 0);
        let mut node = context(start * 1_000);
        for turn in 0..20 {
            // A context that has lost its window challenges each request under a new number.
            let (outer, _) = node.protect_request(&poll()).unwrap();
            let mut coap = Endpoint::new(node_params(), start * 100 + turn);
            coap.request((), &outer, 0).unwrap();
            sessions.handle_datagram(address(7_001), &coap.poll_transmit().unwrap().1, 0);
            while let Some(output) = sessions.poll_output() {
                match output {
                    Output::Write(Write::Put(Table::Sequence, key, value)) => {
                        records = vec![(Table::Sequence, key, value)];
                    }
                    Output::Transmit(_, bytes) => {
                        coap.handle((), &bytes, 0);
                        let Some(Event::Response { response, .. }) = coap.poll_event() else { panic!() };
                        assert!(used.insert(response.oscore.unwrap()), "start {start}");
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(used.len(), 400);
}
