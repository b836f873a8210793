//! What the master knows: agents, frameworks, tasks, offers. Plain records without behaviour of their own; only
//! [`crate::core`] changes them. What outlives the master of them is in [`crate::records`].

use crate::limits::{MAX_BYGONE, MAX_COMPLETED_TASKS, MAX_STATUSES};
use libprocess::Upid;
use mesos_proto::mesos::{ExecutorInfo, FrameworkInfo, Operation, SlaveInfo, Task, TaskState, TaskStatus};
use mesos_proto::pool::Pool;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// (framework id, executor id or task id).
pub(crate) type Pair = (String, String);

/// Agents that are not here any more, and since when. Bounded: the oldest are forgotten.
#[derive(Default)]
pub(crate) struct Bygone {
    since: BTreeMap<String, u64>,
    oldest: BTreeSet<(u64, String)>,
}

impl Bygone {
    /// Adds an agent; returns one that is forgotten for it.
    pub fn insert(&mut self, id: &str, since_ms: u64) -> Option<String> {
        self.remove(id);
        self.since.insert(id.to_owned(), since_ms);
        self.oldest.insert((since_ms, id.to_owned()));
        if self.since.len() <= MAX_BYGONE {
            return None;
        }
        let (_, id) = self.oldest.pop_first()?;
        self.since.remove(&id);
        Some(id)
    }

    /// Removes an agent; true if it was there.
    pub fn remove(&mut self, id: &str) -> bool {
        let since = self.since.remove(id);
        since.is_some_and(|since| self.oldest.remove(&(since, id.to_owned())))
    }

    /// Since when, milliseconds since the epoch.
    pub fn since(&self, id: &str) -> Option<u64> {
        self.since.get(id).copied()
    }

    pub fn contains(&self, id: &str) -> bool {
        self.since.contains_key(id)
    }

    pub fn len(&self) -> usize {
        self.since.len()
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.since.keys().map(String::as_str)
    }
}

/// A registered agent.
pub(crate) struct Agent {
    pub info: SlaveInfo,
    pub pid: Upid,
    pub version: String,
    pub capabilities: Vec<i32>,
    pub total: Pool,
    /// Number of its `slave-observer(K)`.
    pub observer: u64,
    pub connected: bool,
    pub disconnected_ms: u64,
    /// Not offered, by the operator's word.
    pub deactivated: bool,
    pub registered_ms: u64,
    pub reregistered_ms: Option<u64>,
    /// Pings without an answer.
    pub missed: u32,
    pub awaiting_pong: bool,
    /// When it may be given up, if it has not answered for long enough.
    pub removal_ms: Option<u64>,
    /// Tasks and, of custom executors, what holds resources here.
    pub tasks: BTreeSet<Pair>,
    pub executors: BTreeMap<Pair, Executor>,
    /// Which version of its resources it last stated, 16 bytes; operations name it.
    pub resource_version: Option<Vec<u8>>,
    /// Operations that are not over, or whose end is not acknowledged, by uuid.
    pub operations: BTreeMap<Vec<u8>, Operation>,
    pub offers: BTreeSet<String>,
}

/// A custom executor on an agent.
pub(crate) struct Executor {
    pub info: ExecutorInfo,
    pub role: String,
    pub held: Pool,
}

/// How a framework's scheduler is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// By the stream of events that answers its SUBSCRIBE.
    Http(String),
    /// By messages to its actor, as older drivers have it.
    Driver(Upid),
}

/// A framework, subscribed or not.
pub(crate) struct Framework {
    pub info: FrameworkInfo,
    pub roles: BTreeSet<String>,
    /// How it is reached, or was when it was here; none if only an agent or the store has told of it.
    pub link: Option<Link>,
    pub connected: bool,
    /// It is here and wants offers.
    pub active: bool,
    pub registered_ms: u64,
    pub reregistered_ms: Option<u64>,
    pub unregistered_ms: u64,
    /// When it is removed unless it is back.
    pub failover_ms: Option<u64>,
    pub tasks: BTreeMap<String, TaskRecord>,
    pub completed: VecDeque<Task>,
    /// Tasks on unreachable agents: task -> agent.
    pub unreachable: BTreeMap<String, Task>,
    pub offers: BTreeSet<String>,
}

/// A task that is not yet over, or whose end is not yet acknowledged.
pub(crate) struct TaskRecord {
    pub task: Task,
    pub role: String,
    /// What it holds on its agent; empty once it has ended.
    pub held: Pool,
    /// A kill that the agent has not been told because it was away.
    pub kill: Option<mesos_proto::internal::KillTaskMessage>,
}

/// An offer out with a framework.
pub(crate) struct OfferRecord {
    pub framework: String,
    pub role: String,
    pub agent: String,
    pub resources: Pool,
}

impl Framework {
    pub fn has(&self, capability: mesos_proto::mesos::framework_info::capability::Type) -> bool {
        self.info.capabilities.iter().any(|c| c.r#type == Some(capability as i32))
    }

    /// Its scheduler, if it is here.
    pub fn scheduler(&self) -> Option<&Link> {
        self.link.as_ref().filter(|_| self.connected)
    }

    /// Not here since this master started; only an agent or the store has told of it.
    pub fn recovered(&self) -> bool {
        self.link.is_none()
    }

    /// Its address as agents are told, for messages that need not pass the master.
    pub fn pid(&self) -> String {
        match &self.link {
            Some(Link::Driver(pid)) => pid.to_string(),
            _ => crate::core::drivers::NOBODY.into(),
        }
    }

    /// Every task that is known: live ones, those on unreachable agents, those that are over, the newest first.
    pub fn known(&self) -> impl Iterator<Item = &Task> {
        let live = self.tasks.values().map(|record| &record.task);
        live.chain(self.unreachable.values()).chain(self.completed.iter().rev())
    }

    pub fn complete(&mut self, task: Task) {
        self.completed.push_back(task);
        while self.completed.len() > MAX_COMPLETED_TASKS {
            self.completed.pop_front();
        }
    }
}

impl Agent {
    pub fn has(&self, capability: mesos_proto::mesos::slave_info::capability::Type) -> bool {
        self.capabilities.contains(&(capability as i32))
    }

    pub fn active(&self) -> bool {
        self.connected && !self.deactivated
    }
}

impl TaskRecord {
    /// Adds a status to the task's short history, without its data; the same state again replaces the one before.
    /// True if that is news to who watches (`Master::updateTask`): another state, or a check's result.
    pub fn remember(&mut self, status: &TaskStatus) -> bool {
        use mesos_proto::mesos::task_status::Reason;
        let checked =
            matches!(status.reason(), Reason::TaskCheckStatusUpdated | Reason::TaskHealthCheckStatusUpdated);
        let same = self.task.statuses.last().is_some_and(|last| last.state == status.state);
        if same {
            self.task.statuses.pop();
        }
        if self.task.statuses.len() >= MAX_STATUSES {
            self.task.statuses.remove(0);
        }
        let mut status = status.clone();
        status.data = None;
        self.task.statuses.push(status);
        checked || !same
    }
}

/// Whether a task in this state is over (`protobuf::isTerminalState`).
pub fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    match state {
        TaskFinished | TaskFailed | TaskKilled | TaskLost | TaskError | TaskDropped | TaskGone
        | TaskGoneByOperator => true,
        TaskStarting | TaskRunning | TaskStaging | TaskKilling | TaskUnreachable | TaskUnknown => false,
    }
}
