//! The table of slots: what each was granted, what it has to say and to hear, and how it ended.
//!
//! It stands in the kernel's memory, not in the tasks' own: a task that took all of its memory could not be reported
//! otherwise. Nothing here waits: what has no room is refused with `BUSY`, and no slot can fill another one's queue. The end
//! and orders other than messages are no records in a queue but states, so that a full queue never holds them up.

use crate::board::{Board, Devices};
use crate::ring::Ring;
use grants::syscall::{End, EndRecord, PIECE_MAX, down, up};
use grants::{Capabilities, Capacity, Grant, Ledger, Slot, SlotEvent};
use kernel::ErrorCode;

/// What a call made in the same breath comes back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Value(u32),
    /// So many bytes were put out.
    Bytes(usize),
    /// A record of this kind and length was put out; 0 and 0: there was none.
    Record(u32, usize),
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    For(ErrorCode),
    /// `NOMEM`, and how much is missing.
    Missing(u32),
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self::For(code)
    }
}

/// The processes of native slots and the time that the scheduler gives.
pub(crate) trait Machine {
    /// Starts the process of a native slot with nothing of an earlier run left, and a budget; false if it cannot run.
    fn start(&self, slot: u8, grant: &Grant) -> bool;
    /// Ends the process of a native slot, whatever it does.
    fn terminate(&self, slot: u8);
    /// Whether the task of a native slot may report a status now; if so, not again for a while.
    fn reports(&self, slot: u8) -> bool;
    /// What the task of a native slot has used.
    fn used(&self, slot: u8) -> Used;
    /// Says what the running hosted slots are granted together, and whether all of it is a ceiling.
    fn host(&self, permille: u16, strict: bool);
    /// Milliseconds since the start of the node.
    fn now_ms(&self) -> u64;
}

/// What a call may need beside the table.
pub(crate) struct Env<'a, const SLOTS: usize> {
    pub(crate) board: &'a Board<SLOTS>,
    pub(crate) machine: &'a dyn Machine,
    pub(crate) devices: &'a dyn Devices,
}

/// CPU time and memory, as the kernel or the host counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) cpu_us: u64,
    pub(crate) granted_us: u64,
    pub(crate) mem_bytes: u32,
    pub(crate) mem_peak_bytes: u32,
}

/// Orders that are states.
pub(crate) const START: u8 = 1 << 0;
pub(crate) const STOP: u8 = 1 << 1;
pub(crate) const KILL: u8 = 1 << 2;

/// Writes of its values that a slot may make at once.
pub(crate) const WRITES_MAX: u8 = 16;

/// One slot.
#[derive(Clone, Debug)]
pub(crate) struct Entry<const UP: usize, const DOWN: usize> {
    pub(crate) state: Slot,
    /// The end, until it was taken.
    pub(crate) end: Option<End>,
    pub(crate) used: Used,
    pub(crate) messages: u32,
    pub(crate) log_bytes: u32,
    pub(crate) refused: u32,
    /// What the host refused on its own.
    pub(crate) host_refused: u32,
    pub(crate) image_len: u32,
    pub(crate) document_len: u16,
    /// The image's area, from its verification on.
    pub(crate) area: Option<u8>,
    pub(crate) orders: u8,
    pub(crate) resumed: bool,
    /// The task has asked for orders.
    pub(crate) listens: bool,
    /// Writes of its values that it may make at once.
    writes: u8,
    pub(crate) up: Ring<UP>,
    pub(crate) down: Ring<DOWN>,
}

impl<const UP: usize, const DOWN: usize> Entry<UP, DOWN> {
    const EMPTY: Self = Self {
        state: Slot::Free,
        end: None,
        used: Used { cpu_us: 0, granted_us: 0, mem_bytes: 0, mem_peak_bytes: 0 },
        messages: 0,
        log_bytes: 0,
        refused: 0,
        host_refused: 0,
        image_len: 0,
        document_len: 0,
        area: None,
        orders: 0,
        resumed: false,
        listens: false,
        writes: WRITES_MAX,
        up: Ring::new(),
        down: Ring::new(),
    };

    /// Moves on, or says that this cannot be now.
    pub(crate) fn on(&mut self, event: SlotEvent) -> Result<(), ErrorCode> {
        self.state = self.state.on(event).map_err(|impossible| match impossible.state {
            Slot::Ended(_) | Slot::Free => ErrorCode::ALREADY,
            _ => ErrorCode::OFF,
        })?;
        Ok(())
    }

    pub(crate) fn running(&self) -> Result<(), ErrorCode> {
        if self.state.may_run() { Ok(()) } else { Err(ErrorCode::OFF) }
    }

    /// Milliseconds that a stopping task has left.
    pub(crate) fn left_ms(&self, now_ms: u64) -> Option<u32> {
        let Slot::Stopping { deadline_ms } = self.state else { return None };
        Some(u32::try_from(deadline_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX - 1))
    }

    pub(crate) fn send_up(&mut self, kind: u32, record: &[u8]) -> Result<(), ErrorCode> {
        self.running()?;
        if record.len() > PIECE_MAX {
            return Err(ErrorCode::SIZE);
        }
        if self.up.push(kind as u8, record) { Ok(()) } else { Err(ErrorCode::BUSY) }
    }

    /// The oldest of what it has to say; `RESERVE` if `out` is too short for it.
    pub(crate) fn take_up(&mut self, out: &mut [u8]) -> Result<Answer, ErrorCode> {
        if !self.up.is_empty() {
            let (kind, len) = self.up.pop(out).ok_or(ErrorCode::RESERVE)?;
            return Ok(Answer::Record(kind.into(), len));
        }
        let Some(end) = self.end else { return Ok(Answer::Record(0, 0)) };
        let record = EndRecord::of(end).to_bytes();
        out.get_mut(..record.len()).ok_or(ErrorCode::RESERVE)?.copy_from_slice(&record);
        self.end = None;
        Ok(Answer::Record(up::ENDED, record.len()))
    }

    /// The most urgent of what it has to hear.
    pub(crate) fn take_down(&mut self, out: &mut [u8], now_ms: u64) -> Result<Answer, ErrorCode> {
        let (order, kind, record, len) = if self.orders & START != 0 {
            (START, down::START, [self.resumed.into(), 0, 0, 0], 1)
        } else if self.orders & KILL != 0 {
            (KILL, down::KILL, [0; 4], 0)
        } else if self.orders & STOP != 0 {
            (STOP, down::STOP, self.left_ms(now_ms).unwrap_or(0).to_le_bytes(), 4)
        } else if self.down.is_empty() {
            return Ok(Answer::Record(0, 0));
        } else {
            let (kind, len) = self.down.pop(out).ok_or(ErrorCode::RESERVE)?;
            return Ok(Answer::Record(kind.into(), len));
        };
        out.get_mut(..len).ok_or(ErrorCode::RESERVE)?.copy_from_slice(&record[..len]);
        self.orders &= !order;
        Ok(Answer::Record(kind, len))
    }
}

/// All slots of a node, and what is left for others.
#[derive(Clone, Debug)]
pub(crate) struct Slots<const SLOTS: usize, const UP: usize, const DOWN: usize> {
    pub(crate) entries: [Entry<UP, DOWN>; SLOTS],
    pub(crate) ledger: Ledger<SLOTS>,
    /// Slots of which the agent knows that they have something to say, and slots that know there is something to hear.
    told_up: u32,
    told_down: u32,
    /// Calls by processes that may not make them and are no slot's.
    pub(crate) strangers: u32,
    /// The host is gone for good.
    pub(crate) host_lost: bool,
    /// The second, of the last 65,536, up to which slots were given writes of their values.
    writes_s: u16,
}

impl<const SLOTS: usize, const UP: usize, const DOWN: usize> Slots<SLOTS, UP, DOWN> {
    const FEW: () = assert!(SLOTS <= 16, "a slot is a bit of `NodeRecord::hosted`");

    pub(crate) const fn new(capacity: Capacity) -> Self {
        let () = Self::FEW;
        Self {
            entries: [Entry::EMPTY; SLOTS],
            ledger: Ledger::new(capacity),
            told_up: 0,
            told_down: 0,
            strangers: 0,
            host_lost: false,
            writes_s: 0,
        }
    }

    pub(crate) fn entry(&mut self, slot: u8) -> Result<&mut Entry<UP, DOWN>, ErrorCode> {
        self.entries.get_mut(usize::from(slot)).ok_or(ErrorCode::INVAL)
    }

    pub(crate) fn state(&self, slot: u8) -> Slot {
        self.entries.get(usize::from(slot)).map_or(Slot::Free, |entry| entry.state)
    }

    pub(crate) fn capabilities(&self, slot: u8) -> Capabilities {
        self.ledger.grant(slot.into()).map_or(Capabilities(0), |grant| grant.capabilities)
    }

    /// Counts a call that was refused.
    pub(crate) fn refuse(&mut self, slot: u8) {
        if let Ok(entry) = self.entry(slot) {
            entry.refused = entry.refused.saturating_add(1);
        }
    }

    /// Empties a slot and gives its grant back.
    pub(crate) fn clear(&mut self, slot: u8) {
        self.ledger.release(slot.into());
        if let Ok(entry) = self.entry(slot) {
            *entry = Entry::EMPTY;
        }
    }

    /// True if a slot that has not ended refers to an area.
    pub(crate) fn uses(&self, area: u8) -> bool {
        let held = |entry: &&Entry<UP, DOWN>| !matches!(entry.state, Slot::Free | Slot::Ended(_));
        self.entries.iter().filter(held).any(|entry| entry.area == Some(area))
    }

    /// A task that ran has ended: the slot's last record. Nothing of a task that had ended before.
    pub(crate) fn ended(&mut self, env: &Env<'_, SLOTS>, slot: u8, end: End) -> Result<(), ErrorCode> {
        let native = env.board.native(slot).is_some();
        let entry = self.entry(slot)?;
        entry.on(SlotEvent::End(end.cause()))?;
        entry.end = Some(end);
        (entry.orders, entry.down) = (0, Ring::new());
        if native {
            let used = env.machine.used(slot);
            let peak = entry.used.mem_peak_bytes.max(used.mem_peak_bytes);
            entry.used = Used { mem_peak_bytes: peak, ..used };
            env.machine.terminate(slot);
        } else {
            self.share_host(env);
        }
        Ok(())
    }

    /// Tells the scheduler what the host needs for the tasks that it runs.
    pub(crate) fn share_host(&self, env: &Env<'_, SLOTS>) {
        let (mut permille, mut strict, mut any) = (0u16, true, false);
        for (slot, entry) in self.entries.iter().enumerate() {
            let grant =
                self.ledger.grant(slot).filter(|_| entry.state.may_run() && env.board.hosted(slot as u8));
            if let Some(grant) = grant {
                permille = permille.saturating_add(grant.cpu_permille);
                (strict, any) = (strict && grant.strict, true);
            }
        }
        env.machine.host(permille, strict && any);
    }

    /// The host died: so did every task in it. It may be told again of what comes.
    /// Whether a slot may write its values now: [`WRITES_MAX`] times at once, and once a second on average. On flash each
    /// write erases a page, for which the core stands still.
    pub(crate) fn may_write(&mut self, env: &Env<'_, SLOTS>, slot: u8) -> bool {
        let now_s = (env.machine.now_ms() / 1000) as u16;
        let passed = now_s.wrapping_sub(self.writes_s);
        self.writes_s = now_s;
        for entry in &mut self.entries {
            entry.writes = u16::from(entry.writes).saturating_add(passed).min(WRITES_MAX.into()) as u8;
        }
        let Ok(entry) = self.entry(slot) else { return false };
        let may = entry.writes > 0;
        entry.writes = entry.writes.saturating_sub(1);
        may
    }

    pub(crate) fn host_died(&mut self, env: &Env<'_, SLOTS>, for_good: bool) {
        self.host_lost = for_good;
        for slot in 0..SLOTS as u8 {
            if env.board.hosted(slot) && self.state(slot).may_run() {
                let _ = self.ended(env, slot, End::Fault);
            }
        }
        self.told_down &= !self.hosted(env.board);
    }

    fn mask(held: impl Iterator<Item = bool>) -> u32 {
        held.enumerate().fold(0, |mask, (slot, held)| mask | u32::from(held) << slot)
    }

    pub(crate) fn hosted(&self, board: &Board<SLOTS>) -> u32 {
        Self::mask((0..SLOTS as u8).map(|slot| board.hosted(slot)))
    }

    /// Slots that have something to say, if the agent was not told of one of them.
    pub(crate) fn news_up(&mut self) -> Option<u32> {
        let mask = Self::mask(self.entries.iter().map(|entry| !entry.up.is_empty() || entry.end.is_some()));
        self.told_up &= mask;
        (mask & !self.told_up != 0).then_some(mask)
    }

    /// Slots among `of` that have something to hear, if they were not told.
    pub(crate) fn news_down(&mut self, of: u32) -> Option<u32> {
        let mask = Self::mask(self.entries.iter().map(|entry| !entry.down.is_empty() || entry.orders != 0));
        self.told_down &= mask;
        (mask & of & !self.told_down != 0).then_some(mask & of)
    }

    pub(crate) fn told_up(&mut self, mask: u32) {
        self.told_up |= mask;
    }

    pub(crate) fn told_down(&mut self, mask: u32) {
        self.told_down |= mask;
    }

    /// The agent begins anew: it has heard nothing.
    pub(crate) fn untold(&mut self) {
        self.told_up = 0;
    }
}
