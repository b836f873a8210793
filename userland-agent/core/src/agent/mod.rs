//! The agent itself: the link to the gateway, the order in which things are asked of it, and what its answers do.

mod answers;
mod ask;
mod bodies;
mod orders;
mod reads;
mod tasks;

use crate::images::{Images, NoRoom};
use crate::intake;
use crate::manifest::{self, PUBLISHERS_MAX, Releases};
use crate::os::{Digest, Event, Os, Peer, Record, Start, StorageError};
use crate::record;
use crate::task::{Deadline, Kept, Outbox, Phase, Task};
use crate::wire::{Answer, Refused, Wire, WireEvent};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use grants::{Capacity, Grant, Ledger, Refusal};
use node_coap::{Code, Next};
use node_oscore::{Context, Credential};
use node_proto::limits::{DOCUMENT_MAX, IMAGE_MAX, MESSAGE_LONG_MAX, TASKS_MAX, VERSION};
use node_proto::{
    Capabilities, Command, CommandSeq, Document, Failure, Kind, Launch, Log, LongMessage, Message, News,
    Order, Poll, Power, Register, Registered, Runtimes, State, Status, TaskHandle, Usage, Vitals, decode,
    paths,
};

/// Settings of an agent.
#[derive(Clone, Debug)]
pub struct Config {
    /// CoAP ACK_TIMEOUT towards the gateway, milliseconds (RFC 7252 §4.8: 2000; not below 1000 in the field).
    pub ack_timeout_ms: u32,
    /// Least time before a retransmission once the round trip is measured, milliseconds.
    pub min_timeout_ms: u32,
    /// Pause between polls while a task is fetched or runs on a node with mains, and after an order on any node,
    /// milliseconds.
    pub busy_poll_ms: u32,
    /// Longest pause between polls that this node wants, seconds, if that is less than what its gateway allows.
    pub poll_max_s: u16,
    /// First pause before another registration, doubled up to [`Config::REGISTER_PAUSE_MAX_MS`].
    pub register_pause_ms: u32,
    /// Ed25519 keys of the only publishers whose images are started; any image is if there are none.
    pub publishers: heapless::Vec<[u8; 32], PUBLISHERS_MAX>,
    /// What the node was provisioned with. Without it, for the laboratory, nothing is protected and anybody is believed.
    ///
    /// A credential belongs to the storage it was first used with: with other storage the same numbers would be used
    /// again, which gives away what they protected.
    pub credential: Option<Credential>,
}

impl Config {
    /// Longest pause between registrations, milliseconds.
    pub const REGISTER_PAUSE_MAX_MS: u32 = 60_000;
    /// Requests in a row for the same task's block that may fail before the task does.
    pub const FETCH_FAILURES_MAX: u8 = 8;
    /// Bytes of an image that is in storage already which are looked at in one step.
    pub const INTAKE_PER_STEP: u32 = 4096;
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
            poll_max_s: u16::MAX,
            register_pause_ms: 1_000,
            publishers: heapless::Vec::new(),
            credential: None,
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
        /// The pause before the next one: doubled after each that brings nothing, and short after one that does.
        pause_ms: u32,
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
    /// What the gateway wants to end is not here.
    Stranger {
        task: TaskHandle,
    },
    Status {
        task: TaskHandle,
        seq: u16,
    },
    Outbox {
        task: TaskHandle,
    },
    Document {
        task: TaskHandle,
    },
    Image {
        task: TaskHandle,
        offset: u32,
    },
    /// What a command is about.
    Body {
        order: CommandSeq,
    },
}

/// A node's agent. Call [`Agent::datagram`] for what arrives and [`Agent::step`] when it says or after that.
pub struct Agent<O: Os> {
    os: O,
    config: Config,
    /// Boxed, as are others below: what is moved when an agent is made is to be small.
    wire: Box<Wire>,
    link: Link,
    boot: u32,
    epoch: u16,
    seen: CommandSeq,
    /// At most [`TASKS_MAX`]. Each is on its own on the heap: a node with one task has no room for eight.
    #[allow(clippy::vec_box)] // a list that grows would hold all of them twice while it is moved
    tasks: Vec<Box<Task>>,
    /// What the tasks that have not ended were granted, by slot.
    ledger: Box<Ledger<TASKS_MAX>>,
    images: Box<Images>,
    releases: Box<Releases>,
    /// Tasks that were to be killed and are not here: the gateway is to hear that. What finds no place is killed again.
    strangers: heapless::Deque<TaskHandle, TASKS_MAX>,
    under_way: Option<Purpose>,
    /// What the newest command is about, on its way here.
    body: Option<bodies::Body>,
    /// From when statuses, output and block requests may be sent again after the gateway refused one.
    status_from_ms: u64,
    outbox_from_ms: u64,
    fetch_from_ms: u64,
    /// Where the search for the next thing to send starts, so that tasks take turns.
    turn: usize,
    usage_turn: usize,
    started_ms: u64,
    /// Time that the radio listened, up to `listened_at_ms`.
    listened_ms: u64,
    listened_at_ms: u64,
    listening: bool,
    observers: Box<heapless::Vec<reads::Observer, { reads::OBSERVERS_MAX }>>,
    counters: Counters,
}

impl<O: Os> Agent<O> {
    /// Starts the agent on what storage remembers. Tasks that ran when the node went down are started again if they
    /// may be, and reported as failed if not; those still being fetched go on where they were.
    #[inline(never)]
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
        let images = Box::new(Images::load(&mut os)?);
        let releases = Box::new(Releases::load(&mut os)?);
        let mut tasks = Vec::new();
        let has = os.inventory();
        let mut ledger = Box::new(Ledger::new(Capacity {
            cpu_permille: has.cpu_permille,
            mem_bytes: has.mem_bytes,
            leds: has.leds,
            flash_bytes: u32::MAX, // images are shared between tasks: `Images` keeps their book
        }));
        for slot in 0..TASKS_MAX as u8 {
            if let Some(task) = restored(&mut os, slot, &mut ledger, &mut counters)? {
                // The node may have stopped between the task's record and the counter's. The task can end and be
                // forgotten before the gateway is asked for orders again: it must not come as a new one then.
                seen = seen.max(task.kept.order);
                tasks.push(task);
            }
        }
        let started_ms = os.now_ms();
        let link = Link::Down { next_ms: started_ms, pause_ms: config.register_pause_ms };
        let context = match &config.credential {
            None => None,
            Some(credential) => {
                let used: Option<(KeyId, u64)> = record::load(&mut os, Record::Sequence)?;
                let next = used.filter(|(kid, _)| *kid == key_id(credential)).map_or(0, |(_, bound)| bound);
                let echo = (seed ^ u64::from(boot)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                // What the gateway asked before this start is not remembered.
                let keys = credential.node_keys().ok_or(StorageError::Failed)?;
                Some(Context::new(keys, next, None, echo))
            }
        };
        let mut agent = Self {
            wire: Box::new(Wire::new(config.ack_timeout_ms, config.min_timeout_ms, context, seed)),
            observers: Box::default(),
            os,
            config,
            link,
            boot,
            epoch,
            seen,
            tasks,
            ledger,
            images,
            releases,
            strangers: heapless::Deque::new(),
            under_way: None,
            body: None,
            status_from_ms: 0,
            outbox_from_ms: 0,
            fetch_from_ms: 0,
            turn: 0,
            usage_turn: 0,
            started_ms,
            listened_ms: 0,
            listened_at_ms: started_ms,
            listening: true,
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

    /// What was dropped because it is not protected as it should be.
    pub fn refused(&self) -> Refused {
        self.wire.refused
    }

    /// Takes one datagram.
    #[inline(never)] // in its caller's large frame it takes more code
    pub fn datagram(&mut self, from: Peer, bytes: &[u8]) {
        let now = self.os.now_ms();
        self.reserve_numbers();
        self.wire.handle(from, bytes, now);
        self.events(now);
    }

    /// A node with mains always listens; one with a battery only for the answer to what it has asked.
    fn account_listening(&mut self, now: u64) {
        if self.listening {
            self.listened_ms += now.saturating_sub(self.listened_at_ms);
        }
        self.listened_at_ms = now;
        self.listening = self.under_way.is_some() || self.os.power() == Power::Mains;
    }

    /// Keeps enough OSCORE numbers set aside in storage. If that fails, nothing is sent that needs one.
    fn reserve_numbers(&mut self) {
        if let (Some(bound), Some(credential)) = (self.wire.reservation(), &self.config.credential) {
            let used = (key_id(credential), bound);
            if self.check(|os| record::save(os, Record::Sequence, &used)) {
                self.wire.reserved(bound);
            }
        }
    }

    fn events(&mut self, now: u64) {
        while let Some(event) = self.wire.poll_event(now) {
            match event {
                WireEvent::Answer(answer) => self.answered(answer, now),
                WireEvent::Failed => self.unanswered(now),
                WireEvent::Order { asked, payload } => {
                    let code = self.order(&payload);
                    self.wire.answer_code(asked, code, now);
                }
                WireEvent::Read { asked, request } => self.read_by(asked, &request, now),
                WireEvent::Unwanted { peer, id } => self.observers.retain(|held| !held.asked.is(peer, id)),
            }
        }
    }

    /// Does what is due and gives the time at which to be called again, if nothing arrives before.
    #[inline(never)] // in its caller's large frame it takes more code
    pub fn step(&mut self) -> u64 {
        let now = self.os.now_ms();
        self.wire.handle_timeout(now);
        self.reserve_numbers();
        self.events(now);
        self.end_overdue(now);
        self.drain_executor();
        self.start_fetched();
        self.release_done();
        if self.under_way.is_none() {
            self.ask_next(now);
        }
        self.notify(now);
        self.account_listening(now);
        while let Some((peer, datagram)) = self.wire.poll_transmit() {
            self.os.send(peer, &datagram);
        }
        let due = match self.link {
            Link::Down { next_ms, .. } if self.under_way.is_none() => next_ms,
            Link::Up { next_ms, .. } if self.under_way.is_none() => {
                let paused = [self.status_from_ms, self.outbox_from_ms, self.fetch_from_ms];
                paused.into_iter().filter(|from| *from > now).fold(next_ms, u64::min)
            }
            _ => u64::MAX,
        };
        if self.has_more_to_take_in() {
            return now;
        }
        let ends = self.tasks.iter().filter_map(|task| task.deadline()).map(|deadline| deadline.at_ms);
        let soonest = ends.fold(due, u64::min).min(self.next_notification());
        soonest.min(self.wire.next_timeout().unwrap_or(u64::MAX))
    }
}

/// The task that storage remembers in a slot, if any, as it is after a restart.
#[inline(never)]
fn restored(
    os: &mut impl Os,
    slot: u8,
    ledger: &mut Ledger<TASKS_MAX>,
    counters: &mut Counters,
) -> Result<Option<Box<Task>>, StorageError> {
    let Some(kept) = record::load::<Kept>(os, Record::Slot(slot))? else { return Ok(None) };
    let mut task = Box::new(Task::restored(slot, kept));
    if task.kept.phase == Phase::Running {
        if !task.resume() {
            task.report(State::Failed(Failure::Restarted), "node restarted while it ran");
        }
        if record::save(os, task.record(), &task.kept).is_err() {
            counters.storage_errors = counters.storage_errors.saturating_add(1);
        }
    }
    if task.kept.phase != Phase::Ended && ledger.reserve(slot.into(), grant_of(&task.kept.launch)).is_err() {
        // The node has less than when it took the task.
        task.report(State::Failed(Failure::Resources), "node has less than before");
    }
    Ok(Some(task))
}

/// Which key a record of numbers is about.
type KeyId = heapless::Vec<u8, { node_oscore::ID_MAX + 8 }>;

/// The identifier and the salt: a key that was issued anew has another salt.
fn key_id(credential: &Credential) -> KeyId {
    credential.kid.as_bytes().iter().chain(&credential.salt).copied().collect()
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
    assert!(grants::Capabilities::KV == Capabilities::KV);
};

fn grant_of(launch: &Launch) -> Grant {
    Grant {
        cpu_permille: launch.cpu_permille,
        mem_bytes: launch.mem_bytes,
        flash_bytes: 0,
        leds: launch.leds,
        capabilities: grants::Capabilities(launch.capabilities.0),
        strict: true,
    }
}

/// Bits of an offset below a block of 2^(szx+4) bytes.
fn block_mask(szx: u8) -> u32 {
    (1 << (u32::from(szx) + 4)) - 1
}
