//! Who may make which call, and whose turn it is with those that take longer: one pending for each process, served in turn.
//! A process that died is in nobody's way: its call is done, or not, and the answer goes nowhere.

use crate::board::{Board, Who};
use crate::calls::Input;
use crate::signatures::Signatures;
use crate::slots::{Answer, Env, Refused, Slots};
use crate::work::{Buffers, Job, Means, Step, Work};
use grants::Capacity;
use grants::syscall::{AgentCall, Bounds, DecodeError, HostCall, Part, SlotCall};
use kernel::ErrorCode;

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is answered.
    Now(Result<Answer, Refused>),
    /// It is answered later.
    Later,
}

/// Everything but Tock: `P` names a process, anew each time that it starts.
pub(crate) struct Core<P, const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> {
    pub(crate) slots: Slots<SLOTS, UP, DOWN>,
    agent: Option<(P, Work)>,
    host: Option<(P, Work)>,
    tasks: [Option<(P, Work)>; NATIVES],
    /// Whose turn it is next.
    turn: u8,
    current: Option<(P, Work, Option<Job>)>,
}

/// A call for a slot.
#[derive(Clone, Copy)]
enum Call {
    /// By its task or the host.
    Slot(SlotCall),
    /// By the host alone.
    Host(HostCall),
}

impl<P: Copy + PartialEq, const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize>
    Core<P, SLOTS, NATIVES, UP, DOWN>
{
    pub(crate) const fn new(capacity: Capacity) -> Self {
        Self {
            slots: Slots::new(capacity),
            agent: None,
            host: None,
            tasks: [None; NATIVES],
            turn: 0,
            current: None,
        }
    }

    /// A command by a process.
    pub(crate) fn command(
        &mut self,
        env: &Env<'_, SLOTS>,
        (who, caller): (Who, P),
        (command, arg1, arg2): (usize, usize, usize),
        input: Input<'_>,
        output: &mut [u8],
    ) -> Outcome {
        if command == 0 {
            return Outcome::Now(Ok(Answer::Done));
        }
        let decoded = if SlotCall::is(command) && who != Who::Agent {
            SlotCall::decode(command, arg1, arg2).map(|(named, call)| (named, Call::Slot(call)))
        } else if HostCall::is(command) && who == Who::Host {
            HostCall::decode(command, arg1, arg2).map(|(named, call)| (named, Call::Host(call)))
        } else if who == Who::Agent {
            let bounds = Bounds { slots: SLOTS as u8, areas: env.board.layout.area_count };
            return match AgentCall::decode(command, arg1, arg2, bounds) {
                Ok(call) => self.agent_call(env, caller, call, input, output),
                Err(error) => Outcome::Now(Err(self.undecoded(who, error))),
            };
        } else {
            Err(DecodeError::Unknown)
        };
        let (named, call) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => return Outcome::Now(Err(self.undecoded(who, error))),
        };
        let needs = match call {
            Call::Slot(call) => call.capability(),
            Call::Host(_) => 0,
        };
        let slot = match self.slots.admit(env, who, named, needs) {
            Ok(slot) => slot,
            Err(refused) => return Outcome::Now(Err(refused)),
        };
        match call {
            Call::Slot(SlotCall::Write { .. }) if !self.slots.may_write(env, slot) => {
                Outcome::Now(Err(ErrorCode::NOMEM.into()))
            }
            Call::Slot(call @ (SlotCall::Read { .. } | SlotCall::Write { .. })) => {
                self.later(env, who, caller, Work::Slot(slot, call))
            }
            Call::Slot(call) => Outcome::Now(self.slots.slot_call(env, slot, call, input, output)),
            Call::Host(call) => Outcome::Now(self.slots.host_call(env, slot, call, input)),
        }
    }

    /// An unknown call is counted: it is not for this process, or for none.
    fn undecoded(&mut self, who: Who, error: DecodeError) -> Refused {
        match (error, who) {
            (DecodeError::Argument, _) => return ErrorCode::INVAL.into(),
            (DecodeError::Unknown, Who::Task(slot)) => self.slots.refuse(slot),
            (DecodeError::Unknown, _) => self.slots.strangers = self.slots.strangers.saturating_add(1),
        }
        ErrorCode::NOSUPPORT.into()
    }

    fn agent_call(
        &mut self,
        env: &Env<'_, SLOTS>,
        caller: P,
        call: AgentCall,
        input: Input<'_>,
        output: &mut [u8],
    ) -> Outcome {
        match call {
            AgentCall::Stage { .. }
            | AgentCall::Verify { .. }
            | AgentCall::Put { .. }
            | AgentCall::Load { .. }
            | AgentCall::RecordsWrite { .. }
            | AgentCall::RecordsRead { .. }
            | AgentCall::Signature => self.later(env, Who::Agent, caller, Work::Agent(call)),
            call => Outcome::Now(self.slots.agent(env, call, input, output)),
        }
    }

    /// Lines a call up. What a predecessor of this process had in line is forgotten.
    fn later(&mut self, env: &Env<'_, SLOTS>, who: Who, caller: P, work: Work) -> Outcome {
        let Some(place) = self.line(env.board, who) else {
            return Outcome::Now(Err(ErrorCode::NOSUPPORT.into()));
        };
        let waits = place.is_some_and(|(waiting, _)| waiting == caller);
        if waits || self.current.as_ref().is_some_and(|(current, ..)| *current == caller) {
            return Outcome::Now(Err(ErrorCode::BUSY.into()));
        }
        if let Some(place) = self.line(env.board, who) {
            *place = Some((caller, work));
        }
        Outcome::Later
    }

    fn line(&mut self, board: &Board<SLOTS>, who: Who) -> Option<&mut Option<(P, Work)>> {
        match who {
            Who::Agent => Some(&mut self.agent),
            Who::Host => Some(&mut self.host),
            Who::Task(slot) => self.tasks.get_mut(board.native_index(slot)?),
        }
    }

    /// Whose call is served next; it is under way from now on. `None` while another one is, or if none is in line.
    pub(crate) fn serve(&mut self) -> Option<P> {
        if self.current.is_some() {
            return None;
        }
        let places = NATIVES + 2;
        for step in 0..places {
            let at = (usize::from(self.turn) + step) % places;
            let place = match at {
                0 => &mut self.agent,
                1 => &mut self.host,
                task => self.tasks.get_mut(task - 2)?,
            };
            if let Some((caller, work)) = place.take() {
                self.turn = ((at + 1) % places) as u8;
                self.current = Some((caller, work, None));
                return Some(caller);
            }
        }
        None
    }

    /// Who is served, and with which command.
    pub(crate) fn serving(&self) -> Option<(P, usize)> {
        self.current.as_ref().map(|(caller, work, _)| (*caller, work.command()))
    }

    /// Goes on with the call that is under way: it begins, or `moved` is how a transfer ended.
    pub(crate) fn go_on(
        &mut self,
        (board, signatures): (&Board<SLOTS>, &dyn Signatures),
        buffers: &dyn Buffers,
        scratch: &mut [u8],
        moved: Result<(), ErrorCode>,
    ) -> Step {
        let Some((_, work, job)) = &mut self.current else { return Step::Done(Err(ErrorCode::FAIL)) };
        let means = &mut Means { board, slots: &mut self.slots, signatures, buffers, scratch };
        let step = match (job.as_mut(), moved) {
            (_, Err(code)) => Step::Done(Err(code)),
            (Some(job), Ok(())) => job.step(means),
            (None, Ok(())) if matches!(work, Work::Agent(AgentCall::Signature)) => {
                Step::Done(signature(means))
            }
            (None, Ok(())) => match Job::begin(*work, means) {
                Ok(begun) => job.insert(begun).first(means),
                Err(code) => Step::Done(Err(code)),
            },
        };
        if let Step::Done(result) = step {
            Self::finish(means.slots, *work, result);
        }
        step
    }

    /// What a call that is done leaves in the table of slots.
    fn finish(slots: &mut Slots<SLOTS, UP, DOWN>, work: Work, result: Result<u32, ErrorCode>) {
        match (work, result) {
            (Work::Agent(AgentCall::Put { slot, part: Part::Document, offset }), Ok(len)) => {
                if let Ok(entry) = slots.entry(slot) {
                    let before = if offset == 0 { 0 } else { entry.document_len };
                    entry.document_len = before.max(u16::try_from(offset + len).unwrap_or(u16::MAX));
                }
            }
            // Storage failed on the way; of a slot that was not being checked this changes nothing.
            (Work::Agent(AgentCall::Verify { slot, .. }), Err(ErrorCode::FAIL)) => {
                slots.verified(slot, false)
            }
            _ => {}
        }
    }

    /// Nobody is served any more.
    pub(crate) fn served(&mut self) {
        self.current = None;
    }
}

/// Checks a signature: key, signature and message in the caller's buffer.
fn signature<const SLOTS: usize, const UP: usize, const DOWN: usize>(
    means: &mut Means<'_, SLOTS, UP, DOWN>,
) -> Result<u32, ErrorCode> {
    let bytes = means.scratch.get_mut(..means.buffers.input()).ok_or(ErrorCode::SIZE)?;
    if !means.buffers.copy_in(0, bytes) {
        return Err(ErrorCode::RESERVE);
    }
    let (key, rest) = bytes.split_first_chunk().ok_or(ErrorCode::RESERVE)?;
    let (signature, message) = rest.split_first_chunk().ok_or(ErrorCode::RESERVE)?;
    if means.signatures.check(key, signature, message) { Ok(0) } else { Err(ErrorCode::NOACK) }
}
