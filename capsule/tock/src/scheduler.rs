//! The scheduler: each process has the time that its grant names, and not more.
//!
//! Windows of [`WINDOW_US`]; the agent runs whenever it is ready; the host and the tasks of native slots take turns within
//! what is left of their budgets; what nobody with a budget wants may be had by those whose share is no ceiling. When all
//! that are ready have used theirs up, the core sleeps until the window ends. Other processes run when nobody else is ready.

use crate::board::Who;
use crate::shares::{Share, Shares, WINDOW_US};
use core::cell::Cell;
use core::num::NonZeroU32;
use kernel::capabilities::ProcessManagementCapability;
use kernel::deferred_call::DeferredCall;
use kernel::hil::time::{Alarm, AlarmClient, Frequency, Ticks};
use kernel::platform::chip::Chip;
use kernel::process::{Process, ProcessId, ShortId, StoppedExecutingReason};
use kernel::scheduler::{Scheduler, SchedulingDecision};

/// The longest time that a process has before another one's turn, microseconds.
pub const SLICE_US: u64 = 10_000;
/// What is left of a budget is not used unless it is more, microseconds: the kernel runs no shorter slices
/// (`MIN_QUANTA_THRESHOLD_US` in `kernel/src/kernel.rs`).
const LEAST_US: u64 = 500;

/// Whoever knows what processes are for and looks after them: the capsule.
pub trait Watch {
    /// Who a process is.
    fn who(&self, app: ShortId) -> Option<Who>;
    /// Which share is a native slot's.
    fn native(&self, slot: u8) -> Option<usize>;
    /// A process has run, and may have ended.
    fn ran(&self, who: Who);
    /// Some process has had its turn, or none is ready: work that was put off for them goes on.
    fn turn(&self);
    /// A window has begun.
    fn window(&self);
    /// True if the next window has to begin on time, even if nobody runs.
    fn awaits(&self) -> bool;
}

/// Who runs, and how its time is booked.
#[derive(Clone, Copy)]
struct Running {
    who: Option<Who>,
    process: usize,
    extra: bool,
}

/// See the module.
pub struct BudgetScheduler<A: Alarm<'static> + 'static, const NATIVES: usize> {
    kernel: &'static kernel::Kernel,
    management: &'static dyn ProcessManagementCapability,
    alarm: &'static A,
    shares: &'static Shares<NATIVES>,
    watch: &'static dyn Watch,
    look_for_interrupts: bool,
    last: Cell<A::Ticks>,
    /// Microseconds times the alarm's frequency that do not make a whole microsecond.
    rest: Cell<u64>,
    window: Cell<u64>,
    /// The window at whose end the alarm goes off.
    armed: Cell<Option<u64>>,
    running: Cell<Option<Running>>,
    /// Where the next turn begins in the kernel's table.
    turn: Cell<usize>,
}

impl<A: Alarm<'static>, const NATIVES: usize> BudgetScheduler<A, NATIVES> {
    /// `alarm` is nobody else's. `look_for_interrupts`: ask the chip for interrupts before each decision, which
    /// `qemu_rv32_virt` needs: a trap in the kernel turns the timer's interrupt off there until somebody asks
    /// (`chips/qemu_rv32_virt_chip/src/chip.rs`), and one process would run for ever. A trap after this decision and before
    /// the process runs is beyond a scheduler: against that, the board's scheduler timer has to turn the interrupt on in
    /// `arm`, with interrupts of the machine mode off until the process runs.
    pub fn new(
        kernel: &'static kernel::Kernel,
        management: &'static dyn ProcessManagementCapability,
        alarm: &'static A,
        shares: &'static Shares<NATIVES>,
        watch: &'static dyn Watch,
        look_for_interrupts: bool,
    ) -> Self {
        Self {
            kernel,
            management,
            alarm,
            shares,
            watch,
            look_for_interrupts,
            last: Cell::new(alarm.now()),
            rest: Cell::new(0),
            window: Cell::new(0),
            armed: Cell::new(None),
            running: Cell::new(None),
            turn: Cell::new(0),
        }
    }

    /// Becomes the alarm's client. To be called once, before the kernel's loop.
    pub fn setup(&'static self) {
        self.alarm.set_alarm_client(self);
    }

    fn processes(&self) -> impl Iterator<Item = &'static dyn Process> {
        self.kernel.process_iter_capability(self.management)
    }

    /// Brings clock and windows up to date.
    fn tick(&self) {
        let now = self.alarm.now();
        let passed = u64::from(now.wrapping_sub(self.last.get()).into_u32());
        self.last.set(now);
        let frequency = u64::from(A::Frequency::frequency()).max(1);
        let sum = self.rest.get() + passed * 1_000_000;
        self.rest.set(sum % frequency);
        let now_us = self.shares.now_us() + sum / frequency;
        self.shares.set_now_us(now_us);
        let windows = (now_us - self.window.get()) / WINDOW_US;
        if windows > 0 {
            self.window.set(self.window.get() + windows * WINDOW_US);
            self.shares.start_windows(windows);
            self.watch.window();
        }
    }

    fn share(&self, who: Who) -> Option<&'static Share> {
        match who {
            Who::Agent => None,
            Who::Host => Some(&self.shares.host),
            Who::Task(slot) => self.shares.natives.get(self.watch.native(slot)?),
        }
    }

    /// Whose turn it is, and for how long. Says also whether somebody waits for the next window.
    fn choose(&self) -> (Option<(&'static dyn Process, Running, u64)>, bool) {
        let (mut best, mut best_rank, mut throttled) = (None, 0, false);
        let count = self.processes().count();
        let turn = self.turn.get();
        for (index, process) in self.processes().enumerate().filter(|(_, process)| process.ready()) {
            let who = self.watch.who(process.short_app_id());
            let id = process.processid().id();
            let share = who.and_then(|who| self.share(who));
            let left = share.map_or(0, Share::remaining);
            let (rank, extra, slice) = match (who, share) {
                (Some(Who::Agent), _) => (4, false, SLICE_US),
                // A task that is not started, or has started itself anew, has no share.
                (Some(Who::Task(_)), Some(share)) if share.process() != Some(id) => continue,
                (Some(_), Some(_)) if left > LEAST_US => (3, false, left.min(SLICE_US)),
                (Some(_), Some(share)) => {
                    throttled = true;
                    if share.strict() {
                        continue;
                    }
                    let rest = (self.window.get() + WINDOW_US).saturating_sub(self.shares.now_us());
                    (2, true, rest.clamp(2 * LEAST_US, SLICE_US))
                }
                (Some(_), None) => continue,
                (None, _) => (1, false, SLICE_US),
            };
            // Among equals the one whose turn it is: the first from `turn` on, around the table.
            let place = (index + count - turn % count.max(1)) % count.max(1);
            if rank > best_rank
                || (rank == best_rank && best.as_ref().is_some_and(|(_, _, _, held)| place < *held))
            {
                best_rank = rank;
                best = Some((process, Running { who, process: id, extra }, slice, place));
            }
        }
        if let Some((_, _, _, place)) = best
            && best_rank < 4
        {
            self.turn.set((turn + place + 1) % count.max(1));
        }
        (best.map(|(process, running, slice, _)| (process, running, slice)), throttled)
    }

    /// Sees to it that the next decision is made when the window ends.
    fn arm(&self) {
        let window = self.window.get();
        if self.armed.get() == Some(window) && self.alarm.is_armed() {
            return;
        }
        let left = (window + WINDOW_US).saturating_sub(self.shares.now_us());
        let ticks = (left * u64::from(A::Frequency::frequency())).div_ceil(1_000_000);
        let ticks = A::Ticks::from_or_max(ticks).max(self.alarm.minimum_dt());
        self.alarm.set_alarm(self.last.get(), ticks);
        self.armed.set(Some(window));
    }
}

impl<A: Alarm<'static>, const NATIVES: usize> AlarmClient for BudgetScheduler<A, NATIVES> {
    fn alarm(&self) {
        // It has woken the core: the next decision sees that the window is over.
        self.armed.set(None);
    }
}

impl<C: Chip, A: Alarm<'static>, const NATIVES: usize> Scheduler<C> for BudgetScheduler<A, NATIVES> {
    fn next(&self) -> SchedulingDecision {
        self.tick();
        let (chosen, throttled) = self.choose();
        if let Some((process, running, slice)) = chosen {
            let slice = NonZeroU32::new(slice as u32);
            self.running.set(Some(running));
            return SchedulingDecision::RunProcess((process.processid(), slice));
        }
        self.watch.turn();
        // Asked now, not when the window began: a task may have been told to stop since, and the agent may sleep for long.
        if throttled || self.watch.awaits() {
            self.arm();
        } else if !self.alarm.is_armed() {
            // The clock is read before it has gone round.
            let half = A::Ticks::half_max_value().min(A::Ticks::from_or_max(1 << 31));
            self.alarm.set_alarm(self.last.get(), half);
            self.armed.set(None);
        }
        SchedulingDecision::TrySleep
    }

    fn result(&self, _reason: StoppedExecutingReason, execution_time_us: Option<u32>) {
        let Some(running) = self.running.take() else { return };
        let Some(who) = running.who else { return self.watch.turn() };
        if let (Some(share), Some(us)) = (self.share(who), execution_time_us) {
            share.charge(us.into(), running.extra);
        }
        self.watch.ran(who);
        self.watch.turn();
    }

    fn do_kernel_work_now(&self, chip: &C) -> bool {
        if self.look_for_interrupts {
            chip.service_pending_interrupts();
        }
        chip.has_pending_interrupts() || DeferredCall::has_tasks()
    }

    fn continue_process(&self, id: ProcessId, chip: &C) -> bool {
        // A process that starts itself anew has another identity: what becomes of it is decided before it runs.
        let same = self.running.get().is_some_and(|running| running.process == id.id());
        same && !(chip.has_pending_interrupts() || DeferredCall::has_tasks())
    }
}
