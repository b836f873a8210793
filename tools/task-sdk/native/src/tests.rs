//! The interface's functions against a capsule that does what `grants::syscall` says, and an alarm whose time passes while
//! it is waited for.

use crate::task::{Field, Task};
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
struct World {
    ticks: Cell<u64>,
    deaf: Cell<bool>,
    coming: RefCell<VecDeque<(u64, u32, Vec<u8>)>>,
    orders: RefCell<VecDeque<(u32, Vec<u8>)>>,
    /// It was told that there are orders, and has not taken the last.
    told: Cell<bool>,
    stop_at: Cell<Option<u64>>,
    capabilities: Cell<u16>,
    /// Records that the agent takes whenever the task waits, and what is left of that.
    room: Cell<usize>,
    left: Cell<usize>,
    said: RefCell<Vec<(SlotCall, Vec<u8>)>>,
    document: RefCell<Vec<u8>>,
    values: RefCell<Vec<u8>>,
    broken: Cell<bool>,
    to_task: DriverShareRef,
    given: RefCell<RoAllowBuffer>,
    taken: RefCell<RwAllowBuffer>,
}

impl World {
    fn ms(&self) -> u64 {
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

fn with(test: impl FnOnce(&World, &mut Task<Syscalls>)) {
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

#[test]
fn strings_come_from_the_document_as_far_as_they_fit() {
    with(|world, task| {
        let mut buffer = [0; 400];
        assert_eq!((task.field(Field::Args, &mut buffer), &buffer[..8]), (8, &b"one\0two\0"[..]));
        assert_eq!((task.field(Field::Env, &mut buffer), &buffer[..4]), (4, &b"A=b\0"[..]));
        assert_eq!((task.field(Field::Data, &mut buffer), buffer[299]), (300, 7));
        assert_eq!(task.field(Field::Args, &mut buffer[..5]), 5);
        world.document.replace(vec![0xff; 20]);
        assert_eq!(
            Task::<Syscalls>::new().field(Field::Args, &mut buffer),
            0,
            "what is no document has nothing"
        );
    });
}

#[test]
fn a_long_message_goes_out_whole_while_the_task_does_other_things() {
    with(|world, task| {
        let message: Vec<u8> = (0..512).map(|n| (n % 251) as u8).collect();
        assert_eq!(task.message(&[0; 513]), -2);
        assert_eq!(task.message(&message), 0);
        assert_eq!(task.message(b"next"), -3, "one is on its way");
        task.sleep_ms(100);
        assert_eq!(task.message(b"next"), 0);
        let said = world.said.borrow();
        let ends: Vec<_> = said.iter().map(|(call, _)| *call == SlotCall::Message { more: false }).collect();
        assert_eq!(ends.iter().position(|end| *end), Some(10));
        assert_eq!(said[..11].iter().flat_map(|(_, piece)| piece.clone()).collect::<Vec<_>>(), message);
        assert_eq!(&said[11..], &[(SlotCall::Message { more: false }, b"next".to_vec())]);
    });
}

#[test]
fn the_rest_of_a_message_goes_before_the_end_even_without_an_alarm() {
    for deaf in [false, true] {
        with(|world, task| {
            world.deaf.set(deaf);
            world.room.set(100);
            assert_eq!(task.message(&[1; 300]), 0);
            // Whoever has no clock relies on the agent, which runs beside it.
            world.left.set(if deaf { 100 } else { 0 });
            task.flush();
            assert_eq!(world.said.borrow().len(), 7);
        });
    }
}

#[test]
fn a_log_waits_for_room_but_not_for_ever() {
    with(|world, task| {
        assert_eq!((task.log(&[b'x'; 1000]), task.log(&[b'x'; 1025]), task.log(b"")), (0, -2, 0));
        assert_eq!(world.said.borrow().iter().map(|(_, piece)| piece.len()).sum::<usize>(), 1000);
        world.room.set(0);
        world.left.set(0);
        let before = world.ms();
        assert_eq!(task.log(b"x"), -3);
        assert!((1_000..1_100).contains(&(world.ms() - before)));
    });
}

#[test]
fn time_goes_on_over_the_turns_of_the_counter() {
    with(|world, task| {
        let (mut before, mut slept) = (task.time_ms(), 0);
        for ms in [1, 999, 100_000, 429_496, 1_000_000, 3_000_000] {
            task.sleep_ms(ms);
            slept += u64::from(ms);
            let now = task.time_ms();
            assert!(
                now - before >= u64::from(ms) && now - before <= u64::from(ms) + 2,
                "{ms}: {}",
                now - before
            );
            before = now;
        }
        assert!(world.ms() >= slept && world.ms() == before);
    });
}

#[test]
fn who_listens_is_woken_to_stop_and_who_does_not_sleeps_on() {
    with(|world, task| {
        world.coming.borrow_mut().push_back((300, down::STOP, vec![0; 4]));
        task.sleep_ms(1_000);
        assert!(world.ms() >= 1_000);
        assert_eq!(task.stopping(), 0, "its time is over");
    });
    with(|world, task| {
        assert_eq!(task.stopping(), -1);
        world.coming.borrow_mut().push_back((300, down::STOP, vec![0; 4]));
        task.sleep_ms(1_000);
        assert!((300..310).contains(&world.ms()), "{}", world.ms());
        assert!((490..=500).contains(&task.stopping()));
        assert_eq!(task.receive(&mut [0; 8], 60_000), 0);
        assert!(world.ms() < 310);
    });
}

#[test]
fn an_order_to_stop_is_seen_behind_messages_that_wait() {
    with(|world, task| {
        assert_eq!(task.stopping(), -1);
        for ms in [10, 20, 30] {
            world.coming.borrow_mut().push_back((ms, down::MESSAGE, b"hello".to_vec()));
        }
        world.coming.borrow_mut().push_back((2_000, down::STOP, vec![0; 4]));
        task.sleep_ms(10_000);
        assert!((2_000..=2_260).contains(&world.ms()), "{}", world.ms());
        let mut buffer = [0; 16];
        for _ in 0..3 {
            assert_eq!((task.receive(&mut buffer, 0), &buffer[..5]), (5, &b"hello"[..]));
        }
        assert_eq!(task.receive(&mut buffer, 0), 0);
    });
}

#[test]
fn messages_are_put_together_and_cut_to_the_buffer() {
    with(|world, task| {
        let mut buffer = [0; 200];
        assert_eq!(task.receive(&mut buffer, 100), 0);
        assert!((100..110).contains(&world.ms()));
        for (ms, kind, byte) in [
            (200, down::MESSAGE_PART, 1),
            (300, down::MESSAGE_PART, 2),
            (400, down::MESSAGE, 3),
            (400, down::MESSAGE, 4),
        ] {
            world.coming.borrow_mut().push_back((ms, kind, vec![byte; 40]));
        }
        // Half of it is there when the wait ends; it is not lost.
        assert_eq!(task.receive(&mut buffer, 150), 0);
        assert_eq!(task.receive(&mut buffer, 60_000), 120);
        assert_eq!((buffer[0], buffer[40], buffer[80], buffer[120]), (1, 2, 3, 0));
        assert_eq!((task.receive(&mut buffer[..7], 60_000), buffer[6]), (7, 4));
        assert!(world.ms() < 410);
    });
}

#[test]
fn more_than_a_message_may_have_is_cut_and_does_no_harm() {
    with(|world, task| {
        for n in 0..20 {
            let kind = if n < 19 { down::MESSAGE_PART } else { down::MESSAGE };
            world.orders.borrow_mut().push_back((kind, vec![n; 48]));
        }
        world.orders.borrow_mut().push_back((down::MESSAGE, b"next".to_vec()));
        let mut buffer = [0; 600];
        assert_eq!((task.receive(&mut buffer, 0), buffer[511]), (512, 10));
        assert_eq!(task.receive(&mut buffer, 0), 4);
    });
}

#[test]
fn values_are_those_of_the_storage() {
    with(|world, task| {
        let mut out = [0; 4];
        assert_eq!((task.kv_get(b"k", &mut out), task.kv_delete(b"k")), (-5, -5));
        assert_eq!((task.kv_set(b"k", b"value"), task.kv_get(b"k", &mut out), out), (0, 5, *b"valu"));
        assert_eq!((task.kv_set(b"", b"v"), task.kv_set(b"k", &[0; 65])), (-2, -2));
        // Another run of the task finds them.
        let mut again = Task::<Syscalls>::new();
        assert_eq!(again.kv_get(b"k", &mut out), 5);
        world.broken.set(true);
        assert_eq!((again.kv_set(b"k", b"other"), again.kv_get(b"k", &mut out), out), (-1, 5, *b"valu"));
        world.broken.set(false);
        assert_eq!((again.kv_delete(b"k"), again.kv_get(b"k", &mut out)), (0, -5));
        assert_eq!(Task::<Syscalls>::new().kv_get(b"k", &mut out), -5);
    });
}

#[test]
fn devices_answer_or_are_not_there() {
    with(|_, task| {
        assert_eq!((task.sensor(0), task.sensor(1), task.sensor(1 << 24)), (Ok(-21_500), Err(-4), Err(-4)));
        assert_eq!((task.led(0, true), task.led(1, true), task.led(1 << 24, true)), (0, -4, -4));
    });
}

#[test]
fn what_is_not_granted_does_nothing() {
    with(|world, task| {
        world.capabilities.set(0);
        assert_eq!((task.log(b"x"), task.message(b"x"), task.receive(&mut [0; 8], 1_000)), (-1, -1, -1));
        assert_eq!((task.sensor(0), task.led(0, true)), (Err(-1), -1));
        assert_eq!((task.kv_get(b"k", &mut []), task.kv_set(b"k", b"v"), task.kv_delete(b"k")), (-1, -1, -1));
        task.sleep_ms(10_000);
        assert_eq!((task.time_ms(), world.ms()), (0, 0));
        assert!(world.said.borrow().is_empty());
    });
}

#[test]
fn without_an_alarm_nothing_waits() {
    with(|world, task| {
        world.deaf.set(true);
        task.sleep_ms(10_000);
        assert_eq!((task.receive(&mut [0; 8], 10_000), task.time_ms()), (0, 0));
        world.left.set(0);
        assert_eq!(task.log(b"x"), -3);
    });
}
