//! Decoders of one layer each.

use crate::rig::{GATEWAY, NODE, credential};
use crate::script::{Script, first, number};
use lowpan::{Config, Eui64, FCS_LEN, FRAME_MAX, Stack, ether};
use node_coap::{Assembler, Block, Code, Endpoint, Event, Limits, Params, Request, Response, serve_block};
use node_oscore::{Binding, Context, Credential, Window, key_id};
use node_proto::{
    Command, Document, Inventory, Log, LongMessage, Message, Order, Poll, Register, Registered, State,
    Status, decode, encode,
};
use serde::{Serialize, de::DeserializeOwned};

/// Frames one after the other, as a radio hears them: each step is a frame, a medium's datagram or a pause.
pub fn lowpan(data: &[u8]) {
    let mut radio = Stack::new(Config { short: Some(1), ..Config::new(Eui64(GATEWAY)) });
    let mut now = 0;
    for (step, bytes) in Script(data) {
        let frame = match step % 4 {
            0 => bytes,
            1 => ether::unwrap(bytes).unwrap_or_default(),
            2 => {
                now += u64::from(number(bytes));
                continue;
            }
            // What is behind the MAC header of a frame from the node to here.
            _ => {
                let mut node = Stack::new(Config::new(Eui64(NODE)));
                let frames = node.encode(Eui64(GATEWAY).link_local(), 5683, 5683, &[]).unwrap_or_default();
                let header = frames.first().and_then(|frame| frame.get(..21)).unwrap_or_default();
                take(&mut radio, &[header, bytes].concat(), now);
                continue;
            }
        };
        take(&mut radio, frame, now);
    }
}

fn take(radio: &mut Stack, frame: &[u8], now: u64) {
    let Ok(Some(datagram)) = radio.decode(frame, now) else { return };
    assert!(frame.len() <= FRAME_MAX - FCS_LEN && datagram.payload.len() <= 1280);
    // What was taken can be sent.
    let mut node = Stack::new(Config::new(Eui64(NODE)));
    let sent =
        node.encode(Eui64(GATEWAY).link_local(), datagram.src_port, datagram.dst_port, &datagram.payload);
    let frames = sent.expect("it was taken in this size");
    assert!(frames.iter().all(|frame| frame.len() + FCS_LEN <= FRAME_MAX));
    let mut other = Stack::new(Config::new(Eui64(GATEWAY)));
    let again = frames.iter().filter_map(|frame| other.decode(frame, 0).ok().flatten()).last();
    assert_eq!(again.map(|again| again.payload), Some(datagram.payload));
}

/// Bodies that come in blocks.
const BODIES: Limits =
    Limits { body_max: 100, bodies_max: 2, lifetime_ms: Limits::EXCHANGE_LIFETIME_MS, szx_max: 1 };

/// An endpoint with requests of its own, and what peers send it: datagrams, pauses, answers of the application.
pub fn coap(data: &[u8]) {
    let params = Params { queue_per_peer: 2, peers_max: 3, ..Params::default() };
    let mut endpoint: Endpoint<u8> = Endpoint::new(params, 7);
    let (mut now, mut asked) = (0, Vec::new());
    let mut assembler = Assembler::new(BODIES);
    for (step, bytes) in Script(data) {
        let peer = step >> 4;
        match step % 8 {
            0..=2 => endpoint.handle(peer, bytes, now),
            3 => {
                now += u64::from(number(bytes)) % 300_000;
                endpoint.handle_timeout(now);
            }
            4 => drop(endpoint.request(peer, &Request::post("p", bytes), now)),
            5 => {
                if let Some((peer, id)) = asked.pop() {
                    let _ = endpoint.respond(peer, id, &Response::new(Code::CONTENT, bytes), now);
                }
            }
            6 => endpoint.cancel(peer),
            _ => endpoint.forget(peer),
        }
        plaintext(bytes);
        while let Some(event) = endpoint.poll_event() {
            if let Event::Request { peer, id, request } = event {
                let _ = serve_block(bytes, b"tag", request.block2);
                let _ = assembler.take(peer, &request, now);
                let (bodies, held) = assembler.held();
                assert!(bodies <= BODIES.bodies_max && held <= bodies * BODIES.body_max, "bodies grow");
                asked.push((peer, id));
                asked.truncate(16);
            }
        }
        while let Some((_, sent)) = endpoint.poll_transmit() {
            assert!(sent.len() <= node_coap::message::DATAGRAM_MAX);
        }
        assert!(endpoint.next_timeout().is_none_or(|at| at >= now || step % 8 != 3), "time stands still");
    }
}

/// What OSCORE has inside is read as it was written.
fn plaintext(bytes: &[u8]) {
    if let Some(request) = Request::from_plaintext(bytes) {
        // Where one segment of a path ends is not kept: `a/b` is one or two.
        let again = Request::from_plaintext(&request.to_plaintext());
        let kept = |request: Request| {
            let blocks = (request.block1, request.block2, request.size1, request.tag);
            (request.method, blocks, request.echo, request.payload)
        };
        assert_eq!(again.map(kept), Some(kept(request)));
    }
    if let Some(response) = Response::from_plaintext(bytes) {
        let again = Response::from_plaintext(&response.to_plaintext());
        assert_eq!(again, Some(response));
    }
    let block = Block::at(number(bytes), 6);
    assert!(block.offset() == u64::from(number(bytes)) || !number(bytes).is_multiple_of(16));
}

/// Both ends of a security context, between which anything is changed.
pub fn oscore(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(read) = text.parse::<Credential>()
    {
        assert!(read.to_line().parse::<Credential>().is_ok_and(|again| again == read));
    }
    let credential = credential(NODE, &[1, 2]);
    let (Some(ours), Some(theirs)) = (credential.gateway_keys(), credential.node_keys()) else { return };
    let mut gateway = Context::new(ours, 5, None, [9; 8]);
    let mut node = Context::new(theirs, 1 << 24, Some(Window::default()), [8; 8]);
    gateway.reserved(1 << 20);
    node.reserved(1 << 30);
    let mut taken = std::collections::BTreeSet::new();
    let mut last: Option<(Request, Binding)> = None;
    for (step, bytes) in Script(data) {
        let (at, rest) = first(bytes);
        let outer = match step % 6 {
            // Anything at all, as option and as payload.
            0 => {
                let (option, payload) = rest.split_at(usize::from(at).min(rest.len()));
                let _ = key_id(option);
                Request { oscore: Some(option.into()), ..Request::post("", payload) }
            }
            // A true one, the last one again, or the last one with a bit turned round.
            1 => {
                let inner = Request::from_plaintext(bytes).unwrap_or_else(|| Request::post("p", bytes));
                let Ok((outer, binding)) = node.protect_request(&inner) else { continue };
                last = Some((outer.clone(), binding));
                outer
            }
            2 => match &last {
                Some((outer, _)) => outer.clone(),
                None => continue,
            },
            3 => {
                let Some((mut outer, _)) = last.as_ref().map(|(outer, _)| (outer.clone(), ())) else {
                    continue;
                };
                let place = usize::from(at) % (outer.payload.len().max(1));
                let Some(byte) = outer.payload.get_mut(place) else { continue };
                *byte ^= first(rest).0.max(1);
                assert!(gateway.open_request(&outer).is_err(), "a forgery was taken");
                continue;
            }
            // Answers to what was asked last.
            _ => {
                let Some((_, binding)) = &last else { continue };
                let (option, payload) = rest.split_at(usize::from(at).min(rest.len()));
                let forged =
                    Response { oscore: Some(option.into()), ..Response::new(Code::CHANGED, payload) };
                assert!(node.open_response(&forged, binding).is_err(), "a forgery was taken");
                continue;
            }
        };
        let Ok(opened) = gateway.open_request(&outer) else { continue };
        if opened.is_fresh {
            assert!(taken.insert(outer.oscore.clone()), "a request was taken twice");
            let answer = gateway.protect_response(&Response::new(Code::CONTENT, bytes), opened.binding);
            let binding = last.as_ref().map(|(_, binding)| binding);
            let read = binding.and_then(|binding| node.open_response(&answer, binding).ok());
            assert!(step % 6 != 1 || read.is_some_and(|read| read.payload == bytes));
        } else if let (Ok(challenge), Some((_, binding))) = (gateway.challenge(&opened.binding), &last) {
            let Ok(challenge) = node.open_response(&challenge, binding) else { continue };
            let inner = Request { echo: challenge.echo, ..opened.request };
            let Ok((outer, _)) = node.protect_request(&inner) else { continue };
            assert!(
                gateway.open_request(&outer).is_ok_and(|opened| opened.is_fresh),
                "the challenge was met"
            );
        }
    }
}

/// Every message of the node protocol, and what both ends keep in records.
pub fn messages(data: &[u8]) {
    round_trip::<Register>(data);
    round_trip::<Registered>(data);
    round_trip::<Poll>(data);
    round_trip::<Command>(data);
    round_trip::<Status>(data);
    round_trip::<Message>(data);
    round_trip::<Log>(data);
    round_trip::<Order>(data);
    round_trip::<State>(data);
    round_trip::<Inventory>(data);
    if let Ok(message) = LongMessage::decode(data) {
        let body = message.encode().expect("it is not too long");
        assert_eq!(LongMessage::decode(&body), Ok(message));
    }
    if let Ok(document) = postcard::from_bytes::<Document<'_>>(data)
        && let Ok(bytes) = postcard::to_allocvec(&document)
    {
        assert_eq!(postcard::from_bytes::<Document<'_>>(&bytes), Ok(document));
    }
}

/// What is read and fits can be written and read again.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(message) = decode::<T>(data) else { return };
    let wire = encode(&message).expect("it came in one frame");
    assert!(wire.len() <= data.len(), "shorter forms are written");
    assert_eq!(decode::<T>(&wire).as_ref(), Ok(&message));
}
