//! What the master knows: agents, frameworks, tasks, offers. Plain records without behaviour of their own; only
//! [`crate::core`] changes them. A durable store would keep these records and nothing else.

use crate::limits::{MAX_COMPLETED_TASKS, MAX_STATUSES};
use libprocess::Upid;
use mesos_proto::mesos::{ExecutorInfo, FrameworkInfo, SlaveInfo, Task, TaskState, TaskStatus};
use mesos_proto::pool::Pool;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// (framework id, executor id or task id).
pub(crate) type Pair = (String, String);

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
    pub registered_ms: u64,
    pub reregistered_ms: Option<u64>,
    /// Pings without an answer.
    pub missed: u32,
    pub awaiting_pong: bool,
    /// Tasks and, of custom executors, what holds resources here.
    pub tasks: BTreeSet<Pair>,
    pub executors: BTreeMap<Pair, Executor>,
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
    pub unreachable: BTreeMap<String, String>,
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
        self.connected
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
