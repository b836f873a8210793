//! Datagrams through frames and back.

use lowpan::{Config, Datagram, Drop, Eui64, FRAME_MAX, Stack, ends, ether, single_frame_payload};
use proptest::prelude::*;

const NODE: Eui64 = Eui64([0x02, 0, 0, 0, 0, 0, 0, 0x0a]);
const GATEWAY: Eui64 = Eui64([0x02, 0, 0, 0, 0, 0, 0, 0x01]);

fn pair() -> (Stack, Stack) {
    (Stack::new(Config::new(NODE)), Stack::new(Config::new(GATEWAY)))
}

fn datagram(payload: &[u8]) -> Datagram {
    Datagram {
        src: NODE.link_local(),
        src_port: 5683,
        dst: GATEWAY.link_local(),
        dst_port: 5683,
        payload: payload.into(),
    }
}

#[test]
fn a_small_datagram_is_one_frame_of_known_bytes() {
    let (mut node, _) = pair();
    let frames = node.encode(GATEWAY.link_local(), 5683, 5683, b"hi").unwrap();
    assert_eq!(frames.len(), 1);
    let frame = &frames[0];
    // Frame control: data, PAN id compression, 2006, both addresses extended.
    assert_eq!(frame[..2], [0x41, 0xdc]);
    assert_eq!(frame[3..5], [0xcd, 0xab], "PAN id, little endian");
    assert_eq!(frame[5..13], [0x01, 0, 0, 0, 0, 0, 0, 0x02], "destination, little endian");
    assert_eq!(frame[13..21], [0x0a, 0, 0, 0, 0, 0, 0, 0x02], "source");
    // RFC 6282 §3.1: 011, TF elided, NH compressed, hop limit 64; stateless, both addresses from the MAC header.
    assert_eq!(frame[21..23], [0b0111_1110, 0b0011_0011]);
    // RFC 6282 §4.3: UDP, checksum in line, ports in line.
    assert_eq!(frame[23], 0b1111_0000);
    assert_eq!(frame[24..28], [0x16, 0x33, 0x16, 0x33]);
    assert_eq!(frame[30..], *b"hi");
}

#[test]
fn a_frame_says_who_it_is_from_and_for() {
    let (mut node, _) = pair();
    let mut frame = node.encode(GATEWAY.link_local(), 5683, 5683, b"hi").unwrap().remove(0);
    assert_eq!(ends(&frame), (Some(NODE), Some(GATEWAY)));
    // An acknowledgement has no addresses.
    assert_eq!(ends(&[0x02, 0x00, 7]), (None, None));
    frame.truncate(12);
    assert_eq!(ends(&frame), (None, None));
    // Short addresses both, to everybody.
    let short = [0x41, 0x88, 7, 0xcd, 0xab, 0xff, 0xff, 0x01, 0x00, 0x7e];
    assert_eq!(ends(&short), (Some(Eui64::from_short(1)), None));
}

#[test]
fn the_largest_single_frame_is_full() {
    let (mut node, mut gateway) = pair();
    let most = single_frame_payload(5683, 5683);
    let frames = node.encode(GATEWAY.link_local(), 5683, 5683, &vec![7; most]).unwrap();
    assert_eq!((frames.len(), frames[0].len() + 2), (1, FRAME_MAX));
    assert_eq!(gateway.decode(&frames[0], 0).unwrap().unwrap().payload.len(), most);
    assert_eq!(node.encode(GATEWAY.link_local(), 5683, 5683, &vec![7; most + 1]).unwrap().len(), 2);
}

#[test]
fn a_lost_fragment_does_not_harm_the_next_datagram() {
    let (mut node, mut gateway) = pair();
    let frames = node.encode(GATEWAY.link_local(), 5683, 5683, &[1; 300]).unwrap();
    for frame in &frames[1..] {
        assert_eq!(gateway.decode(frame, 0), Ok(None));
    }
    let frames = node.encode(GATEWAY.link_local(), 5683, 5683, &[2; 300]).unwrap();
    let whole: Vec<_> = frames.iter().filter_map(|frame| gateway.decode(frame, 1).unwrap()).collect();
    assert_eq!(whole, [datagram(&[2; 300])]);
    gateway.decode(&frames[0], 100_000).unwrap();
    assert_eq!(gateway.counters().lapsed, 1);
}

#[test]
fn frames_for_others_are_left_alone_and_a_flipped_bit_is_noticed() {
    let (mut node, mut gateway) = pair();
    let frame = node.encode(GATEWAY.link_local(), 5683, 5683, b"payload").unwrap().remove(0);
    let mut other = Stack::new(Config::new(Eui64([9; 8])));
    assert_eq!(other.decode(&frame, 0), Err(Drop::NotOurs));
    let mut flipped = frame.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(gateway.decode(&flipped, 0), Err(Drop::Checksum));
}

#[test]
fn a_radio_answers_to_its_short_address_too() {
    let (mut node, _) = pair();
    let short = Eui64::from_short(1);
    assert_eq!(short.link_local().to_string(), "fe80::ff:fe00:1");
    let frame = node.encode(short.link_local(), 5683, 5683, b"x").unwrap().remove(0);
    let mut gateway = Stack::new(Config { short: Some(1), ..Config::new(GATEWAY) });
    assert_eq!(gateway.decode(&frame, 0).unwrap().unwrap().dst, short.link_local());
}

proptest! {
    #[test]
    fn whatever_is_heard_is_read_for_its_ends_without_fear(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ends(&frame);
    }

    #[test]
    fn every_payload_survives_shuffled_and_doubled_fragments(
        payload in prop::collection::vec(any::<u8>(), 0..1200), order in any::<u64>(), double in any::<bool>())
    {
        let (mut node, mut gateway) = pair();
        let mut frames = node.encode(GATEWAY.link_local(), 5683, 5683, &payload).unwrap();
        for frame in &frames {
            prop_assert!(frame.len() + 2 <= FRAME_MAX);
        }
        if double {
            let copy = frames[0].clone();
            frames.push(copy);
        }
        let mut random = order | 1;
        for at in (1..frames.len()).rev() {
            random ^= random << 13; random ^= random >> 7; random ^= random << 17;
            frames.swap(at, random as usize % (at + 1));
        }
        let whole: Vec<_> = frames.iter().filter_map(|frame| gateway.decode(frame, 0).unwrap()).collect();
        prop_assert!(!whole.is_empty() && whole.len() <= 2);
        for got in whole { prop_assert_eq!(got, datagram(&payload)); }
    }

    #[test]
    fn any_frame_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..140), plausible in any::<bool>()) {
        let (mut node, mut gateway) = pair();
        if plausible {
            let mut frame = node.encode(GATEWAY.link_local(), 5683, 5683, b"").unwrap().remove(0);
            frame.truncate(21);
            frame.append(&mut bytes);
            bytes = frame;
        }
        let _ = gateway.decode(&bytes, 0);
        let _ = ether::unwrap(&bytes);
    }
}
