//! Deterministic simulation: nodes, gateway, master and scheduler in one process and virtual time. One seed decides
//! everything: what kind of world it is, what is lost on the way, what breaks and when.
//!
//! ```text
//!   scheduler <-- stream, may break --> MasterCore <-- two ways, may break --> Sessions + Agents and their store
//!                                                                                        |
//!                 agent_core::Agent on storage that survives <-- radio, may do anything -+
//! ```
//!
//! The parts are the real cores; what is around them (`node`, `gateway`, `world`) does what their drivers do, and
//! crashes where they could: a node at any write, the gateway before, after or behind any commit. After every event
//! `checks` looks at what must hold; at the end of a run (`end`) everything is mended, and all parts have to agree.

mod board;
mod checks;
mod cores;
mod end;
mod gateway;
mod happen;
mod images;
mod link;
mod node;
mod nonces;
mod plan;
mod rng;
mod scheduler;
mod task;
mod tcp;
mod trace;
mod words;
mod world;

pub use checks::Violation;
pub use trace::Sink;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use world::World;

/// Something that is not as it should be, to see whether it is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// Everything is as it should be.
    #[default]
    None,
    /// Of what nodes write, some is gone after a loss of power.
    NodeForgets,
    /// Of what the gateway commits, some is gone after a crash.
    GatewayForgets,
}

/// What a run is.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What decides everything.
    pub seed: u64,
    /// How long things break before everything is mended, virtual minutes.
    pub minutes: u64,
    /// What is not as it should be.
    pub sabotage: Sabotage,
}

/// What happened in a run, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Tasks that were launched and ended.
    pub tasks: u64,
    /// Starts of tasks on nodes.
    pub starts: u64,
    /// Agents' updates that reached the scheduler, repeated ones included.
    pub updates: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Messages from the gateway to the master.
    pub messages: u64,
    /// Messages lost with a connection.
    pub messages_lost: u64,
    /// Steps of the gateway.
    pub steps: u64,
    /// Things that broke.
    pub faults: u64,
    /// Nodes that went down.
    pub node_crashes: u64,
    /// Times the gateway went down.
    pub gateway_crashes: u64,
    /// Times the master went down.
    pub master_crashes: u64,
}

impl Stats {
    /// The sum of two.
    pub fn and(self, other: &Self) -> Self {
        Self {
            tasks: self.tasks + other.tasks,
            starts: self.starts + other.starts,
            updates: self.updates + other.updates,
            datagrams: self.datagrams + other.datagrams,
            messages: self.messages + other.messages,
            messages_lost: self.messages_lost + other.messages_lost,
            steps: self.steps + other.steps,
            faults: self.faults + other.faults,
            node_crashes: self.node_crashes + other.node_crashes,
            gateway_crashes: self.gateway_crashes + other.gateway_crashes,
            master_crashes: self.master_crashes + other.master_crashes,
        }
    }
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// All its events as one number: the same for the same seed.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Virtual time that passed, milliseconds.
    pub virtual_ms: u64,
    /// What happened.
    pub stats: Stats,
    /// The invariant that did not hold, if any.
    pub violation: Option<Violation>,
}

/// Runs one world to its end. `sink` gets a line for each event.
pub fn run(run: Run, sink: Option<Sink>) -> Outcome {
    let mut world = World::new(run.seed, run.sabotage, sink);
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| {
        world.run_until(run.minutes * 60_000);
        world.wind_up();
    }));
    if let Err(panic) = done {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.checks.fail("nothing panics", text.unwrap_or_default());
    }
    Outcome {
        seed: run.seed,
        hash: world.trace.hash(),
        events: world.trace.events,
        virtual_ms: world.now,
        stats: world.stats,
        violation: world.checks.violation.take(),
    }
}

/// Runs many worlds on so many threads; `tell` hears of each as it ends and says whether to go on.
pub fn run_all(
    seeds: std::ops::Range<u64>,
    minutes: u64,
    sabotage: Sabotage,
    threads: usize,
    mut tell: impl FnMut(&Outcome) -> bool,
) {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let (outcomes, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (outcomes, next, stop) = (outcomes.clone(), &next, &stop);
            let end = seeds.end;
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= end || outcomes.send(run(Run { seed, minutes, sabotage }, None)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(outcomes);
        for outcome in ended {
            if !tell(&outcome) {
                stop.store(true, Relaxed);
            }
        }
    });
}
