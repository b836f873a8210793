//! What kind of world a seed makes: how many nodes, how bad the radio, what breaks and how often.

use crate::rng::Rng;

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct NodePlan {
    pub battery: bool,
    pub cpu_permille: u16,
    pub mem_bytes: u32,
    pub flash_bytes: u32,
    pub block_szx: u8,
    pub poll_max_s: u16,
    /// It listens under another port after a restart.
    pub moves: bool,
}

/// What can break. Each kind has a pause between two of its kind, milliseconds, or does not happen in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node loses power.
    NodeCrash,
    /// A node loses power at one of its next writes.
    NodeCrashAtWrite,
    /// A node's storage fails from one of its next writes on, until it restarts.
    NodeStorage,
    /// The gateway is killed.
    GatewayCrash,
    /// The gateway is killed before, after or behind one of its next commits.
    GatewayCrashAtCommit,
    /// The radio between one node and the gateway is silent for a while, one way or both.
    Outage,
    /// The gateway's or the master's connection to the other breaks.
    LinkBreak,
    /// A connection carries nothing for a while, and everything after that.
    LinkStall,
    /// Nobody leads for a moment.
    NoLeader,
    /// The master is replaced by one that knows nothing.
    MasterCrash,
    /// The scheduler's connection breaks.
    ApiBreak,
    /// The master is killed, and comes back with what it had committed.
    MasterRestart,
    /// The same before or after its next commit.
    MasterRestartAtCommit,
}

impl Fault {
    pub const ALL: [Self; 13] = [
        Self::NodeCrash,
        Self::NodeCrashAtWrite,
        Self::NodeStorage,
        Self::GatewayCrash,
        Self::GatewayCrashAtCommit,
        Self::Outage,
        Self::LinkBreak,
        Self::LinkStall,
        Self::NoLeader,
        Self::MasterCrash,
        Self::ApiBreak,
        Self::MasterRestart,
        Self::MasterRestartAtCommit,
    ];
}

/// The radio, per thousand datagrams, and delays in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RadioPlan {
    pub loss: u64,
    pub doubled: u64,
    pub late: u64,
    pub late_ms: u64,
    pub replayed: u64,
    pub delay_ms: u64,
}

/// Everything that is decided before the first event.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub nodes: Vec<NodePlan>,
    pub radio: RadioPlan,
    pub faults: Vec<(Fault, u64)>,
    /// Longest way of a message over TCP.
    pub wire_ms: u64,
    /// Longest commit.
    pub commit_ms: u64,
    /// Mean pause between two tasks.
    pub task_pause_ms: u64,
    /// Downloads that fail, per thousand.
    pub fetch_fails: u64,
    /// Acknowledgements that the scheduler forgets, per thousand.
    pub forgets_acks: u64,
    /// The framework wants to hear of TASK_KILLING.
    pub killing: bool,
    pub poll_battery_s: u16,
    pub ack_timeout_ms: u32,
}

impl Plan {
    pub fn new(rng: &mut Rng) -> Self {
        let nodes = rng.between(2, 4);
        let mut faults = Vec::new();
        for fault in Fault::ALL {
            if rng.chance(450) {
                faults.push((fault, rng.scale(30_000, 1_800_000)));
            }
        }
        Self {
            nodes: (0..nodes).map(|_| NodePlan::new(rng)).collect(),
            radio: RadioPlan {
                loss: if rng.chance(700) { rng.scale(5, 300) } else { 0 },
                doubled: if rng.chance(500) { rng.scale(5, 200) } else { 0 },
                late: if rng.chance(500) { rng.scale(5, 200) } else { 0 },
                late_ms: rng.scale(100, 60_000),
                replayed: if rng.chance(300) { rng.scale(2, 50) } else { 0 },
                delay_ms: rng.scale(5, 400),
            },
            faults,
            wire_ms: rng.scale(2, 300),
            commit_ms: rng.scale(1, 50),
            task_pause_ms: rng.scale(15_000, 240_000),
            fetch_fails: if rng.chance(300) { 200 } else { 0 },
            forgets_acks: if rng.chance(500) { rng.scale(10, 300) } else { 0 },
            killing: rng.chance(500),
            poll_battery_s: rng.pick(&[10, 30, 60]),
            ack_timeout_ms: rng.pick(&[1000, 2000]),
        }
    }
}

impl NodePlan {
    fn new(rng: &mut Rng) -> Self {
        Self {
            battery: rng.chance(350),
            cpu_permille: rng.pick(&[500, 1000]),
            mem_bytes: rng.pick(&[64 << 10, 256 << 10]),
            flash_bytes: rng.pick(&[4 << 10, 64 << 10]),
            block_szx: rng.pick(&[2, 4]),
            poll_max_s: rng.pick(&[5, 20, u16::MAX]),
            moves: rng.chance(200),
        }
    }
}
