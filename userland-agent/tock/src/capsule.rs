//! The agent's side of the executor capsule: calls, their buffers, and the wait for those that are done later.
//!
//! A call never waits for ever: what the kernel does not finish in time is given up, and what it says of it later is not
//! taken for an answer to something else.

use crate::clock::Clock;
use crate::share;
use alloc::boxed::Box;
use core::cell::Cell;
use grants::syscall::{self, AgentCall, NodeRecord};
use libtock_platform::subscribe::OneId;
use libtock_platform::{
    AllowRo, AllowRw, CommandReturn, DefaultConfig, ErrorCode, Syscalls, Upcall, share as scoped,
};

/// [`syscall::DRIVER`] as libtock wants it.
pub const DRIVER: u32 = syscall::DRIVER as u32;
const BUFFER: u32 = syscall::BUFFER as u32;
const DONE: u32 = syscall::UPCALL_DONE as u32;
const NEWS: u32 = syscall::UPCALL_NEWS as u32;

/// Bytes that one call moves at most; longer things go in pieces.
pub const CHUNK: usize = 256;
/// How long storage may take, milliseconds: a flash page is erased and written in a tenth of that.
const STORAGE_MS: u64 = 3_000;
/// How long the check of an image may take, milliseconds: SHA-256 over it all, and a signature.
const VERIFY_MS: u64 = 30_000;
/// Pause before a call is tried again because another is under way, milliseconds.
const BUSY_MS: u64 = 5;

/// Why a call was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The kernel said so, and with what figure.
    Refused(ErrorCode, u32),
    /// It did not say that it is done.
    Late,
}

impl CallError {
    /// The kernel's code, if it gave one.
    pub fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Refused(code, _) => Some(code),
            Self::Late => None,
        }
    }
}

/// What the upcalls left.
#[derive(Default)]
struct Said {
    /// Error code, bytes moved, and the command.
    done: Cell<Option<(u32, u32, u32)>>,
    /// Slots with something to take.
    news: Cell<u32>,
}

impl Upcall<OneId<DRIVER, DONE>> for Said {
    fn upcall(&self, error: u32, moved: u32, command: u32) {
        self.done.set(Some((error, moved, command)));
    }
}

impl Upcall<OneId<DRIVER, NEWS>> for Said {
    fn upcall(&self, slots: u32, _: u32, _: u32) {
        self.news.set(self.news.get() | slots);
    }
}

/// The capsule, as the agent sees it.
pub struct Capsule<S: Syscalls + 'static> {
    said: &'static Said,
    clock: &'static Clock<S>,
}

impl<S: Syscalls + 'static> Clone for Capsule<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Syscalls + 'static> Copy for Capsule<S> {}

impl<S: Syscalls + 'static> Capsule<S> {
    /// Opens it. An error says that this app is not the node's agent.
    pub fn open(clock: &'static Clock<S>) -> Result<Self, ErrorCode> {
        S::command(DRIVER, 0, 0, 0).to_result::<(), ErrorCode>()?;
        let said: &'static Said = Box::leak(Box::default());
        share::subscribe::<S, _, DRIVER, DONE>(said)?;
        share::subscribe::<S, _, DRIVER, NEWS>(said)?;
        Ok(Self { said, clock })
    }

    /// Slots that have said something since this was last asked, a bit for each.
    pub fn take_news(&self) -> u32 {
        self.said.news.replace(0)
    }

    /// True if slots have said something since.
    pub fn has_news(&self) -> bool {
        self.said.news.get() != 0
    }

    /// What the node has.
    pub fn capacity(&self) -> Result<NodeRecord, CallError> {
        let mut out = [0; NodeRecord::LEN];
        self.ask(AgentCall::Capacity, &[], &mut out)?;
        NodeRecord::from_bytes(&out).ok_or(CallError::Refused(ErrorCode::Size, 0))
    }

    /// Makes a call that is answered at once, with the figures of the answer: two, or fewer and zeros.
    pub fn ask(&self, call: AgentCall, input: &[u8], out: &mut [u8]) -> Result<(u32, u32), CallError> {
        scoped::scope::<(AllowRo<'_, S, DRIVER, BUFFER>, AllowRw<'_, S, DRIVER, BUFFER>), _, _>(|handle| {
            let (read_only, read_write) = handle.split();
            allowed(S::allow_ro::<DefaultConfig, DRIVER, BUFFER>(read_only, input))?;
            allowed(S::allow_rw::<DefaultConfig, DRIVER, BUFFER>(read_write, out))?;
            figures(command::<S>(call))
        })
    }

    /// Makes a call that is done later, and waits for that. Gives the bytes moved.
    pub fn work(&self, call: AgentCall, input: &[u8], out: &mut [u8]) -> Result<usize, CallError> {
        let most_ms = match call {
            AgentCall::Verify { .. } | AgentCall::Signature => VERIFY_MS,
            _ => STORAGE_MS,
        };
        let number = call.encode().0 as u32;
        // Of a call that was given up: it must not be taken for the answer to this one.
        self.clock.take_upcalls();
        scoped::scope::<(AllowRo<'_, S, DRIVER, BUFFER>, AllowRw<'_, S, DRIVER, BUFFER>), _, _>(|handle| {
            let (read_only, read_write) = handle.split();
            allowed(S::allow_ro::<DefaultConfig, DRIVER, BUFFER>(read_only, input))?;
            allowed(S::allow_rw::<DefaultConfig, DRIVER, BUFFER>(read_write, out))?;
            let give_up_ms = self.clock.now_ms() + most_ms;
            loop {
                self.said.done.set(None);
                match figures(command::<S>(call)) {
                    Ok(_) => break,
                    Err(CallError::Refused(ErrorCode::Busy, _)) if self.clock.now_ms() < give_up_ms => {
                        self.clock.wait(BUSY_MS, || false);
                    }
                    Err(error) => return Err(error),
                }
            }
            let done = || self.said.done.get().filter(|(_, _, command)| *command == number);
            self.clock.wait(most_ms, || done().is_some());
            match done() {
                None => Err(CallError::Late),
                Some((0, moved, _)) => Ok(moved as usize),
                Some((error, moved, _)) => {
                    Err(CallError::Refused(error.try_into().unwrap_or(ErrorCode::Fail), moved))
                }
            }
        })
    }

    /// Writes all of `bytes` by calls that each say how much they moved.
    pub fn write_all(&self, bytes: &[u8], call: impl Fn(u32) -> AgentCall) -> Result<(), CallError> {
        let mut at = 0;
        while at < bytes.len() {
            let piece = &bytes[at..bytes.len().min(at + CHUNK)];
            let moved = self.work(call(at as u32), piece, &mut [])?.min(piece.len());
            if moved == 0 {
                return Err(CallError::Refused(ErrorCode::Size, 0));
            }
            at += moved;
        }
        Ok(())
    }

    /// Fills all of `bytes`.
    pub fn read_all(&self, bytes: &mut [u8], call: impl Fn(u32) -> AgentCall) -> Result<(), CallError> {
        let (mut at, len) = (0, bytes.len());
        while at < len {
            let piece = &mut bytes[at..len.min(at + CHUNK)];
            let wanted = piece.len();
            let moved = self.work(call(at as u32), &[], piece)?.min(wanted);
            if moved == 0 {
                return Err(CallError::Refused(ErrorCode::Size, 0));
            }
            at += moved;
        }
        Ok(())
    }
}

fn command<S: Syscalls>(call: AgentCall) -> CommandReturn {
    let (number, first, second) = call.encode();
    S::command(DRIVER, number as u32, first as u32, second as u32)
}

fn allowed(result: Result<(), ErrorCode>) -> Result<(), CallError> {
    result.map_err(|error| CallError::Refused(error, 0))
}

/// The figures of an answer, whatever form it has.
fn figures(answer: CommandReturn) -> Result<(u32, u32), CallError> {
    if let Some(code) = answer.get_failure() {
        return Err(CallError::Refused(code, 0));
    }
    if let Some((code, figure)) = answer.get_failure_u32() {
        return Err(CallError::Refused(code, figure));
    }
    if let Some(both) = answer.get_success_2_u32() {
        return Ok(both);
    }
    match answer.get_success_u32() {
        Some(figure) => Ok((figure, 0)),
        None if answer.is_success() => Ok((0, 0)),
        None => Err(CallError::Refused(ErrorCode::BadRVal, 0)),
    }
}
