//! The rest of the node: a capsule with what it holds for one task, and an alarm whose time passes while it is waited for.

use crate::task::Task;
use grants::Capabilities as C;
use grants::syscall::{DRIVER, PIECE_MAX, Part, SlotCall, TaskRecord, down};
use libtock_platform::{CommandReturn, ErrorCode};
use libtock_unittest::fake::{Kernel, SyscallDriver, Syscalls};
use libtock_unittest::{DriverInfo, DriverShareRef, RoAllowBuffer, RwAllowBuffer, command_return as give};
use node_proto::Document;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// Ticks in a second, as QEMU has it: the counter turns every seven minutes.
const HZ: u64 = 10_000_000;
const ALL: u16 = C::LOG | C::MESSAGE | C::SLEEP | C::TIME | C::SENSOR | C::LED | C::KV;

/// What the rest of the node does, and when, milliseconds.
#[derive(Default)]
pub struct World {
    pub ticks: Cell<u64>,
    pub deaf: Cell<bool>,
    pub coming: RefCell<VecDeque<(u64, u32, Vec<u8>)>>,
    pub orders: RefCell<VecDeque<(u32, Vec<u8>)>>,
    /// It was told that there are orders, and has not taken the last.
    pub told: Cell<bool>,
    pub stop_at: Cell<Option<u64>>,
    pub capabilities: Cell<u16>,
    /// Records that the agent takes whenever the task waits, and what is left of that.
    pub room: Cell<usize>,
    pub left: Cell<usize>,
    pub said: RefCell<Vec<(SlotCall, Vec<u8>)>>,
    pub document: RefCell<Vec<u8>>,
    pub values: RefCell<Vec<u8>>,
    pub broken: Cell<bool>,
    pub to_task: DriverShareRef,
    pub given: RefCell<RoAllowBuffer>,
    pub taken: RefCell<RwAllowBuffer>,
}

impl World {
    pub fn ms(&self) -> u64 {
        self.ticks.get() * 1000 / HZ
    }

    /// What happens until then comes to the task; true if something did that it is told of.
    fn pass(&self, until: u64) -> bool {
        self.left.set(self.room.get());
        let due = self.coming.borrow().front().map(|(ms, ..)| ms * HZ / 1000).filter(|due| *due <= until);
        let Some(due) = due else {
            self.ticks.set(until);
            return false;
        };
        self.ticks.set(self.ticks.get().max(due));
        let (ms, kind, bytes) = self.coming.borrow_mut().pop_front().unwrap();
        match kind {
            // It is ahead of messages, as the capsule has it.
            down::STOP => {
                self.stop_at.set(Some(ms + 500));
                self.orders.borrow_mut().push_front((kind, bytes));
            }
            _ => self.orders.borrow_mut().push_back((kind, bytes)),
        }
        if !self.told.replace(true) {
            self.to_task.schedule_upcall(1, (1, 0, 0)).unwrap();
        }
        true
    }

    fn task_call(&self, call: SlotCall) -> Result<CommandReturn, ErrorCode> {
        let needs = call.capability();
        if self.capabilities.get() & needs != needs {
            return Err(ErrorCode::NoAck);
        }
        let given = || self.given.borrow().to_vec();
        let put = |bytes: &[u8]| {
            let mut room = self.taken.borrow_mut();
            room.get_mut(..bytes.len()).ok_or(ErrorCode::Reserve)?.copy_from_slice(bytes);
            Ok(())
        };
        let done = |len: usize| {
            self.to_task.schedule_upcall(0, (0, len as u32, 0)).unwrap();
            Ok(give::success())
        };
        match call {
            SlotCall::Grant => {
                let record = TaskRecord {
                    capabilities: self.capabilities.get(),
                    document_len: self.document.borrow().len() as u32,
                    stop_ms: self.stop_at.get().map_or(u32::MAX, |at| at.saturating_sub(self.ms()) as u32),
                    ..TaskRecord::default()
                };
                put(&record.to_bytes())?;
                Ok(give::success_u32(TaskRecord::LEN as u32))
            }
            SlotCall::Log | SlotCall::Message { .. } => {
                let left = self.left.get().checked_sub(1).ok_or(ErrorCode::Busy)?;
                self.left.set(left);
                assert!(given().len() <= PIECE_MAX);
                self.said.borrow_mut().push((call, given()));
                Ok(give::success())
            }
            SlotCall::Take => {
                let order = self.orders.borrow_mut().pop_front();
                self.told.set(!self.orders.borrow().is_empty());
                let (kind, bytes) = order.unwrap_or_default();
                put(&bytes)?;
                Ok(give::success_2_u32(kind, bytes.len() as u32))
            }
            SlotCall::Read { part, offset } => {
                let from = match part {
                    Part::Document => self.document.borrow(),
                    _ => self.values.borrow(),
                };
                // Storage gives what it likes at a time.
                let len = from.len().saturating_sub(offset as usize).min(self.taken.borrow().len());
                let len = if part == Part::Document { len.min(100) } else { len };
                put(&from[offset as usize..offset as usize + len])?;
                done(len)
            }
            SlotCall::Write { offset } => {
                if self.broken.get() {
                    self.to_task.schedule_upcall(0, (ErrorCode::Fail as u32, 0, 0)).unwrap();
                    return Ok(give::success());
                }
                let bytes = given();
                self.values.borrow_mut()[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
                done(bytes.len())
            }
            SlotCall::Led { index: 0, .. } => Ok(give::success()),
            SlotCall::Sensor { index: 0 } => Ok(give::success_u32(-21_500i32 as u32)),
            SlotCall::Led { .. } | SlotCall::Sensor { .. } => Err(ErrorCode::NoDevice),
            SlotCall::Status { .. } => unreachable!("nobody reports a code"),
        }
    }
}

struct Capsule(Rc<World>);

impl SyscallDriver for Capsule {
    fn info(&self) -> DriverInfo {
        DriverInfo::new(DRIVER as u32).upcall_count(2)
    }

    fn register(&self, share: DriverShareRef) {
        self.0.to_task.replace(share);
    }

    fn command(&self, command: u32, first: u32, second: u32) -> CommandReturn {
        match SlotCall::decode(command as usize, first as usize, second as usize) {
            Ok((0, call)) => self.0.task_call(call).unwrap_or_else(give::failure),
            other => panic!("a task calls {other:?}"),
        }
    }

    fn allow_readonly(
        &self,
        _: u32,
        buffer: RoAllowBuffer,
    ) -> Result<RoAllowBuffer, (RoAllowBuffer, ErrorCode)> {
        Ok(self.0.given.replace(buffer))
    }

    fn allow_readwrite(
        &self,
        _: u32,
        buffer: RwAllowBuffer,
    ) -> Result<RwAllowBuffer, (RwAllowBuffer, ErrorCode)> {
        Ok(self.0.taken.replace(buffer))
    }
}

struct Alarm(Rc<World>, DriverShareRef);

impl SyscallDriver for Alarm {
    fn info(&self) -> DriverInfo {
        DriverInfo::new(0).upcall_count(1)
    }

    fn register(&self, share: DriverShareRef) {
        self.1.replace(share);
    }

    fn command(&self, command: u32, argument: u32, _: u32) -> CommandReturn {
        let world = &self.0;
        match command {
            _ if world.deaf.get() => give::failure(ErrorCode::NoDevice),
            1 => give::success_u32(HZ as u32),
            2 => {
                // Even to look takes a moment.
                world.ticks.set(world.ticks.get() + 50);
                give::success_u32(world.ticks.get() as u32)
            }
            3 => give::success(),
            5 => {
                // What happens without news does not end the wait.
                let until = world.ticks.get() + u64::from(argument);
                loop {
                    let told_before = world.told.get();
                    match world.pass(until) {
                        true if !told_before => break,
                        true => {}
                        false => {
                            self.1.schedule_upcall(0, (0, 0, 0)).unwrap();
                            break;
                        }
                    }
                }
                give::success_u32(0)
            }
            other => panic!("the alarm is asked for {other}"),
        }
    }
}

pub fn with(test: impl FnOnce(&World, &mut Task<Syscalls>)) {
    let world = Rc::new(World::default());
    world.capabilities.set(ALL);
    world.room.set(4);
    world.left.set(4);
    world.values.replace(vec![0; 512]);
    let document = Document { args: b"one\0two\0", env: b"A=b\0", data: &[7; 300], ..Document::default() };
    world.document.replace(postcard::to_allocvec(&document).unwrap());
    let kernel = Kernel::new();
    kernel.add_driver(&Rc::new(Capsule(world.clone())));
    kernel.add_driver(&Rc::new(Alarm(world.clone(), DriverShareRef::default())));
    test(&world, &mut Task::new());
}
