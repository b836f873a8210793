//! What must hold whatever happens, looked at after every event.
//!
//! Each check reads what passes between the parts, or what a part shows of itself, and never how a part works.

use crate::board::Seen;
use crate::gateway::{Effects, Gateway};
use crate::nonces::Nonces;
use crate::scheduler::{is_terminal, number};
use crate::task;
use agent_core::Event;
use gateway::bridge::{FromNode, NodeId};
use gateway::store::Table;
use mesos_proto::internal::{StatusUpdateAcknowledgementMessage, StatusUpdateMessage};
use mesos_proto::v1::{TaskState, TaskStatus};
use prost::{Message, Name};
use std::collections::{BTreeMap, BTreeSet};

/// Records of one gateway, far more than these few nodes need.
const RECORDS_MAX: usize = 4_096;
/// Commands that may wait for one node, kills included: four times `MAILBOX_MAX` of the sessions.
const MAILBOX_MAX: usize = 256;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// When, virtual milliseconds.
    pub at_ms: u64,
    /// What was seen.
    pub detail: String,
}

/// The life of one task as it was seen from outside.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub starts: u32,
    /// How its executor ended it; more than once for a task that may resume, whose node could not write its end down.
    pub ends: Vec<Event>,
    /// Updates that the gateway sent, in order of their first time.
    sent: Vec<(Vec<u8>, TaskState)>,
    /// Updates that the scheduler saw, in order of their first time.
    heard: Vec<(Vec<u8>, TaskState)>,
    /// The master said by itself that it is no more.
    gone: bool,
    /// Newest message of the task's that the gateway and the scheduler took.
    message: u32,
    heard_message: u32,
}

impl Life {
    /// The last state that the scheduler heard from the agent.
    pub fn last(&self) -> Option<TaskState> {
        self.heard.last().map(|(_, state)| *state)
    }

    /// An update that the gateway sent and the scheduler never heard.
    pub fn unheard(&self) -> Option<TaskState> {
        let heard = |uuid: &Vec<u8>| self.heard.iter().any(|(held, _)| held == uuid);
        self.sent.iter().find(|(uuid, _)| !heard(uuid)).map(|(_, state)| *state)
    }
}

/// All that is remembered for the checks.
#[derive(Default)]
pub(crate) struct Checks {
    pub lives: BTreeMap<usize, Life>,
    pub nonces: Nonces,
    pub violation: Option<Violation>,
    pub acknowledged: BTreeSet<Vec<u8>>,
    pub statuses: BTreeMap<(NodeId, u16), u16>,
    pub now: u64,
    /// Connections stall in this world. What is held up for longer than the master waits for an agent can undo what
    /// was said meanwhile: a launch comes after its task was given up, a registration after an acknowledgement. With
    /// Mesos' messages neither side can tell.
    pub stalls: bool,
}

/// How far a state is in a task's life.
fn rank(state: TaskState) -> u8 {
    match state {
        TaskState::TaskStaging => 0,
        TaskState::TaskStarting => 1,
        TaskState::TaskRunning => 2,
        TaskState::TaskKilling => 3,
        _ => 4,
    }
}

/// Adds an update that is new to a stream, or says what is wrong with it.
fn follow(
    stream: &mut Vec<(Vec<u8>, TaskState)>,
    uuid: &[u8],
    state: TaskState,
    resumes: bool,
    stalls: bool,
) -> Result<(), String> {
    if let Some((_, before)) = stream.iter().find(|(held, _)| held == uuid) {
        return match *before == state {
            true => Ok(()),
            false => Err(format!("one UUID is {} and {}", before.as_str_name(), state.as_str_name())),
        };
    }
    if let Some((_, before)) = stream.last()
        && rank(*before) >= rank(state)
    {
        if resumes && (*before, state) == (TaskState::TaskRunning, TaskState::TaskRunning) {
            stream.push((uuid.to_vec(), state));
            return Ok(());
        }
        if stalls && state == TaskState::TaskDropped {
            return Ok(()); // it is asked for once more, and its agent has forgotten it
        }
        return Err(format!("{} follows {}", state.as_str_name(), before.as_str_name()));
    }
    stream.push((uuid.to_vec(), state));
    Ok(())
}

impl Checks {
    pub fn fail(&mut self, invariant: &'static str, detail: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, at_ms: self.now, detail: detail.into() });
        }
    }

    fn life(&mut self, number: usize) -> &mut Life {
        self.lives.entry(number).or_default()
    }

    /// What happened on a node's board.
    pub fn board(&mut self, node: usize, seen: Vec<Seen>) {
        for seen in seen {
            match seen {
                Seen::Started { number, task } => {
                    let life = self.life(number as usize);
                    life.starts += 1;
                    if life.starts > if task::resumes(number) { task::STARTS_MAX } else { 1 } {
                        let starts = life.starts;
                        self.fail(
                            "a task runs at most once, unless it may resume",
                            format!("t{number} is started for the {starts}th time, as {task} on node {node}"),
                        );
                    }
                }
                Seen::Ended { number, how } => self.life(number as usize).ends.push(how),
                Seen::Wrong(what, detail) => self.fail(what, format!("node {node}: {detail}")),
            }
        }
    }

    /// A step of the gateway, as far as it came.
    pub fn gateway(&mut self, gateway: &Gateway, effects: &Effects, now: u64) {
        for (node, event) in &effects.said {
            self.said(*node, event);
        }
        let acknowledged = self.acknowledgements(effects);
        for (_, _, name, body) in &effects.messages {
            if *name == StatusUpdateMessage::full_name() {
                match StatusUpdateMessage::decode(body.as_slice()) {
                    Ok(message) => self.update_sent(&message, &acknowledged),
                    Err(error) => self.fail("what is sent can be read", error.to_string()),
                }
            }
        }
        // Only now: an acknowledgement may have come in behind what was sent.
        self.acknowledged.extend(acknowledged);
        self.leases(gateway, now);
    }

    /// UUIDs that were acknowledged in a step.
    fn acknowledgements(&mut self, effects: &Effects) -> BTreeSet<Vec<u8>> {
        let name = StatusUpdateAcknowledgementMessage::full_name();
        let acks = effects.heard.iter().filter(|message| message.name == name);
        acks.filter_map(|ack| StatusUpdateAcknowledgementMessage::decode(ack.body.clone()).ok())
            .map(|ack| ack.uuid)
            .collect()
    }

    fn said(&mut self, node: NodeId, event: &FromNode) {
        match event {
            FromNode::Status { task, seq, state, .. } => {
                let newest = self.statuses.entry((node, *task)).or_default();
                // A node with failing storage may number a task's end like a status before.
                let ends = state.is_terminal() && *newest != u16::MAX && *seq <= *newest;
                if *seq != newest.saturating_add(1) && !ends {
                    let text = format!("node {node}, task {task}: {state:?} has number {seq} after {newest}");
                    self.fail("each status is taken once, in order", text);
                } else {
                    *newest = if state.is_terminal() { u16::MAX } else { *seq };
                }
            }
            FromNode::Message { data, .. } => match task::read_message(data) {
                Some((number, count)) => {
                    let life = self.life(number as usize);
                    let before = std::mem::replace(&mut life.message, count);
                    // One that was started again counts anew.
                    if count <= before && !task::resumes(number) {
                        let text = format!("t{number}: message {count} after {before}");
                        self.fail("each message is taken once, in order", text);
                    }
                }
                None => self.fail("each message is taken once, in order", "a message that no task sent"),
            },
            _ => {}
        }
    }

    fn update_sent(&mut self, message: &StatusUpdateMessage, acknowledged: &BTreeSet<Vec<u8>>) {
        let update = &message.update;
        let Some(at) = number(&update.status.task_id.value) else {
            return self.fail("updates are of tasks", format!("{:?}", update.status.task_id));
        };
        let uuid = update.uuid.clone().unwrap_or_default();
        let state = TaskState::try_from(update.status.state).unwrap_or(TaskState::TaskUnknown);
        if self.acknowledged.contains(&uuid) {
            let text = format!("t{at}: {} is sent again", state.as_str_name());
            self.fail("what is acknowledged is not sent again", text);
        }
        if let Some(open) = self.life(at).sent.last().filter(|(held, _)| *held != uuid).cloned()
            && !self.acknowledged.contains(&open.0)
            && !acknowledged.contains(&open.0)
        {
            let text =
                format!("t{at}: {} before {} is acknowledged", state.as_str_name(), open.1.as_str_name());
            self.fail("one update of a task is under way at a time", text);
        }
        let stalls = self.stalls;
        if let Err(why) = follow(&mut self.life(at).sent, &uuid, state, task::resumes(at as u32), stalls) {
            self.fail("the gateway's updates are in order and never change", format!("t{at}: {why}"));
        }
    }

    fn leases(&mut self, gateway: &Gateway, now: u64) {
        let Some((sessions, agents, at)) = gateway.view(now) else { return };
        let mut live = 0;
        for id in agents.node_ids() {
            let Some(view) = sessions.view(id, at) else {
                self.fail("every agent has a session", id.to_string());
                continue;
            };
            live += u64::from(view.online);
            let bound = gateway.lease_ms(view.next_s);
            match view.heard_ms_ago {
                Some(ago) if ago < bound && !view.online => {
                    let text =
                        format!("node {id} was heard {ago} ms ago and has lapsed; its lease is {bound} ms");
                    self.fail("a node heard within its lease is live", text);
                }
                Some(ago) if ago > bound && view.online => {
                    let text =
                        format!("node {id} was heard {ago} ms ago and is live; its lease is {bound} ms");
                    self.fail("a silent node's lease lapses", text);
                }
                _ => {}
            }
            if view.mailbox > MAILBOX_MAX {
                self.fail("queues are bounded", format!("{} commands wait for {id}", view.mailbox));
            }
        }
        let totals = agents.totals();
        if totals.live != live {
            let text = format!("{live} leases and {} agents are live", totals.live);
            self.fail("an agent lives as long as its node's lease", text);
        }
        if gateway.records() > RECORDS_MAX {
            self.fail("queues are bounded", format!("{} records in the store", gateway.records()));
        }
    }

    /// An update reaches the scheduler.
    pub fn heard(&mut self, status: &TaskStatus, was_killed: bool) {
        let Some(at) = number(&status.task_id.value) else { return };
        let state = status.state();
        let Some(uuid) = status.uuid.clone().filter(|uuid| !uuid.is_empty()) else {
            // The master's own words; of these only that something is gone for good can be wrong later.
            use TaskState::{TaskDropped, TaskError, TaskGone, TaskLost};
            self.life(at).gone |= matches!(state, TaskDropped | TaskError | TaskGone | TaskLost);
            return;
        };
        let stalls = self.stalls;
        let life = self.life(at);
        let before = life.heard.len();
        if let Err(why) = follow(&mut life.heard, &uuid, state, task::resumes(at as u32), stalls) {
            return self
                .fail("the scheduler's updates are in order and never change", format!("t{at}: {why}"));
        }
        let life = self.life(at);
        if life.heard.len() == before {
            return;
        }
        if life.gone && !is_terminal(state) && !stalls {
            let text = format!("t{at} is {} after it was gone", state.as_str_name());
            self.fail("what is gone does not come back", text);
        } else if let Some(why) = contradiction(life, state, was_killed) {
            let text = format!("t{at}: {}: {why}; {:?}", state.as_str_name(), status.message());
            self.fail("the last state is what happened", text);
        }
    }

    /// A task's message reaches the scheduler.
    pub fn heard_message(&mut self, data: &[u8]) {
        let Some((number, count)) = task::read_message(data) else { return };
        let life = self.life(number as usize);
        let before = std::mem::replace(&mut life.heard_message, count);
        if count <= before && !task::resumes(number) {
            let text = format!("t{number}: message {count} reaches the scheduler after {before}");
            self.fail("each message is taken once, in order", text);
        }
    }

    /// What is left in the store when nothing is left to do.
    pub fn empty(&mut self, gateway: &Gateway) -> Option<String> {
        let tables =
            [Table::Task, Table::Progress, Table::Command, Table::Intake, Table::Document, Table::Framework];
        let left = tables.map(|table| (table, gateway.stored(table)));
        let left: Vec<_> = left.into_iter().filter(|(_, count)| *count > 0).collect();
        (!left.is_empty()).then(|| format!("records are left in the store: {left:?}"))
    }
}

/// What is wrong with a task's last state, by what was seen of it.
fn contradiction(life: &Life, state: TaskState, was_killed: bool) -> Option<String> {
    match state {
        TaskState::TaskFinished if !life.ends.contains(&Event::Exited(0)) => {
            Some(format!("it did not: {:?}", life.ends))
        }
        TaskState::TaskKilled if !was_killed => Some("nobody asked for that".into()),
        // A node that stopped before it had written down how a task ended says that it was cut off.
        TaskState::TaskFailed | TaskState::TaskFinished | TaskState::TaskKilled => None,
        other if is_terminal(other) && life.starts > 0 => Some("but it was started".into()),
        _ => None,
    }
}
