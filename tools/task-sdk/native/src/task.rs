//! The task as its process sees it: each function of host interface version 1, on the capsule's calls.

use crate::clock::{Clock, Ear};
use crate::driver;
use crate::outgoing::{MESSAGE_MAX, Outgoing};
use crate::values::{Refusal, Values};
use core::marker::PhantomData;
use grants::Capabilities;
use grants::syscall::{PIECE_MAX, Part, SlotCall, TaskRecord, down};
use libtock_platform::{ErrorCode, Syscalls};
use node_proto::Document;
use node_proto::limits::DOCUMENT_MAX;

/// The grant does not name what the function needs. A module would have been refused before it started.
const NOT_GRANTED: i32 = -1;
const INVALID: i32 = -2;
const FULL: i32 = -3;
const NO_DEVICE: i32 = -4;
const NO_KEY: i32 = -5;

/// Bytes of log in one call; `agent_wasm::abi` has the same.
const LOG_MAX: usize = 1024;
/// How long [`Task::log`] waits for room, and [`Task::flush`] for the rest of a message to go, milliseconds.
const PATIENCE_MS: u32 = 1_000;
/// How often it is looked for room, milliseconds.
const LOOK_MS: u32 = 10;
/// How often it is looked for the order to stop where there may be no news of it, milliseconds.
const ORDERS_MS: u32 = 250;
/// Attempts to get rid of the rest of a message without a clock.
const ATTEMPTS: u32 = 10_000;

/// What is between the interface and the capsule.
pub struct Task<S> {
    clock: Clock,
    outgoing: Outgoing,
    /// The message that is coming in, as far as it came, and whether that is all of it.
    incoming: [u8; MESSAGE_MAX],
    incoming_len: usize,
    incoming_whole: bool,
    /// It has asked for a message or whether it is to stop. A task that does not is ended without warning, as the capsule
    /// knows by whether orders are taken.
    listens: bool,
    document: [u8; DOCUMENT_MAX],
    document_len: Option<usize>,
    values: Values,
    values_loaded: bool,
    _calls: PhantomData<fn() -> S>,
}

/// Which of the byte strings of the document.
#[derive(Clone, Copy)]
pub enum Field {
    Args,
    Env,
    Data,
}

/// The interface's code of an error of the capsule's.
fn code(error: ErrorCode) -> i32 {
    match error {
        ErrorCode::Busy | ErrorCode::NoMem => FULL,
        ErrorCode::NoDevice => NO_DEVICE,
        ErrorCode::Invalid | ErrorCode::Size | ErrorCode::Reserve => INVALID,
        _ => NOT_GRANTED,
    }
}

/// Copies what fits, and tells how long all of it is.
fn copied(from: &[u8], to: &mut [u8]) -> i32 {
    for (room, byte) in to.iter_mut().zip(from) {
        *room = *byte;
    }
    from.len() as i32
}

impl<S: Syscalls> Task<S> {
    pub const fn new() -> Self {
        Self {
            clock: Clock::new(),
            outgoing: Outgoing::new(),
            incoming: [0; MESSAGE_MAX],
            incoming_len: 0,
            incoming_whole: false,
            listens: false,
            document: [0; DOCUMENT_MAX],
            document_len: None,
            values: Values::new(),
            values_loaded: false,
            _calls: PhantomData,
        }
    }

    fn now_ms(&mut self) -> u64 {
        self.clock.ms::<S>()
    }

    pub fn time_ms(&mut self) -> u64 {
        if self.granted(Capabilities::TIME) { self.now_ms() } else { 0 }
    }

    fn record(&self) -> Option<TaskRecord> {
        let mut bytes = [0; TaskRecord::LEN];
        driver::take::<S>(SlotCall::Grant, &mut bytes).ok()?;
        TaskRecord::from_bytes(&bytes)
    }

    /// The kernel has the alarm for whoever may sleep or tell the time; which of them, is seen here.
    fn granted(&self, capability: u16) -> bool {
        self.record().is_some_and(|record| Capabilities(record.capabilities).has(capability))
    }

    fn left_ms(&self) -> Option<u32> {
        self.record().map(|record| record.stop_ms).filter(|left| *left != u32::MAX)
    }

    pub fn stopping(&mut self) -> i32 {
        self.listens = true;
        self.go_on();
        self.hear();
        self.left_ms().map_or(-1, |left| i32::try_from(left).unwrap_or(i32::MAX))
    }

    /// Asks `poll` now and at all news until it has something, at most for so many milliseconds and at once where there
    /// is no alarm. What is left of a message is sent meanwhile.
    fn wait_for<T>(&mut self, ms: u32, mut poll: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        // The clock cuts fractions off: one more makes it at least as long.
        let end = self.now_ms() + u64::from(ms) + u64::from(ms > 0);
        Ear::listen::<S, _>(|ear| {
            loop {
                self.go_on();
                if let Some(found) = poll(self) {
                    return Some(found);
                }
                let left = u32::try_from(end.saturating_sub(self.now_ms())).unwrap_or(u32::MAX);
                // There is no second news while something is left to take, and one message is all that is kept here.
                let step = match self.incoming_whole {
                    _ if !self.outgoing.is_empty() => left.min(LOOK_MS),
                    true => left.min(ORDERS_MS),
                    false => left,
                };
                if left == 0 || !ear.wait::<S>(step) {
                    return None;
                }
            }
        })
    }

    pub fn sleep_ms(&mut self, ms: u32) {
        if self.granted(Capabilities::SLEEP) {
            self.wait_for(ms, |task| {
                task.hear();
                task.left_ms().filter(|_| task.listens)
            });
        }
    }

    fn send(piece: &[u8], more: bool) -> Result<(), ErrorCode> {
        driver::give::<S>(SlotCall::Message { more }, piece).map(drop)
    }

    fn go_on(&mut self) {
        self.outgoing.go_on(&mut Self::send);
    }

    /// Waits for the rest of a message to go, but not for long.
    pub fn flush(&mut self) {
        self.wait_for(PATIENCE_MS, |task| task.outgoing.is_empty().then_some(()));
        // Without an alarm nothing was waited for: the agent runs between two calls, if it has to.
        for _ in 0..ATTEMPTS {
            if self.outgoing.is_empty() {
                return;
            }
            self.go_on();
        }
    }

    pub fn message(&mut self, bytes: &[u8]) -> i32 {
        if bytes.len() > MESSAGE_MAX {
            return INVALID;
        }
        self.go_on();
        if !self.outgoing.is_empty() {
            return FULL;
        }
        self.outgoing.begin(bytes, &mut Self::send).map_or_else(code, |()| 0)
    }

    pub fn log(&mut self, bytes: &[u8]) -> i32 {
        if bytes.len() > LOG_MAX {
            return INVALID;
        }
        self.go_on();
        let mut rest = bytes.chunks(PIECE_MAX);
        let mut piece = rest.next();
        // None while the ring is full.
        let mut go_on = || {
            while let Some(bytes) = piece {
                match driver::give::<S>(SlotCall::Log, bytes) {
                    Ok(_) => piece = rest.next(),
                    Err(ErrorCode::Busy) => return None,
                    Err(error) => return Some(code(error)),
                }
            }
            Some(0)
        };
        if let Some(done) = go_on() {
            return done;
        }
        let until = self.now_ms() + u64::from(PATIENCE_MS);
        while self.now_ms() < until && Ear::listen::<S, _>(|ear| ear.wait::<S>(LOOK_MS)) {
            if let Some(done) = go_on() {
                return done;
            }
        }
        FULL
    }

    /// Takes orders until there are none, or a message is whole.
    fn hear(&mut self) {
        let mut piece = [0; PIECE_MAX];
        while self.listens && !self.incoming_whole {
            let Ok((kind @ 1.., len)) = driver::take::<S>(SlotCall::Take, &mut piece) else { return };
            if kind != down::MESSAGE && kind != down::MESSAGE_PART {
                // That it is to stop, its record says too.
                continue;
            }
            let piece = piece.get(..len as usize).unwrap_or(&piece);
            let room = self.incoming.get_mut(self.incoming_len..).unwrap_or_default();
            self.incoming_len += (copied(piece, room) as usize).min(room.len());
            self.incoming_whole = kind == down::MESSAGE;
        }
    }

    pub fn receive(&mut self, buffer: &mut [u8], wait_ms: u32) -> i32 {
        if !self.granted(Capabilities::MESSAGE) {
            return NOT_GRANTED;
        }
        self.listens = true;
        self.wait_for(wait_ms, |task| {
            task.hear();
            (task.incoming_whole || task.left_ms().is_some()).then_some(())
        });
        if !core::mem::take(&mut self.incoming_whole) {
            return 0;
        }
        let len = core::mem::take(&mut self.incoming_len);
        let message = self.incoming.get(..len).unwrap_or_default();
        // What does not fit is cut, and what was copied is what is told.
        copied(message, buffer).min(buffer.len() as i32)
    }

    pub fn sensor(&mut self, index: u32) -> Result<i32, i32> {
        // Beyond this the index would run into the slot's place in the argument.
        if index > 0xff_ffff {
            return Err(NO_DEVICE);
        }
        driver::call::<S>(SlotCall::Sensor { index }).map(|(value, _)| value as i32).map_err(code)
    }

    pub fn led(&mut self, index: u32, on: bool) -> i32 {
        if index > 0xff_ffff {
            return NO_DEVICE;
        }
        driver::call::<S>(SlotCall::Led { index, on }).map_or_else(code, |_| 0)
    }

    /// Copies a string of the document as far as it fits, and tells how much did; 0 if there is no document.
    pub fn field(&mut self, field: Field, buffer: &mut [u8]) -> i32 {
        if self.document_len.is_none() {
            let len = self.record().map_or(0, |record| record.document_len as usize).min(DOCUMENT_MAX);
            let mut have = 0;
            while let Some(rest) = self.document.get_mut(have..len).filter(|rest| !rest.is_empty()) {
                let what = SlotCall::Read { part: Part::Document, offset: have as u32 };
                match driver::read::<S>(what, rest) {
                    Ok(more @ 1..) => have += more,
                    _ => break,
                }
            }
            self.document_len = Some(have);
        }
        let bytes = self.document.get(..self.document_len.unwrap_or(0)).unwrap_or_default();
        let document = postcard::from_bytes::<Document<'_>>(bytes).unwrap_or_default();
        let bytes = match field {
            Field::Args => document.args,
            Field::Env => document.env,
            Field::Data => document.data,
        };
        copied(bytes, buffer).min(buffer.len() as i32)
    }

    fn kept(&mut self) -> Result<&mut Values, i32> {
        if !self.values_loaded {
            let what = SlotCall::Read { part: Part::Values, offset: 0 };
            self.values.load(|buffer| driver::read::<S>(what, buffer)).map_err(code)?;
            self.values_loaded = true;
        }
        Ok(&mut self.values)
    }

    /// Writes the values; if that fails, what is in storage is what is kept.
    fn keep(&mut self) -> i32 {
        let written = driver::write::<S>(SlotCall::Write { offset: 0 }, self.values.stored());
        written.map_or_else(
            |error| {
                self.values_loaded = false;
                code(error)
            },
            |_| 0,
        )
    }

    pub fn kv_get(&mut self, key: &[u8], out: &mut [u8]) -> i32 {
        match self.kept() {
            Ok(values) => values.get(key).map_or(NO_KEY, |value| copied(value, out)),
            Err(code) => code,
        }
    }

    pub fn kv_set(&mut self, key: &[u8], value: &[u8]) -> i32 {
        match self.kept().map(|values| values.set(key, value)) {
            Ok(Ok(())) => self.keep(),
            Ok(Err(Refusal::Invalid)) => INVALID,
            Ok(Err(Refusal::Full)) => FULL,
            Err(code) => code,
        }
    }

    pub fn kv_delete(&mut self, key: &[u8]) -> i32 {
        match self.kept().map(|values| values.delete(key)) {
            Ok(true) => self.keep(),
            Ok(false) => NO_KEY,
            Err(code) => code,
        }
    }
}
