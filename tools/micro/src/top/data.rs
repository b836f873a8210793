//! What the gateway's documents say, as far as it is shown. A field that is absent or null is unknown; texts are made
//! harmless where they are read, so that nothing that a node or framework calls itself reaches the terminal as it is.

use super::text::harmless;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Processor time, thousandths of a core.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cpu {
    pub total_permille: Option<u64>,
    pub granted_permille: Option<u64>,
    pub used_permille: Option<u64>,
}

/// Memory, bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mem {
    pub total_bytes: Option<u64>,
    pub granted_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
}

/// Commands that wait.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mailbox {
    pub commands: u64,
    /// Unix time at which the oldest was put there.
    pub oldest_ms: Option<u64>,
}

/// What a node runs on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Power {
    #[serde(deserialize_with = "text")]
    pub source: String,
    pub percent: Option<u8>,
}

/// How well a node is heard.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Link {
    pub quality_percent: Option<u8>,
    pub uplink_lost_permille: Option<u16>,
    pub resent: Option<u64>,
}

/// A node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    #[serde(deserialize_with = "text")]
    pub node: String,
    #[serde(deserialize_with = "text")]
    pub hostname: String,
    #[serde(deserialize_with = "text")]
    pub board: String,
    #[serde(deserialize_with = "text")]
    pub agent_id: String,
    #[serde(deserialize_with = "text")]
    pub state: String,
    pub live: bool,
    pub draining: bool,
    pub heard_ms: Option<u64>,
    pub next_poll_s: Option<u64>,
    pub power: Power,
    pub life_days: Option<f64>,
    pub cpu: Cpu,
    pub mem: Mem,
    pub mailbox: Mailbox,
    pub link: Link,
    pub tasks: u64,
}

impl Node {
    /// Its state in one word.
    pub fn word(&self) -> &str {
        match self.state.as_str() {
            "registered" if !self.live => "silent",
            "registered" if self.draining => "draining",
            "registered" => "live",
            other => other,
        }
    }
}

/// What one role has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tenant {
    #[serde(deserialize_with = "text")]
    pub role: String,
    pub frameworks: u64,
    pub tasks: u64,
    pub cpu: Cpu,
    pub mem: Mem,
}

/// Sums over all nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub nodes: u64,
    pub live: u64,
    pub away: u64,
    pub draining: u64,
    pub battery_low: u64,
    pub tasks: BTreeMap<String, u64>,
    pub cpu: Cpu,
    pub mem: Mem,
    pub mailbox: Mailbox,
}

/// `/view/fleet`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fleet {
    /// Unix time by the gateway's clock.
    pub at: u64,
    pub total: usize,
    pub matching: usize,
    pub offset: usize,
    pub summary: Summary,
    pub tenants: Vec<Tenant>,
    pub nodes: Vec<Node>,
}

/// A task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Task {
    #[serde(deserialize_with = "text")]
    pub task_id: String,
    #[serde(deserialize_with = "text")]
    pub role: String,
    #[serde(deserialize_with = "text")]
    pub state: String,
    pub cpu: Cpu,
    pub mem: Mem,
    pub received_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    pub since_ms: Option<u64>,
}

impl Task {
    /// Its state without what all states begin with.
    pub fn word(&self) -> String {
        self.state.trim_start_matches("TASK_").to_ascii_lowercase()
    }
}

/// `/view/node/EUI64`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeView {
    pub at: u64,
    pub node: Node,
    pub tasks: Vec<Task>,
    pub completed: Vec<Task>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    pub at_ms: u64,
    #[serde(deserialize_with = "text")]
    pub kind: String,
    #[serde(deserialize_with = "text")]
    pub severity: String,
    #[serde(deserialize_with = "text")]
    pub text: String,
}

/// `/view/events`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Events {
    /// The number that the next one will have.
    pub next: u64,
    pub events: Vec<Event>,
}

/// A text that may be null.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(harmless(&Option::<String>::deserialize(from)?.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn what_is_unknown_stays_unknown_and_texts_are_made_harmless() {
        let fleet: Fleet = from_value(json!({
            "at": 5, "new_in_a_later_version": [],
            "nodes": [{ "node": "0a", "agent_id": null, "board": "x\u{1b}[2J\u{202e}y", "power": { "source": "mains", "percent": null } }]
        }))
        .unwrap();
        let node = &fleet.nodes[0];
        assert_eq!((fleet.at, fleet.matching, node.agent_id.as_str()), (5, 0, ""));
        assert!(node.cpu.used_permille.is_none() && node.power.percent.is_none());
        assert!(!node.board.contains(['\u{1b}', '\u{202e}']), "{:?}", node.board);
        assert!(from_value::<Fleet>(json!({ "nodes": [{ "tasks": -1 }] })).is_err());
    }

    #[test]
    fn a_nodes_state_is_one_word() {
        let word = |state: &str, live, draining| {
            Node { state: state.into(), live, draining, ..Default::default() }.word().to_owned()
        };
        assert_eq!(word("registered", true, false), "live");
        assert_eq!(word("registered", true, true), "draining");
        assert_eq!(word("registered", false, true), "silent");
        assert_eq!(word("away", false, false), "away");
    }
}
