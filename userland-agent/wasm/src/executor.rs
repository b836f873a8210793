//! The modules of a node and their turns.

use crate::abi;
use crate::check::{Checker, Probe};
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
    /// Bytes that the framework gave it.
    pub data: &'a [u8],
    /// How it is asked whether it is well.
    pub check: Option<node_proto::Check<'a>>,
    /// What it may use.
    pub grant: Grant,
}

/// Where a module is in its run.
enum Run {
    Fresh,
    OutOfFuel(ResumableCallOutOfFuel),
    /// Suspended in a call until a time, or until something comes.
    Waiting {
        call: ResumableCallHostTrap,
        until_ms: u64,
        wait: Wait,
    },
    /// Ended, or being moved.
    Nothing,
}

/// What a suspended module waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Its turn: the call's result is there.
    Turn,
    /// Time to pass.
    Sleep,
    /// A message, for this piece of its memory.
    Message { ptr: u32, len: u32 },
}

struct Task {
    task: u16,
    slot: Slot,
    loaded: Loaded,
    run: Run,
    /// The result of the call that the module is suspended in, once it is there.
    input: Option<Val>,
    checker: Option<Checker>,
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
            input: None,
            checker: launch.check.map(|check| Checker::new(&check, now_ms)),
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

    /// Tells a module to stop within `grace_ms`: it comes back from what it waits for. False if it cannot notice, or
    /// is not there.
    pub fn stop(&mut self, task: u16, grace_ms: u32, now_ms: u64) -> bool {
        let Some(held) = self.tasks.iter_mut().find(|held| held.task == task && held.slot.may_run()) else {
            return false;
        };
        let at_ms = now_ms + u64::from(grace_ms);
        let state = held.loaded.store.data_mut();
        state.stop_at_ms = Some(state.stop_at_ms.map_or(at_ms, |held| held.min(at_ms)));
        held.loaded.notices_stop
    }

    /// Hands a message of the framework to a module. False if there is no room or no such module.
    pub fn deliver(&mut self, task: u16, data: &[u8]) -> bool {
        let Some(held) = self.tasks.iter_mut().find(|held| held.task == task && held.slot.may_run()) else {
            return false;
        };
        let inbox = &mut held.loaded.store.data_mut().inbox;
        let room = inbox.len() < abi::MESSAGES_WAITING_MAX && data.len() <= abi::MESSAGE_MAX;
        if room {
            inbox.push_back(data.into());
        }
        room
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
        if let Some(news) = held.checker.as_mut().and_then(Checker::news) {
            return Some(news);
        }
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
            let checked = task.checker.as_ref().is_some_and(Checker::has_news);
            checked || task.end.is_some() || !state.messages.is_empty() || !state.log.is_empty()
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
        while self.slot.may_run() {
            let budget_left = self.budget.remaining() > 0;
            let suspended = matches!(self.run, Run::Waiting { .. });
            let due = self.check_due(suspended, now_ms);
            if !self.slot.may_run() {
                break;
            }
            if due && suspended && self.input.is_none() {
                if !budget_left {
                    return Some(window_ends_ms);
                }
                self.check_slice(host, now_ms);
                continue;
            }
            if self.input.is_none()
                && let Some(until_ms) = self.wait(now_ms)
            {
                return Some(self.checker.as_ref().map_or(until_ms, |checker| until_ms.min(checker.next_ms)));
            }
            if !budget_left {
                return Some(window_ends_ms);
            }
            self.slice(host, now_ms);
        }
        None
    }

    /// Until when a suspended module waits; `None` if it may go on.
    fn wait(&mut self, now_ms: u64) -> Option<u64> {
        let Run::Waiting { until_ms, wait, .. } = self.run else { return None };
        let state = self.loaded.store.data_mut();
        let told_to_stop = state.stop_at_ms.is_some();
        match wait {
            Wait::Turn => None,
            Wait::Sleep => (until_ms > now_ms && !told_to_stop).then_some(until_ms),
            Wait::Message { ptr, len } => {
                let code = match state.inbox.pop_front() {
                    Some(message) => {
                        let bytes = &message[..message.len().min(len as usize)];
                        let store = &mut self.loaded.store;
                        match self.loaded.memory.map(|memory| memory.write(store, ptr as usize, bytes)) {
                            Some(Ok(())) => bytes.len() as i32,
                            _ => abi::E_INVALID,
                        }
                    }
                    None if until_ms > now_ms && !told_to_stop => return Some(until_ms),
                    None => 0,
                };
                self.input = Some(Val::I32(code));
                None
            }
        }
    }

    /// True if the check is to be called, or goes on. A module that has not called anything for too long has failed it.
    fn check_due(&mut self, suspended: bool, now_ms: u64) -> bool {
        let told_to_stop = self.loaded.store.data().stop_at_ms.is_some();
        let Some(checker) = self.checker.as_mut().filter(|_| !told_to_stop) else { return false };
        if checker.is_overdue(suspended, now_ms) {
            self.checked(None, now_ms);
            return false;
        }
        checker.next_ms <= now_ms
    }

    /// One uninterrupted run of the check, while the module itself is suspended.
    fn check_slice(&mut self, host: &mut impl Host, now_ms: u64) {
        let (Some(checker), Some(check)) = (&mut self.checker, self.loaded.check) else { return };
        let probe = checker.take_probe(now_ms);
        let mut fuel = self.budget.remaining();
        if let Probe::OutOfFuel(call) = &probe {
            fuel = fuel.max(call.required_fuel());
        }
        let store = &mut self.loaded.store;
        store.data_mut().now_ms = now_ms;
        let mut result = [Val::I32(0)];
        let outcome = store.set_fuel(fuel).and_then(|()| match probe {
            Probe::OutOfFuel(call) => call.resume(&mut *store, &mut result),
            Probe::Suspended(call, input) => call.resume(&mut *store, &[input], &mut result),
            Probe::Idle => check.call_resumable(&mut *store, &[], &mut result),
        });
        let left = store.get_fuel().unwrap_or(0);
        self.budget.charge(fuel.saturating_sub(left).max(1));
        match outcome {
            Ok(ResumableCall::Finished) => self.checked(result[0].i32(), now_ms),
            Ok(ResumableCall::OutOfFuel(call)) => self.go_on_checking(Probe::OutOfFuel(call)),
            Ok(ResumableCall::HostTrap(call)) => {
                let asked = call.host_error().downcast_ref::<Pause>().copied();
                match asked.and_then(|pause| self.device(pause, host)) {
                    Some(input) => self.go_on_checking(Probe::Suspended(call, input)),
                    None => self.checked(None, now_ms), // a check may not wait
                }
            }
            Err(error) if self.loaded.store.data().refused.is_some() => self.trapped(&error),
            Err(_) => self.checked(None, now_ms),
        }
    }

    fn go_on_checking(&mut self, probe: Probe) {
        if let Some(checker) = &mut self.checker {
            checker.go_on(probe);
        }
    }

    /// Takes the result of a check; `None` is none at all.
    fn checked(&mut self, result: Option<i32>, now_ms: u64) {
        if self.checker.as_mut().is_some_and(|checker| checker.done(result, now_ms)) {
            self.finish(Cause::Stopped, Event::Unhealthy);
        }
    }

    /// One uninterrupted run.
    fn slice(&mut self, host: &mut impl Host, now_ms: u64) {
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
                let input: Vec<Val> = self.input.take().into_iter().collect();
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
            Ok(ResumableCall::HostTrap(call)) => self.suspended(call, host, now_ms),
            Err(error) => self.trapped(&error),
        }
    }

    /// Does what a suspended call asks for.
    fn suspended(&mut self, call: ResumableCallHostTrap, host: &mut impl Host, now_ms: u64) {
        let Some(pause) = call.host_error().downcast_ref::<Pause>().copied() else {
            self.trapped(&Error::new("unknown host error"));
            return;
        };
        let later = |ms: u32| now_ms + u64::from(ms);
        let (until_ms, wait) = match pause {
            Pause::Sleep { ms } => (later(ms.max(1)), Wait::Sleep),
            Pause::Receive { ptr, len, wait_ms } => (later(wait_ms), Wait::Message { ptr, len }),
            device => {
                self.input = self.device(device, host);
                (now_ms, Wait::Turn)
            }
        };
        self.run = Run::Waiting { call, until_ms, wait };
    }

    /// What a call to a device comes to; `None` for what is none.
    fn device(&mut self, pause: Pause, host: &mut impl Host) -> Option<Val> {
        let code = match pause {
            Pause::Sleep { .. } | Pause::Receive { .. } => return None,
            Pause::Led { index, on } => host.led_set(self.task, index, on).map_or(abi::E_NODEV, |()| 0),
            Pause::Sensor { index, out } => match host.sensor_read(self.task, index) {
                Err(HostError) => abi::E_NODEV,
                Ok(value) => {
                    let store = &mut self.loaded.store;
                    let bytes = value.to_le_bytes();
                    match self.loaded.memory.map(|memory| memory.write(store, out as usize, &bytes)) {
                        Some(Ok(())) => 0,
                        _ => abi::E_INVALID,
                    }
                }
            },
        };
        Some(Val::I32(code))
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
