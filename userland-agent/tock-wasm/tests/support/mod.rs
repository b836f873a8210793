//! A kernel of two drivers: an alarm that comes at once and moves the clock to its time, and an executor capsule that
//! keeps what it is told.

use grants::syscall::{DRIVER, End, HostCall, Part, SlotCall, TaskRecord, UsageRecord};
use libtock_platform::{CommandReturn, ErrorCode};
use libtock_unittest::fake::SyscallDriver;
use libtock_unittest::{DriverInfo, DriverShareRef, RoAllowBuffer, RwAllowBuffer, command_return as give};
use node_proto::Document;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

pub type System = libtock_unittest::fake::Syscalls;
pub type App<'u> = tock_wasm::App<'u, System>;

/// Ticks in a second: the counter wraps after seven minutes.
const HZ: u32 = 10_000_000;
/// What a storage call moves at most.
const STORAGE_PIECE: usize = 100;

pub struct Alarm {
    ticks: Cell<u64>,
    share: DriverShareRef,
}

impl Alarm {
    pub fn now_ms(&self) -> u64 {
        self.ticks.get() * 1000 / u64::from(HZ)
    }
}

impl SyscallDriver for Alarm {
    fn info(&self) -> DriverInfo {
        DriverInfo::new(0).upcall_count(1)
    }

    fn register(&self, share: DriverShareRef) {
        self.share.replace(share);
    }

    fn command(&self, command: u32, argument: u32, _: u32) -> CommandReturn {
        match command {
            1 => give::success_u32(HZ),
            2 => {
                self.ticks.set(self.ticks.get() + 100);
                give::success_u32(self.ticks.get() as u32)
            }
            5 => {
                self.ticks.set(self.ticks.get() + u64::from(argument));
                self.share.schedule_upcall(0, (0, 0, 0)).unwrap();
                give::success_u32(0)
            }
            _ => give::failure(ErrorCode::NoSupport),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Log(String),
    Message(Vec<u8>),
    Status(i32),
    Health(bool),
    Note(String),
    Ended(End),
}

#[derive(Default)]
pub struct Slot {
    pub record: TaskRecord,
    pub image: Vec<u8>,
    pub document: Vec<u8>,
    pub values: Vec<u8>,
    pub orders: VecDeque<(u32, Vec<u8>)>,
    pub said: Vec<Said>,
    pub used: UsageRecord,
    /// Records that it has room for.
    pub room: usize,
    pub leds: Vec<(u32, bool)>,
    /// It has ended, and only the kernel knows.
    pub off: bool,
    pieces: Vec<u8>,
}

#[derive(Default)]
pub struct Capsule {
    pub slots: RefCell<Vec<Slot>>,
    /// Storage answers no longer.
    pub mute: Cell<bool>,
    read: RefCell<RoAllowBuffer>,
    write: RefCell<RwAllowBuffer>,
    share: DriverShareRef,
}

impl Capsule {
    pub fn order(&self, slot: usize, kind: u32, bytes: &[u8]) {
        self.slots.borrow_mut()[slot].orders.push_back((kind, bytes.into()));
        self.share.schedule_upcall(1, (1 << slot, 0, 0)).unwrap();
    }

    /// Has a slot started.
    pub fn start(&self, slot: usize, image: &[u8], mem_bytes: u32, document: &Document<'_>, resumed: bool) {
        let document = postcard::to_allocvec(document).unwrap();
        {
            let held = &mut self.slots.borrow_mut()[slot];
            held.record = TaskRecord {
                cpu_permille: 400,
                capabilities: 0x7f,
                mem_bytes,
                image_len: image.len() as u32,
                document_len: document.len() as u32,
                leds: 0b1010,
                stop_ms: u32::MAX,
                resumed: resumed.into(),
            };
            (held.image, held.document) = (image.into(), document);
        }
        self.order(slot, grants::syscall::down::START, &[resumed.into()]);
    }

    pub fn said(&self, slot: usize) -> Vec<Said> {
        std::mem::take(&mut self.slots.borrow_mut()[slot].said)
    }

    /// What is done later, and how many bytes of it.
    fn done(&self, command: u32, result: Result<usize, ErrorCode>) -> CommandReturn {
        if !self.mute.get() {
            let (error, bytes) = match result {
                Ok(bytes) => (0, bytes as u32),
                Err(error) => (error as u32, 0),
            };
            self.share.schedule_upcall(0, (error, bytes, command)).unwrap();
        }
        give::success()
    }

    fn slot_call(&self, slot: usize, command: u32, call: SlotCall) -> CommandReturn {
        let slots = &mut *self.slots.borrow_mut();
        let Some(held) = slots.get_mut(slot) else { return give::failure(ErrorCode::Invalid) };
        let (input, output) = (self.read.borrow(), &mut *self.write.borrow_mut());
        if held.off {
            return give::failure(ErrorCode::Off);
        }
        let full = held.room == 0;
        let says = |held: &mut Slot, said: Option<Said>| {
            held.room -= 1;
            held.said.extend(said);
            give::success()
        };
        match call {
            SlotCall::Grant => give::success_u32(copy(&held.record.to_bytes(), output) as u32),
            SlotCall::Log | SlotCall::Message { .. } | SlotCall::Status { .. } if full => {
                give::failure(ErrorCode::Busy)
            }
            SlotCall::Log => {
                assert!(input.len() <= grants::syscall::PIECE_MAX);
                says(held, Some(Said::Log(String::from_utf8(input.to_vec()).unwrap())))
            }
            SlotCall::Message { more } => {
                assert!(input.len() <= grants::syscall::PIECE_MAX);
                held.pieces.extend_from_slice(&input);
                let whole = (!more).then(|| Said::Message(std::mem::take(&mut held.pieces)));
                says(held, whole)
            }
            SlotCall::Status { code } => says(held, Some(Said::Status(code))),
            SlotCall::Take => match held.orders.pop_front() {
                Some((kind, bytes)) => give::success_2_u32(kind, copy(&bytes, output) as u32),
                None => give::success_2_u32(0, 0),
            },
            SlotCall::Read { part, offset } => {
                let bytes = match part {
                    Part::Image => &held.image,
                    Part::Document => &held.document,
                    Part::Values => &held.values,
                };
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                self.done(command, Ok(copy(&rest[..rest.len().min(STORAGE_PIECE)], output)))
            }
            SlotCall::Write { offset } => {
                let (at, len) = (offset as usize, input.len().min(STORAGE_PIECE));
                let end = held.values.len().max(at + len);
                held.values.resize(end, 0xff);
                held.values[at..at + len].copy_from_slice(&input[..len]);
                self.done(command, Ok(len))
            }
            SlotCall::Led { index, on } if index < held.record.leds.count_ones() => {
                held.leds.push((index, on));
                give::success()
            }
            SlotCall::Led { .. } => give::failure(ErrorCode::NoDevice),
            SlotCall::Sensor { index: 0 } => give::success_u32(21_500),
            SlotCall::Sensor { .. } => give::failure(ErrorCode::NoDevice),
        }
    }

    fn host_call(&self, slot: usize, call: HostCall) -> CommandReturn {
        let slots = &mut *self.slots.borrow_mut();
        let Some(held) = slots.get_mut(slot) else { return give::failure(ErrorCode::Invalid) };
        let input = self.read.borrow();
        match call {
            HostCall::Health { .. } | HostCall::Note if held.room == 0 => {
                return give::failure(ErrorCode::Busy);
            }
            HostCall::Health { well } => held.said.push(Said::Health(well)),
            HostCall::Note => held.said.push(Said::Note(String::from_utf8(input.to_vec()).unwrap())),
            HostCall::Ended(end) => held.said.push(Said::Ended(end)),
            HostCall::Used => held.used = UsageRecord::from_bytes(&input).unwrap(),
        }
        give::success()
    }
}

fn copy(bytes: &[u8], to: &mut RwAllowBuffer) -> usize {
    let len = bytes.len().min(to.len());
    to[..len].copy_from_slice(&bytes[..len]);
    len
}

impl SyscallDriver for Capsule {
    fn info(&self) -> DriverInfo {
        DriverInfo::new(DRIVER as u32).upcall_count(2)
    }

    fn register(&self, share: DriverShareRef) {
        self.share.replace(share);
    }

    fn command(&self, command: u32, one: u32, two: u32) -> CommandReturn {
        let (number, one, two) = (command as usize, one as usize, two as usize);
        if let Ok((slot, call)) = SlotCall::decode(number, one, two) {
            return self.slot_call(slot.into(), command, call);
        }
        match HostCall::decode(number, one, two) {
            Ok((slot, call)) => self.host_call(slot.into(), call),
            Err(_) => give::failure(ErrorCode::NoSupport),
        }
    }

    fn allow_readonly(
        &self,
        _: u32,
        buffer: RoAllowBuffer,
    ) -> Result<RoAllowBuffer, (RoAllowBuffer, ErrorCode)> {
        Ok(self.read.replace(buffer))
    }

    fn allow_readwrite(
        &self,
        _: u32,
        buffer: RwAllowBuffer,
    ) -> Result<RwAllowBuffer, (RwAllowBuffer, ErrorCode)> {
        Ok(self.write.replace(buffer))
    }
}

/// Gives `test` a node of so many slots, and the app on it.
pub fn node(slots: usize, test: impl FnOnce(&Capsule, &Alarm, &mut App<'_>)) {
    let system = libtock_unittest::fake::Kernel::new();
    let alarm = Rc::new(Alarm { ticks: Cell::new(0), share: DriverShareRef::default() });
    let capsule = Rc::new(Capsule::default());
    capsule.slots.borrow_mut().resize_with(slots, || Slot { room: usize::MAX, ..Slot::default() });
    system.add_driver(&alarm);
    system.add_driver(&capsule);
    let config = |_: &tock_wasm::Kernel<'_, System>| tock_wasm::Config { fuel_per_ms: 2_000 };
    tock_wasm::with(config, |app| test(&capsule, &alarm, app)).unwrap();
}

/// Turns for so many milliseconds of the node's time.
pub fn run(app: &mut App<'_>, alarm: &Alarm, ms: u64) {
    let until = alarm.now_ms() + ms;
    while alarm.now_ms() < until {
        app.turn();
        app.wait();
    }
}
