//! One module's turns: how long it runs, what it waits for, how it ends.

use crate::abi;
use crate::check::{Checker, Probe};
use crate::event::{Event, Trap, Usage};
use crate::executor::Launch;
use crate::host::{Host, HostError};
use crate::kv::KvError;
use crate::module::{Loaded, Pause, key_in, range};
use alloc::vec::Vec;
use grants::{Budget, Cause, Slot, SlotEvent};
use wasmi::{Error, ResumableCall, ResumableCallHostTrap, ResumableCallOutOfFuel, Val};

/// Where a module is in its run.
enum Run {
    Fresh,
    /// The same, but its entry has to be translated first, for so much fuel: there is no call yet to go on with.
    Untranslated(u64),
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

/// A module under its grant.
pub(crate) struct Task {
    /// Its name.
    pub task: u16,
    slot: Slot,
    loaded: Loaded,
    run: Run,
    /// The result of the call that the module is suspended in, once it is there.
    input: Option<Val>,
    checker: Option<Checker>,
    budget: Budget,
    mem_granted: u32,
    leds: grants::Leds,
    end: Option<Event>,
}

impl Task {
    /// A module that has been loaded and is to begin; `None` if its slot is not to be had.
    pub fn new(launch: &Launch<'_>, loaded: Loaded, window_fuel: u64, now_ms: u64) -> Option<Self> {
        let life = [SlotEvent::Reserve, SlotEvent::Stage, SlotEvent::Verify { good: true }, SlotEvent::Start];
        let slot = life.into_iter().try_fold(Slot::Free, Slot::on).ok()?;
        let mut budget = Budget::new(launch.grant.cpu_permille, window_fuel, 0);
        budget.charge(loaded.fuel_used);
        Some(Self {
            task: launch.task,
            slot,
            loaded,
            run: Run::Fresh,
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
        let state = self.loaded.store.data_mut();
        state.stop_at_ms = Some(state.stop_at_ms.map_or(at_ms, |held| held.min(at_ms)));
        self.loaded.notices_stop
    }

    /// Hands it a message of the framework; false if there is no room.
    pub fn deliver(&mut self, data: &[u8]) -> bool {
        let inbox = &mut self.loaded.store.data_mut().inbox;
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
        let state = self.loaded.store.data_mut();
        if let Some(message) = state.messages.pop_front() {
            return Some(Event::Message(message));
        }
        if !state.log.is_empty() {
            let piece = state.log.len().min(abi::LOG_PIECE);
            return Some(Event::Log(state.log.drain(..piece).collect()));
        }
        self.end.take()
    }

    pub fn has_events(&self) -> bool {
        let state = self.loaded.store.data();
        let checked = self.checker.as_ref().is_some_and(Checker::has_news);
        checked || self.end.is_some() || !state.messages.is_empty() || !state.log.is_empty()
    }

    pub fn usage(&self, fuel_per_ms: u64) -> Usage {
        let state = self.loaded.store.data();
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
    pub fn advance(&mut self, host: &mut impl Host, now_ms: u64, window_ends_ms: u64) -> Option<u64> {
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
        fuel = fuel.max(probe.needs());
        let begins = matches!(probe, Probe::Idle | Probe::Untranslated(_));
        let store = &mut self.loaded.store;
        store.data_mut().now_ms = now_ms;
        let mut result = [Val::I32(0)];
        let outcome = store.set_fuel(fuel).and_then(|()| match probe {
            Probe::OutOfFuel(call) => call.resume(&mut *store, &mut result),
            Probe::Suspended(call, input) => call.resume(&mut *store, &[input], &mut result),
            Probe::Idle | Probe::Untranslated(_) => check.call_resumable(&mut *store, &[], &mut result),
        });
        let left = store.get_fuel().unwrap_or(0);
        self.budget.charge(fuel.saturating_sub(left).max(1));
        match outcome {
            Ok(ResumableCall::Finished) => self.checked(result[0].i32(), now_ms),
            Ok(ResumableCall::OutOfFuel(call)) if begins && left == fuel => {
                self.go_on_checking(Probe::Untranslated(call.required_fuel()));
            }
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
        // One operation may cost more than what is left: it is let through and paid by the next windows.
        fuel = fuel.max(match &run {
            Run::OutOfFuel(call) => call.required_fuel(),
            Run::Untranslated(needs) => *needs,
            _ => 0,
        });
        let begins = matches!(run, Run::Fresh | Run::Untranslated(_));
        let store = &mut self.loaded.store;
        store.data_mut().now_ms = now_ms;
        let mut result = [Val::I32(0)];
        let outcome = store.set_fuel(fuel).and_then(|()| match run {
            Run::Fresh | Run::Untranslated(_) => {
                self.loaded.entry.call_resumable(&mut *store, &[], &mut result)
            }
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
            // Nothing of it has run: wasmi has no frame for it, and panics if it is resumed.
            Ok(ResumableCall::OutOfFuel(call)) if begins && left == fuel => {
                self.run = Run::Untranslated(call.required_fuel());
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
            Pause::Led { index, on } => {
                let set = |led| host.led_set(self.task, led, on).ok();
                self.leds.of_task(index).and_then(set).map_or(abi::E_NODEV, |()| 0)
            }
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
            Pause::KvGet { .. } | Pause::KvSet { .. } | Pause::KvDelete { .. } => {
                self.value(pause, host).unwrap_or(abi::E_INVALID)
            }
        };
        Some(Val::I32(code))
    }

    /// What a call for a value comes to; `None` if a key, a value or their place makes no sense. Places are looked at
    /// first: whether a call makes sense does not depend on what is kept.
    fn value(&mut self, pause: Pause, host: &mut impl Host) -> Option<i32> {
        let (memory, state) = self.loaded.memory?.data_and_store_mut(&mut self.loaded.store);
        let (task, kv) = (self.task, &mut state.kv);
        Some(match pause {
            Pause::KvGet { key, out } => {
                let key = key_in(memory, key)?;
                let out = memory.get_mut(range(out)?)?;
                match host.kv_get(task, kv, &key) {
                    Err(HostError) => abi::E_NODEV,
                    Ok(None) => abi::E_NOKEY,
                    Ok(Some(value)) => {
                        let len = value.len().min(out.len());
                        out[..len].copy_from_slice(&value[..len]);
                        i32::try_from(value.len()).ok()?
                    }
                }
            }
            Pause::KvSet { key, value } => {
                let (key, value) = (key_in(memory, key)?, memory.get(range(value)?)?);
                match host.kv_set(task, kv, &key, value) {
                    Ok(()) => 0,
                    Err(KvError::Invalid) => return None,
                    Err(KvError::Full) => abi::E_FULL,
                    Err(KvError::Device) => abi::E_NODEV,
                }
            }
            Pause::KvDelete { key } => match host.kv_delete(task, kv, &key_in(memory, key)?) {
                Err(HostError) => abi::E_NODEV,
                Ok(false) => abi::E_NOKEY,
                Ok(true) => 0,
            },
            Pause::Sleep { .. } | Pause::Receive { .. } | Pause::Sensor { .. } | Pause::Led { .. } => {
                return None;
            }
        })
    }

    fn trapped(&mut self, error: &Error) {
        match self.loaded.store.data().refused {
            Some(asked) => {
                let event = Event::OverMemory { asked, granted: self.mem_granted };
                self.finish(Cause::OverMemory, event);
            }
            None => self.finish(Cause::Fault, Event::Trapped(Trap::of(error))),
        }
    }
}
