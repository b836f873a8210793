//! A peer that replays, forges and damages, and ends that lose what they remembered.

use node_coap::{Block, Code, Method, Request, Response};
use node_oscore::{Context, Credential, Error, Id, Window, key_id};
use proptest::prelude::*;
use std::collections::BTreeSet;

const ECHO: [u8; 8] = *b"challeng";

fn credential() -> Credential {
    Credential { eui64: [7; 8], kid: Id::new(&[1, 2]).unwrap(), secret: [3; 16], salt: [4; 8] }
}

fn node(next: u64) -> Context {
    let mut context = Context::new(credential().node_keys().unwrap(), next, None, [9; 8]);
    context.reserved(context.reservation().unwrap());
    context
}

fn gateway(window: Option<Window>) -> Context {
    let mut context = Context::new(credential().gateway_keys().unwrap(), 0, window, ECHO);
    context.reserved(context.reservation().unwrap());
    context
}

fn poll() -> Request {
    Request::post("p", &[1, 2, 3])
}

#[test]
fn a_request_is_taken_once() {
    let (mut node, mut gateway) = (node(0), gateway(Some(Window::default())));
    let (first, _) = node.protect_request(&poll()).unwrap();
    let (second, _) = node.protect_request(&poll()).unwrap();
    assert_ne!(first.payload, second.payload);
    assert!(gateway.open_request(&second).unwrap().is_fresh);
    assert!(gateway.open_request(&first).unwrap().is_fresh, "late but new");
    for again in [&first, &second] {
        assert_eq!(gateway.open_request(again), Err(Error::Replayed));
    }
    assert_eq!(key_id(first.oscore.as_deref().unwrap()), Id::new(&[1, 2]));
}

#[test]
fn after_a_loss_nothing_is_taken_before_the_challenge_is_answered() {
    let (mut node, mut gateway) = (node(0), gateway(None));
    let (recorded, _) = node.protect_request(&poll()).unwrap();
    let (current, asked) = node.protect_request(&poll()).unwrap();
    let opened = gateway.open_request(&current).unwrap();
    assert!(!opened.is_fresh);
    let challenge = gateway.challenge(&opened.binding).unwrap();
    let challenge = node.open_response(&challenge, &asked).unwrap();
    assert_eq!((challenge.code, &challenge.echo[..]), (Code::UNAUTHORIZED, &ECHO[..]));
    // A recorded request brings another challenge, under another number, and nothing more.
    let opened = gateway.open_request(&recorded).unwrap();
    assert!(!opened.is_fresh && gateway.is_lost());
    let again = gateway.challenge(&opened.binding).unwrap();
    assert_ne!(again.oscore, gateway.challenge(&opened.binding).unwrap().oscore);
    let (answer, _) = node.protect_request(&Request { echo: challenge.echo, ..poll() }).unwrap();
    assert!(gateway.open_request(&answer).unwrap().is_fresh);
    for old in [&recorded, &current, &answer] {
        assert_eq!(gateway.open_request(old), Err(Error::Replayed));
    }
}

#[test]
fn what_the_peer_says_in_a_fresh_answer_replaces_the_challenge() {
    let (mut node, mut gateway) = (node(0), gateway(Some(Window::default())));
    let (recorded, _) = gateway.protect_request(&Request::post("c", &[1])).unwrap();
    node.resume_from(gateway.next_number());
    assert_eq!(node.open_request(&recorded), Err(Error::Replayed));
    let (next, _) = gateway.protect_request(&Request::post("c", &[2])).unwrap();
    assert!(node.open_request(&next).unwrap().is_fresh);
    node.resume_from(0);
    assert_eq!(node.open_request(&recorded), Err(Error::Replayed), "only a lost window is set");
}

#[test]
fn a_number_is_used_only_after_it_was_set_aside() {
    let mut context = Context::new(credential().node_keys().unwrap(), 5, None, [0; 8]);
    assert_eq!(context.protect_request(&poll()).unwrap_err(), Error::Exhausted);
    let saved = context.reservation().unwrap();
    context.reserved(saved);
    assert_eq!(context.reservation(), None);
    while context.protect_request(&poll()).is_ok() {}
    assert_eq!(context.next_number(), saved, "every number below the bound, and none above it");
    let mut last = node((1 << 40) - 1);
    assert!(last.protect_request(&poll()).is_ok());
    assert_eq!(last.protect_request(&poll()).unwrap_err(), Error::Exhausted);
}

#[test]
fn no_nonce_is_used_twice_over_restarts() {
    let (mut used, mut stored) = (BTreeSet::new(), 0);
    for life in 0..50 {
        let mut context = Context::new(credential().node_keys().unwrap(), stored, None, [0; 8]);
        for _ in 0..life * 17 {
            if let Some(bound) = context.reservation() {
                stored = bound;
                context.reserved(bound);
            }
            let (outer, _) = context.protect_request(&poll()).unwrap();
            assert!(used.insert(outer.oscore), "life {life}");
        }
    }
}

#[test]
fn an_answer_fits_no_other_request() {
    let (mut node, mut gateway) = (node(0), gateway(Some(Window::default())));
    let (first, first_asked) = node.protect_request(&poll()).unwrap();
    let (_, second_asked) = node.protect_request(&poll()).unwrap();
    let opened = gateway.open_request(&first).unwrap();
    let answer = gateway.protect_response(&Response::new(Code::CHANGED, b"x"), opened.binding);
    assert_eq!(node.open_response(&answer, &second_asked), Err(Error::Forged));
    assert_eq!(node.open_response(&answer, &first_asked).unwrap().payload, b"x");
    // What is sent back to its sender is no answer either.
    let reflected = Response { oscore: first.oscore, ..Response::new(Code::CHANGED, &first.payload) };
    assert_eq!(node.open_response(&reflected, &first_asked), Err(Error::Forged));
    let plain = Response::new(Code::CHANGED, b"x");
    assert_eq!(node.open_response(&plain, &first_asked), Err(Error::Malformed));
}

#[test]
fn another_nodes_key_opens_nothing() {
    let other = Credential { secret: [5; 16], ..credential() };
    let mut stranger = Context::new(other.node_keys().unwrap(), 0, None, [0; 8]);
    stranger.reserved(99);
    let (outer, _) = stranger.protect_request(&poll()).unwrap();
    let mut gateway = gateway(Some(Window::default()));
    assert_eq!(gateway.open_request(&outer), Err(Error::Forged));
    let named = Credential { kid: Id::new(&[9]).unwrap(), ..credential() };
    let mut named = Context::new(named.node_keys().unwrap(), 0, None, [0; 8]);
    named.reserved(99);
    let (outer, _) = named.protect_request(&poll()).unwrap();
    assert_eq!(gateway.open_request(&outer), Err(Error::OtherPeer));
}

#[test]
fn blocks_are_protected_and_a_stranger_adds_none() {
    let (mut node, mut gateway) = (node(0), gateway(Some(Window::default())));
    let block1 = Some(Block { num: 3, more: true, szx: 1 });
    let request = Request { block1, size1: Some(99), tag: vec![7], ..poll() };
    // Block1, Size1 and Request-Tag are of class E (RFC 8613 §4.1, RFC 9175 §3.2.1).
    let (outer, asked) = node.protect_request(&request).unwrap();
    assert_eq!((outer.block1, outer.size1, &outer.tag[..]), (None, None, &[][..]));
    let added = Request { block1: Some(Block { num: 9, more: false, szx: 6 }), tag: vec![1], ..outer };
    let opened = gateway.open_request(&added).unwrap();
    assert_eq!(opened.request, request);
    let answer = Response { block1, size1: Some(99), ..Response::new(Code::CONTINUE, &[]) };
    let outer = gateway.protect_response(&answer, opened.binding);
    assert_eq!((outer.code, outer.block1, outer.size1), (Code::CHANGED, None, None));
    let added = Response { block1: Some(Block { num: 9, more: false, szx: 6 }), ..outer };
    assert_eq!(node.open_response(&added, &asked), Ok(answer));
}

fn request() -> impl Strategy<Value = Request> {
    let block = proptest::option::of((0..1000u32, 0..7u8));
    ("[a-z]{1,3}(/[0-9]{1,3})?", proptest::collection::vec(any::<u8>(), 0..80), block, any::<bool>())
        .prop_map(|(path, payload, block, post)| Request {
            method: if post { Method::Post } else { Method::Get },
            path,
            block1: block.filter(|_| post).map(|(num, szx)| Block { num, more: num % 2 == 0, szx }),
            block2: block.map(|(num, szx)| Block { num, more: false, szx }),
            size1: block.map(|(num, _)| num),
            tag: block.map_or_else(Vec::new, |(_, szx)| vec![szx]),
            payload,
            confirmable: true,
            ..Request::default()
        })
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(request in request(), body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let (mut node, mut gateway) = (node(0), gateway(Some(Window::default())));
        let (outer, asked) = node.protect_request(&request).unwrap();
        let opened = gateway.open_request(&outer).unwrap();
        prop_assert_eq!(&opened.request, &request);
        let (block1, block2, size1) = (request.block1, request.block2, request.size1);
        let answer = Response { block1, block2, size1, ..Response::new(Code::CONTENT, &body) };
        let outer = gateway.protect_response(&answer, opened.binding);
        prop_assert_eq!(node.open_response(&outer, &asked).unwrap(), answer);
    }

    /// One bit of it wrong and it is not taken, and the right one is taken after that.
    #[test]
    fn a_damaged_request_is_not_taken(request in request(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (mut node, mut gateway) = (node(300), gateway(Some(Window::default())));
        let (outer, _) = node.protect_request(&request).unwrap();
        let mut damaged = outer.clone();
        let option = damaged.oscore.as_mut().unwrap();
        let at = at.index(option.len() + damaged.payload.len());
        match at.checked_sub(option.len()) {
            None => option[at] ^= 1 << bit,
            Some(at) => damaged.payload[at] ^= 1 << bit,
        }
        prop_assert!(gateway.open_request(&damaged).is_err());
        prop_assert!(gateway.open_request(&outer).is_ok());
    }

    #[test]
    fn any_bytes_are_survived(
        option in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
        payload in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let (mut node, mut gateway) = (node(0), gateway(Some(Window::default())));
        let (_, asked) = node.protect_request(&poll()).unwrap();
        let request = Request { oscore: option.clone(), payload: payload.clone(), ..Request::default() };
        prop_assert!(gateway.open_request(&request).is_err());
        let response = Response { oscore: option, ..Response::new(Code::CHANGED, &payload) };
        prop_assert!(node.open_response(&response, &asked).is_err());
    }
}
