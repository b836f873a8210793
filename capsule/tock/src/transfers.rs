//! Calls that take longer, between processes and the storage: the core says what is moved, this moves it.
//!
//! A storage that is memory calls back as soon as the kernel looks, and the kernel looks before it runs a process. So that
//! an image does not keep processes waiting, the work pauses after each [`TURN_BYTES`] until the scheduler has run one.

use crate::capsule::{Capsule, ProcessGrant};
use crate::work::{Buffers, Step};
use grants::syscall::{BUFFER, UPCALL_DONE};
use kernel::ErrorCode;
use kernel::deferred_call::DeferredCallClient;
use kernel::hil::nonvolatile_storage::NonvolatileStorageClient;
use kernel::process::ProcessId;
use kernel::processbuffer::{ReadableProcessBuffer, WriteableProcessBuffer};

/// Bytes that are moved between two turns of processes.
const TURN_BYTES: usize = 4096;

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize>
    Capsule<SLOTS, NATIVES, UP, DOWN>
{
    /// Goes on with the call that takes longer, or with the next one in line.
    fn go_on(&self, buffer: Option<&'static mut [u8]>, moved: Result<(), ErrorCode>) {
        let serving = self.core.map(|core| {
            let fresh = core.serve();
            core.serving().filter(|_| fresh.is_some() || moved.is_err() || self.asked.get() > 0)
        });
        self.asked.set(0);
        let Some((caller, command)) = serving.flatten() else {
            if let Some(buffer) = buffer {
                self.buffer.replace(buffer);
            }
            return;
        };
        // A storage that refused a transfer has kept the buffer: nothing can be moved any more, but nobody waits for ever.
        let (mut none, mut held) = ([0; 0], buffer);
        let moved = if held.is_some() { moved } else { Err(ErrorCode::FAIL) };
        let scratch = held.as_deref_mut().unwrap_or(&mut none);
        let means = (self.board, self.signatures);
        let step = self.core.map(|core| core.go_on(means, &self.buffers(caller), scratch, moved));
        let (len, asked) = match (step, held) {
            (Some(Step::Read { at, len }), Some(buffer)) => {
                self.asked.set(len);
                (len, self.storage.read(buffer, at as usize, len))
            }
            (Some(Step::Write { at, len }), Some(buffer)) => {
                self.asked.set(len);
                (len, self.storage.write(buffer, at as usize, len))
            }
            (step, buffer) => {
                let result = if let Some(Step::Done(result)) = step { result } else { Err(ErrorCode::FAIL) };
                if let Some(buffer) = buffer {
                    self.buffer.replace(buffer);
                }
                self.core.map(|core| core.served());
                let (code, moved) = result.map_or_else(|code| (code.into(), 0), |moved| (0, moved as usize));
                self.upcall(caller, UPCALL_DONE, (code, moved, command));
                self.news();
                self.deferred.set();
                return;
            }
        };
        if asked.is_err() && len > 0 {
            self.go_on(None, Err(ErrorCode::FAIL));
        }
    }

    fn transferred(&self, buffer: &'static mut [u8], len: usize) {
        let result = if len >= self.asked.get() { Ok(()) } else { Err(ErrorCode::FAIL) };
        let moved = self.moved.get() + self.asked.get();
        self.moved.set(moved);
        if self.asked.get() > 0 && moved >= TURN_BYTES {
            self.buffer.replace(buffer);
            self.paused.set(Some(result));
        } else {
            self.go_on(Some(buffer), result);
        }
    }

    /// Processes have had their turn.
    pub(crate) fn resume(&self) {
        self.moved.set(0);
        if let Some(result) = self.paused.take() {
            self.go_on(self.buffer.take(), result);
        }
    }
}

/// The buffers of a process.
pub(crate) struct Caller<'a> {
    pub(crate) grant: &'a ProcessGrant,
    pub(crate) caller: ProcessId,
}

impl Buffers for Caller<'_> {
    fn input(&self) -> usize {
        let len = self.grant.enter(self.caller, |_, kernel| {
            kernel.get_readonly_processbuffer(BUFFER).map_or(0, |buffer| buffer.len())
        });
        len.unwrap_or(0)
    }

    fn output(&self) -> usize {
        let len = self.grant.enter(self.caller, |_, kernel| {
            kernel.get_readwrite_processbuffer(BUFFER).map_or(0, |buffer| buffer.len())
        });
        len.unwrap_or(0)
    }

    fn copy_in(&self, from: usize, into: &mut [u8]) -> bool {
        let Some(end) = from.checked_add(into.len()) else { return false };
        let copied = self.grant.enter(self.caller, |_, kernel| {
            let buffer = kernel.get_readonly_processbuffer(BUFFER)?;
            buffer.enter(|bytes| {
                bytes.get(from..end).is_some_and(|bytes| bytes.copy_to_slice_or_err(into).is_ok())
            })
        });
        matches!(copied, Ok(Ok(true)))
    }

    fn copy_out(&self, from: usize, bytes: &[u8]) -> bool {
        let Some(end) = from.checked_add(bytes.len()) else { return false };
        let copied = self.grant.enter(self.caller, |_, kernel| {
            let buffer = kernel.get_readwrite_processbuffer(BUFFER)?;
            buffer.mut_enter(|room| {
                room.get(from..end).is_some_and(|room| room.copy_from_slice_or_err(bytes).is_ok())
            })
        });
        matches!(copied, Ok(Ok(true)))
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> NonvolatileStorageClient
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn read_done(&self, buffer: &'static mut [u8], length: usize) {
        self.transferred(buffer, length);
    }

    fn write_done(&self, buffer: &'static mut [u8], length: usize) {
        self.transferred(buffer, length);
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> DeferredCallClient
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn handle_deferred_call(&self) {
        if self.asked.get() == 0 {
            self.go_on(self.buffer.take(), Ok(()));
        }
    }

    fn register(&'static self) {
        self.deferred.register(self);
    }
}
