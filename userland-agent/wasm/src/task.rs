//! One module's turns: how long it runs, what it waits for, how it ends.

use crate::abi;
use crate::check::{Checker, Probe};
use crate::engine::{Call, Chosen, Engine, Outcome, Which};
use crate::event::{Event, Trap, Usage};
use crate::executor::Launch;
use crate::heap;
use crate::host::{Host, HostError};
use crate::kv::KvError;
use crate::module::Loaded;
use crate::state::{Pause, Piece, key};
use grants::{Budget, Cause, Slot, SlotEvent};

/// Where a module is in its run.
enum Run {
    /// Not begun, or out of fuel.
    Ready(Call),
    /// Suspended in a call until a time, or until something comes.
    Waiting { call: Call, until_ms: u64, wait: Wait },
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

/// A module under its grant.
pub(crate) struct Task {
    /// Its name.
    pub task: u16,
    slot: Slot,
    loaded: Loaded,
    run: Run,
    /// The result of the call that the module is suspended in, once it is there.
    input: Option<i32>,
    checker: Option<Checker>,
    budget: Budget,
    mem_granted: u32,
    leds: grants::Leds,
    end: Option<Event>,
}

impl Task {
    /// A module that has been loaded and is to begin; `None` if its slot is not to be had.
    pub fn new(launch: &Launch<'_>, mut loaded: Loaded, window_fuel: u64, now_ms: u64) -> Option<Self> {
        let life = [SlotEvent::Reserve, SlotEvent::Stage, SlotEvent::Verify { good: true }, SlotEvent::Start];
        let slot = life.into_iter().try_fold(Slot::Free, Slot::on).ok()?;
        let mut budget = Budget::new(launch.grant.cpu_permille, window_fuel, 0);
        budget.charge(loaded.fuel_used);
        Some(Self {
            task: launch.task,
            slot,
            run: Run::Ready(loaded.engine.begin(Which::Entry)),
            loaded,
            input: None,
            checker: launch.check.map(|check| Checker::new(&check, now_ms)),
            budget,
            mem_granted: launch.grant.mem_bytes,
            leds: launch.leds,
            end: None,
        })
    }

    /// False once it has ended.
    pub fn may_run(&self) -> bool {
        self.slot.may_run()
    }

    pub fn start_window(&mut self) {
        self.budget.start_window();
    }

    pub fn kill(&mut self) {
        self.finish(Cause::Stopped, Event::Killed);
    }

    /// Tells it to stop by a time; false if it cannot notice.
    pub fn stop(&mut self, at_ms: u64) -> bool {
        let stop_at_ms = &mut self.loaded.engine.state_mut().stop_at_ms;
        *stop_at_ms = Some(stop_at_ms.map_or(at_ms, |held| held.min(at_ms)));
        self.loaded.notices_stop
    }

    /// Hands it a message of the framework; false if there is no room.
    pub fn deliver(&mut self, data: &[u8]) -> bool {
        let inbox = &mut self.loaded.engine.state_mut().inbox;
        let room = data.len() <= abi::MESSAGE_MAX && abi::has_room(inbox, data.len());
        if room {
            inbox.push_back(data.into());
        }
        room
    }

    /// What it says next, its end last.
    pub fn next_event(&mut self) -> Option<Event> {
        if let Some(news) = self.checker.as_mut().and_then(Checker::news) {
            return Some(news);
        }
        let mut state = self.loaded.engine.state_mut();
        if let Some(message) = state.messages.pop_front() {
            return Some(Event::Message(message));
        }
        if !state.log.is_empty() {
            let piece = state.log.len().min(abi::LOG_PIECE);
            return Some(Event::Log(state.log.drain(..piece).collect()));
        }
        drop(state);
        self.end.take()
    }

    pub fn has_events(&self) -> bool {
        let state = self.loaded.engine.state();
        let checked = self.checker.as_ref().is_some_and(Checker::has_news);
        checked || self.end.is_some() || !state.messages.is_empty() || !state.log.is_empty()
    }

    pub fn usage(&self, fuel_per_ms: u64) -> Usage {
        let state = self.loaded.engine.state();
        Usage {
            cpu_ms: self.budget.used() / fuel_per_ms,
            granted_ms: self.budget.granted() / fuel_per_ms,
            mem_bytes: state.mem_bytes(),
            mem_peak_bytes: state.mem_peak,
            messages: state.sent,
            message_bytes: state.sent_bytes,
            log_bytes: state.log_bytes,
        }
    }

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
    pub fn advance(
        &mut self,
        host: &mut (impl Host + ?Sized),
        now_ms: u64,
        window_ends_ms: u64,
    ) -> Option<u64> {
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
        let told_to_stop = self.loaded.engine.state().stop_at_ms.is_some();
        match wait {
            Wait::Turn => None,
            Wait::Sleep => (until_ms > now_ms && !told_to_stop).then_some(until_ms),
            Wait::Message { ptr, len } => {
                let message = self.loaded.engine.state_mut().inbox.pop_front();
                let code = match message {
                    Some(message) => {
                        let bytes = &message[..message.len().min(len as usize)];
                        let put = self.loaded.engine.put(ptr, bytes);
                        if put { bytes.len() as i32 } else { abi::E_INVALID }
                    }
                    None if until_ms > now_ms && !told_to_stop => return Some(until_ms),
                    None => 0,
                };
                self.input = Some(code);
                None
            }
        }
    }

    /// True if the check is to be called, or goes on. A module that has not called anything for too long has failed it.
    fn check_due(&mut self, suspended: bool, now_ms: u64) -> bool {
        let told_to_stop = self.loaded.engine.state().stop_at_ms.is_some();
        let Some(checker) = self.checker.as_mut().filter(|_| !told_to_stop) else { return false };
        if checker.is_overdue(suspended, now_ms) {
            self.checked(None, now_ms);
            return false;
        }
        checker.next_ms <= now_ms
    }

    /// One uninterrupted run of the check, while the module itself is suspended.
    fn check_slice(&mut self, host: &mut (impl Host + ?Sized), now_ms: u64) {
        let Some(checker) = &mut self.checker else { return };
        let (call, input) = match checker.take_probe(now_ms) {
            Probe::Idle => (self.loaded.engine.begin(Which::Check), None),
            Probe::Ready(call) => (call, None),
            Probe::Answered(call, input) => (call, Some(input)),
        };
        match self.run(call, input, now_ms) {
            Outcome::Returned(result) => self.checked(Some(result), now_ms),
            Outcome::OutOfFuel(call) => self.go_on_checking(Probe::Ready(call)),
            Outcome::Paused(call, pause) => match self.device(pause, host) {
                Some(input) => self.go_on_checking(Probe::Answered(call, input)),
                None => self.checked(None, now_ms), // a check may not wait
            },
            Outcome::Trapped(trap) if self.loaded.engine.state().refused.is_some() => self.trapped(trap),
            Outcome::Trapped(_) => self.checked(None, now_ms),
        }
    }

    /// One uninterrupted run of a call, within the budget.
    fn run(&mut self, call: Call, input: Option<i32>, now_ms: u64) -> Outcome<Call> {
        if !heap::may_run() {
            // What comes next may need memory in a way that can not be refused: that would end the tasks of all.
            return Outcome::Trapped(Trap::Other("no memory left in the node".into()));
        }
        let engine = &mut self.loaded.engine;
        engine.state_mut().now_ms = now_ms;
        // One operation may cost more than what is left: it is let through and paid by the next windows.
        let fuel = self.budget.remaining().max(Chosen::needs(&call));
        let (left, outcome) = engine.run(call, input, fuel);
        self.budget.charge(fuel.saturating_sub(left).max(1));
        outcome
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
    fn slice(&mut self, host: &mut (impl Host + ?Sized), now_ms: u64) {
        let call = match core::mem::replace(&mut self.run, Run::Nothing) {
            Run::Ready(call) | Run::Waiting { call, .. } => call,
            Run::Nothing => return,
        };
        let input = self.input.take();
        match self.run(call, input, now_ms) {
            Outcome::Returned(code) => self.finish(Cause::Exited(code), Event::Exited(code)),
            Outcome::OutOfFuel(call) => self.run = Run::Ready(call),
            Outcome::Paused(call, pause) => self.suspended(call, pause, host, now_ms),
            Outcome::Trapped(trap) => self.trapped(trap),
        }
    }

    /// Does what a suspended call asks for.
    fn suspended(&mut self, call: Call, pause: Pause, host: &mut (impl Host + ?Sized), now_ms: u64) {
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
    fn device(&mut self, pause: Pause, host: &mut (impl Host + ?Sized)) -> Option<i32> {
        Some(match pause {
            Pause::Sleep { .. } | Pause::Receive { .. } => return None,
            Pause::Led { index, on } => {
                let set = |led| host.led_set(self.task, led, on).ok();
                self.leds.of_task(index).and_then(set).map_or(abi::E_NODEV, |()| 0)
            }
            Pause::Sensor { index, out } => match host.sensor_read(self.task, index) {
                Err(HostError) => abi::E_NODEV,
                Ok(value) if self.loaded.engine.put(out, &value.to_le_bytes()) => 0,
                Ok(_) => abi::E_INVALID,
            },
            Pause::KvGet { .. } | Pause::KvSet { .. } | Pause::KvDelete { .. } => {
                self.value(pause, host).unwrap_or(abi::E_INVALID)
            }
        })
    }

    /// What a call for a value comes to; `None` if a key, a value or their place makes no sense. Places are looked at
    /// first: whether a call makes sense does not depend on what is kept.
    fn value(&mut self, pause: Pause, host: &mut (impl Host + ?Sized)) -> Option<i32> {
        let (engine, task) = (&mut self.loaded.engine, self.task);
        // Copied: what is written for it may overlap.
        let key_in = |engine: &Chosen, piece: Piece| engine.get(piece).and_then(key);
        Some(match pause {
            Pause::KvGet { key, out } => {
                let key = key_in(engine, key)?;
                let room = engine.get(out)?.len();
                let (code, value) = match host.kv_get(task, &mut engine.state_mut().kv, &key) {
                    Err(HostError) => return Some(abi::E_NODEV),
                    Ok(None) => return Some(abi::E_NOKEY),
                    Ok(Some(value)) => {
                        (i32::try_from(value.len()).ok()?, value[..value.len().min(room)].to_vec())
                    }
                };
                engine.put(out.0, &value).then_some(code)?
            }
            Pause::KvSet { key, value } => {
                let (key, value) = (key_in(engine, key)?, engine.get(value)?);
                // A value that is too long is refused below, and need not be copied for that.
                let value = value[..value.len().min(abi::KV_VALUE_MAX + 1)].to_vec();
                match host.kv_set(task, &mut engine.state_mut().kv, &key, &value) {
                    Ok(()) => 0,
                    Err(KvError::Invalid) => return None,
                    Err(KvError::Full) => abi::E_FULL,
                    Err(KvError::Device) => abi::E_NODEV,
                }
            }
            Pause::KvDelete { key } => {
                let key = key_in(engine, key)?;
                match host.kv_delete(task, &mut engine.state_mut().kv, &key) {
                    Err(HostError) => abi::E_NODEV,
                    Ok(false) => abi::E_NOKEY,
                    Ok(true) => 0,
                }
            }
            Pause::Sleep { .. } | Pause::Receive { .. } | Pause::Sensor { .. } | Pause::Led { .. } => {
                return None;
            }
        })
    }

    fn trapped(&mut self, trap: Trap) {
        let refused = self.loaded.engine.state().refused;
        match refused {
            Some(asked) => {
                let event = Event::OverMemory { asked, granted: self.mem_granted };
                self.finish(Cause::OverMemory, event);
            }
            None => self.finish(Cause::Fault, Event::Trapped(trap)),
        }
    }
}
