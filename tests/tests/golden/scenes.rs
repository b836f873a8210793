//! What real cores of a node and a gateway send, with everything fixed that could differ.

use crate::Entry;
use crate::listener::Listener;
use agent_core::{Agent, Config, Event};
use fuzz_targets::rig::{MemoryOs, NODE, Pair, System, credential};
use gateway::bridge::{FromNode, ToNode};
use node_proto::{Document, Kind, Power};
use sha2::Digest as _;

/// The node's key identifier: what most nodes have.
const KID: [u8; 1] = [1];
/// When the gateway begins, Unix milliseconds: its numbers follow from that.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// Of all that is drawn: message ids, tokens, challenges.
const SEED: u64 = 1;
/// The image that is launched: two blocks and a half.
const IMAGE: [u8; 160] = [7; 160];

fn pair(power: Power) -> Pair {
    let mut system = System::new(NODE, power);
    system.script =
        vec![(300, Event::Log(b"a line of log\n".to_vec())), (600, Event::Message(b"21500".to_vec()))];
    let mut pair = Pair::new(system, &KID, EPOCH_MS, SEED).unwrap();
    pair.gateway.add_image(1, IMAGE.as_slice().into());
    pair
}

fn launch() -> ToNode {
    let document = Document { entry: "run", args: &[b'a'; 70], env: b"K=V\0", ..Document::default() };
    ToNode::Launch {
        task: 2,
        image: 1,
        image_len: IMAGE.len() as u32,
        digest: sha2::Sha256::digest(IMAGE).into(),
        kind: Kind::Wasm,
        document: postcard::to_allocvec(&document).unwrap(),
        cpu_permille: 100,
        mem_bytes: 4096,
        leds: 1,
        capabilities: 3,
        max_run_s: 60,
        resume: false,
    }
}

fn heard(pair: &Pair) -> Vec<Entry> {
    Listener::new(&credential(NODE, &KID)).all(&pair.passed)
}

/// A node that listens: orders are pushed to it.
pub fn mains() -> Vec<Entry> {
    let mut pair = pair(Power::Mains);
    pair.run(1_500);
    assert!(pair.order(launch()));
    pair.run(2_500);
    assert!(pair.order(ToNode::Message { task: 2, data: b"hello".to_vec() }));
    pair.run(100);
    assert!(pair.order(ToNode::Kill { task: 2, grace_ms: 500 }));
    pair.run(1_500);
    heard(&pair)
}

/// A node that sleeps: orders wait for its polls.
pub fn battery() -> Vec<Entry> {
    let mut pair = pair(Power::Battery(97));
    pair.run(500);
    assert!(pair.order(launch()));
    pair.run(2_000);
    let mut heard = heard(&pair);
    let launched = heard.iter().position(|entry| entry.what.contains("2.05, launch"));
    heard.truncate(launched.expect("the launch rides on a poll") + 1);
    heard
}

/// A node that has forgotten which of the gateway's requests it took, and is asked before it has registered.
pub fn restarted() -> Vec<Entry> {
    let mut pair = pair(Power::Mains);
    pair.run(1_500);
    let before = pair.passed.len();
    let config = Config { credential: Some(credential(NODE, &KID)), ..Config::default() };
    pair.node = Agent::new(MemoryOs(pair.system.clone()), config, SEED + 5).unwrap();
    assert!(pair.order(ToNode::Kill { task: 2, grace_ms: 500 }));
    pair.run(200);
    heard(&pair).split_off(before)
}

/// Messages that are too long for one frame, each way: only what has to do with them.
pub fn long() -> Vec<Entry> {
    let message: Vec<u8> = (0..100).collect();
    let mut pair = pair(Power::Mains);
    pair.system.borrow_mut().script = vec![(300, Event::Message(message.clone()))];
    pair.run(1_500);
    assert!(pair.order(launch()));
    pair.run(2_500);
    assert!(pair.order(ToNode::Message { task: 2, data: message.clone() }));
    pair.run(1_500);
    assert!(pair.events.contains(&FromNode::Message { task: 2, data: message.clone() }));
    assert_eq!(pair.system.borrow().delivered, [(2, message)]);
    let heard = heard(&pair);
    let begins = ["node: POST m/2", "gateway: POST c, fetch", "node: GET b/"];
    let asked = |entry: &Entry| begins.iter().any(|begin| entry.what.starts_with(begin));
    let shown = (0..heard.len()).filter(|at| asked(&heard[*at]) || *at > 0 && asked(&heard[*at - 1]));
    let shown: Vec<usize> = shown.collect();
    let entries = heard.into_iter().enumerate().filter(|(at, _)| shown.contains(at));
    entries.map(|(_, entry)| entry).collect()
}

/// A response that nobody waits for is acknowledged if it could be one that came again, a ping is answered.
pub fn strays() -> Vec<Entry> {
    let mut pair = pair(Power::Mains);
    pair.run(500);
    let before = pair.passed.len();
    for to_node in [true, false] {
        // CON 2.04 with message id and token; CON without anything.
        pair.inject(to_node, &[0x42, 0x44, 0x12, 0x34, 0xab, 0xcd]);
        pair.node.step();
        pair.inject(to_node, &[0x40, 0x00, 0x12, 0x35]);
        pair.node.step();
        pair.run(1);
    }
    heard(&pair).split_off(before)
}
