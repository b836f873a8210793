//! Calls that take longer: what they ask of the storage, a piece at a time.
//!
//! One is under way at any time. It is a state machine without storage of its own: each step asks for one transfer between
//! storage and a scratch buffer, and goes on when that is done. No step handles more than the scratch buffer holds, so that
//! the kernel never stays away from its processes for the length of an image; a signature is the exception, one step each.

use crate::board::{Board, Region, VALUES_BYTES};
use crate::signatures::Signatures;
use crate::slots::Slots;
use crate::verify::Check;
use grants::Slot;
use grants::syscall::{AgentCall, Part, SlotCall};
use kernel::ErrorCode;

/// What the caller of a call gave to read and to write.
pub(crate) trait Buffers {
    /// Bytes to read.
    fn input(&self) -> usize;
    /// Bytes of room to write to.
    fn output(&self) -> usize;
    /// Copies from `from` on; false if that is not there (any more).
    fn copy_in(&self, from: usize, into: &mut [u8]) -> bool;
    /// Copies to `from` on; false if there is no such room (any more).
    fn copy_out(&self, from: usize, bytes: &[u8]) -> bool;
}

/// A call that takes longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// By the agent.
    Agent(AgentCall),
    /// For a slot, which was allowed to make it.
    Slot(u8, SlotCall),
}

impl Work {
    /// Number of the call.
    pub(crate) const fn command(self) -> usize {
        match self {
            Self::Agent(call) => call.encode().0,
            Self::Slot(slot, call) => call.encode(slot).0,
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read into the scratch buffer.
    Read { at: u32, len: usize },
    /// Write from the scratch buffer.
    Write { at: u32, len: usize },
    /// Done: bytes moved.
    Done(Result<u32, ErrorCode>),
}

/// What a step works with.
pub(crate) struct Means<'a, const SLOTS: usize, const UP: usize, const DOWN: usize> {
    pub(crate) board: &'a Board<SLOTS>,
    pub(crate) slots: &'a mut Slots<SLOTS, UP, DOWN>,
    pub(crate) signatures: &'a dyn Signatures,
    pub(crate) buffers: &'a dyn Buffers,
    /// At least [`SCRATCH_MIN`](crate::SCRATCH_MIN) bytes.
    pub(crate) scratch: &'a mut [u8],
}

/// What is under way.
pub(crate) enum Job {
    /// The caller's bytes go to storage.
    In(Move),
    /// Bytes from storage go to the caller.
    Out(Move),
    /// Storage is emptied.
    Zero(Move),
    /// An image is checked and, for a native slot, copied.
    Check(Check),
}

/// Bytes that move in pieces.
pub(crate) struct Move {
    at: u32,
    len: u32,
    done: u32,
    piece: u32,
}

impl Move {
    /// `len` bytes from `from` on inside a region; `SIZE` if they are not all inside.
    fn all(region: Region, from: u32, len: usize) -> Result<Self, ErrorCode> {
        let len = u32::try_from(len).map_err(|_| ErrorCode::SIZE)?;
        let at = region.span(from, len).ok_or(ErrorCode::SIZE)?;
        if len == 0 { Err(ErrorCode::RESERVE) } else { Ok(Self { at, len, done: 0, piece: 0 }) }
    }

    /// What there is from `from` on, at most `room` bytes.
    fn some(region: Region, from: u32, room: usize) -> Result<Self, ErrorCode> {
        let there = region.len.checked_sub(from).ok_or(ErrorCode::SIZE)?;
        let len = u32::try_from(room).unwrap_or(u32::MAX).min(there);
        let at = region.span(from, len).ok_or(ErrorCode::SIZE)?;
        if room == 0 { Err(ErrorCode::RESERVE) } else { Ok(Self { at, len, done: 0, piece: 0 }) }
    }

    /// Books the piece that was moved, and cuts the next: where in storage, and how long. `None`: that was all.
    fn next(&mut self, scratch: usize) -> Option<(u32, usize)> {
        self.done += self.piece;
        self.piece = (self.len - self.done).min(u32::try_from(scratch).unwrap_or(u32::MAX));
        (self.piece > 0).then_some((self.at + self.done, self.piece as usize))
    }
}

impl Job {
    /// Begins a call, or ends it at once.
    pub(crate) fn begin<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        work: Work,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Result<Self, ErrorCode> {
        let (input, output) = (means.buffers.input(), means.buffers.output());
        let layout = &means.board.layout;
        Ok(match work {
            Work::Agent(AgentCall::Stage { area, offset }) => {
                let region = layout.area(area).ok_or(ErrorCode::INVAL)?;
                if means.slots.uses(area) {
                    return Err(ErrorCode::OFF);
                }
                Self::In(Move::all(region, offset, input)?)
            }
            Work::Agent(AgentCall::Put { slot, part, offset }) => {
                let region = layout.part(slot, part).ok_or(ErrorCode::INVAL)?;
                if !matches!(means.slots.state(slot), Slot::Reserved | Slot::Staging | Slot::Verified) {
                    return Err(ErrorCode::OFF);
                }
                match part {
                    Part::Values if input == 0 => Self::Zero(Move::all(region, 0, region.len as usize)?),
                    _ => Self::In(Move::all(region, offset, input)?),
                }
            }
            Work::Agent(AgentCall::Load { area, offset }) => {
                Self::Out(Move::some(layout.area(area).ok_or(ErrorCode::INVAL)?, offset, output)?)
            }
            Work::Agent(AgentCall::RecordsWrite { offset }) => {
                Self::In(Move::all(layout.records, offset, input)?)
            }
            Work::Agent(AgentCall::RecordsRead { offset }) => {
                Self::Out(Move::some(layout.records, offset, output)?)
            }
            Work::Agent(AgentCall::Verify { slot, area }) => Self::Check(Check::begin(means, slot, area)?),
            Work::Slot(slot, SlotCall::Read { part, offset }) => {
                let entry = means.slots.entry(slot)?;
                entry.running()?;
                let region = match part {
                    Part::Image => {
                        let region = entry.area.and_then(|area| layout.area(area)).ok_or(ErrorCode::OFF)?;
                        Region { len: entry.image_len.min(region.len), ..region }
                    }
                    Part::Document => {
                        let region = layout.part(slot, part).ok_or(ErrorCode::INVAL)?;
                        Region { len: u32::from(entry.document_len).min(region.len), ..region }
                    }
                    Part::Values => layout.part(slot, part).ok_or(ErrorCode::INVAL)?,
                };
                Self::Out(Move::some(region, offset, output)?)
            }
            Work::Slot(slot, SlotCall::Write { offset }) => {
                means.slots.entry(slot)?.running()?;
                let region = layout.part(slot, Part::Values).ok_or(ErrorCode::INVAL)?;
                Self::In(Move::all(Region { len: VALUES_BYTES, ..region }, offset, input)?)
            }
            _ => return Err(ErrorCode::NOSUPPORT),
        })
    }

    /// The first step.
    pub(crate) fn first<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        &mut self,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Step {
        match self {
            Self::In(moved) => Self::move_in(moved, means),
            Self::Out(moved) => Self::move_out(moved, means),
            Self::Zero(moved) => Self::zero(moved, means),
            Self::Check(check) => check.first(means),
        }
    }

    /// The step after a transfer of all that was asked for.
    pub(crate) fn step<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        &mut self,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Step {
        match self {
            Self::In(moved) => Self::move_in(moved, means),
            Self::Out(moved) => {
                let there = means.scratch.get(..moved.piece as usize);
                if !there.is_some_and(|bytes| means.buffers.copy_out(moved.done as usize, bytes)) {
                    return Step::Done(Err(ErrorCode::RESERVE));
                }
                Self::move_out(moved, means)
            }
            Self::Zero(moved) => Self::zero(moved, means),
            Self::Check(check) => check.step(means),
        }
    }

    fn move_in<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        moved: &mut Move,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Step {
        let Some((at, len)) = moved.next(means.scratch.len()) else { return Step::Done(Ok(moved.done)) };
        let there = means.scratch.get_mut(..len);
        if !there.is_some_and(|bytes| means.buffers.copy_in(moved.done as usize, bytes)) {
            return Step::Done(Err(ErrorCode::RESERVE));
        }
        Step::Write { at, len }
    }

    fn move_out<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        moved: &mut Move,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Step {
        match moved.next(means.scratch.len()) {
            Some((at, len)) => Step::Read { at, len },
            None => Step::Done(Ok(moved.done)),
        }
    }

    fn zero<const SLOTS: usize, const UP: usize, const DOWN: usize>(
        moved: &mut Move,
        means: &mut Means<'_, SLOTS, UP, DOWN>,
    ) -> Step {
        let Some((at, len)) = moved.next(means.scratch.len()) else { return Step::Done(Ok(0)) };
        means.scratch.fill(0);
        Step::Write { at, len }
    }
}
