//! Settings of the sessions: polls, leases, limits.

use node_proto::Power;

/// Settings of the sessions.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// CoAP ACK_TIMEOUT towards nodes, milliseconds.
    pub ack_timeout_ms: u32,
    /// Least time before a retransmission once the round trip is measured, milliseconds.
    pub min_timeout_ms: u32,
    /// Longest pause between polls of a node with mains, seconds.
    pub poll_mains_s: u16,
    /// Longest pause between polls of a node on battery, seconds.
    pub poll_battery_s: u16,
    /// Pauses between polls after which a silent node's lease lapses; but not before a poll that was sent at the end
    /// of the first pause could have come through, with all its repetitions.
    pub missed_polls: u16,
    /// Nodes that may register.
    pub nodes_max: usize,
    /// For the laboratory: any node is taken at its word, and nothing is protected.
    pub insecure: bool,
    /// Unix time at the sessions' time 0, milliseconds.
    pub epoch_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ack_timeout_ms: 2_000,
            min_timeout_ms: 300,
            poll_mains_s: 5,
            poll_battery_s: 60,
            missed_polls: 3,
            nodes_max: 100_000,
            insecure: false,
            epoch_ms: 0,
        }
    }
}

impl Config {
    pub(super) fn poll_s(&self, power: Power) -> u16 {
        match power {
            Power::Mains => self.poll_mains_s.max(1),
            Power::Battery(_) => self.poll_battery_s.max(1),
        }
    }

    /// How long a node may be silent whose next poll comes within `next_s` seconds, milliseconds. A node that dies is
    /// given up so long after it was last heard.
    pub fn lease_ms(&self, next_s: u16) -> u64 {
        let next_ms = u64::from(next_s) * 1000;
        // MAX_TRANSMIT_WAIT (RFC 7252 §4.8.2): 31 times ACK_TIMEOUT and its random factor of 1.5. So long a node may
        // go on asking for an answer that is lost again and again; its repetitions are no signs of life, since
        // anybody may repeat them.
        let wait_ms = u64::from(self.ack_timeout_ms) * 93 / 2;
        (next_ms * u64::from(self.missed_polls)).max(next_ms + wait_ms)
    }
}
