//! Tock's own 6LoWPAN stack behind the guard: whatever is admitted, it neither panics nor goes deaf or mute.

use capsules_extra::ieee802154::framer::Framer;
use capsules_extra::ieee802154::mac::{AwakeMac, Mac};
use capsules_extra::net::ipv6::IP6Header;
use capsules_extra::net::ipv6::ipv6_recv::{IP6Receiver, IP6RecvClient, IP6RecvStruct};
use capsules_extra::net::sixlowpan::sixlowpan_compression::Context;
use capsules_extra::net::sixlowpan::sixlowpan_state::{RxState, Sixlowpan, SixlowpanState};
use kernel::ErrorCode;
use kernel::deferred_call::{DeferredCall, DeferredCallClient, initialize_deferred_call_state};
use kernel::hil::radio::{
    ConfigClient, MAX_BUF_SIZE, PSDU_OFFSET, PowerClient, RadioChannel, RadioConfig, RadioData, RxClient,
    TxClient,
};
use kernel::hil::symmetric_encryption::{AES128, AESCCM, CCMClient};
use kernel::hil::time::{Alarm, AlarmClient, Freq32KHz, Ticks32, Time};
use kernel::platform::chip::ThreadIdProvider;
use kernel::utilities::leasable_buffer::SubSliceMut;
use lowpan::{Config, Eui64, Stack};
use parts::guard::Guard;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard, PoisonError};

const NODE: [u8; 8] = 2u64.to_be_bytes();
const GATEWAY: [u8; 8] = 1u64.to_be_bytes();

struct OneThread;
// SAFETY: `turn` lets one test at a time use the kernel's state.
#[expect(unsafe_code, reason = "the kernel's state is one thread's")]
unsafe impl ThreadIdProvider for OneThread {
    fn running_thread_id() -> usize {
        0
    }
}

/// Waits for this test's turn: the kernel's deferred calls are one table.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    initialize_deferred_call_state::<OneThread>();
    turn
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A radio that hears what a test says, and takes what it is told to.
#[derive(Default)]
struct Air {
    receiving: Cell<Option<&'static mut [u8]>>,
    sending: Cell<Option<&'static mut [u8]>>,
    heard_by: Cell<Option<&'static dyn RxClient>>,
    sent_by: Cell<Option<&'static dyn TxClient>>,
    busy: Cell<bool>,
}

impl Air {
    /// Brings a frame, without its check sequence. False if nobody listens any more.
    fn hear(&self, frame: &[u8]) -> bool {
        let Some((buffer, client)) = self.receiving.take().zip(self.heard_by.get()) else { return false };
        buffer[PSDU_OFFSET..PSDU_OFFSET + frame.len()].copy_from_slice(frame);
        client.receive(buffer, frame.len(), 0xff, true, Ok(()));
        true
    }
}

impl RadioData<'static> for Air {
    fn set_transmit_client(&self, client: &'static dyn TxClient) {
        self.sent_by.set(Some(client));
    }
    fn set_receive_client(&self, client: &'static dyn RxClient) {
        self.heard_by.set(Some(client));
    }
    fn set_receive_buffer(&self, buffer: &'static mut [u8]) {
        assert!(self.receiving.replace(Some(buffer)).is_none(), "there is one receive buffer");
    }
    fn transmit(&self, buffer: &'static mut [u8], _: usize) -> Result<(), (ErrorCode, &'static mut [u8])> {
        if self.busy.get() {
            return Err((ErrorCode::BUSY, buffer));
        }
        self.sending.set(Some(buffer));
        Ok(())
    }
}

impl RadioConfig<'static> for Air {
    fn initialize(&self) -> Result<(), ErrorCode> {
        Ok(())
    }
    fn reset(&self) -> Result<(), ErrorCode> {
        Ok(())
    }
    fn start(&self) -> Result<(), ErrorCode> {
        Ok(())
    }
    fn stop(&self) -> Result<(), ErrorCode> {
        Ok(())
    }
    fn is_on(&self) -> bool {
        true
    }
    fn busy(&self) -> bool {
        self.busy.get()
    }
    fn set_power_client(&self, _: &'static dyn PowerClient) {}
    fn config_commit(&self) {}
    fn set_config_client(&self, _: &'static dyn ConfigClient) {}
    fn get_address(&self) -> u16 {
        0xfffe
    }
    fn get_address_long(&self) -> [u8; 8] {
        NODE
    }
    fn get_pan(&self) -> u16 {
        0xabcd
    }
    fn get_tx_power(&self) -> i8 {
        0
    }
    fn get_channel(&self) -> u8 {
        26
    }
    fn set_address(&self, _: u16) {}
    fn set_address_long(&self, _: [u8; 8]) {}
    fn set_pan(&self, _: u16) {}
    fn set_tx_power(&self, _: i8) -> Result<(), ErrorCode> {
        Ok(())
    }
    fn set_channel(&self, _: RadioChannel) {}
}

/// A clock that stands still: no fragment is ever waited for.
struct Still;

impl Time for Still {
    type Frequency = Freq32KHz;
    type Ticks = Ticks32;
    fn now(&self) -> Ticks32 {
        Ticks32::from(1)
    }
}

impl Alarm<'static> for Still {
    fn set_alarm_client(&self, _: &'static dyn AlarmClient) {}
    fn set_alarm(&self, _: Ticks32, _: Ticks32) {}
    fn get_alarm(&self) -> Ticks32 {
        Ticks32::from(0)
    }
    fn disarm(&self) -> Result<(), ErrorCode> {
        Ok(())
    }
    fn is_armed(&self) -> bool {
        false
    }
    fn minimum_dt(&self) -> Ticks32 {
        Ticks32::from(1)
    }
}

/// Nothing that is admitted is secured.
struct NoCcm;

impl AESCCM<'static, AES128> for NoCcm {
    fn set_client(&'static self, _: &'static dyn CCMClient) {}
    fn set_key(&self, _: &[u8]) -> Result<(), ErrorCode> {
        panic!("a secured frame was admitted")
    }
    fn set_nonce(&self, _: &[u8]) -> Result<(), ErrorCode> {
        panic!("a secured frame was admitted")
    }
    fn crypt(
        &self,
        _: &'static mut [u8],
        _: usize,
        _: usize,
        _: usize,
        _: usize,
        _: bool,
        _: bool,
    ) -> Result<(), (ErrorCode, &'static mut [u8])> {
        panic!("a secured frame was admitted")
    }
}

/// Who gets the datagrams.
#[derive(Default)]
struct Inbox(RefCell<Vec<Vec<u8>>>);

impl IP6RecvClient for Inbox {
    fn receive(&self, _: IP6Header, payload: &[u8]) {
        self.0.borrow_mut().push(payload.to_vec());
    }
}

/// The stack as boards build it, without what is above IP.
fn node() -> (&'static Air, &'static Guard<'static, Air>, &'static Inbox) {
    let (air, inbox) = (leak(Air::default()), leak(Inbox::default()));
    let guard = leak(Guard::new(air));
    guard.register();
    air.set_receive_client(guard);
    let mac = leak(AwakeMac::new(guard));
    guard.set_receive_client(mac);
    guard.set_transmit_client(mac);
    let framer = leak(Framer::new(mac, leak(NoCcm), SubSliceMut::new(vec![0; MAX_BUF_SIZE].leak())));
    Mac::set_receive_client(mac, framer);
    Mac::set_transmit_client(mac, framer);
    let none = Context { prefix: [0; 16], prefix_len: 0, id: 0, compress: false };
    let sixlowpan = leak(Sixlowpan::new(none, leak(Still)));
    sixlowpan.add_rx_state(leak(RxState::new(vec![0; 1280].leak())));
    capsules_extra::ieee802154::device::MacDevice::set_receive_client(framer, sixlowpan);
    let ip = leak(IP6RecvStruct::new());
    sixlowpan.set_rx_client(ip);
    ip.set_client(inbox);
    Mac::set_receive_buffer(mac, vec![0; MAX_BUF_SIZE].leak());
    (air, guard, inbox)
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut gateway = Stack::new(Config::new(Eui64(GATEWAY)));
    gateway.encode(Eui64(NODE).link_local(), 5683, 5683, payload).expect("fits").remove(0)
}

/// Changes of a frame: a few bits, a few bytes, another end.
#[derive(Clone, Debug)]
enum Change {
    Bit(usize, u8),
    Byte(usize, u8),
    Cut(usize),
    Append(Vec<u8>),
    Insert(usize, u8),
    Remove(usize),
}

impl Change {
    fn apply(&self, frame: &mut Vec<u8>) {
        let len = frame.len();
        match self {
            Self::Bit(at, bit) if len > 0 => frame[at % len] ^= 1 << bit,
            Self::Byte(at, byte) if len > 0 => frame[at % len] = *byte,
            Self::Cut(to) => frame.truncate(*to),
            Self::Append(bytes) => frame.extend(bytes),
            Self::Insert(at, byte) => frame.insert(at % (len + 1), *byte),
            Self::Remove(at) if len > 0 => drop(frame.remove(at % len)),
            _ => {}
        }
        frame.truncate(125);
    }
}

fn change() -> impl Strategy<Value = Change> {
    // The headers are what matters: most changes are there.
    let at = || prop_oneof![4 => 0usize..32, 1 => 0usize..125];
    prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(at, bit)| Change::Bit(at, bit)),
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => (0usize..125).prop_map(Change::Cut),
        1 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Change::Append),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => at().prop_map(Change::Remove),
    ]
}

#[test]
fn whatever_is_heard_the_next_datagram_comes_through() {
    let _turn = turn();
    let (air, guard, inbox) = node();
    let mut runner = TestRunner::new(ProptestConfig { cases: 20_000, ..ProptestConfig::default() });
    let frames = (proptest::collection::vec(any::<u8>(), 1..60), proptest::collection::vec(change(), 0..4));
    let outcome = runner.run(&frames, |(payload, changes)| {
        let mut changed = frame(&payload);
        changes.iter().for_each(|change| change.apply(&mut changed));
        prop_assert!(air.hear(&changed), "nobody listens");
        inbox.0.borrow_mut().clear();
        prop_assert!(air.hear(&frame(b"still there?")), "deaf after {:02x?}", changed);
        let heard = inbox.0.borrow_mut().pop();
        prop_assert_eq!(heard.as_deref().and_then(|datagram| datagram.get(8..)), Some(&b"still there?"[..]));
        Ok(())
    });
    outcome.expect("no frame harms");
    let (admitted, dropped) = guard.counted();
    assert!(admitted > 20_000 + 2_000 && dropped > 2_000, "{admitted} of {dropped} say nothing");
}

/// Tock reads the header's length by bits that only the version of 2015 has: what the guard judged is not what is there.
#[test]
fn a_header_that_is_read_in_two_ways_harms_nobody() {
    let _turn = turn();
    let (air, _, inbox) = node();
    let whole = frame(b"hello");
    // Without a sequence number, so that the packet begins a byte earlier: with a dispatch that makes the stack deaf.
    let mut shorter = [&whole[..2], &whole[3..21], &[0x41], &whole[21..]].concat();
    shorter[1] |= 1;
    // With information elements, so that it begins later, or behind the end of the frame.
    let mut longer = whole.clone();
    longer[1] |= 2;
    for heard in [shorter, longer] {
        assert!(air.hear(&heard));
        assert!(air.hear(&frame(b"still there?")));
        assert_eq!(inbox.0.borrow_mut().drain(..).count(), 1, "deaf after {heard:02x?}");
    }
}

/// What came back from the radio.
#[derive(Default)]
struct Sender {
    back: Cell<Option<&'static mut [u8]>>,
    result: Cell<Option<Result<(), ErrorCode>>>,
}

impl TxClient for Sender {
    fn send_done(&self, buffer: &'static mut [u8], _: bool, result: Result<(), ErrorCode>) {
        self.back.set(Some(buffer));
        self.result.set(Some(result));
    }
}

/// The stack keeps no buffer that comes back with an error from `transmit`, and never sends again.
#[test]
fn a_radio_that_refuses_gives_the_buffer_back_later() {
    let _turn = turn();
    let air = leak(Air::default());
    let guard = leak(Guard::new(air));
    guard.register();
    let sender = leak(Sender::default());
    guard.set_transmit_client(sender);
    air.busy.set(true);
    assert!(guard.transmit(vec![7; MAX_BUF_SIZE].leak(), 40).is_ok());
    assert!(sender.result.get().is_none(), "not within the call");
    while DeferredCall::service_next_pending().is_some() {}
    assert_eq!(sender.result.take(), Some(Err(ErrorCode::BUSY)));
    let buffer = sender.back.take().expect("the buffer");
    air.busy.set(false);
    assert!(guard.transmit(buffer, 40).is_ok());
    assert!(air.sending.take().is_some_and(|frame| frame[0] == 7), "it is on its way");
    while DeferredCall::service_next_pending().is_some() {}
    assert!(sender.result.get().is_none(), "the radio says when it is gone");
}
