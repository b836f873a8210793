//! One task of a virtual agent and its records.

use super::info::bytes_of_milli_mb;
use super::{Agent, FrameworkRecord};
use mesos_proto::mesos::{self, TaskState};
use mesos_proto::resources::Scalars;
use node_proto::{ImageHandle, TaskHandle, Usage};
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// First pause before an update is sent again (src/slave/constants.hpp).
pub(super) const RESEND_MS: u64 = 10_000;
/// Longest pause.
pub(super) const RESEND_MAX_MS: u64 = 600_000;
/// Statuses kept per task for operators.
pub(super) const REPORTED_MAX: usize = 16;
/// Bytes of log kept per task.
const LOG_MAX: usize = 64 << 10;

/// How far a launch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// The image is being fetched to the gateway.
    Fetching,
    /// The order is in the node's mailbox or beyond.
    Delivered,
    /// It has ended; updates may wait.
    Ended,
}

/// What a task runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Style {
    /// Nothing but itself: its executor is of the agent's making and has the task's id.
    Command,
    /// An executor of the framework's.
    Custom,
    /// A default executor, in the group that was launched with this number.
    Group(u32),
}

/// A status update on its way to the scheduler. Its UUID is that in the status, for ever.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Update {
    /// An encoded `TaskStatus`.
    pub status: Vec<u8>,
    pub uuid: Vec<u8>,
    pub state: i32,
    pub timestamp: f64,
}

/// What of a task is on disk and never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TaskRecord {
    pub framework_id: String,
    pub task_id: String,
    pub executor_id: String,
    pub style: Style,
    /// Where the image comes from; empty for a task that is refused.
    pub uri: String,
    /// An encoded `TaskInfo`; empty for a task that is only known by its name.
    pub info: Vec<u8>,
}

/// What of a task is on disk and changes: small, for it is written with every status.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    pub phase: Phase,
    pub state: i32,
    pub updates: VecDeque<Update>,
    /// The image, once it is there.
    pub image: Option<ImageHandle>,
    pub image_len: u32,
    pub document_len: u16,
    /// A kill was ordered.
    pub killing: bool,
    /// What its health check said last.
    pub healthy: Option<bool>,
    /// What its check returned last.
    pub checked: Option<i32>,
}

impl Progress {
    pub fn new(phase: Phase) -> Self {
        Self {
            phase,
            state: TaskState::TaskStaging as i32,
            updates: VecDeque::new(),
            image: None,
            image_len: 0,
            document_len: 0,
            killing: false,
            healthy: None,
            checked: None,
        }
    }
}

/// What of a launch is asked for again and again, by whoever looks at a fleet.
#[derive(Clone, Debug, Default)]
pub(super) struct Granted {
    pub name: Box<str>,
    pub role: Box<str>,
    pub cpu_permille: u32,
    pub mem_bytes: u32,
}

impl Granted {
    fn of(record: &TaskRecord) -> Self {
        let Ok(info) = mesos::TaskInfo::decode(record.info.as_slice()) else { return Self::default() };
        let amounts = Scalars::of(&info.resources);
        let mut roles =
            info.resources.iter().filter_map(|held| held.allocation_info.as_ref()?.role.as_deref());
        Self {
            role: roles.next().unwrap_or("*").into(),
            name: info.name.into(),
            cpu_permille: u32::try_from(amounts.milli("cpus")).unwrap_or(0),
            mem_bytes: bytes_of_milli_mb(amounts.milli("mem")),
        }
    }
}

/// One task.
pub(super) struct Task {
    pub record: TaskRecord,
    pub progress: Progress,
    pub resend_ms: u64,
    pub pause_ms: u64,
    pub usage: Option<Usage>,
    /// What it was granted, read once.
    pub granted: Granted,
    /// What it used between its two newest reports, thousandths of the core.
    pub cpu_used: Option<u16>,
    /// Since when it has been in its state; unknown if that was before the gateway's start.
    pub since_ms: Option<u64>,
    /// Encoded statuses so far, for operators; those since the gateway started, the oldest left out.
    pub reported: VecDeque<Vec<u8>>,
}

impl Task {
    pub fn new(record: TaskRecord, progress: Progress, now_ms: u64) -> Self {
        Self {
            granted: Granted::of(&record),
            cpu_used: None,
            since_ms: None,
            record,
            progress,
            resend_ms: now_ms,
            pause_ms: RESEND_MS,
            usage: None,
            reported: VecDeque::new(),
        }
    }

    /// Takes a report of what the task used.
    pub fn report(&mut self, usage: Usage) {
        if let Some(before) = self.usage.replace(usage) {
            let cpu = usage.cpu_ms.checked_sub(before.cpu_ms);
            let granted = usage.granted_ms.checked_sub(before.granted_ms);
            self.cpu_used = match (cpu, granted) {
                // The node's own clock: what the grant was worth in the same span.
                (Some(cpu), Some(granted @ 1..)) => {
                    let share = u64::from(cpu) * u64::from(self.granted.cpu_permille) / u64::from(granted);
                    Some(share.min(u64::from(u16::MAX)) as u16)
                }
                (Some(_), Some(0)) => self.cpu_used,
                _ => None, // it began anew
            };
        }
    }

    pub fn is(&self, framework: &str, task_id: &str) -> bool {
        self.record.framework_id == framework && self.record.task_id == task_id
    }

    pub fn framework_id(&self) -> &str {
        &self.record.framework_id
    }

    pub fn task_id(&self) -> &str {
        &self.record.task_id
    }

    pub fn executor_id(&self) -> &str {
        &self.record.executor_id
    }

    pub fn state(&self) -> TaskState {
        TaskState::try_from(self.progress.state).unwrap_or(TaskState::TaskUnknown)
    }

    pub fn has_ended(&self) -> bool {
        self.progress.phase == Phase::Ended
    }

    pub fn waits_for(&self) -> Option<&str> {
        (self.progress.phase == Phase::Fetching).then_some(&self.record.uri)
    }

    pub fn resend_at(&self) -> Option<u64> {
        self.progress.updates.front().map(|_| self.resend_ms)
    }

    pub fn info(&self) -> Option<mesos::TaskInfo> {
        if self.record.info.is_empty() {
            return None;
        }
        mesos::TaskInfo::decode(self.record.info.as_slice()).ok()
    }

    /// The task as a re-registration states it. State and UUID of the update under way are both there or neither,
    /// and each resource is allocated to a role: a master aborts otherwise.
    pub fn to_mesos(&self, slave_id: &str, agent: &Agent) -> Option<mesos::Task> {
        let info = self.info()?;
        let head = self.progress.updates.front();
        let executor_id = (self.record.style != Style::Command)
            .then(|| mesos::ExecutorId { value: self.record.executor_id.clone() });
        Some(mesos::Task {
            name: info.name,
            task_id: info.task_id,
            framework_id: mesos::FrameworkId { value: self.record.framework_id.clone() },
            executor_id,
            slave_id: mesos::SlaveId { value: slave_id.to_owned() },
            state: self.progress.state,
            resources: agent.allocated(&self.record.framework_id, info.resources),
            statuses: head
                .and_then(|update| mesos::TaskStatus::decode(&*update.status).ok())
                .into_iter()
                .collect(),
            status_update_state: head.map(|update| update.state),
            status_update_uuid: head.map(|update| update.uuid.clone()),
            labels: info.labels,
            discovery: info.discovery,
            container: info.container,
            health_check: info.health_check,
            kill_policy: info.kill_policy,
            limits: info.limits,
            user: None,
        })
    }
}

pub(super) fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    matches!(
        state,
        TaskFinished
            | TaskFailed
            | TaskKilled
            | TaskLost
            | TaskError
            | TaskDropped
            | TaskGone
            | TaskGoneByOperator
    )
}

pub(super) fn framework_info(id: &str, record: &FrameworkRecord) -> Option<mesos::FrameworkInfo> {
    let mut info = mesos::FrameworkInfo::decode(record.info.as_slice()).ok()?;
    info.id = Some(mesos::FrameworkId { value: id.to_owned() });
    Some(info)
}

/// The last [`LOG_MAX`] bytes of a task's log; it outlives the task for as long as there is room.
pub(super) struct LogRing {
    pub key: (String, String),
    /// Where `bytes` begin in the whole log.
    pub offset: u64,
    pub bytes: VecDeque<u8>,
}

impl LogRing {
    pub fn append(rings: &mut VecDeque<Self>, key: (String, String), data: &[u8], rings_max: usize) {
        let at = match rings.iter().position(|ring| ring.key == key) {
            Some(at) => at,
            None => {
                if rings.len() >= rings_max {
                    rings.pop_front();
                }
                rings.push_back(Self { key, offset: 0, bytes: VecDeque::new() });
                rings.len() - 1
            }
        };
        let ring = &mut rings[at];
        ring.bytes.extend(data);
        let over = ring.bytes.len().saturating_sub(LOG_MAX);
        ring.bytes.drain(..over);
        ring.offset += over as u64;
    }
}

/// The next handle that no task has.
pub(super) fn free_handle(next: &mut TaskHandle, taken: impl Fn(TaskHandle) -> bool) -> TaskHandle {
    loop {
        let handle = *next;
        *next = next.checked_add(1).unwrap_or(1);
        if !taken(handle) {
            return handle;
        }
    }
}
