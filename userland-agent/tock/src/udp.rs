//! UDP on Tock's driver (`capsules/extra/src/net/udp/driver.rs`), on one port, for one app.
//!
//! The driver has one receive buffer and no queue: a datagram that comes before the buffer is back overwrites the one
//! before. So the upcall itself copies it into a queue here and gives the buffer back, and whatever the agent waits for
//! in the meantime lets upcalls through. With a full queue, the newest is dropped; CoAP sends it again.
//!
//! # What the board has to do
//!
//! - The driver's interface list has to hold the node's own link-local address, made of the radio's EUI-64 (RFC 4291,
//!   appendix A): the first address in the list that is link-local is bound, and the driver hands over only what is
//!   addressed to exactly that. The list is fixed when the kernel is built or started, so it has to be made from the
//!   EUI-64 that the radio really has.
//! - The address that datagrams are *sent* from is not the bound one: the UDP sender below the driver has its own source
//!   address (`IP6Sender::set_addr`), which has to be the same one.
//! - Frames to an address in fe80::/64 go to the long MAC address that is in it; all others, a visitor's on another
//!   network say, go to the one that the sender below the driver was made with
//!   (`capsules/extra/src/net/ipv6/ipv6_send.rs`), which should be the gateway's.
//! - Only the port is bound by the app, [`node_proto::paths::COAP_PORT`]; the driver's port table has to have it free.
//!
//! In the driver's configuration a port is in the processor's order on the way down, and in network order on the way up.

use crate::clock::Clock;
use crate::share::{self, Lent};
use alloc::boxed::Box;
use core::cell::{Cell, RefCell};
use heapless::{Deque, Vec};
use libtock_platform::subscribe::OneId;
use libtock_platform::{AllowRo, AllowRw, DefaultConfig, ErrorCode, Syscalls, Upcall, share as scoped};

/// Tock's number of the driver.
pub const DRIVER: u32 = 0x30002;
/// Commands.
mod command {
    pub const EXISTS: u32 = 0;
    pub const INTERFACES: u32 = 1;
    pub const SEND: u32 = 2;
    pub const BIND: u32 = 3;
}
const WRITE: u32 = 0;
const READ: u32 = 0;
const CONFIG: u32 = 1;
const RECEIVED_FROM: u32 = 2;
const RECEIVED: u32 = 0;
const SENT: u32 = 1;

/// Largest datagram sent: the driver's own limit, bytes.
pub const SEND_MAX: usize = 200;
/// Largest datagram received, bytes: more does not come in one frame, and others do not come (see the board's radio).
pub const RECEIVE_MAX: usize = 128;
/// Datagrams that wait for the agent.
pub const QUEUE: usize = 4;
/// Interfaces looked at.
const INTERFACES_MAX: usize = 4;
/// Bytes of an address and a port.
const ENDPOINT: usize = 18;
/// How long a datagram may be on its way to the air before the next is sent regardless, milliseconds. The kernel pauses
/// 100 ms before each further frame of one.
const SENDING_MS: u64 = 1_000;

/// An IPv6 address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address, in network order.
    pub address: [u8; 16],
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// As the driver takes it.
    fn down(&self) -> [u8; ENDPOINT] {
        let mut bytes = [0; ENDPOINT];
        bytes[..16].copy_from_slice(&self.address);
        bytes[16..].copy_from_slice(&self.port.to_le_bytes());
        bytes
    }

    /// As the driver gives it.
    fn up(bytes: &[u8; ENDPOINT]) -> Self {
        let mut address = [0; 16];
        address.copy_from_slice(&bytes[..16]);
        Self { address, port: u16::from_be_bytes([bytes[16], bytes[17]]) }
    }
}

/// A datagram and who sent it.
pub struct Datagram {
    /// Who.
    pub from: Endpoint,
    /// What.
    pub bytes: Vec<u8, RECEIVE_MAX>,
}

/// What the kernel writes to and calls, for ever.
struct Receiver<S: Syscalls + 'static> {
    buffer: Lent<S, DRIVER, READ, RECEIVE_MAX>,
    from: Lent<S, DRIVER, RECEIVED_FROM, { 2 * ENDPOINT }>,
    queue: RefCell<Deque<Datagram, QUEUE>>,
    dropped: Cell<u32>,
    sending: Cell<bool>,
}

impl<S: Syscalls + 'static> Upcall<OneId<DRIVER, RECEIVED>> for &'static Receiver<S> {
    fn upcall(&self, len: u32, _: u32, _: u32) {
        let (mut bytes, mut from) = ([0; RECEIVE_MAX], [0; ENDPOINT]);
        let len = (len as usize).min(RECEIVE_MAX);
        self.from.take(&mut from);
        self.buffer.take(&mut bytes[..len]);
        let queued = Vec::from_slice(&bytes[..len]).ok().and_then(|bytes| {
            let datagram = Datagram { from: Endpoint::up(&from), bytes };
            // Nobody holds the queue while the app yields, which is the only time that this is called.
            self.queue.try_borrow_mut().ok()?.push_back(datagram).ok()
        });
        if queued.is_none() {
            self.dropped.set(self.dropped.get().saturating_add(1));
        }
        self.listen();
    }
}

impl<S: Syscalls + 'static> Upcall<OneId<DRIVER, SENT>> for &'static Receiver<S> {
    fn upcall(&self, _: u32, _: u32, _: u32) {
        self.sending.set(false);
    }
}

impl<S: Syscalls + 'static> Receiver<S> {
    /// Lets the kernel have the buffers. If it will not, nothing is received, and the next turn tries again.
    fn listen(&'static self) -> bool {
        // The address first: a datagram comes only when there is a buffer for it.
        self.from.lend(&[]).is_ok() && self.buffer.lend(&[]).is_ok()
    }
}

/// The bound port.
pub struct Udp<S: Syscalls + 'static> {
    receiver: &'static Receiver<S>,
    clock: &'static Clock<S>,
    local: Endpoint,
}

impl<S: Syscalls + 'static> Udp<S> {
    /// Binds `port` on the node's link-local address, or its first one if it has none.
    pub fn bind(clock: &'static Clock<S>, port: u16) -> Result<Self, ErrorCode> {
        S::command(DRIVER, command::EXISTS, 0, 0).to_result::<(), ErrorCode>()?;
        let receiver: &'static Receiver<S> = Box::leak(Box::new(Receiver {
            buffer: Lent::new(),
            from: Lent::new(),
            queue: RefCell::new(Deque::new()),
            dropped: Cell::new(0),
            sending: Cell::new(false),
        }));
        let local = Endpoint { address: interface::<S>()?, port };
        let mut bind = [0; 2 * ENDPOINT];
        bind[ENDPOINT..].copy_from_slice(&local.down());
        receiver.from.lend(&bind)?;
        S::command(DRIVER, command::BIND, 0, 0).to_result::<(), ErrorCode>()?;
        let upcalls: &'static &'static Receiver<S> = Box::leak(Box::new(receiver));
        share::subscribe::<S, _, DRIVER, RECEIVED>(upcalls)?;
        share::subscribe::<S, _, DRIVER, SENT>(upcalls)?;
        receiver.buffer.lend(&[])?;
        Ok(Self { receiver, clock, local })
    }

    /// The address and port that it is bound to.
    pub fn local(&self) -> Endpoint {
        self.local
    }

    /// Sends a datagram, when the one before is gone. One that is too long or that the kernel does not take is lost.
    pub fn send(&mut self, to: Endpoint, bytes: &[u8]) -> bool {
        if bytes.len() > SEND_MAX {
            return false;
        }
        self.clock.wait(SENDING_MS, || !self.receiver.sending.get());
        let mut config = [0; 2 * ENDPOINT];
        config[..ENDPOINT].copy_from_slice(&self.local.down());
        config[ENDPOINT..].copy_from_slice(&to.down());
        scoped::scope::<(AllowRo<'_, S, DRIVER, WRITE>, AllowRw<'_, S, DRIVER, CONFIG>), _, _>(|handle| {
            let (write, read_write) = handle.split();
            let allowed = S::allow_ro::<DefaultConfig, DRIVER, WRITE>(write, bytes)
                .and_then(|()| S::allow_rw::<DefaultConfig, DRIVER, CONFIG>(read_write, &mut config));
            if allowed.is_err() {
                return false;
            }
            self.receiver.sending.set(true);
            match S::command(DRIVER, command::SEND, 0, 0).to_result::<u32, ErrorCode>() {
                // On its way: the kernel has a copy.
                Ok(1..) => true,
                // Queued: the kernel comes for the bytes when it has time.
                Ok(0) => {
                    self.clock.wait(SENDING_MS, || !self.receiver.sending.get());
                    true
                }
                Err(_) => {
                    self.receiver.sending.set(false);
                    false
                }
            }
        })
    }

    /// The oldest datagram that waits.
    pub fn receive(&mut self) -> Option<Datagram> {
        self.receiver.queue.borrow_mut().pop_front()
    }

    /// True if a datagram waits.
    pub fn is_waiting(&self) -> bool {
        !self.receiver.queue.borrow().is_empty()
    }

    /// Datagrams dropped because too many waited.
    pub fn dropped(&self) -> u32 {
        self.receiver.dropped.get()
    }
}

/// The node's link-local address, or its first one.
fn interface<S: Syscalls>() -> Result<[u8; 16], ErrorCode> {
    let mut list = [0; 16 * INTERFACES_MAX];
    let held = scoped::scope::<AllowRw<'_, S, DRIVER, CONFIG>, _, _>(|handle| {
        S::allow_rw::<DefaultConfig, DRIVER, CONFIG>(handle, &mut list)?;
        S::command(DRIVER, command::INTERFACES, INTERFACES_MAX as u32, 0).to_result::<u32, ErrorCode>()
    })?;
    let addresses = list.as_chunks::<16>().0.iter().take(held as usize);
    let link_local = addresses.clone().find(|address| address[0] == 0xfe && address[1] & 0xc0 == 0x80);
    link_local.or(addresses.clone().next()).copied().ok_or(ErrorCode::NoDevice)
}
