//! The modules of a node and their turns.

use crate::abi;
use crate::module::{self, Event, Loaded, Pause, StartError, Usage};
use alloc::format;
use alloc::vec::Vec;
use grants::{Budget, Cause, Grant, Slot, SlotEvent};
use wasmi::{Error, ResumableCall, ResumableCallHostTrap, ResumableCallOutOfFuel, Val};

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

/// The device is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError;

/// The node's devices.
pub trait Host {
    /// Reads a sensor, in thousandths of its unit.
    fn sensor_read(&mut self, task: u16, index: u32) -> Result<i32, HostError>;
    /// Switches an LED.
    fn led_set(&mut self, task: u16, index: u32, on: bool) -> Result<(), HostError>;
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
    /// What it may use.
    pub grant: Grant,
}

/// Where a module is in its run.
enum Run {
    Fresh,
    OutOfFuel(ResumableCallOutOfFuel),
    /// Suspended in a call until a time.
    Waiting {
        call: ResumableCallHostTrap,
        until_ms: u64,
    },
    /// Ended, or being moved.
    Nothing,
}

struct Task {
    task: u16,
    slot: Slot,
    loaded: Loaded,
    run: Run,
    budget: Budget,
    mem_granted: u32,
    end: Option<Event>,
}

/// Runs modules under their grants.
pub struct Executor {
    config: Config,
    window_ends_ms: u64,
    tasks: Vec<Task>,
}

impl Executor {
    /// An executor without modules.
    pub fn new(config: Config) -> Self {
        Self { config, window_ends_ms: 0, tasks: Vec::new() }
    }

    /// Validates and starts a module; its entry is first called by [`Executor::step`].
    pub fn start(&mut self, launch: &Launch<'_>, now_ms: u64) -> Result<(), StartError> {
        self.tasks.retain(|task| task.task != launch.task || task.slot.may_run());
        let taken = self.tasks.iter().any(|task| task.task == launch.task);
        if taken || self.tasks.len() >= self.config.tasks_max {
            return Err(StartError::NoSlot);
        }
        let window_fuel = self.config.fuel_per_ms * self.config.window_ms;
        let budget = Budget::new(launch.grant.cpu_permille, window_fuel, 0);
        let loaded = module::load(launch, window_fuel, now_ms)?;
        let life = [SlotEvent::Reserve, SlotEvent::Stage, SlotEvent::Verify { good: true }, SlotEvent::Start];
        let slot = life.into_iter().try_fold(Slot::Free, Slot::on).map_err(|_| StartError::NoSlot)?;
        self.tasks.push(Task {
            task: launch.task,
            slot,
            loaded,
            run: Run::Fresh,
            budget,
            mem_granted: launch.grant.mem_bytes,
            end: None,
        });
        Ok(())
    }

    /// Ends a module. [`Event::Killed`] follows, unless it has ended already.
    pub fn kill(&mut self, task: u16) -> bool {
        let found = self.tasks.iter_mut().find(|held| held.task == task && held.slot.may_run());
        found.map(|held| held.finish(Cause::Stopped, Event::Killed)).is_some()
    }

    /// Lets every module use what its budget holds, and gives the time at which there is more to do: `None` if only
    /// an event from outside can bring that.
    pub fn step(&mut self, host: &mut impl Host, now_ms: u64) -> Option<u64> {
        self.roll_windows(now_ms);
        let mut next = None;
        for task in &mut self.tasks {
            if let Some(at) = task.advance(host, now_ms, self.window_ends_ms) {
                next = Some(next.map_or(at, |next: u64| next.min(at)));
            }
        }
        next
    }

    /// The next event of one module. After the last one the module is gone.
    pub fn next_event(&mut self, task: u16) -> Option<Event> {
        let at = self.tasks.iter().position(|held| held.task == task)?;
        let held = &mut self.tasks[at];
        let state = held.loaded.store.data_mut();
        if let Some(message) = state.messages.pop_front() {
            return Some(Event::Message(message));
        }
        if !state.log.is_empty() {
            let piece = state.log.len().min(abi::LOG_PIECE);
            return Some(Event::Log(state.log.drain(..piece).collect()));
        }
        let end = held.end.take()?;
        self.tasks.remove(at);
        Some(end)
    }

    /// True if [`Executor::next_event`] has something of any module.
    pub fn has_events(&self) -> bool {
        self.tasks.iter().any(|task| {
            let state = task.loaded.store.data();
            task.end.is_some() || !state.messages.is_empty() || !state.log.is_empty()
        })
    }

    /// What a module has used.
    pub fn usage(&self, task: u16) -> Option<Usage> {
        let held = self.tasks.iter().find(|held| held.task == task)?;
        Some(Usage {
            cpu_ms: held.budget.used() / self.config.fuel_per_ms,
            granted_ms: held.budget.granted() / self.config.fuel_per_ms,
            mem_bytes: held.loaded.store.data().mem_bytes(),
        })
    }

    fn roll_windows(&mut self, now_ms: u64) {
        if now_ms < self.window_ends_ms {
            return;
        }
        let late = (now_ms - self.window_ends_ms) / self.config.window_ms;
        let windows = (late + 1).min(WINDOWS_LATE_MAX);
        for task in &mut self.tasks {
            for _ in 0..windows {
                task.budget.start_window();
            }
        }
        self.window_ends_ms += (late + 1) * self.config.window_ms;
    }
}

impl Task {
    fn finish(&mut self, cause: Cause, event: Event) {
        if let Ok(ended) = self.slot.on(SlotEvent::Stop { deadline_ms: 0 }).and_then(|slot| match slot {
            Slot::Ended(_) => Ok(slot),
            slot => slot.on(SlotEvent::End(cause)),
        }) {
            self.slot = ended;
            self.run = Run::Nothing;
            self.end = Some(event);
        }
    }

    /// Runs until the budget is used up, the module waits, or it ends.
    fn advance(&mut self, host: &mut impl Host, now_ms: u64, window_ends_ms: u64) -> Option<u64> {
        let mut input = None;
        while self.slot.may_run() {
            if let Run::Waiting { until_ms, .. } = self.run
                && until_ms > now_ms
            {
                return Some(until_ms);
            }
            if self.budget.remaining() == 0 {
                return Some(window_ends_ms);
            }
            self.slice(&mut input, host, now_ms);
        }
        None
    }

    /// One uninterrupted run. `input` is the result of the call that the module is suspended in, if it has one.
    fn slice(&mut self, input: &mut Option<Val>, host: &mut impl Host, now_ms: u64) {
        let mut fuel = self.budget.remaining();
        let run = core::mem::replace(&mut self.run, Run::Nothing);
        if let Run::OutOfFuel(call) = &run {
            // One operation may cost more than what is left: it is let through and paid by the next windows.
            fuel = fuel.max(call.required_fuel());
        }
        let store = &mut self.loaded.store;
        store.data_mut().now_ms = now_ms;
        let mut result = [Val::I32(0)];
        let outcome = store.set_fuel(fuel).and_then(|()| match run {
            Run::Fresh => self.loaded.entry.call_resumable(&mut *store, &[], &mut result),
            Run::OutOfFuel(call) => call.resume(&mut *store, &mut result),
            Run::Waiting { call, .. } => {
                let input: Vec<Val> = input.take().into_iter().collect();
                call.resume(&mut *store, &input, &mut result)
            }
            Run::Nothing => Err(Error::new("nothing to run")),
        });
        let left = store.get_fuel().unwrap_or(0);
        self.budget.charge(fuel.saturating_sub(left).max(1));
        match outcome {
            Ok(ResumableCall::Finished) => {
                let code = result[0].i32().unwrap_or(0);
                self.finish(Cause::Exited(code), Event::Exited(code));
            }
            Ok(ResumableCall::OutOfFuel(call)) => self.run = Run::OutOfFuel(call),
            Ok(ResumableCall::HostTrap(call)) => self.suspended(call, input, host, now_ms),
            Err(error) => self.trapped(&error),
        }
    }

    /// Does what a suspended call asks for and leaves its result in `input`.
    fn suspended(
        &mut self,
        call: ResumableCallHostTrap,
        input: &mut Option<Val>,
        host: &mut impl Host,
        now_ms: u64,
    ) {
        let Some(pause) = call.host_error().downcast_ref::<Pause>().copied() else {
            self.trapped(&Error::new("unknown host error"));
            return;
        };
        let mut until_ms = now_ms;
        match pause {
            Pause::Sleep { ms } => until_ms = now_ms + u64::from(ms.max(1)),
            Pause::Led { index, on } => {
                *input = Some(Val::I32(host.led_set(self.task, index, on).map_or(abi::E_NODEV, |()| 0)));
            }
            Pause::Sensor { index, out } => {
                let code = match host.sensor_read(self.task, index) {
                    Err(HostError) => abi::E_NODEV,
                    Ok(value) => {
                        let bytes = value.to_le_bytes();
                        let store = &mut self.loaded.store;
                        match self.loaded.memory.map(|memory| memory.write(store, out as usize, &bytes)) {
                            Some(Ok(())) => 0,
                            _ => abi::E_INVALID,
                        }
                    }
                };
                *input = Some(Val::I32(code));
            }
        }
        self.run = Run::Waiting { call, until_ms };
    }

    fn trapped(&mut self, error: &Error) {
        match self.loaded.store.data().refused {
            Some(asked) => {
                let event = Event::OverMemory { asked, granted: self.mem_granted };
                self.finish(Cause::OverMemory, event);
            }
            None => self.finish(Cause::Fault, Event::Trapped(format!("{error}"))),
        }
    }
}
