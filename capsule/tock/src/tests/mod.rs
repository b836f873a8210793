//! The core on a machine of fakes: storage is a vector, processes are numbers.

extern crate std;

mod images;
mod life;
mod queues;
mod storage;

use crate::board::{Board, Devices, Layout, NativeSlot, Place, Who};
use crate::calls::Input;
use crate::core::{Core, Outcome};
use crate::signatures::Dalek;
use crate::slots::{Answer, Env, Machine, Refused, Used};
use crate::work::{Buffers, Step};
use core::cell::{Cell, RefCell};
use core::num::NonZeroU32;
use grants::native::Addresses;
use grants::syscall::{AgentCall, EndRecord, GrantRecord, HostCall, SlotCall, VerifyRecord, up};
use grants::{Capabilities, Capacity, Grant, Slot};
use kernel::ErrorCode;
use sha2::{Digest, Sha256};
use std::vec::Vec;

pub(crate) const SLOTS: usize = 4;
pub(crate) const NATIVES: usize = 2;
/// Slots 0 and 1 are hosted, 2 and 3 native.
pub(crate) const NATIVE: u8 = 2;
pub(crate) const AGENT: (Who, u32) = (Who::Agent, 1);
pub(crate) const HOST: (Who, u32) = (Who::Host, 2);
/// The process of a native slot.
pub(crate) const fn task(slot: u8) -> (Who, u32) {
    (Who::Task(slot), 10 + slot as u32)
}
/// Every capability.
pub(crate) const ALL: u16 = 0x7f;

pub(crate) const AREA: u32 = 4096;
pub(crate) const LAYOUT: Layout = Layout::packed(64, 1000, AREA, 3, SLOTS as u32);
/// Bytes of a native slot's binary.
pub(crate) const BINARY: u32 = 3000;
pub(crate) const fn native_offset(index: u32) -> u32 {
    LAYOUT.end(SLOTS as u32) + 64 + index * (BINARY + 64)
}

pub(crate) const fn id(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

pub(crate) const fn native(index: u32) -> NativeSlot {
    NativeSlot {
        app: id(0x20 + index),
        offset: native_offset(index),
        len: BINARY,
        addresses: Addresses { flash: 0x8040_0000 + index * 0x1_0000, ram: 0x8060_0000 + index * 0x3000 },
        ram_bytes: 8192,
        init_fn_offset: 0x80,
    }
}

pub(crate) const CAPACITY: Capacity =
    Capacity { cpu_permille: 900, mem_bytes: 40_000, flash_bytes: u32::MAX, leds: 4 };

pub(crate) const fn board(publishers: &'static [[u8; 32]]) -> Board<SLOTS> {
    Board {
        eui64: 0x0200_0000_0000_0007,
        capacity: CAPACITY,
        sensors: 2,
        agent: id(0x10),
        host: Some(id(0x11)),
        agent_drivers: &[0, 1],
        host_drivers: &[0],
        host_permille: 50,
        host_restarts: 2,
        slots: [Place::Hosted, Place::Hosted, Place::Native(native(0)), Place::Native(native(1))],
        layout: LAYOUT,
        publishers,
    }
}

/// What was done to processes, and the time.
#[derive(Default)]
pub(crate) struct Fakes {
    pub(crate) running: RefCell<[bool; SLOTS]>,
    pub(crate) cannot_start: Cell<bool>,
    pub(crate) used: Cell<Used>,
    pub(crate) host: Cell<(u16, bool)>,
    pub(crate) now_ms: Cell<u64>,
    pub(crate) leds: Cell<u32>,
}

impl Machine for Fakes {
    fn start(&self, slot: u8, _grant: &Grant) -> bool {
        self.running.borrow_mut()[usize::from(slot)] = !self.cannot_start.get();
        !self.cannot_start.get()
    }
    fn terminate(&self, slot: u8) {
        self.running.borrow_mut()[usize::from(slot)] = false;
    }
    fn reports(&self, _slot: u8) -> bool {
        true
    }
    fn used(&self, _slot: u8) -> Used {
        self.used.get()
    }
    fn host(&self, permille: u16, strict: bool) {
        self.host.set((permille, strict));
    }
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }
}

impl Devices for Fakes {
    fn led(&self, number: u32, on: bool) -> bool {
        self.leds.set(if on { self.leds.get() | 1 << number } else { self.leds.get() & !(1 << number) });
        number < 4
    }
    fn sensor(&self, number: u32) -> Option<i32> {
        [Some(-40), None].get(number as usize).copied().flatten()
    }
}

/// A process's buffers; one that is dead has none.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) input: Vec<u8>,
    pub(crate) output: RefCell<Vec<u8>>,
}

impl Buffers for Memory {
    fn input(&self) -> usize {
        self.input.len()
    }
    fn output(&self) -> usize {
        self.output.borrow().len()
    }
    fn copy_in(&self, from: usize, into: &mut [u8]) -> bool {
        let there = self.input.get(from..from + into.len());
        there.is_some_and(|bytes| {
            into.copy_from_slice(bytes);
            true
        })
    }
    fn copy_out(&self, from: usize, bytes: &[u8]) -> bool {
        let mut output = self.output.borrow_mut();
        let room = output.get_mut(from..from + bytes.len());
        room.is_some_and(|room| {
            room.copy_from_slice(bytes);
            true
        })
    }
}

pub(crate) struct World {
    pub(crate) core: Core<u32, SLOTS, NATIVES, 100, 52>,
    pub(crate) board: Board<SLOTS>,
    pub(crate) fakes: Fakes,
    pub(crate) storage: Vec<u8>,
    pub(crate) scratch: Vec<u8>,
    /// Bytes that moved between storage and scratch buffer, in pieces.
    pub(crate) transfers: usize,
}

pub(crate) type Now = Result<Answer, Refused>;

impl World {
    pub(crate) fn new() -> Self {
        Self::publishing(&[])
    }

    pub(crate) fn publishing(publishers: &'static [[u8; 32]]) -> Self {
        let storage = (0..native_offset(NATIVES as u32) + 64).map(|at| at as u8 ^ 0x5a).collect();
        let (board, fakes) = (board(publishers), Fakes::default());
        Self { core: Core::new(CAPACITY), board, fakes, storage, scratch: std::vec![0; 256], transfers: 0 }
    }

    /// A command with what is in `in`, and what it put out.
    pub(crate) fn command(
        &mut self,
        by: (Who, u32),
        call: (usize, usize, usize),
        input: &[u8],
        output: &mut [u8],
    ) -> Outcome {
        let env = Env { board: &self.board, machine: &self.fakes, devices: &self.fakes };
        let input = Input { bytes: &input[..input.len().min(grants::syscall::PIECE_MAX)], len: input.len() };
        self.core.command(&env, by, call, input, output)
    }

    /// A command that is answered in the same breath.
    pub(crate) fn now(&mut self, by: (Who, u32), call: (usize, usize, usize), input: &[u8]) -> Now {
        match self.command(by, call, input, &mut [0; 64]) {
            Outcome::Now(now) => now,
            Outcome::Later => panic!("it is to be answered at once"),
        }
    }

    pub(crate) fn agent(&mut self, call: AgentCall, input: &[u8]) -> Now {
        self.now(AGENT, call.encode(), input)
    }

    pub(crate) fn host(&mut self, slot: u8, call: HostCall) -> Now {
        self.now(HOST, call.encode(slot), &[])
    }

    pub(crate) fn slot(&mut self, by: (Who, u32), slot: u8, call: SlotCall, input: &[u8]) -> Now {
        self.now(by, call.encode(slot), input)
    }

    /// What a slot says next: its kind and bytes.
    pub(crate) fn take(&mut self, slot: u8) -> (u32, Vec<u8>) {
        self.record(AGENT, AgentCall::Take { slot }.encode())
    }

    /// What a slot hears next.
    pub(crate) fn order(&mut self, by: (Who, u32), slot: u8) -> (u32, Vec<u8>) {
        self.record(by, SlotCall::Take.encode(slot))
    }

    fn record(&mut self, by: (Who, u32), call: (usize, usize, usize)) -> (u32, Vec<u8>) {
        let mut out = [0; 64];
        match self.command(by, call, &[], &mut out) {
            Outcome::Now(Ok(Answer::Record(kind, len))) => (kind, out[..len].to_vec()),
            other => panic!("no record: {other:?}"),
        }
    }

    /// Serves who is next, to the end: who that was and with what result.
    pub(crate) fn serve(&mut self, memory: &Memory) -> Option<(u32, Result<u32, ErrorCode>)> {
        let caller = self.core.serve()?;
        let mut moved = Ok(());
        loop {
            let step = self.core.go_on((&self.board, &Dalek), memory, &mut self.scratch, moved);
            let (at, len) = match step {
                Step::Read { at, len } | Step::Write { at, len } => (at as usize, len),
                Step::Done(result) => {
                    self.core.served();
                    return Some((caller, result));
                }
            };
            assert!(len > 0 && len <= self.scratch.len() && at + len <= self.storage.len(), "{step:?}");
            self.transfers += len;
            moved = Ok(());
            match step {
                Step::Read { .. } => self.scratch[..len].copy_from_slice(&self.storage[at..at + len]),
                _ => self.storage[at..at + len].copy_from_slice(&self.scratch[..len]),
            }
        }
    }

    /// A command that is answered later, and its answer.
    pub(crate) fn later(
        &mut self,
        by: (Who, u32),
        call: (usize, usize, usize),
        input: &[u8],
        room: usize,
    ) -> Result<(u32, Vec<u8>), ErrorCode> {
        match self.command(by, call, input, &mut []) {
            Outcome::Later => {}
            Outcome::Now(Err(Refused::For(code))) => return Err(code),
            other => panic!("it is to be answered later: {other:?}"),
        }
        let memory = Memory { input: input.to_vec(), output: RefCell::new(std::vec![0; room]) };
        let (caller, result) = self.serve(&memory).expect("somebody is in line");
        assert_eq!(caller, by.1);
        let moved = result?;
        let mut output = memory.output.into_inner();
        output.truncate(moved as usize);
        Ok((moved, output))
    }

    pub(crate) fn stage(&mut self, area: u8, image: &[u8]) {
        for (index, piece) in image.chunks(500).enumerate() {
            let call = AgentCall::Stage { area, offset: index as u32 * 500 };
            assert_eq!(self.later(AGENT, call.encode(), piece, 0), Ok((piece.len() as u32, Vec::new())));
        }
    }

    pub(crate) fn verify(
        &mut self,
        slot: u8,
        area: u8,
        image: &[u8],
        manifest: &[u8],
    ) -> Result<(), ErrorCode> {
        let digest: [u8; 32] = Sha256::digest(image).into();
        let record = VerifyRecord::of(image.len() as u32, &digest).to_bytes();
        let input = [&record[..], manifest].concat();
        self.later(AGENT, AgentCall::Verify { slot, area }.encode(), &input, 0).map(|_| ())
    }

    /// A slot on which a hosted task runs, with this image in area 0.
    pub(crate) fn run_hosted(&mut self, slot: u8, capabilities: u16) {
        let image = std::vec![7; 900];
        if !self.core.slots.uses(0) {
            self.stage(0, &image);
        }
        assert_eq!(self.agent(AgentCall::Reserve { slot }, &grant(capabilities)), Ok(Answer::Done));
        assert_eq!(self.verify(slot, 0, &image, &[]), Ok(()));
        assert_eq!(self.agent(AgentCall::Start { slot, resumed: false }, &[]), Ok(Answer::Done));
        let started = (grants::syscall::down::START, std::vec![0]);
        assert_eq!(self.order(HOST, slot), started);
    }

    pub(crate) fn state(&self, slot: u8) -> Slot {
        self.core.slots.state(slot)
    }
}

/// A grant of a hundred thousandths of the core, 10,000 bytes and an LED.
pub(crate) fn grant(capabilities: u16) -> [u8; GrantRecord::LEN] {
    let capabilities = Capabilities(capabilities);
    let grant =
        Grant { cpu_permille: 100, mem_bytes: 10_000, flash_bytes: 0, leds: 1, capabilities, strict: true };
    GrantRecord::of(&grant).to_bytes()
}

pub(crate) fn refused(code: ErrorCode) -> Now {
    Err(Refused::For(code))
}

/// The record of an end.
pub(crate) fn ended(end: grants::syscall::End) -> (u32, Vec<u8>) {
    (up::ENDED, EndRecord::of(end).to_bytes().to_vec())
}
