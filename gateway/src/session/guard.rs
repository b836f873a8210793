//! Who may speak: the nodes' OSCORE contexts.
//!
//! A request is verified before anything is remembered of it, the CoAP layer's message id included. What is unknown,
//! revoked, repeated or forged is counted and dropped without an answer. Only commissioned nodes have memory here.

use super::{Output, node::record};
use crate::bridge::NodeId;
use crate::store::{Table, Write};
use node_coap::{Request, Response};
use node_oscore::{Binding, Context, Credential, Error, Id, key_id};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// Own numbers of a key that has never been used here begin with the clock, so many a second: a gateway that has lost
/// its store, but not the keys, does not use a number again that the old one used.
const NUMBERS_PER_S: u64 = 16;
/// Where that clock begins: 2025-01-01, in Unix seconds.
const CLOCK_START_S: u64 = 1_735_689_600;

/// Messages that were dropped before anything was remembered of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Requests without protection.
    pub unprotected: u64,
    /// Of keys that were never issued.
    pub unknown: u64,
    /// Of keys that were revoked.
    pub revoked: u64,
    /// Taken before, or too old.
    pub replayed: u64,
    /// That do not verify.
    pub forged: u64,
    /// Nodes that were asked to prove that they are not a recording.
    pub challenged: u64,
}

/// The keys that nodes may have.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// One for each commissioned node.
    pub credentials: Vec<Credential>,
    /// Identifiers whose keys are not to be taken any more.
    pub revoked: Vec<Id>,
}

#[derive(Debug)]
struct Held {
    kid: Id,
    credential: Credential,
    context: Context,
}

/// What became of a request.
pub(super) enum Verdict {
    /// It is this node's, and new. The binding is for its response; there is none where nothing is protected.
    Passed(NodeId, Request, Binding),
    /// It is this node's, but may be a repetition: this is what it gets.
    Challenged(Response),
    /// Nothing is to be done.
    Dropped,
}

/// The contexts.
#[derive(Debug)]
pub(super) struct Guard {
    // Boxed, as a tree that grows at its end is little more than half full.
    nodes: BTreeMap<NodeId, Box<Held>>,
    by_kid: HashMap<Id, NodeId>,
    revoked: HashSet<Id>,
    /// Bounds of own numbers in the store.
    sequences: BTreeMap<Vec<u8>, u64>,
    random: u64,
    pub refused: Refused,
}

impl Guard {
    /// `random` is unpredictable: challenges are made of it.
    pub fn new(records: &[(Table, Vec<u8>, Vec<u8>)], random: u64) -> Self {
        let sequences = records.iter().filter(|(table, ..)| *table == Table::Sequence);
        let sequences =
            sequences.filter_map(|(_, key, value)| Some((key.clone(), postcard::from_bytes(value).ok()?)));
        Self {
            nodes: BTreeMap::new(),
            by_kid: HashMap::new(),
            revoked: HashSet::new(),
            sequences: sequences.collect(),
            random,
            refused: Refused::default(),
        }
    }

    /// Replaces the keys; gives the nodes that have none any more, or another one. `epoch_s` is Unix time.
    pub fn set(&mut self, keyring: Keyring, epoch_s: u64) -> Vec<NodeId> {
        let mut before = std::mem::take(&mut self.nodes);
        self.by_kid.clear();
        self.revoked = keyring.revoked.into_iter().collect();
        for credential in keyring.credentials {
            let (id, kid) = (NodeId(credential.eui64), credential.kid);
            let held = match before.remove(&id) {
                Some(held) if held.credential == credential => held,
                other => {
                    if let Some(other) = other {
                        before.insert(id, other); // it changes: what was said with the old key ends
                    }
                    let Some(context) = self.context(&credential, epoch_s) else { continue };
                    Box::new(Held { kid, credential, context })
                }
            };
            self.by_kid.insert(kid, id);
            self.nodes.insert(id, held);
        }
        before.into_keys().collect()
    }

    /// Nodes with a key, and keys that were taken away.
    pub fn counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.revoked.len())
    }

    fn context(&mut self, credential: &Credential, epoch_s: u64) -> Option<Context> {
        let first = epoch_s.saturating_sub(CLOCK_START_S) * NUMBERS_PER_S;
        let key = sequence_key(NodeId(credential.eui64), credential.kid);
        let next = self.sequences.get(&key).copied().unwrap_or(first);
        // splitmix64 of an unpredictable seed: a challenge has only to be new.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut echo = self.random;
        echo = (echo ^ (echo >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        echo = (echo ^ (echo >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // What requests were taken before this start is not known.
        Some(Context::new(credential.gateway_keys()?, next, None, (echo ^ (echo >> 31)).to_be_bytes()))
    }

    /// Verifies a request.
    pub fn open(&mut self, request: &Request, outputs: &mut VecDeque<Output>) -> Verdict {
        let Some(kid) = request.oscore.as_deref().and_then(key_id) else {
            self.refused.unprotected += 1;
            return Verdict::Dropped;
        };
        let Some((id, held)) = self.by_kid.get(&kid).and_then(|id| Some((*id, self.nodes.get_mut(id)?)))
        else {
            match self.revoked.contains(&kid) {
                true => self.refused.revoked += 1,
                false => self.refused.unknown += 1,
            }
            return Verdict::Dropped;
        };
        match held.context.open_request(request) {
            Ok(opened) if opened.is_fresh => Verdict::Passed(id, opened.request, opened.binding),
            Ok(opened) => {
                self.refused.challenged += 1;
                reserve(id, held, outputs);
                held.context.challenge(&opened.binding).map_or(Verdict::Dropped, Verdict::Challenged)
            }
            Err(error) => {
                match error {
                    Error::Replayed => self.refused.replayed += 1,
                    _ => self.refused.forged += 1,
                }
                Verdict::Dropped
            }
        }
    }

    /// Protects the response to a request that passed.
    pub fn protect_response(&self, id: NodeId, response: &Response, binding: Binding) -> Option<Response> {
        Some(self.nodes.get(&id)?.context.protect_response(response, binding))
    }

    /// Protects a request to a node. `None` if it has no key, or no more numbers.
    pub fn protect_request(
        &mut self,
        id: NodeId,
        request: &Request,
        outputs: &mut VecDeque<Output>,
    ) -> Option<(Request, Binding)> {
        let held = self.nodes.get_mut(&id)?;
        reserve(id, held, outputs);
        held.context.protect_request(request).ok()
    }

    /// Verifies a node's response.
    pub fn open_response(&mut self, id: NodeId, response: &Response, binding: &Binding) -> Option<Response> {
        let opened = self.nodes.get(&id).and_then(|held| held.context.open_response(response, binding).ok());
        self.refused.forged += u64::from(opened.is_none());
        opened
    }

    /// From which of the gateway's numbers on a node that has forgotten what it took may take requests.
    pub fn next_number(&self, id: NodeId) -> u64 {
        self.nodes.get(&id).map_or(0, |held| held.context.next_number())
    }
}

fn reserve(id: NodeId, held: &mut Held, outputs: &mut VecDeque<Output>) {
    if let Some(bound) = held.context.reservation() {
        // Committed before anything of this step is sent.
        outputs.push_back(Output::Write(Write::Put(
            Table::Sequence,
            sequence_key(id, held.kid),
            record(&bound),
        )));
        held.context.reserved(bound);
    }
}

fn sequence_key(id: NodeId, kid: Id) -> Vec<u8> {
    [&id.0[..], kid.as_bytes()].concat()
}
