//! What comes while the app waits, and what comes too late.

mod support;

use agent_core::Peer;
use agent_tock::capsule::{CallError, Capsule};
use agent_tock::clock::Clock;
use agent_tock::link::{Link, UdpLink, link_local};
use agent_tock::udp::{QUEUE, Udp};
use grants::syscall::AgentCall;
use support::{GATEWAY, Happening, Machine, Syscalls};

#[test]
fn a_burst_while_the_agent_waits_for_storage_is_kept_in_order() {
    let machine = Machine::new();
    let clock = Clock::<Syscalls>::open().unwrap();
    let capsule = Capsule::open(clock).unwrap();
    let mut link = UdpLink::new(Udp::bind(clock, 5683).unwrap(), GATEWAY);
    for at in 0..QUEUE as u8 + 2 {
        let mut world = machine.world.borrow_mut();
        let from = if at == 1 { link_local([9; 8]) } else { link_local(GATEWAY) };
        world.after(1 + u64::from(at), Happening::ToNode(from, 5683, vec![at; 10 + usize::from(at)]));
    }
    machine.world.borrow_mut().capsule.delay_ms = 50;
    let mut buffer = [0; 16];
    capsule.read_all(&mut buffer, |offset| AgentCall::RecordsRead { offset }).unwrap();
    let came: Vec<_> = std::iter::from_fn(|| link.receive()).collect();
    assert_eq!(came.len(), QUEUE, "one more than there is room for is dropped");
    for (at, (peer, bytes)) in came.iter().enumerate() {
        assert_eq!(bytes[..], vec![at as u8; 10 + at]);
        assert_eq!(*peer, if at == 1 { Peer::Visitor(0) } else { Peer::Gateway });
    }
    assert_eq!(machine.world.borrow().udp.missed, 0, "the buffer was back each time");
}

#[test]
fn a_datagram_too_long_for_the_buffer_does_not_come_and_the_next_does() {
    let machine = Machine::new();
    let clock = Clock::<Syscalls>::open().unwrap();
    let mut link = UdpLink::new(Udp::bind(clock, 5683).unwrap(), GATEWAY);
    let gateway = link_local(GATEWAY);
    machine.world.borrow_mut().after(1, Happening::ToNode(gateway, 5683, vec![1; 129]));
    machine.world.borrow_mut().after(2, Happening::ToNode(gateway, 5683, vec![2; 128]));
    clock.rest(1_000);
    assert!(link.receive().is_some_and(|(_, bytes)| bytes[..] == [2; 128]));
    assert!(link.receive().is_none());
}

#[test]
fn two_datagrams_are_sent_one_after_the_other() {
    let machine = Machine::new();
    let clock = Clock::<Syscalls>::open().unwrap();
    let mut link = UdpLink::new(Udp::bind(clock, 5683).unwrap(), GATEWAY);
    for at in 0..5u8 {
        link.send(Peer::Gateway, &[at; 20]);
    }
    link.send(Peer::Gateway, &[0; 201]);
    link.send(Peer::Visitor(2), &[0; 20]);
    assert_eq!((link.traffic().sent, link.traffic().bytes_sent), (5, 100));
    assert!((12..100).contains(&machine.world.borrow().now_ms()), "each waits for the one before");
}

#[test]
fn what_is_done_too_late_is_not_taken_for_the_answer_to_something_else() {
    let machine = Machine::new();
    let clock = Clock::<Syscalls>::open().unwrap();
    let capsule = Capsule::open(clock).unwrap();
    machine.world.borrow_mut().capsule.records[..4].copy_from_slice(b"abcd");
    machine.world.borrow_mut().capsule.delay_ms = 4_000;
    let mut out = [0; 4];
    let read = |out: &mut [u8], offset| capsule.work(AgentCall::RecordsRead { offset }, &[], out);
    assert_eq!(read(&mut out, 0), Err(CallError::Late));
    assert_eq!(machine.world.borrow().now_ms(), 3_000);
    // The kernel is still at it: the next call waits until it is not, and has its own answer.
    machine.world.borrow_mut().capsule.delay_ms = 1;
    let mut out = [0; 2];
    assert_eq!((read(&mut out, 2), &out), (Ok(2), b"cd"));
    let now = machine.world.borrow().now_ms();
    assert!((4_000..4_100).contains(&now), "{now}");
}

#[test]
fn a_call_that_is_never_done_is_given_up() {
    let machine = Machine::new();
    let clock = Clock::<Syscalls>::open().unwrap();
    let capsule = Capsule::open(clock).unwrap();
    machine.world.borrow_mut().capsule.pending = true;
    let mut out = [0; 4];
    let refused = capsule.work(AgentCall::RecordsRead { offset: 0 }, &[], &mut out);
    assert_eq!(refused.map_err(CallError::code), Err(Some(libtock_platform::ErrorCode::Busy)));
    assert!(machine.world.borrow().now_ms() <= 3_100);
}
