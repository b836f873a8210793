//! The agent itself: the link to the gateway, the order in which things are asked of it, and what its answers do.

use crate::images::{self, Images, NoRoom};
use crate::os::{Digest, Event, Os, Record, Start, StorageError};
use crate::record;
use crate::signature::is_signed;
use crate::task::{Deadline, Kept, Phase, Task};
use crate::wire::{Answer, Wire, WireEvent};
use alloc::format;
use grants::{Capacity, Grant, Ledger, Refusal};
use node_coap::Code;
use node_proto::limits::{DOCUMENT_MAX, IMAGE_MAX, TASKS_MAX, USAGE_PER_POLL, VERSION};
use node_proto::{
    Capabilities, Command, CommandSeq, Document, Failure, Kind, Launch, Log, Message, Order, Poll, Power,
    Register, Registered, Runtimes, State, TaskHandle, Usage, decode, paths,
};

/// Settings of an agent.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// CoAP ACK_TIMEOUT towards the gateway, milliseconds (RFC 7252 §4.8: 2000; not below 1000 in the field).
    pub ack_timeout_ms: u32,
    /// Least time before a retransmission once the round trip is measured, milliseconds.
    pub min_timeout_ms: u32,
    /// Longest pause between polls while a task is fetched or runs on a node with mains, milliseconds.
    pub busy_poll_ms: u32,
    /// First pause before another registration, doubled up to [`Config::REGISTER_PAUSE_MAX_MS`].
    pub register_pause_ms: u32,
    /// Ed25519 key of the only publisher whose images are started; any image is if there is none.
    pub publisher: Option<[u8; 32]>,
}

impl Config {
    /// Longest pause between registrations, milliseconds.
    pub const REGISTER_PAUSE_MAX_MS: u32 = 60_000;
    /// Requests in a row for the same task's block that may fail before the task does.
    pub const FETCH_FAILURES_MAX: u8 = 8;
    /// The same for a gateway that says that it is still getting the image itself.
    pub const FETCH_UNAVAILABLE_MAX: u8 = 200;
    /// Pause before what the gateway refused is sent again, milliseconds; other things go on meanwhile.
    pub const REFUSED_PAUSE_MS: u64 = 1_000;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ack_timeout_ms: 2_000,
            min_timeout_ms: 300,
            busy_poll_ms: 1_000,
            register_pause_ms: 1_000,
            publisher: None,
        }
    }
}

/// The state of the link to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not registered; the next attempt is due at `next_ms`.
    Down {
        /// When to try, on [`Os::now_ms`].
        next_ms: u64,
        /// The pause after this attempt, should it fail.
        pause_ms: u32,
    },
    /// Registered; the next poll is due at `next_ms`.
    Up {
        /// Longest pause between polls, milliseconds.
        poll_ms: u32,
        /// When to poll.
        next_ms: u64,
    },
}

/// What an agent has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Orders acted on.
    pub orders: u32,
    /// Orders that came again.
    pub repeated_orders: u32,
    /// Answers and orders that could not be read.
    pub malformed: u32,
    /// Registrations sent.
    pub registrations: u32,
    /// Storage operations that failed.
    pub storage_errors: u32,
}

/// What the request under way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Register,
    Poll,
    Status { task: TaskHandle, seq: u16 },
    Outbox { task: TaskHandle },
    Document { task: TaskHandle },
    Image { task: TaskHandle, offset: u32 },
}

/// A node's agent. Call [`Agent::datagram`] for what arrives and [`Agent::step`] when it says or after that.
pub struct Agent<O: Os> {
    os: O,
    config: Config,
    wire: Wire,
    link: Link,
    boot: u32,
    epoch: u16,
    seen: CommandSeq,
    tasks: heapless::Vec<Task, TASKS_MAX>,
    /// What the tasks that have not ended were granted, by slot.
    ledger: Ledger<TASKS_MAX>,
    images: Images,
    under_way: Option<Purpose>,
    /// From when statuses, output and block requests may be sent again after the gateway refused one.
    status_from_ms: u64,
    outbox_from_ms: u64,
    fetch_from_ms: u64,
    /// Where the search for the next thing to send starts, so that tasks take turns.
    turn: usize,
    usage_turn: usize,
    counters: Counters,
}

impl<O: Os> Agent<O> {
    /// Starts the agent on what storage remembers. Tasks that ran when the node went down are reported as
    /// failed; those still being fetched go on where they were.
    pub fn new(mut os: O, config: Config, seed: u64) -> Result<Self, StorageError> {
        let mut counters = Counters::default();
        let drawn = (seed ^ (seed >> 32) ^ (seed >> 16)) as u16;
        let (boot, epoch) = record::load(&mut os, Record::Boot)?.unwrap_or((0u32, drawn));
        let boot = boot.wrapping_add(1);
        // With full storage the node starts all the same: what it has is still to be reported, and what it lacks is
        // said of each task that needs it.
        if record::save(&mut os, Record::Boot, &(boot, epoch)).is_err() {
            counters.storage_errors = counters.storage_errors.saturating_add(1);
        }
        let mut seen: CommandSeq = record::load(&mut os, Record::Seen)?.unwrap_or(0);
        let images = Images::load(&mut os)?;
        let mut tasks = heapless::Vec::new();
        let has = os.inventory();
        let mut ledger = Ledger::new(Capacity {
            cpu_permille: has.cpu_permille,
            mem_bytes: has.mem_bytes,
            flash_bytes: u32::MAX, // images are shared between tasks: `Images` keeps their book
        });
        for slot in 0..TASKS_MAX as u8 {
            if let Some(kept) = record::load::<Kept>(&mut os, Record::Slot(slot))? {
                // The node may have stopped between the task's record and the counter's. The task can end and be
                // forgotten before the gateway is asked for orders again: it must not come as a new one then.
                seen = seen.max(kept.order);
                let mut task = Task::restored(slot, kept);
                if task.kept.phase == Phase::Running {
                    task.report(State::Failed(Failure::Restarted), "node restarted while it ran");
                    if record::save(&mut os, task.record(), &task.kept).is_err() {
                        counters.storage_errors = counters.storage_errors.saturating_add(1);
                    }
                }
                if task.kept.phase != Phase::Ended
                    && ledger.reserve(slot.into(), grant_of(&task.kept.launch)).is_err()
                {
                    // The node has less than when it took the task.
                    task.report(State::Failed(Failure::Resources), "node has less than before");
                }
                let _ = tasks.push(task); // as many slots as places
            }
        }
        let link = Link::Down { next_ms: os.now_ms(), pause_ms: config.register_pause_ms };
        let mut agent = Self {
            wire: Wire::new(config.ack_timeout_ms, config.min_timeout_ms, seed),
            os,
            config,
            link,
            boot,
            epoch,
            seen,
            tasks,
            ledger,
            images,
            under_way: None,
            status_from_ms: 0,
            outbox_from_ms: 0,
            fetch_from_ms: 0,
            turn: 0,
            usage_turn: 0,
            counters,
        };
        // Or between a task's record and the index of images.
        for at in 0..agent.tasks.len() {
            if agent.tasks[at].kept.phase == Phase::Fetching {
                agent.admit_image(at);
            }
        }
        Ok(agent)
    }

    /// The system under the agent.
    pub fn os(&self) -> &O {
        &self.os
    }

    /// The system under the agent, for the port that drives it.
    pub fn os_mut(&mut self) -> &mut O {
        &mut self.os
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The state of the link.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Tasks in slots, ended ones that the gateway does not fully know among them.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Takes one datagram from the gateway's address.
    pub fn datagram(&mut self, bytes: &[u8]) {
        let now = self.os.now_ms();
        self.wire.handle(bytes, now);
    }

    /// Does what is due and gives the time at which to be called again, if nothing arrives before.
    pub fn step(&mut self) -> u64 {
        let now = self.os.now_ms();
        self.wire.handle_timeout(now);
        while let Some(event) = self.wire.poll_event(now) {
            match event {
                WireEvent::Answer(answer) => self.answered(answer, now),
                WireEvent::Failed => self.unanswered(now),
                WireEvent::Order { request, payload } => {
                    let code = self.order(&payload);
                    self.wire.answer(request, code, now);
                }
            }
        }
        self.end_overdue(now);
        self.drain_executor();
        self.start_fetched();
        self.release_done();
        if self.under_way.is_none() {
            self.ask_next(now);
        }
        while let Some(datagram) = self.wire.poll_transmit() {
            self.os.send(&datagram);
        }
        let due = match self.link {
            Link::Down { next_ms, .. } if self.under_way.is_none() => next_ms,
            Link::Up { next_ms, .. } if self.under_way.is_none() => {
                let paused = [self.status_from_ms, self.outbox_from_ms, self.fetch_from_ms];
                paused.into_iter().filter(|from| *from > now).fold(next_ms, u64::min)
            }
            _ => u64::MAX,
        };
        let ends = self.tasks.iter().filter_map(Task::deadline).map(|deadline| deadline.at_ms);
        ends.fold(due, u64::min).min(self.wire.next_timeout().unwrap_or(u64::MAX))
    }

    // --- what to ask next ---

    fn ask_next(&mut self, now: u64) {
        match self.link {
            Link::Down { next_ms, pause_ms } => {
                if now >= next_ms {
                    self.link = Link::Down {
                        next_ms: now + u64::from(pause_ms),
                        pause_ms: pause_ms.saturating_mul(2).min(Config::REGISTER_PAUSE_MAX_MS),
                    };
                    self.register(now);
                }
            }
            Link::Up { next_ms, .. } => {
                // In order of what must not wait: what became of a task, a due sign of life, output, blocks.
                let _ = (now >= self.status_from_ms && self.send_status(now))
                    || (now >= next_ms && self.poll(now))
                    || (now >= self.outbox_from_ms && self.send_outbox(now))
                    || (now >= self.fetch_from_ms && self.fetch_block(now));
            }
        }
    }

    fn register(&mut self, now: u64) {
        self.counters.registrations = self.counters.registrations.saturating_add(1);
        let message = Register {
            version: VERSION,
            eui64: self.os.eui64(),
            boot: self.boot,
            epoch: self.epoch,
            seen: self.seen,
            inventory: self.os.inventory(),
        };
        self.post(paths::REGISTER, &message, Purpose::Register, now);
    }

    fn poll(&mut self, now: u64) -> bool {
        let mut usage = heapless::Vec::new();
        for step in 0..self.tasks.len().min(USAGE_PER_POLL) {
            let task = &self.tasks[(self.usage_turn + step) % self.tasks.len()];
            let _ = usage.push(Self::usage_of(&mut self.os, task)); // the range is its capacity
        }
        self.usage_turn = self.usage_turn.wrapping_add(USAGE_PER_POLL);
        let message = Poll { seen: self.seen, power: self.os.power(), usage };
        self.post(paths::POLL, &message, Purpose::Poll, now)
    }

    fn usage_of(os: &mut O, task: &Task) -> Usage {
        let launch = &task.kept.launch;
        let used = os.usage(launch.task).unwrap_or_default();
        let image = os.image_len(&launch.digest).unwrap_or(0).min(launch.image_len);
        Usage {
            task: launch.task,
            cpu_ms: used.cpu_ms,
            granted_ms: used.granted_ms,
            mem_bytes: used.mem_bytes,
            received: image.saturating_add(task.document.len() as u32),
        }
    }

    /// Tasks in turn, beginning after the one served last.
    fn in_turn(&mut self, wants: impl Fn(&Task) -> bool) -> Option<usize> {
        let count = self.tasks.len();
        let found = (0..count).map(|step| (self.turn + step) % count).find(|at| wants(&self.tasks[*at]))?;
        self.turn = found + 1;
        Some(found)
    }

    fn send_status(&mut self, now: u64) -> bool {
        let Some(at) = self.in_turn(|task| !task.kept.statuses.is_empty()) else { return false };
        let Some(status) = self.tasks[at].kept.statuses.front().cloned() else { return false };
        let purpose = Purpose::Status { task: status.task, seq: status.seq };
        self.post(paths::STATUS, &status, purpose, now)
    }

    fn send_outbox(&mut self, now: u64) -> bool {
        let Some(at) = self.in_turn(|task| task.outbox.is_some()) else { return false };
        let task = &self.tasks[at];
        let handle = task.kept.launch.task;
        let purpose = Purpose::Outbox { task: handle };
        match &task.outbox {
            Some(Event::Message(bytes)) => {
                let data = heapless::Vec::from_slice(bytes).unwrap_or_default();
                let message = Message { task: handle, seq: task.message_seq, data };
                self.post(paths::MESSAGE, &message, purpose, now)
            }
            Some(Event::Log(bytes)) => {
                let data = heapless::Vec::from_slice(bytes).unwrap_or_default();
                let message = Log { task: handle, offset: task.log_offset, data };
                self.post(paths::LOG, &message, purpose, now)
            }
            _ => false,
        }
    }

    fn fetch_block(&mut self, now: u64) -> bool {
        let Some(at) = self.in_turn(|task| task.kept.phase == Phase::Fetching) else { return false };
        let launch = self.tasks[at].kept.launch;
        let got = self.tasks[at].document.len();
        let szx = self.os.inventory().block_szx.min(6);
        if got < usize::from(launch.document_len) {
            let purpose = Purpose::Document { task: launch.task };
            return self.get(paths::DOCUMENT, launch.task, got as u32, szx, purpose, now);
        }
        match self.os.image_len(&launch.digest) {
            Ok(offset) if offset < launch.image_len => {
                let offset = offset & !block_mask(szx);
                let purpose = Purpose::Image { task: launch.task, offset };
                self.get(paths::IMAGE, launch.image, offset, szx, purpose, now)
            }
            Ok(_) => false, // complete: `start_fetched` takes it from here
            Err(error) => {
                self.storage_failed(at, error);
                false
            }
        }
    }

    fn post<T: serde::Serialize>(&mut self, path: &str, message: &T, purpose: Purpose, now: u64) -> bool {
        // Every message fits by the proof in `node_proto`; if one did not, asking again would not help.
        let Ok(payload) = node_proto::encode(message) else { return false };
        let sent = self.wire.post(path, &payload, now);
        self.under_way = sent.then_some(purpose);
        sent
    }

    fn get(&mut self, path: &str, id: u16, offset: u32, szx: u8, purpose: Purpose, now: u64) -> bool {
        let sent = self.wire.get_block(&format!("{path}/{id}"), offset, szx, now);
        self.under_way = sent.then_some(purpose);
        sent
    }

    // --- what the gateway answers ---

    fn answered(&mut self, answer: Answer, now: u64) {
        let Some(purpose) = self.under_way.take() else { return };
        if answer.is_unauthorized() && purpose != Purpose::Register {
            // The gateway does not know this address: it restarted, or the lease ran out.
            self.link = Link::Down { next_ms: now, pause_ms: self.config.register_pause_ms };
            return;
        }
        if !answer.is_success() {
            let from_ms = now + Config::REFUSED_PAUSE_MS;
            match purpose {
                Purpose::Register | Purpose::Poll => {} // these have pauses of their own
                Purpose::Status { .. } => self.status_from_ms = from_ms,
                Purpose::Outbox { .. } => self.outbox_from_ms = from_ms,
                Purpose::Document { .. } | Purpose::Image { .. } => self.fetch_from_ms = from_ms,
            }
        }
        match purpose {
            Purpose::Register => self.registered(&answer, now),
            Purpose::Poll => self.polled(&answer, now),
            Purpose::Status { task, seq } => self.status_taken(task, seq, &answer),
            Purpose::Outbox { task } => self.outbox_taken(task, &answer),
            Purpose::Document { task } => self.document_block(task, &answer),
            Purpose::Image { task, offset } => self.image_block(task, offset, &answer),
        }
    }

    fn unanswered(&mut self, now: u64) {
        match self.under_way.take() {
            // The pause before the next attempt is running already.
            None | Some(Purpose::Register) => {}
            Some(_) => self.link = Link::Down { next_ms: now, pause_ms: self.config.register_pause_ms },
        }
    }

    fn registered(&mut self, answer: &Answer, now: u64) {
        let Some(registered) = self.read::<Registered>(answer) else { return };
        if registered.fresh {
            // The gateway's store knows nothing of what this node remembers: nobody waits for it any more.
            while let Some(task) = self.tasks.pop() {
                self.abandon(task.kept.launch.task);
                self.ledger.release(task.slot.into());
                self.check(|os| os.delete(task.record()));
            }
        }
        let seen = if registered.fresh { registered.done } else { self.seen.max(registered.done) };
        if seen != self.seen {
            self.seen = seen;
            self.check(|os| record::save(os, Record::Seen, &seen));
        }
        let poll_ms = u32::from(registered.poll_s.max(1)) * 1000;
        // Orders may have waited while the node was away.
        self.link = Link::Up { poll_ms, next_ms: now };
    }

    fn polled(&mut self, answer: &Answer, now: u64) {
        let mut more = false;
        if answer.has_content() {
            match decode::<Command>(&answer.payload) {
                Ok(command) => {
                    // The next poll confirms this order, whether or not another one waits.
                    more = true;
                    self.act(command);
                }
                Err(_) => self.counters.malformed = self.counters.malformed.saturating_add(1),
            }
        }
        if let Link::Up { poll_ms, .. } = self.link {
            let busy = matches!(self.os.power(), Power::Mains) && !self.tasks.is_empty();
            let pause = if busy { poll_ms.min(self.config.busy_poll_ms) } else { poll_ms };
            let next_ms = if more { now } else { now + u64::from(pause) };
            self.link = Link::Up { poll_ms, next_ms };
        }
    }

    fn status_taken(&mut self, task: TaskHandle, seq: u16, answer: &Answer) {
        let Some(at) = self.find(task) else { return };
        if answer.is_not_found() {
            // The gateway has no such task: nobody waits for its statuses.
            self.drop_task(at);
        } else if answer.is_success() {
            let kept = &mut self.tasks[at].kept;
            if kept.statuses.front().is_some_and(|front| front.seq == seq) {
                kept.statuses.pop_front();
                self.save_task(at);
            }
        }
    }

    fn outbox_taken(&mut self, task: TaskHandle, answer: &Answer) {
        let Some(at) = self.find(task) else { return };
        if !answer.is_success() && !answer.is_not_found() {
            return; // busy there: it stays and is sent again
        }
        let task = &mut self.tasks[at];
        match task.outbox.take() {
            Some(Event::Message(_)) => task.message_seq = task.message_seq.wrapping_add(1),
            Some(Event::Log(bytes)) => task.log_offset = task.log_offset.wrapping_add(bytes.len() as u32),
            _ => {}
        }
    }

    fn document_block(&mut self, task: TaskHandle, answer: &Answer) {
        let Some(at) = self.find(task) else { return };
        let task = &mut self.tasks[at];
        let expected = usize::from(task.kept.launch.document_len);
        let fits = expected <= DOCUMENT_MAX && task.document.len() + answer.payload.len() <= expected;
        let more = !answer.payload.is_empty();
        if answer.has_content() && fits && more && answer.offset == task.document.len() as u32 {
            task.document.extend_from_slice(&answer.payload);
            task.fetch_failures = 0;
        } else {
            self.fetch_refused(at, answer, "document");
        }
    }

    fn image_block(&mut self, task: TaskHandle, offset: u32, answer: &Answer) {
        let Some(at) = self.find(task) else { return };
        let launch = self.tasks[at].kept.launch;
        let end = u64::from(offset) + answer.payload.len() as u64;
        let fits = end <= u64::from(launch.image_len);
        // A block that brings nothing new, because the gateway has less than it said, would be asked for for ever.
        let more = match self.os.image_len(&launch.digest) {
            Ok(held) => end > u64::from(held),
            Err(error) => return self.storage_failed(at, error),
        };
        if answer.has_content() && fits && answer.offset == offset && more {
            self.tasks[at].fetch_failures = 0;
            if let Err(error) = self.os.image_write(&launch.digest, offset, &answer.payload) {
                self.storage_failed(at, error);
            }
        } else {
            self.fetch_refused(at, answer, "image");
        }
    }

    fn fetch_refused(&mut self, at: usize, answer: &Answer, what: &str) {
        let task = &mut self.tasks[at];
        task.fetch_failures = task.fetch_failures.saturating_add(1);
        let most = match answer.is_unavailable() {
            true => Config::FETCH_UNAVAILABLE_MAX,
            false => Config::FETCH_FAILURES_MAX,
        };
        if answer.is_not_found() || task.fetch_failures >= most {
            let note = format!("{what}: gateway says {}", answer.code_text());
            self.report(at, State::Failed(Failure::Fetch), &note);
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self, answer: &Answer) -> Option<T> {
        if !answer.is_success() {
            return None;
        }
        let message = decode(&answer.payload).ok();
        if message.is_none() {
            self.counters.malformed = self.counters.malformed.saturating_add(1);
        }
        message
    }

    // --- orders ---

    /// Takes an order pushed by the gateway. While the answer to a registration is outstanding none is taken: it may
    /// say that everything the node remembers is to be forgotten, this order's task included.
    fn order(&mut self, payload: &[u8]) -> Code {
        if !matches!(self.link, Link::Up { .. }) {
            return Code::UNAVAILABLE;
        }
        match decode::<Command>(payload) {
            Ok(command) => {
                self.act(command);
                Code::CHANGED
            }
            Err(_) => {
                self.counters.malformed = self.counters.malformed.saturating_add(1);
                Code::BAD_REQUEST
            }
        }
    }

    fn act(&mut self, command: Command) {
        if command.seq <= self.seen {
            self.counters.repeated_orders = self.counters.repeated_orders.saturating_add(1);
            return;
        }
        // A task's record comes before the command counter, a message after it: should the node stop in between,
        // a launch is found to be known, a kill is repeated without harm, a message is lost rather than doubled.
        match &command.order {
            Order::Launch(launch) => self.launch(command.seq, *launch),
            Order::Kill { task, grace_ms } => self.kill(*task, *grace_ms),
            Order::Message { .. } => {}
        }
        self.seen = command.seq;
        self.counters.orders = self.counters.orders.saturating_add(1);
        let seen = self.seen;
        self.check(|os| record::save(os, Record::Seen, &seen));
        if let Order::Message { task, data } = &command.order {
            self.deliver(*task, data);
        }
    }

    fn deliver(&mut self, task: TaskHandle, data: &[u8]) {
        let Some(at) = self.find(task) else { return };
        match self.tasks[at].kept.phase {
            Phase::Fetching => self.tasks[at].keep_message(data),
            Phase::Running => self.os.deliver(task, data),
            Phase::Ended => {}
        }
    }

    fn launch(&mut self, order: CommandSeq, launch: Launch) {
        if self.find(launch.task).is_some() {
            return;
        }
        let free = (0..TASKS_MAX as u8).find(|slot| self.tasks.iter().all(|task| task.slot != *slot));
        let Some(slot) = free else {
            // Every slot holds a task. The gateway counts slots too, so this is a gateway gone wrong, and there is
            // no place to keep a status in: the task shows up as lost when the gateway reconciles.
            return;
        };
        let mut task = Task::new(slot, order, launch);
        match self.refusal(slot, &launch) {
            None => task.report(State::Starting, ""),
            Some((failure, note)) => task.report(State::Failed(failure), note),
        }
        let _ = self.tasks.push(task); // a slot was free
        let at = self.tasks.len() - 1;
        self.save_task(at);
        if self.tasks[at].kept.phase == Phase::Fetching {
            self.admit_image(at);
        }
    }

    /// Reserves what a task asks for, or says why this node will not run it.
    fn refusal(&mut self, slot: u8, launch: &Launch) -> Option<(Failure, &'static str)> {
        let has = self.os.inventory();
        let runtime = match launch.kind {
            Kind::Wasm => Runtimes::WASM,
            Kind::Native => Runtimes::NATIVE,
        };
        if has.runtimes.0 & runtime == 0 {
            return Some((Failure::Unsupported, "node cannot run this kind"));
        }
        if launch.capabilities.has(Capabilities::SENSOR) && has.sensors == 0 {
            return Some((Failure::Capability, "node has no sensor"));
        }
        if launch.capabilities.has(Capabilities::LED) && has.leds == 0 {
            return Some((Failure::Capability, "node has no LED"));
        }
        if launch.image_len == 0 || launch.image_len > IMAGE_MAX.min(has.flash_bytes) {
            return Some((Failure::Resources, "image too large for node"));
        }
        if usize::from(launch.document_len) > DOCUMENT_MAX {
            return Some((Failure::Resources, "arguments too long for node"));
        }
        let refused = self.ledger.reserve(slot.into(), grant_of(launch)).err()?;
        Some(match refused {
            Refusal::Cpu(_) => (Failure::Resources, "not enough cpu left"),
            Refusal::Memory(_) => (Failure::Resources, "not enough memory left"),
            Refusal::Flash(_) => (Failure::Resources, "not enough flash left"),
            Refusal::NoSlot | Refusal::Taken => (Failure::Resources, "no slot left"),
        })
    }

    fn admit_image(&mut self, at: usize) {
        let launch = self.tasks[at].kept.launch;
        let flash = self.os.inventory().flash_bytes;
        let in_use = |tasks: &[Task], image: &Digest| {
            tasks.iter().any(|task| task.kept.phase != Phase::Ended && task.kept.launch.digest == *image)
        };
        let tasks = &self.tasks;
        let admitted = self
            .images
            .admit(&mut self.os, launch.digest, launch.image_len, flash, |image| in_use(tasks, image));
        match admitted {
            Ok(()) => {}
            Err(NoRoom::InUse) => {
                self.report(at, State::Failed(Failure::Storage), "no room for the image");
            }
            Err(NoRoom::Storage(error)) => self.storage_failed(at, error),
        }
    }

    fn kill(&mut self, task: TaskHandle, grace_ms: u32) {
        let Some(at) = self.find(task) else { return };
        match self.tasks[at].kept.phase {
            Phase::Fetching => self.report(at, State::Killed, "killed before it ran"),
            Phase::Running => {
                let at_ms = self.os.now_ms() + u64::from(grace_ms);
                // A kill that is repeated may only shorten the time.
                let at_ms = self.tasks[at].stopping.map_or(at_ms, |held| held.at_ms.min(at_ms));
                self.tasks[at].stopping = Some(Deadline { at_ms, failure: None });
                if grace_ms == 0 || !self.os.stop(task, grace_ms) {
                    self.os.kill(task); // `Event::Killed` follows
                }
            }
            Phase::Ended => {}
        }
    }

    /// Ends tasks whose grace or time is over.
    fn end_overdue(&mut self, now: u64) {
        for at in 0..self.tasks.len() {
            let task = &mut self.tasks[at];
            let Some(deadline) = task.deadline().filter(|deadline| deadline.at_ms <= now) else { continue };
            let handle = task.kept.launch.task;
            (task.stopping, task.time_limit) = (None, None);
            if task.kept.phase == Phase::Running {
                task.ended_as = deadline.failure;
                self.os.kill(handle); // `Event::Killed` follows
            }
        }
    }

    // --- tasks ---

    fn start_fetched(&mut self) {
        for at in 0..self.tasks.len() {
            let task = &self.tasks[at];
            let launch = task.kept.launch;
            let whole_document = task.document.len() == usize::from(launch.document_len);
            if task.kept.phase != Phase::Fetching || !whole_document {
                continue;
            }
            if self.config.publisher.is_some() && signature_in(&task.document).is_empty() {
                // Not worth a block of the image.
                self.report(at, State::Failed(Failure::Signature), "image is not signed");
                continue;
            }
            match self.os.image_len(&launch.digest) {
                Ok(len) if len >= launch.image_len => self.start(at),
                Ok(_) => {}
                Err(error) => self.storage_failed(at, error),
            }
        }
    }

    fn start(&mut self, at: usize) {
        let launch = self.tasks[at].kept.launch;
        let digest = match images::verify(&mut self.os, &launch.digest, launch.image_len) {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                let _ = self.images.discard(&mut self.os, &launch.digest);
                self.report(at, State::Failed(Failure::Digest), "image has a wrong digest");
                return;
            }
            Err(error) => return self.storage_failed(at, error),
        };
        if let Some(publisher) = &self.config.publisher
            && !is_signed(&digest, publisher, signature_in(&self.tasks[at].document))
        {
            self.report(at, State::Failed(Failure::Signature), "not signed by the publisher");
            return;
        }
        // Known to run before it runs: if the node stops here, the task is not started a second time.
        self.tasks[at].kept.phase = Phase::Running;
        if !self.save_task(at) {
            self.report(at, State::Failed(Failure::Storage), "cannot keep the task's record");
            return;
        }
        let bytes = core::mem::take(&mut self.tasks[at].document);
        let document = match launch.document_len {
            0 => Ok(Document::default()),
            _ => postcard::from_bytes::<Document<'_>>(&bytes),
        };
        let Ok(document) = document else {
            self.report(at, State::Failed(Failure::Fetch), "document cannot be read");
            return;
        };
        let started = self.os.start(&Start {
            task: launch.task,
            image: launch.digest,
            image_len: launch.image_len,
            kind: launch.kind,
            document,
            grant: grant_of(&launch),
        });
        match started {
            Ok(()) => {
                if launch.max_run_s > 0 {
                    let at_ms = self.os.now_ms() + u64::from(launch.max_run_s) * 1000;
                    self.tasks[at].time_limit = Some(Deadline { at_ms, failure: Some(Failure::Timeout) });
                }
                self.report(at, State::Running, "");
                for message in core::mem::take(&mut self.tasks[at].inbox) {
                    self.os.deliver(launch.task, &message);
                }
            }
            Err(error) => self.report(at, State::Failed(error.failure), &error.note),
        }
    }

    fn drain_executor(&mut self) {
        for at in 0..self.tasks.len() {
            self.drain_task(at);
            if self.tasks[at].report_health() {
                self.save_task(at);
            }
        }
    }

    fn drain_task(&mut self, at: usize) {
        while self.tasks[at].kept.phase == Phase::Running && self.tasks[at].outbox.is_none() {
            let stopping = self.tasks[at].stopping.is_some();
            match self.os.next_event(self.tasks[at].kept.launch.task) {
                None => break,
                Some(output @ (Event::Message(_) | Event::Log(_))) => self.tasks[at].outbox = Some(output),
                Some(Event::Health(well)) => self.tasks[at].health = Some(State::Health(well)),
                Some(Event::Checked(value)) => self.tasks[at].health = Some(State::Checked(value)),
                // However it ended: it was told to.
                Some(Event::Exited(_) | Event::Failed(..)) if stopping => self.report(at, State::Killed, ""),
                Some(Event::Exited(code)) => self.report(at, State::Exited(code), ""),
                Some(Event::Killed) => match self.tasks[at].ended_as {
                    Some(failure) => self.report(at, State::Failed(failure), ""),
                    None => self.report(at, State::Killed, ""),
                },
                Some(Event::Failed(failure, note)) => self.report(at, State::Failed(failure), &note),
            }
        }
    }

    fn release_done(&mut self) {
        while let Some(at) = self.tasks.iter().position(Task::is_done) {
            self.drop_task(at);
        }
    }

    fn drop_task(&mut self, at: usize) {
        let task = self.tasks.swap_remove(at);
        self.ledger.release(task.slot.into());
        if task.kept.phase == Phase::Running {
            self.abandon(task.kept.launch.task);
        }
        self.check(|os| os.delete(task.record()));
    }

    /// Ends a task of which nobody wants to hear any more. Its events are taken up to the last, since an executor
    /// holds a task's place until then.
    fn abandon(&mut self, task: TaskHandle) {
        self.os.kill(task);
        while let Some(Event::Message(_) | Event::Log(_) | Event::Health(_) | Event::Checked(_)) =
            self.os.next_event(task)
        {}
    }

    fn report(&mut self, at: usize, state: State, note: &str) {
        self.tasks[at].report(state, note);
        if state.is_terminal() {
            self.ledger.release(self.tasks[at].slot.into());
        }
        self.save_task(at);
    }

    fn storage_failed(&mut self, at: usize, error: StorageError) {
        self.counters.storage_errors = self.counters.storage_errors.saturating_add(1);
        let note = match error {
            StorageError::Full => "node's storage is full",
            StorageError::Failed => "node's storage failed",
        };
        self.report(at, State::Failed(Failure::Storage), note);
    }

    fn save_task(&mut self, at: usize) -> bool {
        let task = &self.tasks[at];
        let (record, kept) = (task.record(), task.kept.clone());
        self.check(|os| record::save(os, record, &kept))
    }

    /// Counts a failure of storage. What was to be kept is then only in memory: a restart may repeat a status,
    /// which the gateway recognises by its number.
    fn check(&mut self, work: impl FnOnce(&mut O) -> Result<(), StorageError>) -> bool {
        let done = work(&mut self.os).is_ok();
        if !done {
            self.counters.storage_errors = self.counters.storage_errors.saturating_add(1);
        }
        done
    }

    fn find(&self, task: TaskHandle) -> Option<usize> {
        self.tasks.iter().position(|held| held.kept.launch.task == task)
    }
}

/// The signature in a task's document; empty if there is none.
fn signature_in(document: &[u8]) -> &[u8] {
    postcard::from_bytes::<Document<'_>>(document).map_or(&[], |document| document.signature)
}

// The ledger's bits are those on the wire: one is handed on as the other.
const _: () = {
    assert!(
        grants::Capabilities::LOG == Capabilities::LOG
            && grants::Capabilities::MESSAGE == Capabilities::MESSAGE
    );
    assert!(
        grants::Capabilities::SLEEP == Capabilities::SLEEP
            && grants::Capabilities::TIME == Capabilities::TIME
    );
    assert!(
        grants::Capabilities::SENSOR == Capabilities::SENSOR
            && grants::Capabilities::LED == Capabilities::LED
    );
};

fn grant_of(launch: &Launch) -> Grant {
    Grant {
        cpu_permille: launch.cpu_permille,
        mem_bytes: launch.mem_bytes,
        flash_bytes: 0,
        capabilities: grants::Capabilities(launch.capabilities.0),
        strict: true,
    }
}

/// Bits of an offset below a block of 2^(szx+4) bytes.
fn block_mask(szx: u8) -> u32 {
    (1 << (u32::from(szx) + 4)) - 1
}
