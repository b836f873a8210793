//! What one slot has to say, and keeps until the kernel has room for it.
//!
//! A slot is asked for its next event only when the last one was said: what waits behind it waits in the executor, whose
//! queues are bounded and which tells the module that they are full.

use crate::kernel::Kernel;
use agent_wasm::{Event, Executor, StartError};
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use grants::syscall::{End, HostCall, PIECE_MAX, SlotCall, UsageRecord};
use libtock_platform::{ErrorCode, Syscalls};

/// Records that one slot may say in a turn: then it is the next one's.
const RECORDS_PER_TURN: usize = 16;
/// Pause before a slot tries again what the kernel had no room for, milliseconds.
const AGAIN_MS: u64 = 20;

enum Say {
    Log(Vec<u8>),
    Message { bytes: Vec<u8>, said: usize },
    Health(bool),
    Status(i32),
    Note(String),
    Ended(End),
}

/// The mouth of one slot.
#[derive(Default)]
pub(crate) struct Mouth {
    /// One event, which is two things to say at most.
    waiting: VecDeque<Say>,
    again_ms: Option<u64>,
}

/// What a turn of a mouth comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// All there was.
    All,
    /// There is more at a time.
    More(u64),
    /// The end: nothing follows.
    End,
}

impl Mouth {
    /// Has the end of a task to say that could not be started.
    pub fn refuse(&mut self, end: End, note: String) {
        self.waiting.extend([Say::Note(note), Say::Ended(end)]);
    }

    /// Says what there is room for.
    pub fn speak<S: Syscalls>(
        &mut self,
        kernel: &Kernel<'_, S>,
        executor: &mut Executor,
        slot: u8,
        used: &UsageRecord,
        now_ms: u64,
    ) -> Said {
        if let Some(again_ms) = self.again_ms.filter(|at| *at > now_ms) {
            return Said::More(again_ms);
        }
        self.again_ms = None;
        for _ in 0..RECORDS_PER_TURN {
            if self.waiting.is_empty() {
                match executor.next_event(slot.into()) {
                    Some(event) => self.heard(event),
                    None => return Said::All,
                }
            }
            let Some(say) = self.waiting.front_mut() else { return Said::All };
            if matches!(say, Say::Ended(_)) {
                // The last word on what it used; the end is worth more than this.
                let _ = kernel.say(HostCall::Used.encode(slot), &used.to_bytes());
            }
            match say.say(kernel, slot) {
                Err(ErrorCode::Busy | ErrorCode::NoMem) => {
                    self.again_ms = Some(now_ms + AGAIN_MS);
                    return Said::More(now_ms + AGAIN_MS);
                }
                Ok(false) => {}
                // What the kernel will never take is as good as said.
                Ok(true) | Err(_) => {
                    if let Some(Say::Ended(_)) = self.waiting.pop_front() {
                        return Said::End;
                    }
                }
            }
        }
        Said::More(now_ms)
    }

    fn heard(&mut self, event: Event) {
        let (note, end) = match event {
            Event::Log(bytes) => return self.waiting.push_back(Say::Log(bytes)),
            Event::Message(bytes) => return self.waiting.push_back(Say::Message { bytes, said: 0 }),
            Event::Health(well) => return self.waiting.push_back(Say::Health(well)),
            Event::Checked(code) => return self.waiting.push_back(Say::Status(code)),
            Event::Exited(code) => (None, End::Exited(code)),
            Event::Killed => (None, End::Killed),
            Event::Unhealthy => (None, End::Unhealthy),
            Event::Trapped(how) => (Some(how.to_string()), End::Fault),
            Event::OverMemory { asked, granted } => {
                let note = alloc::format!("asked {asked} B, granted {granted}");
                (Some(note), End::OverMemory { asked: asked.try_into().unwrap_or(u32::MAX) })
            }
        };
        self.waiting.extend(note.map(Say::Note));
        self.waiting.push_back(Say::Ended(end));
    }
}

impl Say {
    /// True if all of it is said.
    fn say<S: Syscalls>(&mut self, kernel: &Kernel<'_, S>, slot: u8) -> Result<bool, ErrorCode> {
        match self {
            Self::Log(bytes) => {
                let piece = bytes.len().min(PIECE_MAX);
                kernel.say(SlotCall::Log.encode(slot), &bytes[..piece])?;
                bytes.drain(..piece);
                Ok(bytes.is_empty())
            }
            Self::Message { bytes, said } => {
                let rest = bytes.get(*said..).unwrap_or_default();
                let piece = rest.len().min(PIECE_MAX);
                let more = rest.len() > piece;
                kernel.say(SlotCall::Message { more }.encode(slot), &rest[..piece])?;
                *said += piece;
                Ok(!more)
            }
            Self::Health(well) => kernel.tell(slot, HostCall::Health { well: *well }).map(|()| true),
            Self::Status(code) => kernel.ask(slot, SlotCall::Status { code: *code }).map(|_| true),
            Self::Note(text) => {
                let len = text.floor_char_boundary(PIECE_MAX);
                kernel.say(HostCall::Note.encode(slot), &text.as_bytes()[..len]).map(|_| true)
            }
            Self::Ended(end) => kernel.tell(slot, HostCall::Ended(*end)).map(|()| true),
        }
    }
}

/// How the kernel is told that a task could not be started.
pub(crate) fn refusal(error: &StartError) -> End {
    match error {
        StartError::Invalid { .. }
        | StartError::Limit { .. }
        | StartError::NoEntry(_)
        | StartError::WrongEntry(_) => End::BadImage,
        StartError::UnknownImport(_) | StartError::WrongImport(_) | StartError::NotGranted(_) => {
            End::NotGranted
        }
        StartError::Memory { asked, .. } => {
            End::OverMemory { asked: (*asked).try_into().unwrap_or(u32::MAX) }
        }
        StartError::NoRoom { needs } => End::OverMemory { asked: (*needs).try_into().unwrap_or(u32::MAX) },
        StartError::NoSlot => End::Fault,
    }
}
