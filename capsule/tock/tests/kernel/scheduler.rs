//! CPU shares, to the microsecond.

use crate::machine::{Machine, TRUSTED, kernel, leak, turn};
use crate::process::{Act, Fake};
use capsule_tock::{BudgetScheduler, CARRY_US, SLICE_US, Shares, WINDOW_US, Watch, Who};
use grants::Grant;
use kernel::Kernel;
use kernel::platform::{KernelResources, SyscallDriverLookup};
use kernel::process::{Process, ShortId};
use kernel::syscall::SyscallDriver;
use proptest::prelude::*;
use std::cell::Cell;

const TASKS: usize = 3;
const AGENT: u32 = 1;
const HOST: u32 = 2;
const TASK: u32 = 10;

/// Knows who is who, and lets everybody live.
#[derive(Default)]
struct Everybody {
    windows: Cell<u64>,
}

impl Watch for Everybody {
    fn who(&self, app: ShortId) -> Option<Who> {
        let ShortId::Fixed(app) = app else { return None };
        match app.get() {
            AGENT => Some(Who::Agent),
            HOST => Some(Who::Host),
            task if (TASK..TASK + TASKS as u32).contains(&task) => Some(Who::Task((task - TASK) as u8)),
            _ => None,
        }
    }
    fn native(&self, slot: u8) -> Option<usize> {
        Some(slot.into())
    }
    fn ran(&self, _: Who) {}
    fn turn(&self) {}
    fn window(&self) {
        self.windows.set(self.windows.get() + 1);
    }
    fn awaits(&self) -> bool {
        false
    }
}

struct Resources {
    scheduler: &'static BudgetScheduler<Machine, TASKS>,
    machine: &'static Machine,
}

impl SyscallDriverLookup for Resources {
    fn with_driver<F, R>(&self, _: usize, f: F) -> R
    where
        F: FnOnce(Option<&dyn SyscallDriver>) -> R,
    {
        f(None)
    }
}

impl KernelResources<Machine> for Resources {
    type SyscallDriverLookup = Self;
    type SyscallFilter = ();
    type ProcessFault = ();
    type ContextSwitchCallback = ();
    type Scheduler = BudgetScheduler<Machine, TASKS>;
    type SchedulerTimer = Machine;
    type WatchDog = ();
    fn syscall_driver_lookup(&self) -> &Self {
        self
    }
    fn syscall_filter(&self) -> &() {
        &()
    }
    fn process_fault(&self) -> &() {
        &()
    }
    fn context_switch_callback(&self) -> &() {
        &()
    }
    fn scheduler(&self) -> &BudgetScheduler<Machine, TASKS> {
        self.scheduler
    }
    fn scheduler_timer(&self) -> &Machine {
        self.machine
    }
    fn watchdog(&self) -> &() {
        &()
    }
}

struct World {
    kernel: &'static Kernel,
    machine: &'static Machine,
    shares: &'static Shares<TASKS>,
    resources: Resources,
    agent: &'static Fake,
    host: &'static Fake,
    tasks: [&'static Fake; TASKS],
}

impl World {
    fn new() -> Self {
        let machine = leak(Machine::default());
        let (kernel, table) = kernel(6);
        let shares = leak(Shares::new());
        let watch = leak(Everybody::default());
        let scheduler = leak(BudgetScheduler::new(kernel, &TRUSTED, machine, shares, watch, true));
        scheduler.setup();
        let load = |index: usize, app| Fake::load(kernel, table, machine, index, app);
        Self {
            kernel,
            machine,
            shares,
            resources: Resources { scheduler, machine },
            tasks: [load(0, TASK), load(1, TASK + 1), load(4, TASK + 2)],
            agent: load(3, AGENT),
            host: load(2, HOST),
        }
    }

    /// Gives a task a share.
    fn grant(&self, task: usize, permille: u16, strict: bool) {
        let grant = Grant { cpu_permille: permille, strict, ..Grant::default() };
        self.shares.begin(task, &grant, self.tasks[task].processid().id());
    }

    fn spin(&self, task: usize) {
        self.tasks[task].go(&[Act::Run(u64::MAX)]);
    }

    fn step(&self) {
        let none = None::<&kernel::ipc::IPC<0>>;
        self.kernel.kernel_loop_operation(&self.resources, self.machine, none, false, &TRUSTED);
    }

    fn until(&self, us: u64) {
        while self.machine.now_us.get() < us {
            self.step();
        }
    }

    /// Runs so many windows: what each task had in each of them.
    fn windows(&self, count: u64) -> Vec<[u64; TASKS]> {
        let begin = self.machine.now_us.get().div_ceil(WINDOW_US) * WINDOW_US;
        self.until(begin);
        let mut seen = Vec::new();
        for window in 1..=count {
            let before = self.tasks.map(|task| task.ran_us.get());
            self.until(begin + window * WINDOW_US);
            let after = self.tasks.map(|task| task.ran_us.get());
            seen.push(std::array::from_fn(|task| after[task] - before[task]));
        }
        seen
    }
}

fn sum(windows: &[[u64; TASKS]], task: usize) -> u64 {
    windows.iter().map(|window| window[task]).sum()
}

#[test]
fn a_quarter_is_a_quarter() {
    let _turn = turn();
    for strict in [true, false] {
        let world = World::new();
        world.grant(0, 250, true);
        world.grant(1, 750, strict);
        world.spin(0);
        world.spin(1);
        let seen = world.windows(40);
        for (window, ran) in seen.iter().enumerate() {
            assert!(ran[0].abs_diff(25_000) <= 1_000, "window {window}: {ran:?}");
            assert!(ran[1].abs_diff(75_000) <= 1_000, "window {window}: {ran:?}");
        }
        assert!(sum(&seen, 0).abs_diff(40 * 25_000) <= 1_000, "{}", sum(&seen, 0));
    }
}

#[test]
fn a_ceiling_holds_while_the_core_is_idle() {
    let _turn = turn();
    let world = World::new();
    world.grant(0, 250, true);
    world.spin(0);
    let seen = world.windows(40);
    for ran in &seen {
        assert!(ran[0].abs_diff(25_000) <= 1_000, "{ran:?}");
    }
    assert!(sum(&seen, 0) <= 40 * 25_000 + CARRY_US);
    let (used, granted) = world.shares.natives[0].used();
    assert!(used <= granted && used == world.tasks[0].ran_us.get(), "{used} of {granted}");
    // The rest of the time the core sleeps, and wakes once a window.
    assert!(world.machine.slept_us.get() >= 40 * 74_000, "{}", world.machine.slept_us.get());
    assert!(world.machine.sleeps.get() <= 100, "{}", world.machine.sleeps.get());
}

#[test]
fn what_nobody_wants_goes_to_those_without_a_ceiling() {
    let _turn = turn();
    let world = World::new();
    world.grant(0, 100, true);
    world.grant(1, 200, false);
    world.spin(0);
    world.spin(1);
    let seen = world.windows(20);
    for ran in &seen {
        assert!(ran[0].abs_diff(10_000) <= 1_000, "{ran:?}");
        assert!(ran[1] >= 88_000, "{ran:?}");
    }
    // Nothing is owed for it: when another one comes that has a budget, all get theirs.
    world.grant(2, 700, true);
    world.spin(2);
    let seen = world.windows(20);
    for ran in &seen[1..] {
        let shares = [10_000, 20_000, 70_000];
        for task in 0..TASKS {
            assert!(ran[task].abs_diff(shares[task]) <= 1_000, "{ran:?}");
        }
    }
}

#[test]
fn the_agent_never_waits() {
    let _turn = turn();
    let world = World::new();
    for (task, (share, strict)) in [(400, true), (400, false), (200, false)].into_iter().enumerate() {
        world.grant(task, share, strict);
        world.spin(task);
    }
    world.host.go(&[Act::Run(u64::MAX)]);
    let mut longest = 0;
    for round in 0..300u64 {
        // Something comes for the agent, whatever runs.
        let at = world.machine.now_us.get() + 1_700 + round % 13 * 97;
        world.machine.interrupt.set(Some(at));
        world.until(at);
        world.agent.go(&[Act::Run(3_000)]);
        let before = world.agent.ran_us.get();
        let begin = world.machine.now_us.get();
        while world.agent.ran_us.get() < before + 3_000 {
            world.step();
        }
        longest = longest.max(world.machine.now_us.get() - begin - 3_000);
    }
    assert!(longest <= 1_000, "it waited {longest} us");
    // It is interrupted, so that others are heard: a slice is not for ever.
    world.agent.go(&[Act::Run(u64::MAX)]);
    let begin = world.machine.now_us.get();
    world.step();
    assert!(world.machine.now_us.get() - begin <= SLICE_US);
}

#[test]
fn a_share_too_small_for_a_slice_is_saved_up() {
    let _turn = turn();
    let world = World::new();
    world.grant(0, 3, true);
    world.spin(0);
    let seen = world.windows(200);
    assert!(sum(&seen, 0).abs_diff(200 * 300) <= CARRY_US, "{}", sum(&seen, 0));
    assert!(seen.iter().all(|ran| ran[0] <= CARRY_US + 300));
}

#[test]
fn rest_is_saved_within_bounds() {
    let _turn = turn();
    let world = World::new();
    world.grant(0, 100, true);
    world.until(5_000_000);
    world.spin(0);
    let seen = world.windows(3);
    assert!(seen[0][0] <= 10_000 + 2_000, "at most two hundredths of the core more: {seen:?}");
    let (used, granted) = world.shares.natives[0].used();
    assert!(granted >= 5_000_000 / 10 && used <= 4 * 10_000 + CARRY_US);
}

#[test]
fn who_joins_in_the_middle_of_a_window_has_a_part_of_it() {
    let _turn = turn();
    for late in [10_000, 90_000] {
        let world = World::new();
        // Somebody keeps the clock going.
        world.grant(1, 10, false);
        world.spin(1);
        world.until(late);
        world.grant(0, 300, true);
        world.spin(0);
        world.until(WINDOW_US);
        let (ran, part) = (world.tasks[0].ran_us.get(), (WINDOW_US - late) * 3 / 10);
        assert!(ran.abs_diff(part) <= SLICE_US / 10 * 4, "{ran} of {part}");
    }
}

#[test]
fn a_task_without_a_share_and_its_second_self_do_not_run() {
    let _turn = turn();
    let world = World::new();
    world.spin(0);
    world.grant(1, 500, false);
    world.tasks[1].terminate(None);
    world.tasks[1].start(&TRUSTED);
    world.spin(1);
    world.grant(2, 500, false);
    world.shares.natives[2].end();
    world.spin(2);
    assert_eq!(world.windows(5), vec![[0; TASKS]; 5]);
}

#[test]
fn the_clock_goes_on_while_nobody_runs() {
    let _turn = turn();
    let world = World::new();
    world.grant(0, 100, true);
    // Ten minutes at 10 MHz: the ticks go round.
    world.until(600_000_000);
    assert!(world.machine.now_us.get() - world.shares.now_us() <= 300_000_000);
    world.step();
    let (_, granted) = world.shares.natives[0].used();
    assert!(granted.abs_diff(world.shares.now_us() / 10) <= 10_000, "{granted} at {}", world.shares.now_us());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Any shares that a ledger would give, any mix of work and rest: nobody has more than its own, and who always wants has
    /// all of it.
    #[test]
    fn nobody_has_more_than_its_share(shares in [0u16..334, 0u16..334, 0u16..334], bursts in prop::collection::vec((0usize..TASKS, 1u64..120_000, 0u64..90_000), 1..40), spinner in 0usize..TASKS) {
        let _turn = turn();
        let world = World::new();
        for (task, share) in shares.into_iter().enumerate() { world.grant(task, share, true); }
        world.spin(spinner);
        let begin = world.machine.now_us.get();
        let mut marks = vec![[0; TASKS]];
        for (task, run, pause) in bursts {
            if task != spinner && world.tasks[task].acts.borrow().is_empty() { world.tasks[task].go(&[Act::Run(run)]); }
            let until = world.machine.now_us.get() + pause;
            while world.machine.now_us.get() < until {
                world.step();
                while world.machine.now_us.get() / WINDOW_US >= marks.len() as u64 {
                    marks.push(world.tasks.map(|task| task.ran_us.get()));
                }
            }
        }
        let passed = world.machine.now_us.get() - begin;
        for task in 0..TASKS {
            let window = u64::from(shares[task]) * 100;
            let (used, granted) = world.shares.natives[task].used();
            // The kernel books the whole of a slice that is cut short within its last 500 us.
            prop_assert!(used >= world.tasks[task].ran_us.get());
            prop_assert!(used <= granted);
            for marks in marks.windows(2) {
                // A mark may lie a slice behind the window's end.
                prop_assert!(marks[1][task] - marks[0][task] <= window + CARRY_US + SLICE_US);
            }
            if task == spinner {
                let whole = passed / WINDOW_US * window;
                prop_assert!(used + CARRY_US >= whole, "{} of {}", used, whole);
            }
        }
    }
}
