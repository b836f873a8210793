//! A fake kernel in virtual time: an alarm, the UDP driver with its one buffer, the executor capsule, and at the other end
//! of the air the gateway of the agent core's own tests.
//!
//! Time moves only where the app waits: arming the alarm goes on to whatever happens next, and its upcall is there when
//! the app yields.
#![allow(dead_code)] // each test binary uses its own part

pub mod capsule;
pub mod drivers;
#[path = "../../../core/tests/support/gateway.rs"]
pub mod gateway;

use agent_core::provision::{BLOB_MAX, Network, Provision};
use agent_tock::node::Node;
use capsule::{Capsule, FakeCapsule};
use drivers::{FakeAlarm, FakeUdp, Udp};
use gateway::Gateway;
use libtock_platform::{RawSyscalls, Register};
use libtock_unittest::fake;
use node_proto::{Capabilities, Document, Kind, Launch, Power, State, TaskHandle};
use sha2::{Digest as _, Sha256};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// 10 MHz, as on `qemu_rv32_virt`.
pub const FREQUENCY: u64 = 10_000_000;
/// Ticks of a millisecond.
pub const MS: u64 = FREQUENCY / 1000;
/// The EUI-64 of the gateway; its link-local address looks like one made of a short address.
pub const GATEWAY: [u8; 8] = [2, 0, 0, 0xff, 0xfe, 0, 0, 1];
/// That of the radio.
pub const NODE: [u8; 8] = [2, 0, 0, 0, 0, 0, 0, 7];

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the app runs, and neither the kernel nor the world.
pub fn inside() -> bool {
    INSIDE.with(Cell::get)
}

/// While it lives, the app runs, or does not.
pub struct Running(bool);

impl Running {
    pub fn app() -> Self {
        Self(INSIDE.replace(true))
    }

    pub fn kernel() -> Self {
        Self(INSIDE.replace(false))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// What happens at its time.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A datagram reaches the gateway.
    ToGateway(Vec<u8>),
    /// A datagram reaches the node, from this address and port.
    ToNode([u8; 16], u16, Vec<u8>),
    /// The radio has sent.
    Sent,
    /// A call that is done later is done: error, bytes moved, command.
    Done(u32, u32, u32),
    /// A slot says something.
    Says(u8, u32, Vec<u8>),
}

/// What is outside the app.
pub struct World {
    /// Ticks since the world began; the app sees the lower half, from `counter_at_start` on.
    pub now: u64,
    pub counter_at_start: u32,
    pub happenings: BTreeMap<(u64, u64), Happening>,
    order: u64,
    pub gateway: Gateway,
    pub udp: Udp,
    pub capsule: Capsule,
}

impl World {
    pub fn after(&mut self, ms: u64, happening: Happening) {
        self.order += 1;
        self.happenings.insert((self.now + ms * MS, self.order), happening);
    }

    pub fn now_ms(&self) -> u64 {
        self.now / MS
    }
}

/// The fake kernel, and the world around it.
pub struct Machine {
    pub kernel: fake::Kernel,
    pub world: Rc<RefCell<World>>,
}

/// The fake kernel's system calls, by which the app is left for as long as they take.
pub struct Syscalls;

// SAFETY: each call is handed on as it is, under the same conditions.
#[allow(unsafe_code)]
unsafe impl RawSyscalls for Syscalls {
    unsafe fn yield1(registers: [Register; 1]) {
        let _running = Running::kernel();
        unsafe { fake::Syscalls::yield1(registers) }
    }

    unsafe fn yield2(registers: [Register; 2]) {
        let _running = Running::kernel();
        unsafe { fake::Syscalls::yield2(registers) }
    }

    unsafe fn syscall1<const CLASS: usize>(registers: [Register; 1]) -> [Register; 2] {
        let _running = Running::kernel();
        unsafe { fake::Syscalls::syscall1::<CLASS>(registers) }
    }

    unsafe fn syscall2<const CLASS: usize>(registers: [Register; 2]) -> [Register; 2] {
        let _running = Running::kernel();
        unsafe { fake::Syscalls::syscall2::<CLASS>(registers) }
    }

    unsafe fn syscall4<const CLASS: usize>(registers: [Register; 4]) -> [Register; 4] {
        let _running = Running::kernel();
        unsafe { fake::Syscalls::syscall4::<CLASS>(registers) }
    }
}

impl Machine {
    pub fn new() -> Self {
        Self::at(0)
    }

    /// A machine whose counter stands so when it starts.
    pub fn at(counter_at_start: u32) -> Self {
        let world = Rc::new(RefCell::new(World {
            now: 0,
            counter_at_start,
            happenings: BTreeMap::new(),
            order: 0,
            gateway: Gateway::new(77),
            udp: Udp::default(),
            capsule: Capsule::new(),
        }));
        let kernel = plug(&world);
        let machine = Self { kernel, world };
        machine.provision(&provision());
        machine
    }

    pub fn provision(&self, provision: &Provision) {
        let blob = provision.encode().unwrap();
        self.world.borrow_mut().capsule.records[..BLOB_MAX].copy_from_slice(&blob);
    }

    /// The app restarts: what the kernel held of it is gone, the rest of the world goes on.
    pub fn restart(self) -> Self {
        let world = self.world;
        drop(self.kernel);
        world.borrow_mut().udp = Udp::default();
        world.borrow_mut().capsule.forget_app();
        Self { kernel: plug(&world), world }
    }

    pub fn start(&self) -> Node<Syscalls> {
        let _running = Running::app();
        Node::start().expect("the node starts")
    }

    /// Turns until `done`; panics if that does not come about.
    #[track_caller]
    pub fn until(&self, node: &mut Node<Syscalls>, what: &str, done: impl Fn(&World) -> bool) {
        let end = self.world.borrow().now_ms() + 600_000;
        for _ in 0..200_000 {
            if done(&self.world.borrow()) {
                return;
            }
            assert!(
                self.world.borrow().now_ms() < end,
                "never {what}: {:?}",
                self.world.borrow().gateway.told
            );
            {
                let _running = Running::app();
                node.turn();
            }
            self.kernel.take_syscall_log();
        }
        panic!("turned in circles instead of: {what}");
    }
}

fn plug(world: &Rc<RefCell<World>>) -> fake::Kernel {
    let kernel = fake::Kernel::new();
    let udp = Rc::new(FakeUdp::new(world.clone()));
    let capsule = Rc::new(FakeCapsule::new(world.clone()));
    kernel.add_driver(&udp);
    kernel.add_driver(&capsule);
    kernel.add_driver(&Rc::new(FakeAlarm::new(world.clone(), udp, capsule)));
    kernel
}

/// What the node is provisioned with.
pub fn provision() -> Provision {
    Provision {
        eui64: None,
        gateway: GATEWAY,
        network: Network::Lowpan { pan: 0xabcd, channel: 11 },
        credential: None,
        publishers: heapless::Vec::new(),
        poll_max_s: 5,
        power: Power::Mains,
        board: "fake".try_into().unwrap(),
    }
}

/// Puts an image and a document at the gateway; what is to be ordered comes back.
pub fn prepare(world: &mut World, task: TaskHandle, kind: Kind, image_len: usize) -> Launch {
    let mut image: Vec<u8> = (0..image_len).map(|at| (at % 251) as u8 ^ task as u8).collect();
    let begins: &[u8] = if kind == Kind::Wasm { b"\0asm" } else { &[2, 0] };
    image[..begins.len()].copy_from_slice(begins);
    let document = Document { entry: "run", args: &[b'a'; 150], env: b"K=V\0", ..Default::default() };
    let mut buffer = [0; 256];
    let document = postcard::to_slice(&document, &mut buffer).unwrap().to_vec();
    let launch = Launch {
        task,
        image: task + 100,
        image_len: image_len as u32,
        digest: Sha256::digest(&image)[..16].try_into().unwrap(),
        document_len: document.len() as u16,
        kind,
        cpu_permille: 100,
        mem_bytes: 1000,
        leds: 0,
        capabilities: Capabilities(Capabilities::LOG | Capabilities::MESSAGE),
        max_run_s: 0,
        resume: false,
    };
    world.gateway.images.insert(task + 100, image);
    world.gateway.documents.insert(task, document);
    launch
}

pub fn ended(world: &World, task: TaskHandle) -> bool {
    world.gateway.states(task).into_iter().any(State::is_terminal)
}
