//! One node's session and its records.

use super::link::Link;
use super::{LONG_MESSAGES_MAX, MAILBOX_MAX, MESSAGES_MAX, Output, Traffic, UPLOADS_MAX};
use crate::bridge::{NodeId, ToNode};
use crate::store::{Table, Write};
use node_coap::{Assembler, Limits};
use node_proto::limits::{MESSAGE_BLOCK_SZX, MESSAGE_BODY_MAX, MESSAGE_DATA_MAX};
use node_proto::{CommandSeq, ImageHandle, Order, Power, TaskHandle};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// What of a session is on disk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub last_seq: CommandSeq,
    pub done: CommandSeq,
    /// Newest start of the node, and its storage's number.
    pub boot: u32,
    pub epoch: u16,
    /// As it was when the record was written; the charge may be another by now.
    pub power: Power,
}

/// What is put together of blocks for one node.
const UPLOADS: Limits = Limits {
    body_max: MESSAGE_BODY_MAX,
    bodies_max: UPLOADS_MAX,
    lifetime_ms: Limits::EXCHANGE_LIFETIME_MS,
    szx_max: MESSAGE_BLOCK_SZX,
};

/// What is expected next of a task.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Intake {
    /// [`Intake::ENDED`] once the last one was taken.
    pub next_status: u16,
    pub next_message: u32,
    /// In memory only: after a restart a piece of log may be marked as lost that is not.
    #[serde(skip)]
    pub log_offset: u32,
}

impl Intake {
    /// No more statuses are taken.
    pub const ENDED: u16 = u16::MAX;
}

impl Default for Intake {
    fn default() -> Self {
        Self { next_status: 1, next_message: 1, log_offset: 0 }
    }
}

/// A command in the mailbox.
#[derive(Debug)]
pub(super) struct Command {
    pub seq: CommandSeq,
    pub order: Order,
    /// What the node is to fetch before it has done this; empty for nothing.
    pub body: Box<[u8]>,
    /// The node knows of it, and is fetching.
    pub told: bool,
    pub since_ms: u64,
}

impl Command {
    /// The order, and what it is about behind it.
    pub fn record(&self) -> Vec<u8> {
        let mut bytes = record(&self.order);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub fn read(seq: CommandSeq, record: &[u8], now_ms: u64) -> Option<Self> {
        let (order, body) = postcard::take_from_bytes(record).ok()?;
        Some(Self { seq, order, body: body.into(), told: false, since_ms: now_ms })
    }
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub peer: Option<SocketAddr>,
    pub power: Power,
    /// Longest pause before its next poll, seconds.
    pub next_s: u16,
    pub online: bool,
    pub lease_until_ms: u64,
    pub heard_ms: Option<u64>,
    pub last_seq: CommandSeq,
    pub done: CommandSeq,
    pub boot: u32,
    pub epoch: u16,
    pub mailbox: VecDeque<Command>,
    /// A command is on its way to the node.
    pub pushing: bool,
    pub intake: BTreeMap<TaskHandle, Intake>,
    pub documents: BTreeMap<TaskHandle, Box<[u8]>>,
    /// Messages of its tasks of which not all blocks are here.
    pub uploads: Assembler<TaskHandle>,
    pub served: BTreeMap<ImageHandle, u32>,
    pub traffic: Traffic,
    pub link: Link,
}

impl Node {
    pub fn new(record: SessionRecord, now_ms: u64) -> Self {
        Self {
            peer: None,
            power: record.power,
            next_s: 1,
            online: false,
            lease_until_ms: now_ms,
            heard_ms: None,
            last_seq: record.last_seq,
            done: record.done,
            boot: record.boot,
            epoch: record.epoch,
            mailbox: VecDeque::new(),
            pushing: false,
            intake: BTreeMap::new(),
            documents: BTreeMap::new(),
            uploads: Assembler::new(UPLOADS),
            served: BTreeMap::new(),
            traffic: Traffic::default(),
            link: Link::default(),
        }
    }

    pub fn save(&self, id: NodeId) -> Output {
        let value = record(&SessionRecord {
            last_seq: self.last_seq,
            done: self.done,
            boot: self.boot,
            epoch: self.epoch,
            power: self.power,
        });
        Output::Write(Write::Put(Table::Session, id.0.to_vec(), value))
    }

    /// True if a kill of this task waits that leaves it no more time.
    pub fn has_kill(&self, task: TaskHandle, grace_ms: u32) -> bool {
        self.mailbox.iter().any(|command| {
            matches!(command.order, Order::Kill { task: held, grace_ms: least } if held == task && least <= grace_ms)
        })
    }

    /// True if the mailbox takes one more such order.
    pub fn has_room(&self, order: &ToNode) -> bool {
        match order {
            ToNode::Forget { .. } => true,
            ToNode::Kill { .. } => self.mailbox.len() < 4 * MAILBOX_MAX,
            ToNode::Message { data, .. } => {
                let long = self.mailbox.iter().filter(|command| !command.body.is_empty()).count();
                let fits = data.len() <= MESSAGE_DATA_MAX || long < LONG_MESSAGES_MAX;
                self.mailbox.len() < MESSAGES_MAX && fits
            }
            ToNode::Launch { .. } => self.mailbox.len() < MAILBOX_MAX,
        }
    }

    pub fn next_command(&self) -> Option<node_proto::Command> {
        let front = self.mailbox.front()?;
        Some(node_proto::Command { seq: front.seq, more: self.mailbox.len() > 1, order: front.order.clone() })
    }
}

/// A record's bytes.
pub(super) fn record<T: Serialize>(value: &T) -> Vec<u8> {
    // These are plain structs of integers and byte strings: postcard has no way to fail on them.
    postcard::to_allocvec(value).unwrap_or_default()
}

pub(super) fn task_key(id: NodeId, task: TaskHandle) -> Vec<u8> {
    command_key(id, task.into())
}

pub(super) fn command_key(id: NodeId, number: u32) -> Vec<u8> {
    [&id.0[..], &number.to_be_bytes()].concat()
}

pub(super) fn node_key(key: &[u8]) -> Option<NodeId> {
    key.try_into().ok().map(NodeId)
}

pub(super) fn split_key(key: &[u8]) -> Option<(NodeId, u32)> {
    let (id, number) = key.split_at_checked(8)?;
    Some((NodeId(id.try_into().ok()?), u32::from_be_bytes(number.try_into().ok()?)))
}
