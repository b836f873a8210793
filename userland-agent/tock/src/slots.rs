//! The kernel's slots as the agent's tasks: which task is where, and what it said.

use crate::capsule::{CallError, Capsule};
use agent_core::{Event, Start, StartError, TaskUsage};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use grants::syscall::{
    AgentCall, End, EndRecord, GrantRecord, NodeRecord, PIECE_MAX, Part, UsageRecord, VerifyRecord, up,
};
use libtock_platform::{ErrorCode, Syscalls};
use node_proto::limits::{DOCUMENT_MAX, MANIFEST_MAX, MESSAGE_LONG_MAX, STATUS_NOTE_MAX, TASKS_MAX};
use node_proto::{Failure, Kind, TaskHandle};

/// Messages of a framework that wait for one task to take them.
const DELIVERIES_MAX: usize = 2;
/// Slots that a node may have: the bits of [`NodeRecord::hosted`].
const SLOTS_MAX: u8 = 16;

/// A task in a slot.
struct Running {
    task: TaskHandle,
    slot: u8,
    granted_mem: u32,
    /// What has come of a message.
    message: Vec<u8>,
    /// It was longer than a message may be: what is left of it is thrown away too.
    too_long: bool,
    /// What was said of the end that follows.
    note: heapless::Vec<u8, STATUS_NOTE_MAX>,
    /// Messages on their way to it, and how much of the first it has.
    deliveries: VecDeque<Vec<u8>>,
    delivered: usize,
}

/// The slots.
pub struct Slots<S: Syscalls + 'static> {
    capsule: Capsule<S>,
    node: NodeRecord,
    /// At most [`TASKS_MAX`].
    running: Vec<Running>,
    /// Slots that ended and could not be given back yet, a bit for each.
    unreleased: u16,
}

impl<S: Syscalls + 'static> Slots<S> {
    /// All slots, empty. What an agent before this one started is ended: nobody knows which task it was.
    pub fn open(capsule: Capsule<S>, node: NodeRecord) -> Self {
        let mut slots = Self { capsule, node, running: Vec::new(), unreleased: 0 };
        for slot in 0..slots.count() {
            // Both are refused for a slot that holds nothing.
            let _ = slots.order(AgentCall::Kill { slot });
            slots.release(slot);
        }
        slots
    }

    /// How many there are.
    pub fn count(&self) -> u8 {
        self.node.slots.min(SLOTS_MAX)
    }

    fn order(&self, call: AgentCall) -> Result<(u32, u32), CallError> {
        self.capsule.ask(call, &[], &mut [])
    }

    /// Gives a slot back; one whose task has not ended yet is tried again by [`tend`](Self::tend).
    fn release(&mut self, slot: u8) {
        let bit = 1 << slot;
        match self.order(AgentCall::Release { slot }) {
            Err(CallError::Refused(ErrorCode::Busy | ErrorCode::Off, _)) => self.unreleased |= bit,
            // Also where it held nothing, which the kernel calls `ALREADY`.
            _ => self.unreleased &= !bit,
        }
    }

    /// Does what waits: slots to give back, pieces of messages to tasks. True if more waits.
    pub fn tend(&mut self) -> bool {
        for slot in (0..self.count()).filter(|slot| self.unreleased >> slot & 1 == 1).collect::<Vec<_>>() {
            while let Ok((kind @ 1.., _)) =
                self.capsule.ask(AgentCall::Take { slot }, &[], &mut [0; PIECE_MAX])
            {
                if kind == up::ENDED {
                    break;
                }
            }
            self.release(slot);
        }
        for at in 0..self.running.len() {
            self.push_deliveries(at);
        }
        self.unreleased != 0 || self.running.iter().any(|running| !running.deliveries.is_empty())
    }

    /// Starts a task whose image is in `area`.
    pub fn start(&mut self, start: &Start<'_>, area: u8) -> Result<(), StartError> {
        if self.running.len() >= TASKS_MAX {
            return Err(fail(Failure::Resources, "no slot left"));
        }
        let hosted = start.kind == Kind::Wasm;
        let mut refused = fail(Failure::Resources, "no slot of this kind left");
        for slot in 0..self.count() {
            let is_hosted = self.node.hosted >> slot & 1 == 1;
            let is_taken = self.running.iter().any(|running| running.slot == slot);
            if is_hosted != hosted || is_taken || self.unreleased >> slot & 1 == 1 {
                continue;
            }
            match self.start_in(slot, start, area) {
                Ok(()) => {
                    let running = Running {
                        task: start.task,
                        slot,
                        granted_mem: start.grant.mem_bytes,
                        message: Vec::new(),
                        too_long: false,
                        note: heapless::Vec::new(),
                        deliveries: VecDeque::new(),
                        delivered: 0,
                    };
                    self.running.push(running);
                    return Ok(());
                }
                Err(Misfit::Slot(error)) => refused = error,
                Err(Misfit::Task(error)) => {
                    self.release(slot);
                    return Err(error);
                }
            }
            self.release(slot);
        }
        Err(refused)
    }

    /// Never inlined: its buffers would be on the stack of the agent's whole step.
    #[inline(never)]
    fn start_in(&self, slot: u8, start: &Start<'_>, area: u8) -> Result<(), Misfit> {
        let grant = GrantRecord::of(&start.grant).to_bytes();
        self.capsule.ask(AgentCall::Reserve { slot }, &grant, &mut []).map_err(|error| match error {
            CallError::Refused(ErrorCode::NoMem, missing) => {
                Misfit::Slot(fail(Failure::Resources, &format!("{missing} more than the slot has")))
            }
            _ => Misfit::Slot(fail(Failure::Resources, "slot cannot be reserved")),
        })?;
        let storage = |_| Misfit::Task(fail(Failure::Storage, "node's storage failed"));
        let mut buffer = [0; DOCUMENT_MAX];
        let document = postcard::to_slice(&start.document, &mut buffer);
        let document = document.map_err(|_| Misfit::Task(fail(Failure::Fetch, "document is too long")))?;
        self.capsule
            .write_all(document, |offset| AgentCall::Put { slot, part: Part::Document, offset })
            .map_err(storage)?;
        if !start.resumed {
            let values = AgentCall::Put { slot, part: Part::Values, offset: 0 };
            self.capsule.work(values, &[], &mut []).map_err(storage)?;
        }
        let mut image: heapless::Vec<u8, { VerifyRecord::LEN + MANIFEST_MAX }> = heapless::Vec::new();
        let said = VerifyRecord::of(start.image_len, &start.sha256).to_bytes();
        let whole = image.extend_from_slice(&said).and(image.extend_from_slice(start.document.manifest));
        whole.map_err(|_| Misfit::Task(fail(Failure::Signature, "manifest is too long")))?;
        let verified = self.capsule.work(AgentCall::Verify { slot, area }, &image, &mut []);
        verified.map_err(|error| match error.code() {
            Some(ErrorCode::Fail) => Misfit::Task(fail(Failure::Digest, "kernel finds another digest")),
            Some(ErrorCode::NoAck) => {
                Misfit::Task(fail(Failure::Signature, "kernel knows no such publisher"))
            }
            Some(ErrorCode::Size) => Misfit::Slot(fail(Failure::Resources, "built for another slot")),
            Some(ErrorCode::Invalid) => Misfit::Task(fail(Failure::Image, "not an image that can run")),
            _ => Misfit::Task(fail(Failure::Storage, "image cannot be checked")),
        })?;
        let started = self.order(AgentCall::Start { slot, resumed: start.resumed });
        started.map(drop).map_err(|error| match error.code() {
            Some(ErrorCode::Fail) => Misfit::Task(fail(Failure::Image, "not an image that can run")),
            _ => Misfit::Task(fail(Failure::Resources, "slot cannot be started")),
        })
    }

    fn find(&self, task: TaskHandle) -> Option<usize> {
        self.running.iter().position(|running| running.task == task)
    }

    /// Tells a task to stop; false if it cannot notice.
    pub fn stop(&mut self, task: TaskHandle, grace_ms: u32) -> bool {
        let Some(at) = self.find(task) else { return false };
        let slot = self.running[at].slot;
        matches!(self.order(AgentCall::Stop { slot, grace_ms }), Ok((1, _)))
    }

    /// Ends a task.
    pub fn kill(&mut self, task: TaskHandle) {
        if let Some(at) = self.find(task) {
            // What the slot says of its end follows; if it has ended already, that is there to be taken.
            let _ = self.order(AgentCall::Kill { slot: self.running[at].slot });
        }
    }

    /// Hands a message to a task, as soon as it takes it. One too many is lost.
    pub fn deliver(&mut self, task: TaskHandle, data: &[u8]) {
        let Some(at) = self.find(task) else { return };
        if data.len() <= MESSAGE_LONG_MAX && self.running[at].deliveries.len() < DELIVERIES_MAX {
            self.running[at].deliveries.push_back(data.into());
            self.push_deliveries(at);
        }
    }

    fn push_deliveries(&mut self, at: usize) {
        let running = &mut self.running[at];
        while let Some(message) = running.deliveries.front() {
            let rest = &message[running.delivered.min(message.len())..];
            let piece = &rest[..rest.len().min(PIECE_MAX)];
            let more = piece.len() < rest.len();
            match self.capsule.ask(AgentCall::Deliver { slot: running.slot, more }, piece, &mut []) {
                Ok(_) if more => running.delivered += piece.len(),
                Err(CallError::Refused(ErrorCode::Busy, _)) => return,
                // All of it is there, or there is nobody to have it.
                Ok(_) | Err(_) => {
                    running.deliveries.pop_front();
                    running.delivered = 0;
                }
            }
        }
    }

    /// The next event of a task. After one that ends it, its slot is free.
    pub fn next_event(&mut self, task: TaskHandle) -> Option<Event> {
        let at = self.find(task)?;
        let slot = self.running[at].slot;
        loop {
            let mut out = [0; PIECE_MAX];
            let (kind, len) = self.capsule.ask(AgentCall::Take { slot }, &[], &mut out).ok()?;
            let record = out.get(..len as usize)?;
            let event = match kind {
                0 => return None,
                up::ENDED => {
                    let running = self.running.swap_remove(at);
                    self.release(slot);
                    return Some(running.ended(record));
                }
                _ => self.running[at].said(kind, record),
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// What a task has used.
    pub fn usage(&self, task: TaskHandle) -> Option<TaskUsage> {
        let slot = self.running[self.find(task)?].slot;
        let mut out = [0; UsageRecord::LEN];
        self.capsule.ask(AgentCall::Usage { slot }, &[], &mut out).ok()?;
        let usage = UsageRecord::from_bytes(&out)?;
        let ms = |us: u64| u32::try_from(us / 1000).unwrap_or(u32::MAX);
        Some(TaskUsage {
            cpu_ms: ms(usage.cpu_us),
            granted_ms: ms(usage.granted_us),
            mem_bytes: usage.mem_bytes,
            mem_peak_bytes: usage.mem_peak_bytes,
            messages: usage.messages,
            log_bytes: usage.log_bytes,
        })
    }
}

/// Why a task was not started in a slot.
enum Misfit {
    /// Another slot may do.
    Slot(StartError),
    /// No slot would.
    Task(StartError),
}

impl Running {
    /// What a record is to the agent, if it is whole.
    fn said(&mut self, kind: u32, record: &[u8]) -> Option<Event> {
        match kind {
            up::LOG if !record.is_empty() => Some(Event::Log(record.into())),
            up::MESSAGE_PART | up::MESSAGE => {
                self.too_long |= self.message.len() + record.len() > MESSAGE_LONG_MAX;
                if self.too_long {
                    self.message.clear();
                } else {
                    self.message.extend_from_slice(record);
                }
                if kind == up::MESSAGE_PART {
                    return None;
                }
                let message = core::mem::take(&mut self.message);
                (!core::mem::take(&mut self.too_long)).then_some(Event::Message(message))
            }
            up::STATUS => Some(Event::Checked(i32::from_le_bytes(record.try_into().ok()?))),
            up::HEALTH => Some(Event::Health(*record.first()? != 0)),
            up::NOTE => {
                let len = record.len().min(STATUS_NOTE_MAX);
                self.note = heapless::Vec::from_slice(&record[..len]).unwrap_or_default();
                None
            }
            _ => None, // of a later kernel
        }
    }

    /// What an end is to the agent.
    fn ended(self, record: &[u8]) -> Event {
        let said = String::from_utf8_lossy(&self.note);
        let or = |note: &str| String::from(if said.is_empty() { note } else { &said });
        match EndRecord::from_bytes(record).and_then(|record| record.end()) {
            Some(End::Exited(code)) => Event::Exited(code),
            Some(End::Killed) => Event::Killed,
            Some(End::Unhealthy) => Event::Failed(Failure::Unhealthy, or("")),
            Some(End::Fault) => Event::Failed(Failure::Trap, or("")),
            Some(End::Restarted) => Event::Failed(Failure::Trap, or("started itself anew")),
            Some(End::OverMemory { asked }) => {
                Event::Failed(Failure::Memory, format!("asked {asked} B, granted {}", self.granted_mem))
            }
            Some(End::BadImage) => Event::Failed(Failure::Image, or("not an image that can run")),
            Some(End::NotGranted) => Event::Failed(Failure::Capability, or("needs what was not granted")),
            None => Event::Failed(Failure::Trap, or("ended in a way not known here")),
        }
    }
}

fn fail(failure: Failure, note: &str) -> StartError {
    StartError { failure, note: note.into() }
}
