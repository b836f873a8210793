//! The gateway's side of the node protocol: registration, lease, mailbox, intake of statuses, blocks.
//!
//! A state machine over all nodes. After each call the driver takes everything from [`Sessions::poll_output`],
//! commits the writes and only then sends the datagrams: what a node is told is on disk.
//!
//! - A node is known by its key (see `guard`), or with [`Config::insecure`] by the address it registered from, and
//!   reached at the address it spoke from last; anyone else costs no memory.
//! - Commands wait in the node's mailbox, numbered and on disk, until it says that it has seen them. They are pushed
//!   to a node that listens and ride on the polls of one that sleeps; nothing is ever sent to a sleeper.
//! - Each status and message of a task is passed on once, in order, whatever the radio does.

mod config;
mod guard;
mod hot;
mod link;
mod mailbox;
mod messages;
mod node;
mod requests;

use crate::bridge::{FromNode, NodeId, ToNode};
use crate::store::{Table, Write};
pub use config::Config;
use guard::{Guard, Verdict};
pub use guard::{Keyring, Refused};
use hot::{Hot, Sought};
pub use link::LinkView;
use node::{Command, Intake, Node, SessionRecord};
use node_coap::{
    Block, Code, Endpoint, Event, ExchangeId, Method, Params, Request, RequestId, Response, Sort, serve_block,
};
use node_oscore::Binding;
use node_proto::limits::{UPLINK_MAX, VERSION};
use node_proto::{
    ImageHandle, Log, Message, News, Order, Poll, Power, Register, Registered, State, Status, TaskHandle,
    decode, encode, paths,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Commands that may wait for one node; kills find room beyond that, up to four times as many.
const MAILBOX_MAX: usize = 64;
/// Of those, how many may be messages of frameworks.
const MESSAGES_MAX: usize = MAILBOX_MAX / 2;
/// Of those, how many may be too long for one frame.
const LONG_MESSAGES_MAX: usize = 8;
/// Messages of a node's tasks that are put together of blocks at once: one for each task that it can have.
const UPLOADS_MAX: usize = node_proto::limits::TASKS_MAX;
/// Tasks of one node whose statuses are still taken in.
const INTAKE_MAX: usize = 64;

/// What a step produced.
#[derive(Debug)]
pub enum Output {
    /// To be committed before anything is transmitted.
    Write(Write),
    /// For the virtual agent.
    Event(NodeId, FromNode),
    /// A node asks for an image whose bytes are not in memory: [`Sessions::add_image`] or [`Sessions::no_image`].
    Load(ImageHandle),
    /// To be sent after the commit.
    Transmit(SocketAddr, Vec<u8>),
}

/// What was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages from addresses that no node registered from.
    pub unknown_peers: u64,
    /// Payloads that are not the message of their resource.
    pub malformed: u64,
    /// Statuses, messages and log that came again.
    pub repeated: u64,
    /// Commands for which a mailbox had no room.
    pub mailbox_full: u64,
}

/// What an operator sees of a session.
#[derive(Clone, Debug)]
pub struct View {
    /// The node.
    pub node: NodeId,
    /// Where it is, if it has registered since the gateway started.
    pub peer: Option<SocketAddr>,
    /// Its lease is live.
    pub online: bool,
    /// Milliseconds since it was last heard; `None` if not since the gateway started.
    pub heard_ms_ago: Option<u64>,
    /// Longest pause before its next poll, seconds.
    pub next_s: u16,
    /// Milliseconds until its lease lapses; 0 if it has.
    pub lease_ms_left: u64,
    /// Commands waiting.
    pub mailbox: usize,
    /// Milliseconds that the oldest of them has waited.
    pub mailbox_age_ms: u64,
    /// Datagrams and bytes from and to the node.
    pub traffic: Traffic,
    /// How well the radio between works, once enough has passed.
    pub link: LinkView,
    /// How far each image has been served.
    pub served: Vec<(ImageHandle, u32)>,
}

/// Datagrams and their payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the node.
    pub datagrams_in: u64,
    /// From the node.
    pub bytes_in: u64,
    /// To the node.
    pub datagrams_out: u64,
    /// To the node.
    pub bytes_out: u64,
}

/// A command on its way to a node.
#[derive(Debug)]
struct Push {
    node: NodeId,
    seq: u32,
    binding: Option<Binding>,
}

/// All nodes' sessions.
pub struct Sessions {
    config: Config,
    coap: Endpoint<SocketAddr>,
    // Boxed, for the places of a table that nobody has.
    nodes: HashMap<NodeId, Box<Node>>,
    by_peer: HashMap<SocketAddr, NodeId>,
    leases: BTreeSet<(u64, NodeId)>,
    pushes: BTreeMap<ExchangeId, Push>,
    guard: Guard,
    /// Whose request is being answered, and what ties the answer to it.
    asking: Option<(NodeId, Binding)>,
    images: Hot,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Sessions {
    /// Sessions as the records of [`Table::Session`], [`Table::Command`], [`Table::Intake`] and [`Table::Document`]
    /// have them. Every known node has a whole lease to come back. A record that cannot be read is skipped with a
    /// warning.
    pub fn new(config: Config, records: &[(Table, Vec<u8>, Vec<u8>)], seed: u64, now_ms: u64) -> Self {
        let params = Params {
            ack_timeout_ms: config.ack_timeout_ms,
            min_timeout_ms: config.min_timeout_ms,
            // What is older than these two is a repetition to OSCORE too; a node has one request under way.
            dedup_per_peer: if config.insecure { 4 } else { 2 },
            ..Params::default()
        };
        let mut sessions = Self {
            config,
            coap: Endpoint::new(params, seed),
            nodes: HashMap::new(),
            by_peer: HashMap::new(),
            leases: BTreeSet::new(),
            pushes: BTreeMap::new(),
            guard: Guard::new(records, seed.rotate_left(32)),
            asking: None,
            images: Hot::default(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        };
        for (table, key, value) in records.iter().filter(|(table, ..)| *table == Table::Session) {
            match (node::node_key(key), postcard::from_bytes::<SessionRecord>(value)) {
                (Some(id), Ok(record)) => {
                    let node = Node::new(record, now_ms);
                    let next_s = config.poll_s(node.power);
                    let until = now_ms + config.lease_ms(next_s);
                    sessions.nodes.insert(id, Box::new(Node { lease_until_ms: until, next_s, ..node }));
                    sessions.leases.insert((until, id));
                }
                _ => tracing::warn!(?table, "skipping an unreadable record"),
            }
        }
        for (table, key, value) in records {
            let Some((id, number)) = node::split_key(key) else { continue };
            let Some(node) = sessions.nodes.get_mut(&id) else { continue };
            match table {
                Table::Command => match Command::read(number, value, now_ms) {
                    Some(command) => node.mailbox.push_back(command),
                    None => tracing::warn!(node = %id, number, "skipping an unreadable command"),
                },
                Table::Intake => {
                    let intake = postcard::from_bytes::<Intake>(value).unwrap_or_default();
                    node.intake.insert(number as TaskHandle, intake);
                }
                Table::Document => drop(node.documents.insert(number as TaskHandle, value.as_slice().into())),
                _ => {}
            }
        }
        for node in sessions.nodes.values_mut() {
            node.mailbox.make_contiguous().sort_by_key(|command| command.seq);
        }
        sessions
    }

    /// Makes an image's bytes servable.
    pub fn add_image(&mut self, handle: ImageHandle, bytes: Arc<[u8]>) {
        self.images.add(handle, bytes);
    }

    /// The answer to [`Output::Load`] if there are no bytes: nodes are told that there is no such image.
    pub fn no_image(&mut self, handle: ImageHandle) {
        self.images.is_gone(handle);
    }

    /// Replaces the keys of the nodes. A node whose key is gone, or another one, is not heard any more.
    pub fn set_keys(&mut self, keyring: Keyring, now_ms: u64) {
        let epoch_s = (self.config.epoch_ms + now_ms) / 1000;
        for id in self.guard.set(keyring, epoch_s) {
            tracing::info!(node = %id, "its key is not valid any more");
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            let lease_until_ms = node.lease_until_ms;
            if let Some(peer) = node.peer.take() {
                self.forget_peer(id, peer);
            }
            if self.leases.remove(&(lease_until_ms, id)) {
                self.lapse(id);
            }
        }
        self.flush();
    }

    /// Takes one datagram.
    pub fn handle_datagram(&mut self, peer: SocketAddr, bytes: &[u8], now_ms: u64) {
        if let Some(node) = self.by_peer.get(&peer).and_then(|id| self.nodes.get_mut(id)) {
            node.traffic.datagrams_in += 1;
            node.traffic.bytes_in += bytes.len() as u64;
        }
        if let Some(incoming) = self.coap.read(peer, bytes) {
            let repeated = self.coap.counters().duplicates;
            if self.config.insecure {
                self.coap.take(peer, incoming, now_ms);
            } else {
                self.take(peer, incoming, now_ms);
            }
            if self.coap.counters().duplicates > repeated {
                self.sent_again(peer, 1); // it had no answer
            }
        }
        self.work(now_ms);
        self.asking = None;
    }

    /// Takes a message if it is whose it says it is.
    fn take(&mut self, peer: SocketAddr, incoming: node_coap::Incoming, now_ms: u64) {
        let incoming = match self.coap.sort(peer, &incoming) {
            Sort::Request(request) => match self.guard.open(request, &mut self.outputs) {
                Verdict::Passed(id, inner, binding) => {
                    self.moved(id, peer);
                    self.asking = Some((id, binding));
                    incoming.unwrapped_request(inner)
                }
                Verdict::Challenged(challenge) => {
                    self.coap.take(peer, incoming, now_ms);
                    if let Some(Event::Request { id, .. }) = self.coap.poll_event() {
                        self.respond(peer, id, &challenge, now_ms);
                    }
                    return;
                }
                Verdict::Dropped => return,
            },
            Sort::Response(exchange, response) => {
                let push = self.pushes.get(&exchange);
                let Some((id, binding)) = push.and_then(|push| Some((push.node, push.binding.as_ref()?)))
                else {
                    return;
                };
                match self.guard.open_response(id, response, binding) {
                    Some(inner) => incoming.unwrapped_response(inner),
                    None => return, // the true one may still come
                }
            }
            Sort::Refused => {
                self.guard.refused.unprotected += 1;
                return;
            }
            Sort::Other => incoming,
        };
        self.coap.take(peer, incoming, now_ms);
    }

    /// When [`Sessions::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<u64> {
        let lease = self.leases.first().map(|(at, _)| *at);
        [lease, self.coap.next_timeout()].into_iter().flatten().min()
    }

    /// Retransmits and lets leases lapse.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.coap.handle_timeout(now_ms);
        while let Some((at, id)) = self.leases.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.leases.remove(&(at, id));
            self.lapse(id);
        }
        self.work(now_ms);
    }

    fn lapse(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.online = false;
            node.uploads.clear();
            self.outputs.push_back(Output::Event(id, FromNode::Lapsed));
        }
    }

    /// The next output of the last step.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What was refused so far.
    pub fn counters(&self) -> (Counters, node_coap::Counters, Refused) {
        (self.counters, self.coap.counters(), self.guard.refused)
    }

    /// What an operator sees of one node.
    pub fn view(&self, id: NodeId, now_ms: u64) -> Option<View> {
        let node = self.nodes.get(&id)?;
        Some(View {
            node: id,
            peer: node.peer,
            online: node.online,
            heard_ms_ago: node.heard_ms.map(|at| now_ms.saturating_sub(at)),
            next_s: node.next_s,
            lease_ms_left: if node.online { node.lease_until_ms.saturating_sub(now_ms) } else { 0 },
            mailbox: node.mailbox.len(),
            mailbox_age_ms: node.mailbox.front().map_or(0, |command| now_ms.saturating_sub(command.since_ms)),
            traffic: node.traffic,
            link: node.link.view(),
            served: node.served.iter().map(|(image, upto)| (*image, *upto)).collect(),
        })
    }

    /// Milliseconds that the command has waited that waits for longest, of all nodes.
    pub fn mailbox_age_ms(&self, now_ms: u64) -> u64 {
        let oldest = self.nodes.values().filter_map(|node| Some(node.mailbox.front()?.since_ms)).min();
        oldest.map_or(0, |since| now_ms.saturating_sub(since))
    }

    /// What waits for nodes: how many commands, and since when the oldest.
    pub fn waiting(&self) -> (usize, Option<u64>) {
        let mailboxes = self.nodes.values().map(|node| &node.mailbox).filter(|mailbox| !mailbox.is_empty());
        mailboxes.fold((0, None), |(count, oldest), mailbox| {
            let since = mailbox.front().map(|command| command.since_ms);
            (count + mailbox.len(), [oldest, since].into_iter().flatten().min())
        })
    }

    /// When a node was heard last, and the quality of its link: what fleets are sorted by.
    pub fn rank(&self, id: NodeId) -> (Option<u64>, Option<u8>) {
        let node = self.nodes.get(&id);
        node.map_or((None, None), |node| (node.heard_ms, node.link.view().quality_percent))
    }

    /// Nodes with a key, and keys that were taken away.
    pub fn keys(&self) -> (usize, usize) {
        self.guard.counts()
    }

    /// True where nothing is protected.
    pub fn is_insecure(&self) -> bool {
        self.config.insecure
    }

    // --- inside ---

    fn write(&mut self, write: Write) {
        self.outputs.push_back(Output::Write(write));
    }

    fn work(&mut self, now_ms: u64) {
        while let Some(event) = self.coap.poll_event() {
            match event {
                Event::Request { peer, id, request } => {
                    let asking = self.asking.take();
                    let from = match &asking {
                        Some((node, _)) => Some(*node),
                        None => self.by_peer.get(&peer).copied(),
                    };
                    let response = self.answer(peer, from, &request, now_ms);
                    let response = match asking {
                        None => Some(response),
                        Some((node, binding)) => self.guard.protect_response(node, &response, binding),
                    };
                    if let Some(response) = response {
                        self.respond(peer, id, &response, now_ms);
                    }
                    if let Some(node) = self.by_peer.get(&peer).copied() {
                        self.push(node, now_ms);
                    }
                }
                Event::Response { exchange, response, peer, again } => {
                    self.sent_again(peer, again);
                    if let Some(push) = self.pushes.remove(&exchange) {
                        self.pushed(push.node, push.seq, response.code, now_ms);
                    }
                }
                Event::Undelivered { .. } => {} // every answer goes out with its acknowledgement
                Event::Failed { exchange, peer, again } => {
                    self.sent_again(peer, again);
                    // The node does not listen just now: the command rides on its next poll.
                    if let Some(push) = self.pushes.remove(&exchange)
                        && let Some(node) = self.nodes.get_mut(&push.node)
                    {
                        node.pushing = false;
                    }
                }
            }
        }
        self.flush();
    }

    /// Something was sent again, to the node at this address or by it.
    fn sent_again(&mut self, peer: SocketAddr, times: u8) {
        if let Some(node) = self.by_peer.get(&peer).and_then(|id| self.nodes.get_mut(id)) {
            node.link.again(times);
        }
    }

    /// A node speaks from an address.
    fn moved(&mut self, id: NodeId, peer: SocketAddr) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Some(old) = node.peer.replace(peer).filter(|old| *old != peer) {
            self.forget_peer(id, old);
        }
        // An address serves one node: its former owner has to speak again.
        if let Some(other) = self.by_peer.insert(peer, id).filter(|other| *other != id)
            && let Some(other) = self.nodes.get_mut(&other)
        {
            other.peer = None;
        }
    }

    /// A node is not at an address any more.
    fn forget_peer(&mut self, id: NodeId, peer: SocketAddr) {
        self.by_peer.remove(&peer);
        self.coap.forget(peer);
        // What was being pushed there ends without an event.
        self.pushes.retain(|_, push| push.node != id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.pushing = false;
        }
    }

    fn respond(&mut self, peer: SocketAddr, id: RequestId, response: &Response, now_ms: u64) {
        if let Err(error) = self.coap.respond(peer, id, response, now_ms) {
            tracing::debug!(%peer, ?error, "cannot answer");
        }
    }

    fn flush(&mut self) {
        while let Some((peer, bytes)) = self.coap.poll_transmit() {
            if let Some(node) = self.by_peer.get(&peer).and_then(|id| self.nodes.get_mut(id)) {
                node.traffic.datagrams_out += 1;
                node.traffic.bytes_out += bytes.len() as u64;
            }
            self.outputs.push_back(Output::Transmit(peer, bytes));
        }
    }

    /// Answers a request of the node `from`, if it is known whose it is.
    fn answer(&mut self, peer: SocketAddr, from: Option<NodeId>, request: &Request, now_ms: u64) -> Response {
        if request.method == Method::Post && request.path == paths::REGISTER {
            return match request.is_whole() {
                true => self.register(peer, from, &request.payload, now_ms),
                false => Response::too_large(UPLINK_MAX),
            };
        }
        let Some(id) = from.filter(|id| self.nodes.contains_key(id)) else {
            self.counters.unknown_peers += 1;
            return Response::new(Code::UNAUTHORIZED, b"register first");
        };
        self.heard(id, now_ms);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.uploads.expire(now_ms);
        }
        let (name, rest) = request.path.split_once('/').unwrap_or((&request.path, ""));
        match (request.method, name, rest) {
            // A critical option where it has no meaning (RFC 7252 §5.4.1): a GET has no body.
            (Method::Get, ..) if request.block1.is_some() => Response::new(Code::BAD_OPTION, &[]),
            (Method::Post, paths::MESSAGE, task) if !task.is_empty() => {
                self.long_message(id, task, request, now_ms)
            }
            (Method::Post, paths::POLL | paths::STATUS | paths::MESSAGE | paths::LOG, "")
                if !request.is_whole() =>
            {
                Response::too_large(UPLINK_MAX)
            }
            (Method::Post, paths::POLL, "") => self.poll(id, &request.payload, now_ms),
            (Method::Post, paths::STATUS, "") => self.status(id, &request.payload),
            (Method::Post, paths::MESSAGE, "") => self.message(id, &request.payload),
            (Method::Post, paths::LOG, "") => self.log(id, &request.payload),
            (Method::Get, paths::IMAGE, handle) => self.image(id, handle, request.block2),
            (Method::Get, paths::DOCUMENT, task) => self.document(id, task, request.block2),
            (Method::Get, paths::BODY, command) => self.body(id, command, request.block2),
            (
                _,
                paths::POLL
                | paths::STATUS
                | paths::MESSAGE
                | paths::LOG
                | paths::IMAGE
                | paths::DOCUMENT
                | paths::BODY,
                _,
            ) => Response::new(Code::METHOD_NOT_ALLOWED, &[]),
            _ => Response::new(Code::NOT_FOUND, &[]),
        }
    }
}
