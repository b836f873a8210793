//! What the guard lets through is what the stack survives, and all that a gateway of ours sends.

use lowpan::{Config, Eui64, Stack};
use parts::guard::admits;
use proptest::prelude::*;

fn stack(eui64: u64) -> Stack {
    Stack::new(Config::new(Eui64(eui64.to_be_bytes())))
}

fn frames(payload: &[u8]) -> Vec<Vec<u8>> {
    let to = Eui64(2u64.to_be_bytes()).link_local();
    stack(1).encode(to, 5683, 5683, payload).expect("fits")
}

#[test]
fn fragments_are_dropped() {
    let frames = frames(&[7; 300]);
    assert!(frames.len() > 1);
    assert!(frames.iter().all(|frame| !admits(frame)));
}

#[test]
fn what_panics_the_stack_is_dropped() {
    let whole = frames(b"hello").remove(0);
    assert!(admits(&whole));
    let header = 21;
    // An empty payload; a cut in every place up to the last byte of the UDP header.
    for len in 0..whole.len() - b"hello".len() + 1 {
        assert!(!admits(&whole[..len]), "{len}");
    }
    // Every other dispatch.
    for dispatch in (0..=255u8).filter(|dispatch| dispatch >> 5 != 0b011) {
        let mut frame = whole.clone();
        frame[header] = dispatch;
        assert!(!admits(&frame), "{dispatch:#x}");
    }
}

/// Tock's MAC takes these two bits seriously in frames of every version, and finds the packet somewhere else.
#[test]
fn a_header_of_another_length_than_its_version_has_is_dropped() {
    let whole = frames(b"hello").remove(0);
    for bits in 1..4 {
        let mut frame = whole.clone();
        frame[1] |= bits;
        assert!(!admits(&frame), "{bits:#b}");
    }
}

proptest! {
    #[test]
    fn a_gateways_datagrams_in_one_frame_pass(payload in proptest::collection::vec(any::<u8>(), 1..80)) {
        let frames = frames(&payload);
        prop_assume!(frames.len() == 1);
        prop_assert!(admits(&frames[0]));
    }

    #[test]
    fn any_bytes_are_judged(frame in proptest::collection::vec(any::<u8>(), 0..130)) {
        let _ = admits(&frame);
    }

    /// A frame that passes has room for all that its headers say that they carry inline.
    #[test]
    fn a_mutated_frame_passes_only_with_its_headers_whole(
        payload in proptest::collection::vec(any::<u8>(), 1..60),
        changes in proptest::collection::vec((0usize..40, any::<u8>()), 1..4),
    ) {
        let mut frame = frames(&payload).remove(0);
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        if admits(&frame) {
            let addresses = |mode: u8| match mode { 2 => 2, 3 => 8, _ => panic!("mode {mode} passed") };
            let mac = 5 + addresses(frame[1] >> 2 & 3) + addresses(frame[1] >> 6);
            prop_assert_eq!(frame[mac] >> 5, 0b011);
            let inline = [4, 3, 1, 0][usize::from(frame[mac] >> 3 & 3)] + usize::from(frame[mac] & 3 == 0)
                + [16, 8, 2, 0][usize::from(frame[mac + 1] >> 4 & 3)] + [16, 8, 2, 0][usize::from(frame[mac + 1] & 3)];
            let udp = mac + 2 + inline;
            prop_assert_eq!(frame[udp] & 0b1111_1100, 0b1111_0000);
            prop_assert!(frame.len() > udp + 1 + [4, 3, 3, 1][usize::from(frame[udp] & 3)] + 2);
        }
    }
}
