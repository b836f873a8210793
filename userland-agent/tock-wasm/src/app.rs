//! The app's turns: orders in, modules' turns, what they say out.

use crate::board::{Board, Kept};
use crate::kernel::{self, Kernel};
use crate::mouth::{Mouth, Said};
use crate::start;
use agent_wasm::abi::MESSAGE_MAX;
use agent_wasm::{Executor, Host, Usage};
use alloc::vec::Vec;
use grants::syscall::{HostCall, PIECE_MAX, UsageRecord, down};
use libtock_platform::{ErrorCode, Syscalls};
use node_proto::limits::TASKS_MAX;

/// Length of a budget window, milliseconds: the kernel's.
pub const WINDOW_MS: u64 = 100;
/// How often the kernel is told what a task has used, milliseconds.
const USED_MS: u64 = 1_000;
/// How often all slots are asked for orders, whether or not there is news, milliseconds: an upcall that finds the
/// process's queue full is lost. It also bounds every wait, as [`crate::clock`] needs it.
const ASK_ALL_MS: u64 = 10_000;
/// Orders that one slot may take in a turn: then it is the next one's.
const ORDERS_PER_TURN: usize = 16;

/// Settings of the app.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Fuel that stands for one millisecond of the whole core: see [`crate::calibrate`].
    pub fuel_per_ms: u64,
}

#[derive(Default)]
struct Slot {
    /// The kernel says that it is not this app's.
    foreign: bool,
    /// It has been started and its end is not said yet.
    busy: bool,
    /// A message of the framework, as far as it has come.
    message: Vec<u8>,
    /// Its pieces do not make a message.
    spoilt: bool,
    mouth: Mouth,
    /// When it is ended if it does not end itself.
    stop_ms: Option<u64>,
    /// When the kernel is told next what it has used, and what it was told.
    used_ms: u64,
    used: UsageRecord,
    told: UsageRecord,
}

/// The executor as an app.
pub struct App<'u, S> {
    kernel: Kernel<'u, S>,
    executor: Executor,
    kept: Kept,
    slots: [Slot; TASKS_MAX],
    /// Slots whose orders have not all been taken.
    news: u32,
    ask_all_ms: u64,
    due_ms: u64,
}

/// Gives `work` the app on this process's kernel. Fails if there is no alarm or no executor capsule.
pub fn with<S: Syscalls, R>(
    config: impl FnOnce(&Kernel<'_, S>) -> Config,
    work: impl FnOnce(&mut App<'_, S>) -> R,
) -> Result<R, ErrorCode> {
    kernel::with::<S, _>(|kernel| {
        let config = config(&kernel);
        work(&mut App::new(kernel, config))
    })
}

impl<'u, S: Syscalls> App<'u, S> {
    fn new(kernel: Kernel<'u, S>, config: Config) -> Self {
        let config = agent_wasm::Config {
            fuel_per_ms: config.fuel_per_ms.max(1),
            window_ms: WINDOW_MS,
            tasks_max: TASKS_MAX,
        };
        Self {
            kernel,
            executor: Executor::new(config),
            kept: Kept::default(),
            slots: Default::default(),
            news: 0,
            ask_all_ms: 0,
            due_ms: 0,
        }
    }

    /// Runs for ever.
    pub fn run(&mut self) -> ! {
        loop {
            self.turn();
            self.wait();
        }
    }

    /// Sleeps until there are orders or something is due.
    pub fn wait(&mut self) {
        if self.news == 0 {
            self.kernel.wait(self.due_ms);
        }
    }

    /// Takes orders, gives every module its turn, and says what they say.
    pub fn turn(&mut self) {
        let now_ms = self.kernel.clock.now_ms();
        self.news |= self.kernel.take_news();
        if now_ms >= self.ask_all_ms {
            self.ask_all_ms = now_ms + ASK_ALL_MS;
            let ours = self.slots.iter().enumerate().filter(|(_, slot)| !slot.foreign);
            self.news |= ours.fold(0, |mask, (at, _)| mask | 1 << at);
        }
        let news = core::mem::take(&mut self.news);
        for slot in (0..TASKS_MAX as u8).filter(|slot| news >> slot & 1 == 1) {
            if self.orders(slot) {
                self.news |= 1 << slot;
            }
        }
        let now_ms = self.kernel.clock.now_ms();
        self.end_overdue(now_ms);
        // As a trait object, which calibration uses too: there is one copy of the executor.
        let board: &mut dyn Host = &mut Board { kernel: &self.kernel, kept: &mut self.kept };
        let next = self.executor.step(board, now_ms);
        self.due_ms = next.unwrap_or(u64::MAX).min(self.ask_all_ms);
        let now_ms = self.kernel.clock.now_ms();
        for slot in 0..TASKS_MAX as u8 {
            self.report(slot, now_ms);
        }
    }

    /// Carries out what is ordered of a slot; true if there may be more.
    fn orders(&mut self, slot: u8) -> bool {
        let mut bytes = [0; PIECE_MAX];
        for _ in 0..ORDERS_PER_TURN {
            let (kind, len) = match self.kernel.take(slot, &mut bytes) {
                Ok(Some(order)) => order,
                Ok(None) => return false,
                Err(ErrorCode::Off) => {
                    // The slot has ended without this app: what still runs has lost it.
                    self.abandon(slot);
                    return false;
                }
                Err(error) => {
                    let foreign = [ErrorCode::Invalid, ErrorCode::NoSupport, ErrorCode::NoDevice];
                    if let Some(held) = self.slots.get_mut(usize::from(slot)) {
                        held.foreign = foreign.contains(&error);
                    }
                    return false;
                }
            };
            self.order(slot, kind, &bytes[..len]);
        }
        true
    }

    fn order(&mut self, slot: u8, kind: u32, bytes: &[u8]) {
        let Some(held) = self.slots.get_mut(usize::from(slot)) else { return };
        let task = u16::from(slot);
        match kind {
            down::START => self.start(slot, bytes.first() == Some(&1)),
            down::KILL => drop(self.executor.kill(task)),
            down::STOP => {
                let Some(grace) = bytes.first_chunk() else { return };
                let grace_ms = u32::from_le_bytes(*grace);
                let now_ms = self.kernel.clock.now_ms();
                if self.executor.stop(task, grace_ms, now_ms) {
                    let at = now_ms + u64::from(grace_ms);
                    held.stop_ms = Some(held.stop_ms.map_or(at, |held| held.min(at)));
                } else {
                    // One that can not notice is ended at once.
                    self.executor.kill(task);
                }
            }
            down::MESSAGE_PART | down::MESSAGE => {
                held.spoilt |= held.message.len() + bytes.len() > MESSAGE_MAX;
                if !held.spoilt {
                    held.message.extend_from_slice(bytes);
                }
                if kind == down::MESSAGE {
                    let message = core::mem::take(&mut held.message);
                    if !core::mem::take(&mut held.spoilt) {
                        // Of more messages than the module takes, the newest are lost: `agent_wasm::abi`.
                        self.executor.deliver(task, &message);
                    }
                }
            }
            _ => {} // of a later version
        }
    }

    fn start(&mut self, slot: u8, resumed: bool) {
        self.abandon(slot);
        let Some(held) = self.slots.get_mut(usize::from(slot)) else { return };
        held.busy = true;
        let started = match self.kernel.grant(slot) {
            Ok(record) => {
                self.kept.begin(&self.kernel, slot, resumed && record.resumed == 1);
                start::start(&self.kernel, &mut self.executor, slot, &record)
            }
            Err(error) => {
                Err((grants::syscall::End::Fault, alloc::format!("no grant: error {}", error as u16)))
            }
        };
        if let Err((end, note)) = started {
            held.mouth.refuse(end, note);
        }
    }

    /// Forgets a slot, and ends what may still run in it.
    fn abandon(&mut self, slot: u8) {
        if let Some(held) = self.slots.get_mut(usize::from(slot)) {
            if held.busy {
                self.executor.kill(slot.into());
                while self.executor.next_event(slot.into()).is_some() {}
            }
            *held = Slot::default();
        }
    }

    /// Ends what was told to stop and did not in time.
    fn end_overdue(&mut self, now_ms: u64) {
        for (task, slot) in (0..).zip(&mut self.slots) {
            if slot.stop_ms.is_some_and(|at| at <= now_ms) {
                slot.stop_ms = None;
                self.executor.kill(task);
            }
        }
    }

    /// Says what a slot has to say, and what it has used.
    fn report(&mut self, slot: u8, now_ms: u64) {
        let Some(held) = self.slots.get_mut(usize::from(slot)).filter(|held| held.busy) else { return };
        // With its last event the executor forgets a task.
        if let Some(usage) = self.executor.usage(slot.into()) {
            held.used = used(&usage);
        }
        // Time that is granted and not used is no reason to wake up for.
        let news = UsageRecord { granted_us: held.told.granted_us, ..held.used } != held.told;
        if now_ms >= held.used_ms && held.used != held.told {
            (held.used_ms, held.told) = (now_ms + USED_MS, held.used);
            let _ = self.kernel.say(HostCall::Used.encode(slot), &held.used.to_bytes());
        }
        let mut due_ms = held.stop_ms.unwrap_or(u64::MAX);
        if news {
            due_ms = due_ms.min(held.used_ms);
        }
        match held.mouth.speak(&self.kernel, &mut self.executor, slot, &held.used, now_ms) {
            Said::All => {}
            Said::More(at) => due_ms = due_ms.min(at),
            Said::End => {
                held.busy = false;
                held.stop_ms = None;
                due_ms = u64::MAX;
            }
        }
        self.due_ms = self.due_ms.min(due_ms);
    }
}

fn used(usage: &Usage) -> UsageRecord {
    let cut = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    UsageRecord {
        cpu_us: usage.cpu_ms.saturating_mul(1000),
        granted_us: usage.granted_ms.saturating_mul(1000),
        mem_bytes: cut(usage.mem_bytes as u64),
        mem_peak_bytes: cut(usage.mem_peak_bytes as u64),
        messages: cut(usage.messages),
        log_bytes: cut(usage.log_bytes),
        refused: 0, // an import beyond the grant is refused before there is a task to refuse a call of
    }
}
