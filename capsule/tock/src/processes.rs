//! The processes of native slots, of the host and of the agent: how they are started, and how it is seen that they have ended.
//!
//! The kernel tells nobody that a process exits or faults. So each is looked at when it stops executing, before anything
//! else runs, and once a window.

use crate::board::Who;
use crate::capsule::Capsule;
use crate::scheduler::Watch;
use crate::slots::{Machine, Used};
use grants::Slot;
use grants::syscall::End;
use kernel::process::{Process, ShortId, State};

/// How long after a task's time is up the host may take to end it, milliseconds. One that takes longer hangs.
const HOST_PATIENCE_MS: u64 = 60_000;
/// How long the host has to live for its deaths before to be forgotten, milliseconds: a node is to run for years.
const HOST_FORGIVEN_MS: u64 = 3_600_000;

/// Bytes that a process has taken for itself, up to its break.
fn own(process: &dyn Process) -> u32 {
    let addresses = process.get_addresses();
    u32::try_from(addresses.sram_app_brk.saturating_sub(addresses.sram_start)).unwrap_or(u32::MAX)
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize>
    Capsule<SLOTS, NATIVES, UP, DOWN>
{
    /// Why the task of a native slot has ended, if it has.
    fn end_of(&self, slot: u8) -> Option<End> {
        let native = self.board.native(slot)?;
        let Some(process) = self.find(native.app) else { return Some(End::Fault) };
        let share = self.shares.natives.get(self.board.native_index(slot)?)?;
        if share.process() != Some(process.processid().id()) {
            return Some(End::Restarted);
        }
        // The grant is for the task's own: what the kernel keeps for it is neither asked for nor seen by the task.
        let asked = own(process);
        let granted = self.core.map(|core| core.slots.ledger.grant(slot.into())).flatten()?.mem_bytes;
        let over = (asked > granted).then_some(End::OverMemory { asked });
        match process.get_state() {
            // A task may take all that its partition has, and fault, before it is looked at for the first time.
            State::Faulted => return Some(over.unwrap_or(End::Fault)),
            State::Terminated => {
                let code = process.get_completion_code().flatten();
                return Some(code.map_or(End::Fault, |code| End::Exited(code as i32)));
            }
            _ => {}
        }
        over
    }

    /// Looks whether a native slot's task has ended.
    fn look(&self, slot: u8) {
        if self.state(slot).may_run()
            && let Some(end) = self.end_of(slot)
        {
            self.core.map(|core| core.slots.ended(&self.env(), slot, end));
            self.news();
        }
    }

    /// True if the agent has run and does not any more. It starts itself again after a panic, but not after a fault.
    fn agent_died(&self) -> bool {
        let died = |process: &dyn Process| matches!(process.get_state(), State::Faulted | State::Terminated);
        self.agent_ran.get() && self.find_who(Who::Agent).is_some_and(died)
    }

    /// Starts the agent again if it died, for ever: without it nobody could even tell of it. Once a window, so that one that
    /// dies at once leaves time to others. What its tasks have to say waits; the agent after it ends them.
    fn look_at_agent(&self) {
        if self.agent_died()
            && let Some(process) = self.find_who(Who::Agent)
        {
            process.terminate(None);
            process.start(self.starting);
        }
    }

    /// Ends a host that hangs: a task of its that was to end did not, long after its time.
    fn end_hung_host(&self) {
        let late = self.now_ms().saturating_sub(HOST_PATIENCE_MS);
        let overdue = |slot: u8| {
            let state = self.state(slot);
            self.board.hosted(slot) && matches!(state, Slot::Stopping { deadline_ms } if deadline_ms < late)
        };
        if (0..SLOTS as u8).any(overdue)
            && let Some(process) = self.find_who(Who::Host)
        {
            process.terminate(None);
        }
    }

    /// Looks whether the host died, once it has run, and starts it again as long as that may help.
    fn look_at_host(&self, ran: bool) {
        if !ran && self.host.get().is_none() {
            return;
        }
        let Some(process) = self.find_who(Who::Host) else { return };
        let id = process.processid().id();
        let ended = matches!(process.get_state(), State::Faulted | State::Terminated);
        if !ended && self.host.get().is_none_or(|known| known == id) {
            self.host.set(Some(id));
            return;
        }
        if self.core.map_or(true, |core| core.slots.host_lost) {
            return;
        }
        let now_ms = self.now_ms();
        let lived_ms = now_ms - self.host_died_ms.replace(now_ms).min(now_ms);
        let before = if lived_ms < HOST_FORGIVEN_MS { self.host_deaths.get() } else { 0 };
        let deaths = before.saturating_add(1);
        self.host_deaths.set(deaths);
        let for_good = deaths > self.board.host_restarts;
        self.core.map(|core| core.slots.host_died(&self.env(), for_good));
        if for_good {
            process.terminate(None);
            self.shares.host.end();
        } else if ended {
            process.terminate(None);
            process.start(self.starting);
        }
        self.host.set(Some(process.processid().id()));
        self.news();
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> Machine
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn start(&self, slot: u8, grant: &grants::Grant) -> bool {
        let Some((process, native)) = self.find_who(Who::Task(slot)).zip(self.board.native_index(slot))
        else {
            return false;
        };
        // What faulted has to be ended before it can start.
        process.terminate(None);
        process.start(self.starting);
        let id = process.processid();
        let runs = !matches!(process.get_state(), State::Faulted | State::Terminated);
        // While it has memory left for that: one that takes all of it could not call the capsule.
        if !runs || self.grant.enter(id, |_, _| ()).is_err() {
            process.terminate(None);
            return false;
        }
        self.shares.begin(native, grant, id.id());
        true
    }

    fn terminate(&self, slot: u8) {
        if let Some(share) = self.board.native_index(slot).and_then(|native| self.shares.natives.get(native))
        {
            share.end();
        }
        if let Some(process) = self.find_who(Who::Task(slot)) {
            process.terminate(None);
        }
    }

    fn reports(&self, slot: u8) -> bool {
        let share = self.board.native_index(slot).and_then(|native| self.shares.natives.get(native));
        share.is_some_and(|share| share.reports(self.shares.now_us()))
    }

    /// What a slot has used. Its memory is what its process holds of its partition, with what the kernel keeps there for it
    /// (its grants); it is never more than the partition.
    fn used(&self, slot: u8) -> Used {
        let share = self.board.native_index(slot).and_then(|native| self.shares.natives.get(native));
        let used = share.map_or(Used::default(), |share| share.usage());
        let mem_bytes = self.find_who(Who::Task(slot)).map_or(0, |process| {
            let addresses = process.get_addresses();
            let kernels = addresses.sram_end.saturating_sub(addresses.sram_grant_start);
            own(process).saturating_add(u32::try_from(kernels).unwrap_or(u32::MAX))
        });
        Used { mem_bytes, mem_peak_bytes: mem_bytes, ..used }
    }

    fn host(&self, permille: u16, strict: bool) {
        self.shares.host(permille.saturating_add(self.board.host_permille).min(1000), strict);
    }

    fn now_ms(&self) -> u64 {
        self.shares.now_us() / 1000
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> Watch
    for Capsule<SLOTS, NATIVES, UP, DOWN>
{
    fn who(&self, app: ShortId) -> Option<Who> {
        self.board.who(app)
    }

    fn native(&self, slot: u8) -> Option<usize> {
        self.board.native_index(slot)
    }

    fn ran(&self, who: Who) {
        match who {
            Who::Agent => self.agent_ran.set(true),
            Who::Host => self.look_at_host(true),
            Who::Task(slot) => self.look(slot),
        }
    }

    fn turn(&self) {
        self.resume();
    }

    fn window(&self) {
        for slot in (0..SLOTS as u8).filter(|slot| self.board.native(*slot).is_some()) {
            self.look(slot);
            if let Slot::Stopping { deadline_ms } = self.state(slot)
                && deadline_ms <= self.now_ms()
            {
                self.core.map(|core| core.slots.ended(&self.env(), slot, End::Killed));
            }
        }
        self.look_at_agent();
        self.end_hung_host();
        self.look_at_host(false);
        self.news();
    }

    fn awaits(&self) -> bool {
        let stops = |slot: u8| matches!(self.state(slot), Slot::Stopping { .. });
        self.agent_died() || (0..SLOTS as u8).any(|slot| self.board.native(slot).is_some() && stops(slot))
    }
}
