//! The modules of a node and their turns.

use crate::event::{Event, StartError, Usage};
use crate::host::Host;
use crate::module;
use crate::task::Task;
use alloc::vec::Vec;
use grants::{Grant, Leds};

#[cfg(doc)]
use crate::abi;

/// Windows that are made up for after the node was held up: the rest lapses.
const WINDOWS_LATE_MAX: u64 = 2;

/// Settings of an executor.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Fuel that stands for one millisecond of the whole core. A unit of fuel is about one instruction.
    pub fuel_per_ms: u64,
    /// Length of a budget window, milliseconds.
    pub window_ms: u64,
    /// Modules at once.
    pub tasks_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { fuel_per_ms: 2_000, window_ms: 100, tasks_max: 8 }
    }
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Its name.
    pub task: u16,
    /// The module.
    pub image: &'a [u8],
    /// Exported function to call; empty for [`abi::ENTRY`].
    pub entry: &'a str,
    /// Arguments, each ended by NUL.
    pub args: &'a [u8],
    /// Environment, each ended by NUL.
    pub env: &'a [u8],
    /// Bytes that the framework gave it.
    pub data: &'a [u8],
    /// How it is asked whether it is well.
    pub check: Option<node_proto::Check<'a>>,
    /// What it may use.
    pub grant: Grant,
    /// Which of the node's LEDs are its own.
    pub leds: Leds,
}

/// Runs modules under their grants.
pub struct Executor {
    config: Config,
    window_ends_ms: u64,
    tasks: Vec<Task>,
    /// Whose turn is the first of the next step.
    first: usize,
}

impl Executor {
    /// An executor without modules.
    pub fn new(config: Config) -> Self {
        Self { config, window_ends_ms: 0, tasks: Vec::new(), first: 0 }
    }

    /// Validates and starts a module; its entry is first called by [`Executor::step`].
    pub fn start(&mut self, launch: &Launch<'_>, now_ms: u64) -> Result<(), StartError> {
        self.tasks.retain(|task| task.task != launch.task || task.may_run());
        let taken = self.tasks.iter().any(|task| task.task == launch.task);
        if taken || self.tasks.len() >= self.config.tasks_max {
            return Err(StartError::NoSlot);
        }
        let window_fuel = self.config.fuel_per_ms * self.config.window_ms;
        let loaded = module::load(launch, window_fuel, now_ms)?;
        self.tasks.push(Task::new(launch, loaded, window_fuel, now_ms).ok_or(StartError::NoSlot)?);
        Ok(())
    }

    /// Ends a module at once, whatever it does. [`Event::Killed`] follows, unless it has ended already.
    pub fn kill(&mut self, task: u16) -> bool {
        self.running(task).map(Task::kill).is_some()
    }

    /// Tells a module to stop within `grace_ms`: it comes back from what it waits for. False if it cannot notice, or
    /// is not there.
    pub fn stop(&mut self, task: u16, grace_ms: u32, now_ms: u64) -> bool {
        self.running(task).is_some_and(|held| held.stop(now_ms + u64::from(grace_ms)))
    }

    /// Hands a message of the framework to a module. False if there is no room or no such module.
    pub fn deliver(&mut self, task: u16, data: &[u8]) -> bool {
        self.running(task).is_some_and(|held| held.deliver(data))
    }

    fn running(&mut self, task: u16) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|held| held.task == task && held.may_run())
    }

    /// Lets every module use what its budget holds, and gives the time at which there is more to do: `None` if only
    /// an event from outside can bring that. A step takes one window's fuel at most, and for each module the rest of
    /// the one operation that it is in.
    pub fn step(&mut self, host: &mut (impl Host + ?Sized), now_ms: u64) -> Option<u64> {
        self.roll_windows(now_ms);
        let mut next = None;
        // None waits for more than the budgets of the others, and none is always the last to have its turn.
        self.first = if self.first < self.tasks.len() { self.first } else { 0 };
        let (late, early) = self.tasks.split_at_mut(self.first);
        for task in early.iter_mut().chain(late) {
            if let Some(at) = task.advance(host, now_ms, self.window_ends_ms) {
                next = Some(next.map_or(at, |next: u64| next.min(at)));
            }
        }
        self.first += 1;
        next
    }

    /// The next event of one module. After the last one the module is gone.
    pub fn next_event(&mut self, task: u16) -> Option<Event> {
        let at = self.tasks.iter().position(|held| held.task == task)?;
        let event = self.tasks[at].next_event()?;
        if event.is_last() {
            self.tasks.remove(at);
        }
        Some(event)
    }

    /// True if [`Executor::next_event`] has something of any module.
    pub fn has_events(&self) -> bool {
        self.tasks.iter().any(Task::has_events)
    }

    /// What a module has used.
    pub fn usage(&self, task: u16) -> Option<Usage> {
        let held = self.tasks.iter().find(|held| held.task == task)?;
        Some(held.usage(self.config.fuel_per_ms))
    }

    fn roll_windows(&mut self, now_ms: u64) {
        if now_ms < self.window_ends_ms {
            return;
        }
        let late = (now_ms - self.window_ends_ms) / self.config.window_ms;
        let windows = (late + 1).min(WINDOWS_LATE_MAX);
        for task in &mut self.tasks {
            for _ in 0..windows {
                task.start_window();
            }
        }
        self.window_ends_ms += (late + 1) * self.config.window_ms;
    }
}
