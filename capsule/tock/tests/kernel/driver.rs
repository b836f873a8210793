//! The capsule as processes see it: system calls, upcalls, and what becomes of those who misbehave.

use crate::machine::{Machine, TRUSTED, kernel, leak, turn};
use crate::process::{Act, Fake};
use capsule_tock::{
    Addresses, Board, BudgetScheduler, Capsule, Dalek, Devices, Layout, NativeSlot, Parts, Place, Shares,
    SlotFilter,
};
use grants::native::PROTECTED;
use grants::syscall::{
    AgentCall, DRIVER, End, EndRecord, GrantRecord, HostCall, Part, SlotCall, UPCALL_DONE, UPCALL_NEWS,
    UsageRecord, VerifyRecord, down, up,
};
use grants::{Capabilities, Capacity, Grant, Slot};
use kernel::deferred_call::DeferredCallClient;
use kernel::hil::nonvolatile_storage::{NonvolatileStorage, NonvolatileStorageClient};
use kernel::platform::{KernelResources, SyscallDriverLookup};
use kernel::process::{Process, State};
use kernel::syscall::{Syscall, SyscallDriver, SyscallReturn};
use kernel::utilities::machine_register::MachineRegister;
use kernel::{ErrorCode, Kernel};
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;

const SLOTS: usize = 4;
const NATIVES: usize = 2;
const TASK: u8 = 2;
const LAYOUT: Layout = Layout::packed(0, 512, 32 << 10, 2, SLOTS as u32);
const FLASH: u32 = LAYOUT.end(SLOTS as u32);
const ALARM: usize = 0;
const CONSOLE: usize = 1;

type TheCapsule = Capsule<SLOTS, NATIVES>;
type TheScheduler = BudgetScheduler<Machine, NATIVES>;

const fn id(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

const fn native(index: u32) -> NativeSlot {
    NativeSlot {
        app: id(0x20 + index),
        offset: FLASH + index * 2048,
        len: 2048,
        addresses: Addresses { flash: 0x8040_0000 + index * 4096, ram: 0x8060_0000 + index * 4096 },
        ram_bytes: 8192,
        init_fn_offset: 0x80,
    }
}

static BOARD: Board<SLOTS> = Board {
    eui64: 7,
    capacity: Capacity { cpu_permille: 900, mem_bytes: 40_000, flash_bytes: 0, leds: 2 },
    sensors: 0,
    agent: id(0x10),
    host: Some(id(0x11)),
    agent_drivers: &[ALARM],
    host_drivers: &[],
    host_permille: 50,
    host_restarts: 2,
    slots: [Place::Hosted, Place::Hosted, Place::Native(native(0)), Place::Native(native(1))],
    layout: LAYOUT,
    publishers: &[],
};

struct NoDevices;
impl Devices for NoDevices {
    fn led(&self, _: u32, _: bool) -> bool {
        false
    }
    fn sensor(&self, _: u32) -> Option<i32> {
        None
    }
}

/// A storage that is done when the test says so.
struct Storage {
    bytes: RefCell<Vec<u8>>,
    client: Cell<Option<&'static dyn NonvolatileStorageClient>>,
    busy: Cell<Option<(&'static mut [u8], usize, bool)>>,
    refuses: Cell<bool>,
    /// It is done before the kernel looks for a process.
    quick: Cell<bool>,
    /// It is not done for now.
    slow: Cell<bool>,
}

impl Storage {
    fn done(&self) {
        if self.slow.get() {
            return;
        }
        let (Some((buffer, len, write)), Some(client)) = (self.busy.take(), self.client.get()) else {
            return;
        };
        if write { client.write_done(buffer, len) } else { client.read_done(buffer, len) }
    }
    fn is_busy(&self) -> bool {
        let busy = self.busy.take();
        let is = busy.is_some();
        self.busy.set(busy);
        is
    }
    fn begin(&self, buffer: &'static mut [u8], len: usize, write: bool) -> Result<(), ErrorCode> {
        assert!(self.busy.replace(Some((buffer, len, write))).is_none(), "one at a time");
        Ok(())
    }
}

impl NonvolatileStorage<'static> for Storage {
    fn set_client(&self, client: &'static dyn NonvolatileStorageClient) {
        self.client.set(Some(client));
    }
    fn read(&self, buffer: &'static mut [u8], at: usize, len: usize) -> Result<(), ErrorCode> {
        if self.refuses.get() {
            return Err(ErrorCode::FAIL);
        }
        buffer[..len].copy_from_slice(&self.bytes.borrow()[at..at + len]);
        self.begin(buffer, len, false)
    }
    fn write(&self, buffer: &'static mut [u8], at: usize, len: usize) -> Result<(), ErrorCode> {
        self.bytes.borrow_mut()[at..at + len].copy_from_slice(&buffer[..len]);
        self.begin(buffer, len, true)
    }
}

struct Resources {
    capsule: &'static TheCapsule,
    filter: SlotFilter<SLOTS, NATIVES>,
    scheduler: &'static TheScheduler,
    machine: &'static Machine,
}

impl SyscallDriverLookup for Resources {
    fn with_driver<F, R>(&self, number: usize, f: F) -> R
    where
        F: FnOnce(Option<&dyn SyscallDriver>) -> R,
    {
        // The other drivers of this board: one that has the capsule's command 0, which says that it is there.
        if [DRIVER, ALARM, CONSOLE].contains(&number) { f(Some(self.capsule)) } else { f(None) }
    }
}

impl KernelResources<Machine> for Resources {
    type SyscallDriverLookup = Self;
    type SyscallFilter = SlotFilter<SLOTS, NATIVES>;
    type ProcessFault = ();
    type ContextSwitchCallback = ();
    type Scheduler = TheScheduler;
    type SchedulerTimer = Machine;
    type WatchDog = ();
    fn syscall_driver_lookup(&self) -> &Self {
        self
    }
    fn syscall_filter(&self) -> &SlotFilter<SLOTS, NATIVES> {
        &self.filter
    }
    fn process_fault(&self) -> &() {
        &()
    }
    fn context_switch_callback(&self) -> &() {
        &()
    }
    fn scheduler(&self) -> &TheScheduler {
        self.scheduler
    }
    fn scheduler_timer(&self) -> &Machine {
        self.machine
    }
    fn watchdog(&self) -> &() {
        &()
    }
}

struct World {
    kernel: &'static Kernel,
    machine: &'static Machine,
    storage: &'static Storage,
    capsule: &'static TheCapsule,
    resources: Resources,
    agent: &'static Fake,
    host: &'static Fake,
    task: &'static Fake,
    other: &'static Fake,
    stranger: &'static Fake,
    out: *mut u8,
}

const OUT: usize = 600;

fn command(driver: usize, (number, arg0, arg1): (usize, usize, usize)) -> Act {
    Act::Call(Syscall::Command { driver_number: driver, subdriver_number: number, arg0, arg1 })
}

/// Gives the capsule bytes to read.
fn give(bytes: &[u8]) -> Act {
    let bytes = leak(bytes.to_vec());
    Act::Call(Syscall::ReadOnlyAllow {
        driver_number: DRIVER,
        subdriver_number: 0,
        allow_address: bytes.as_ptr(),
        allow_size: bytes.len(),
    })
}

fn exit(which: usize, completion_code: usize) -> Act {
    Act::Call(Syscall::Exit { which, completion_code })
}

impl World {
    fn new() -> Self {
        let machine = leak(Machine::default());
        let (kernel, table) = kernel(6);
        let storage = leak(Storage {
            bytes: RefCell::new(vec![0; FLASH as usize + 4096]),
            client: Cell::new(None),
            busy: Cell::new(None),
            refuses: Cell::new(false),
            quick: Cell::new(false),
            slow: Cell::new(false),
        });
        let shares = leak(Shares::new());
        let parts = Parts {
            kernel,
            board: &BOARD,
            shares,
            storage,
            buffer: vec![0; 256].leak(),
            devices: &NoDevices,
            signatures: &Dalek,
            management: &TRUSTED,
            starting: &TRUSTED,
        };
        let capsule = leak(Capsule::new(parts, &TRUSTED));
        capsule.setup();
        let scheduler = leak(BudgetScheduler::new(kernel, &TRUSTED, machine, shares, capsule, true));
        scheduler.setup();
        let load = |index, app| Fake::load(kernel, table, machine, index, app);
        let mut world = Self {
            kernel,
            machine,
            storage,
            capsule,
            resources: Resources { capsule, filter: SlotFilter::new(capsule), scheduler, machine },
            host: load(0, 0x11),
            task: load(1, 0x20),
            other: load(2, 0x21),
            agent: load(3, 0x10),
            stranger: load(4, 0x99),
            out: vec![0; OUT].leak().as_mut_ptr(),
        };
        world.capsule.init();
        for subdriver_number in [UPCALL_DONE, UPCALL_NEWS] {
            let subscribe = Syscall::Subscribe {
                driver_number: DRIVER,
                subdriver_number,
                upcall_ptr: 0x1000.into(),
                appdata: MachineRegister::from(0),
            };
            let subscribed = world.does(world.agent, &[Act::Call(subscribe)]);
            assert!(matches!(subscribed, SyscallReturn::SubscribeSuccess(..)), "{subscribed:?}");
        }
        let allow = Syscall::ReadWriteAllow {
            driver_number: DRIVER,
            subdriver_number: 0,
            allow_address: world.out,
            allow_size: OUT,
        };
        world.does(world.agent, &[Act::Call(allow)]);
        world
    }

    fn step(&mut self) {
        let none = None::<&kernel::ipc::IPC<0>>;
        self.kernel.kernel_loop_operation(&self.resources, self.machine, none, false, &TRUSTED);
        self.storage.done();
        while self.storage.quick.get() && self.storage.is_busy() {
            self.storage.done();
        }
    }

    /// Lets everybody go on for so long.
    fn pass(&mut self, us: u64) {
        let until = self.machine.now_us.get() + us;
        while self.machine.now_us.get() < until {
            self.step();
        }
    }

    /// A process does something, and what came back last.
    fn does(&mut self, process: &Fake, acts: &[Act]) -> SyscallReturn {
        process.returns.borrow_mut().clear();
        process.go(acts);
        for _ in 0..1000 {
            self.step();
            if process.returns.borrow().len() == acts.len() {
                return process.returns.borrow_mut().pop_back().expect("one for each");
            }
        }
        panic!("no answer: {:?}", process.get_state())
    }

    /// A call by the agent that is answered at once.
    fn agent(&mut self, call: AgentCall, input: &[u8]) -> SyscallReturn {
        self.does(self.agent, &[give(input), command(DRIVER, call.encode())])
    }

    fn out(&self, len: usize) -> Vec<u8> {
        // Safety: these bytes live for ever, and nothing else refers to them now.
        unsafe { std::slice::from_raw_parts(self.out, len) }.to_vec()
    }

    /// A call by the agent that is answered later.
    fn later(&mut self, call: AgentCall, input: &[u8]) -> Result<usize, usize> {
        self.agent.upcalls.borrow_mut().clear();
        let taken = self.agent(call, input);
        assert!(matches!(taken, SyscallReturn::Success), "{taken:?}");
        for _ in 0..1000 {
            self.step();
            let done = self.agent.upcalls.borrow().iter().find(|upcall| upcall.0 == UPCALL_DONE).copied();
            if let Some((_, code, moved, number)) = done {
                assert_eq!(number, call.encode().0);
                return if code == 0 { Ok(moved) } else { Err(code) };
            }
        }
        panic!("{call:?} is never done")
    }

    fn take(&mut self, slot: u8) -> (u32, Vec<u8>) {
        match self.agent(AgentCall::Take { slot }, &[]) {
            SyscallReturn::SuccessU32U32(kind, len) => (kind, self.out(len as usize)),
            other => panic!("no record: {other:?}"),
        }
    }

    /// A slot with a verified image, not started.
    fn prepare(&mut self, slot: u8, capabilities: u16, cpu_permille: u16) {
        let image = image();
        let stage = self.later(AgentCall::Stage { area: 0, offset: 0 }, &image);
        // Refused while another slot has it.
        assert!(stage == Ok(image.len()) || stage == Err(ErrorCode::OFF as usize));
        let capabilities = Capabilities(capabilities);
        let grant =
            Grant { cpu_permille, mem_bytes: 10_000, flash_bytes: 0, leds: 0, capabilities, strict: true };
        let reserved = self.agent(AgentCall::Reserve { slot }, &GrantRecord::of(&grant).to_bytes());
        assert!(matches!(reserved, SyscallReturn::Success), "{reserved:?}");
        let digest: [u8; 32] = Sha256::digest(&image).into();
        let record = VerifyRecord::of(image.len() as u32, &digest).to_bytes();
        assert_eq!(self.later(AgentCall::Verify { slot, area: 0 }, &record), Ok(image.len()));
    }

    fn start(&mut self, slot: u8) {
        let started = self.agent(AgentCall::Start { slot, resumed: false }, &[]);
        assert!(matches!(started, SyscallReturn::Success), "{started:?}");
    }

    /// Runs a native task that does this, and how it ended.
    fn run(&mut self, acts: &[Act]) -> End {
        self.prepare(TASK, 0x7f, 300);
        self.task.acts.borrow_mut().clear();
        self.task.go(acts);
        self.start(TASK);
        self.pass(400_000);
        assert_eq!(self.task.get_state(), State::Terminated);
        let mut record = self.take(TASK);
        while record.0 != up::ENDED {
            assert_ne!(record.0, 0, "it has not ended");
            record = self.take(TASK);
        }
        let released = self.agent(AgentCall::Release { slot: TASK }, &[]);
        assert!(matches!(released, SyscallReturn::Success), "{released:?}");
        EndRecord::from_bytes(&record.1).and_then(|record| record.end()).expect("an end")
    }

    fn usage(&mut self, slot: u8) -> UsageRecord {
        let len = self.agent(AgentCall::Usage { slot }, &[]);
        assert!(matches!(len, SyscallReturn::SuccessU32(_)), "{len:?}");
        UsageRecord::from_bytes(&self.out(UsageRecord::LEN)).expect("long enough")
    }
}

/// An image for the first native slot; for a hosted one it is as good as any.
fn image() -> Vec<u8> {
    let size = 16 + 24 + 12;
    let (binary, to) = (vec![0xa5; 700], native(0).addresses);
    let total = PROTECTED + binary.len() as u32;
    let mut words = vec![2 | size << 16, total, 1, 0];
    words.extend([9 | 20 << 16, PROTECTED - size, PROTECTED - size, 4096, total, 0]);
    words.extend([5 | 8 << 16, to.ram, to.flash + PROTECTED]);
    words[3] = words.iter().fold(0, |sum, word| sum ^ word);
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.resize(PROTECTED as usize, 0xff);
    [bytes, binary].concat()
}

fn failed(result: SyscallReturn, code: ErrorCode) {
    assert!(
        matches!(result, SyscallReturn::Failure(failed) if failed == code),
        "{result:?} instead of {code:?}"
    );
}

#[test]
fn a_native_task_from_its_image_to_its_end() {
    let _turn = turn();
    let mut world = World::new();
    assert_eq!(world.task.get_state(), State::Terminated, "nothing runs that was not verified");
    world.prepare(TASK, 0x7f, 250);
    let flash = FLASH as usize;
    assert_eq!(world.storage.bytes.borrow()[flash..flash + 700], [0xa5; 700]);
    let log = SlotCall::Log.encode(0);
    world.task.go(&[give(b"hello"), command(DRIVER, log), Act::Run(60_000), exit(0, 7)]);
    world.agent.upcalls.borrow_mut().clear();
    world.start(TASK);
    let window = capsule_tock::WINDOW_US;
    world.pass(window - world.machine.now_us.get() % window);
    let news = world.agent.upcalls.borrow().clone();
    assert_eq!(news, [(UPCALL_NEWS, 1 << TASK, 0, 0)], "told once, and not again before it takes");
    let usage = world.usage(TASK);
    // It has had its part of the window in which it was started; the next one has just begun.
    assert!(usage.cpu_us > 0 && usage.cpu_us.abs_diff(usage.granted_us - 25_000) <= 1_000, "{usage:?}");
    assert_eq!((usage.mem_bytes, usage.log_bytes, usage.refused), (1024, 5, 0));
    assert_eq!(world.take(TASK), (up::LOG, b"hello".to_vec()));
    assert_eq!(world.take(TASK), (0, vec![]));
    world.pass(200_000);
    assert_eq!(world.take(TASK), (up::ENDED, EndRecord::of(End::Exited(7)).to_bytes().to_vec()));
    assert_eq!(world.capsule.state(TASK), Slot::Ended(grants::Cause::Exited(7)));
    let usage = world.usage(TASK);
    assert!(usage.cpu_us.abs_diff(60_000) <= 2_000 && usage.mem_bytes == 0, "{usage:?}");
}

#[test]
fn every_way_to_end_is_seen_and_the_slot_is_used_again() {
    let _turn = turn();
    let mut world = World::new();
    for round in 0..10 {
        assert_eq!(world.run(&[exit(0, round)]), End::Exited(round as i32));
        assert_eq!(world.run(&[Act::Run(900), Act::Fault]), End::Fault);
        assert_eq!(world.run(&[Act::Break(10_000), Act::Run(20_000), exit(0, 1)]), End::Exited(1));
        assert_eq!(world.run(&[Act::Break(10_001), Act::Run(u64::MAX)]), End::OverMemory { asked: 10_001 });
        assert_eq!(world.run(&[Act::Break(12_000), Act::Fault]), End::OverMemory { asked: 12_000 });
        let before = (world.task.ran_us.get(), world.task.acted.get());
        assert_eq!(world.run(&[exit(1, 0), Act::Run(1)]), End::Restarted);
        let after = (world.task.ran_us.get(), world.task.acted.get());
        assert_eq!(after, (before.0, before.1 + 1), "nothing of the second run");
    }
}

#[test]
fn a_task_that_does_not_stop_is_stopped() {
    let _turn = turn();
    let mut world = World::new();
    world.prepare(TASK, 0x7f, 100);
    world.task.go(&[Act::Run(u64::MAX)]);
    world.start(TASK);
    world.pass(50_000);
    let told = world.agent(AgentCall::Stop { slot: TASK, grace_ms: 300 }, &[]);
    assert!(matches!(told, SyscallReturn::SuccessU32(0)), "it does not listen: {told:?}");
    world.pass(200_000);
    assert!(world.capsule.state(TASK).may_run());
    world.pass(250_000);
    assert_eq!(world.take(TASK), (up::ENDED, EndRecord::of(End::Killed).to_bytes().to_vec()));
    assert_eq!(world.task.get_state(), State::Terminated);
    // One that waits for ever is, too.
    assert!(matches!(world.agent(AgentCall::Release { slot: TASK }, &[]), SyscallReturn::Success));
    world.task.acts.borrow_mut().clear();
    world.prepare(TASK, 0x7f, 100);
    world.start(TASK);
    world.pass(10_000);
    assert_eq!(world.task.get_state(), State::Yielded);
    world.agent(AgentCall::Stop { slot: TASK, grace_ms: 300 }, &[]);
    world.pass(500_000);
    assert_eq!(world.take(TASK).0, up::ENDED);
}

/// Nobody else wakes the core: the agent's own alarm may be an hour away.
#[test]
fn a_task_that_sleeps_is_stopped_on_time_on_a_node_that_sleeps() {
    let _turn = turn();
    let mut world = World::new();
    world.prepare(TASK, 0x7f, 100);
    world.start(TASK);
    world.pass(10_000);
    let told_us = world.machine.now_us.get();
    world.agent(AgentCall::Stop { slot: TASK, grace_ms: 300 }, &[]);
    while world.task.get_state() != State::Terminated {
        world.step();
    }
    let passed_us = world.machine.now_us.get() - told_us;
    assert!((300_000..=300_000 + 2 * capsule_tock::WINDOW_US).contains(&passed_us), "{passed_us} us");
    assert_eq!(world.take(TASK), (up::ENDED, EndRecord::of(End::Killed).to_bytes().to_vec()));
}

#[test]
fn a_task_calls_the_drivers_of_its_grant_alone() {
    let _turn = turn();
    for (capabilities, alarm) in [(0, false), (Capabilities::SLEEP, true), (Capabilities::TIME, true)] {
        let mut world = World::new();
        world.prepare(TASK, capabilities, 300);
        world.start(TASK);
        world.pass(5_000);
        let task = world.task;
        assert!(matches!(world.does(task, &[command(DRIVER, (0, 0, 0))]), SyscallReturn::Success));
        failed(world.does(task, &[command(CONSOLE, (0, 0, 0))]), ErrorCode::NODEVICE);
        let tried = world.does(task, &[command(ALARM, (0, 0, 0))]);
        assert_eq!(matches!(tried, SyscallReturn::Success), alarm, "{tried:?}");
        // What is the agent's is nobody else's.
        failed(
            world.does(task, &[command(DRIVER, AgentCall::Kill { slot: 0 }.encode())]),
            ErrorCode::NOSUPPORT,
        );
        failed(world.does(task, &[give(b"x"), command(DRIVER, SlotCall::Log.encode(0))]), ErrorCode::NOACK);
        assert_eq!(world.usage(TASK).refused, if alarm { 3 } else { 4 });
        let agent = world.agent;
        assert!(matches!(world.does(agent, &[command(ALARM, (0, 0, 0))]), SyscallReturn::Success));
        failed(world.does(agent, &[command(CONSOLE, (0, 0, 0))]), ErrorCode::NODEVICE);
    }
}

#[test]
fn a_stranger_is_nobody() {
    let _turn = turn();
    let mut world = World::new();
    let stranger = world.stranger;
    for number in [0, 1, 2, 64, 65, 96, 1000] {
        failed(world.does(stranger, &[command(DRIVER, (number, 0, 0))]), ErrorCode::NOSUPPORT);
    }
    assert_eq!(world.capsule.strangers(), 7);
}

#[test]
fn who_dies_while_the_capsule_works_for_it_is_in_nobodys_way() {
    let _turn = turn();
    let mut world = World::new();
    for _ in 0..5 {
        let read = SlotCall::Read { part: Part::Values, offset: 0 }.encode(0);
        assert_eq!(world.run(&[command(DRIVER, read), exit(0, 3)]), End::Exited(3));
        assert_eq!(world.later(AgentCall::RecordsRead { offset: 12 }, &[]), Ok(500));
    }
}

#[test]
fn a_long_verification_leaves_turns_to_others() {
    let _turn = turn();
    let mut world = World::new();
    world.prepare(TASK, 0x7f, 500);
    world.task.go(&[Act::Run(u64::MAX)]);
    world.start(TASK);
    let image = vec![3; 32 << 10];
    for (piece, bytes) in image.chunks(500).enumerate() {
        let stage = AgentCall::Stage { area: 1, offset: piece as u32 * 500 };
        assert_eq!(world.later(stage, bytes), Ok(bytes.len()));
    }
    world.storage.quick.set(true);
    let reserve = AgentCall::Reserve { slot: 0 };
    world.agent(reserve, &GrantRecord::of(&Grant::default()).to_bytes());
    let digest: [u8; 32] = Sha256::digest(&image).into();
    let record = VerifyRecord::of(image.len() as u32, &digest).to_bytes();
    let before = world.task.ran_us.get();
    assert_eq!(world.later(AgentCall::Verify { slot: 0, area: 1 }, &record), Ok(image.len()));
    // A slice after each of eight pieces, as far as its share goes.
    let ran = world.task.ran_us.get() - before;
    assert!(ran >= 20_000, "{ran}");
    // The same when nobody else is there.
    assert!(matches!(world.agent(AgentCall::Kill { slot: TASK }, &[]), SyscallReturn::Success));
    assert!(matches!(world.agent(AgentCall::Release { slot: 0 }, &[]), SyscallReturn::Success));
    world.agent(reserve, &GrantRecord::of(&Grant::default()).to_bytes());
    assert_eq!(world.later(AgentCall::Verify { slot: 0, area: 1 }, &record), Ok(image.len()));
}

#[test]
fn a_task_that_never_looks_at_its_upcalls_fills_no_queue() {
    let _turn = turn();
    let mut world = World::new();
    world.prepare(TASK, 0x7f, 900);
    let read = SlotCall::Read { part: Part::Values, offset: 0 }.encode(0);
    for _ in 0..40 {
        world.task.go(&[command(DRIVER, read), Act::Run(1_000)]);
    }
    world.task.go(&[Act::Run(u64::MAX)]);
    world.start(TASK);
    let message = AgentCall::Deliver { slot: TASK, more: false };
    assert!(matches!(world.agent(message, b"hear me"), SyscallReturn::Success));
    world.pass(100_000);
    assert_eq!(world.task.pending_tasks(), 2, "one that it has something to take, one that a call is done");
}

#[test]
fn a_task_without_room_for_the_capsule_does_not_start() {
    let _turn = turn();
    let mut world = World::new();
    world.prepare(TASK, 0x7f, 300);
    world.task.full.set(true);
    world.task.go(&[Act::Run(u64::MAX)]);
    world.agent.upcalls.borrow_mut().clear();
    failed(world.agent(AgentCall::Start { slot: TASK, resumed: false }, &[]), ErrorCode::FAIL);
    world.pass(5_000);
    assert_eq!(*world.agent.upcalls.borrow(), [(UPCALL_NEWS, 1 << TASK, 0, 0)]);
    world.pass(100_000);
    assert_eq!((world.task.ran_us.get(), world.task.get_state()), (0, State::Terminated));
}

#[test]
fn the_host_runs_hosted_slots_and_is_started_again() {
    let _turn = turn();
    let mut world = World::new();
    let host = world.host;
    for death in 0..3 {
        world.prepare(0, Capabilities::MESSAGE, 300);
        world.start(0);
        let order = world.does(host, &[command(DRIVER, SlotCall::Take.encode(0))]);
        // No room to put it: it stays.
        failed(order, ErrorCode::RESERVE);
        let room = vec![0u8; 64].leak();
        let allow = Syscall::ReadWriteAllow {
            driver_number: DRIVER,
            subdriver_number: 0,
            allow_address: room.as_mut_ptr(),
            allow_size: room.len(),
        };
        let order = world.does(host, &[Act::Call(allow), command(DRIVER, SlotCall::Take.encode(0))]);
        assert!(matches!(order, SyscallReturn::SuccessU32U32(down::START, 1)), "{order:?}");
        let message = SlotCall::Message { more: false }.encode(0);
        assert!(matches!(world.does(host, &[give(b"m"), command(DRIVER, message)]), SyscallReturn::Success));
        failed(world.does(host, &[command(DRIVER, SlotCall::Log.encode(0))]), ErrorCode::NOACK);
        host.go(&[Act::Fault]);
        world.pass(300_000);
        assert_eq!(world.take(0), (up::MESSAGE, b"m".to_vec()));
        assert_eq!(world.take(0), (up::ENDED, EndRecord::of(End::Fault).to_bytes().to_vec()));
        assert!(matches!(world.agent(AgentCall::Release { slot: 0 }, &[]), SyscallReturn::Success));
        let gone = death == 2;
        assert_eq!(host.get_state() == State::Terminated, gone, "after {} deaths", death + 1);
    }
    let grant = GrantRecord::of(&Grant::default()).to_bytes();
    failed(world.agent(AgentCall::Reserve { slot: 0 }, &grant), ErrorCode::NODEVICE);
    assert_eq!(world.run(&[exit(0, 0)]), End::Exited(0), "native slots go on");
}

#[test]
fn a_host_that_dies_now_and_then_is_started_for_ever() {
    let _turn = turn();
    let mut world = World::new();
    let host = world.host;
    world.does(host, &[command(DRIVER, (0, 0, 0))]);
    for death in 0..10 {
        host.go(&[Act::Fault]);
        world.pass(300_000);
        assert_eq!(host.get_state(), State::Yielded, "after {} deaths", death + 1);
        world.pass(3_600_000_000);
    }
    for _ in 0..3 {
        host.go(&[Act::Fault]);
        world.step();
        world.step();
    }
    assert_eq!(host.get_state(), State::Terminated, "three at once are too many");
}

#[test]
fn a_host_that_hangs_is_ended_and_started_again() {
    let _turn = turn();
    let mut world = World::new();
    let host = world.host;
    world.does(host, &[command(DRIVER, (0, 0, 0))]);
    world.prepare(0, Capabilities::MESSAGE, 300);
    world.start(0);
    let room = vec![0u8; 64].leak();
    let allow = Syscall::ReadWriteAllow {
        driver_number: DRIVER,
        subdriver_number: 0,
        allow_address: room.as_mut_ptr(),
        allow_size: room.len(),
    };
    world.does(host, &[Act::Call(allow), command(DRIVER, SlotCall::Take.encode(0))]);
    let life = host.processid();
    assert!(matches!(world.agent(AgentCall::Kill { slot: 0 }, &[]), SyscallReturn::Success));
    world.pass(59_000_000);
    assert_eq!(host.processid(), life, "it has time to end its task");
    world.pass(2_000_000);
    assert_eq!(world.take(0), (up::ENDED, EndRecord::of(End::Fault).to_bytes().to_vec()));
    assert_ne!(host.processid(), life);
    assert_eq!(host.get_state(), State::Yielded, "it runs again");
}

/// Each is kept on flash by the agent.
#[test]
fn a_task_reports_no_status_after_status() {
    let _turn = turn();
    let mut world = World::new();
    world.prepare(TASK, 0, 300);
    world.start(TASK);
    let task = world.task;
    let mut taken = 0;
    let status = |code| command(DRIVER, SlotCall::Status { code }.encode(0));
    let until = world.machine.now_us.get() + 35_000_000;
    let mut code = 0;
    while world.machine.now_us.get() < until {
        code += 1;
        match world.does(task, &[status(code)]) {
            SyscallReturn::Success => taken += 1,
            refused => failed(refused, ErrorCode::BUSY),
        }
        while world.take(TASK).0 != 0 {}
        world.machine.now_us.set(world.machine.now_us.get() + 50_000);
    }
    assert!((3..=5).contains(&taken), "{taken} of {code} in 35 seconds");
}

#[test]
fn an_agent_that_faults_is_started_again() {
    let _turn = turn();
    let mut world = World::new();
    world.prepare(TASK, 0x7f, 100);
    world.task.go(&[Act::Run(u64::MAX)]);
    world.start(TASK);
    for round in 1..=20 {
        let before = world.agent.processid().id();
        world.agent.go(&[Act::Fault]);
        world.pass(2 * capsule_tock::WINDOW_US);
        assert_ne!(world.agent.processid().id(), before, "round {round}");
        assert_eq!(world.agent.get_state(), State::Yielded);
    }
    assert_eq!(world.task.get_state(), State::Running, "tasks are the next agent's to judge");
    // It is the agent again, and finds the task.
    assert!(matches!(world.agent(AgentCall::Kill { slot: TASK }, &[]), SyscallReturn::Success));
    // Nobody else has to wake the core for it.
    let faulted_us = world.machine.now_us.get();
    world.agent.go(&[Act::Fault]);
    while world.agent.get_state() != State::Yielded {
        world.step();
    }
    assert!(world.machine.now_us.get() - faulted_us <= capsule_tock::WINDOW_US);
}

#[test]
fn a_call_that_was_given_up_does_not_answer_the_next() {
    let _turn = turn();
    let mut world = World::new();
    let (call, bytes) = (AgentCall::RecordsWrite { offset: 0 }, [1; 8]);
    world.agent.upcalls.borrow_mut().clear();
    world.agent.returns.borrow_mut().clear();
    // The first call is done while the agent computes, which has given it up when it makes the second.
    let make = [give(&bytes), command(DRIVER, call.encode())];
    world.agent.go(&[make[0], make[1], Act::Run(50_000), make[0], make[1]]);
    while world.agent.returns.borrow().len() < 4 {
        world.step();
    }
    let last = world.agent.returns.borrow_mut().pop_back();
    assert!(matches!(last, Some(SyscallReturn::Success)), "the first was done: {last:?}");
    let done =
        |world: &World| world.agent.upcalls.borrow().iter().filter(|upcall| upcall.0 == UPCALL_DONE).count();
    world.storage.slow.set(true);
    (0..10).for_each(|_| world.step());
    assert_eq!(done(&world), 0, "the second is not done");
    world.storage.slow.set(false);
    (0..10).for_each(|_| world.step());
    assert_eq!(done(&world), 1);
}

#[test]
fn a_storage_that_keeps_the_buffer_makes_nobody_wait() {
    let _turn = turn();
    let mut world = World::new();
    world.storage.refuses.set(true);
    for _ in 0..3 {
        assert_eq!(world.later(AgentCall::RecordsRead { offset: 0 }, &[]), Err(ErrorCode::FAIL as usize));
    }
    world.capsule.handle_deferred_call();
    let grant = GrantRecord::of(&Grant::default()).to_bytes();
    assert!(matches!(world.agent(AgentCall::Reserve { slot: 0 }, &grant), SyscallReturn::Success));
}

#[test]
fn a_slot_that_nothing_was_loaded_into_never_runs() {
    let _turn = turn();
    let mut world = World::new();
    // As a board does that loads processes after the capsule was set up.
    world.other.start(&TRUSTED);
    world.other.go(&[Act::Run(u64::MAX)]);
    world.pass(300_000);
    assert_eq!(world.other.ran_us.get(), 0);
    world.capsule.init();
    assert_eq!(world.other.get_state(), State::Terminated);
    let ended = HostCall::Ended(End::Exited(0)).encode(0);
    let host = world.host;
    failed(world.does(host, &[command(DRIVER, ended)]), ErrorCode::OFF);
}
