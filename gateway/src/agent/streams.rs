//! Streams of status updates, one per task: written before they are sent, one outstanding at a time, sent again with
//! the same UUID until acknowledged, ended by one terminal update (src/slave/task_status_update_manager.cpp).

use super::task::{Phase, Progress, REPORTED_MAX, RESEND_MAX_MS, RESEND_MS, Style, Task, TaskRecord, Update};
use super::task::{free_handle, is_terminal};
use super::{Agents, Notice, Output, bytes_of, checks, task_key};
use crate::bridge::{NodeId, ToNode};
use crate::store::{Table, Write};
use mesos_proto::internal;
use mesos_proto::mesos::task_status::{Reason, Source};
use mesos_proto::mesos::{self, TaskState, TaskStatus};
use node_proto::TaskHandle;
use prost::Message;

/// Tasks of one agent, those included whose updates wait: far fewer than there are handles.
pub(super) const TASKS_MAX: usize = 1_024;
/// Updates that may wait in one stream before those that only repeat a state are left out.
const STREAM_MAX: usize = 64;

/// What a status says besides the state.
#[derive(Default)]
pub(super) struct Said {
    pub source: Option<Source>,
    pub reason: Option<Reason>,
    pub message: String,
    pub limitation: Option<mesos::TaskResourceLimitation>,
}

impl Said {
    pub fn by(source: Source, reason: impl Into<Option<Reason>>, message: impl Into<String>) -> Self {
        Self { source: Some(source), reason: reason.into(), message: message.into(), limitation: None }
    }
}

impl Agents {
    pub(super) fn add_task(
        &mut self,
        id: NodeId,
        record: TaskRecord,
        progress: Progress,
        now_ms: u64,
    ) -> Option<TaskHandle> {
        let agent = self.nodes.get_mut(&id)?;
        let tasks = &agent.tasks;
        if tasks.len() >= TASKS_MAX {
            tracing::warn!(node = %id, task_id = record.task_id, "too many tasks are not acknowledged; ignored");
            self.counters.tasks_ignored += 1;
            return None;
        }
        let handle = free_handle(&mut agent.record.next_task, |handle| tasks.contains_key(&handle));
        let value = bytes_of(&record);
        let task = Task { since_ms: Some(now_ms), ..Task::new(record, progress, now_ms) };
        if let Some(uri) = task.waits_for() {
            self.waiting.entry(uri.to_owned()).or_default().insert((id, handle));
        }
        agent.tasks.insert(handle, task);
        self.save_agent(id);
        self.outputs.push_back(Output::Write(Write::Put(Table::Task, task_key(id, handle), value)));
        self.save_progress(id, handle);
        Some(handle)
    }

    /// Says of a task that is not here that it is not: dropped, or lost to a framework that does not know that word.
    pub(super) fn report_unknown(
        &mut self,
        id: NodeId,
        framework: &str,
        (task_id, executor_id): (&str, &str),
        said: Said,
        now_ms: u64,
    ) {
        use mesos::framework_info::capability::Type::PartitionAware;
        let state = match self.framework_can(id, framework, PartitionAware) {
            true => TaskState::TaskDropped,
            false => TaskState::TaskLost,
        };
        let record = TaskRecord {
            framework_id: framework.to_owned(),
            task_id: task_id.to_owned(),
            executor_id: executor_id.to_owned(),
            style: Style::Command,
            uri: String::new(),
            info: Vec::new(),
        };
        if let Some(task) = self.add_task(id, record, Progress::new(Phase::Delivered), now_ms) {
            self.update(id, task, state, said, now_ms);
        }
    }

    /// Adds a status to a task's stream. After a terminal one nothing is added: a task ends once.
    pub(super) fn update(
        &mut self,
        id: NodeId,
        handle: TaskHandle,
        mut state: TaskState,
        mut said: Said,
        now_ms: u64,
    ) {
        let uuid = self.new_uuid();
        let timestamp = (self.config.epoch_ms + now_ms) as f64 / 1000.0;
        let Some(agent) = self.nodes.get(&id) else { return };
        if let (Some(drain), TaskState::TaskKilling | TaskState::TaskKilled) = (&agent.record.drain, state) {
            use mesos::framework_info::capability::Type::PartitionAware;
            said.reason = Some(Reason::SlaveDraining);
            let framework = agent.tasks.get(&handle).map(|task| task.framework_id().to_owned());
            let aware = framework.is_some_and(|framework| self.framework_can(id, &framework, PartitionAware));
            if drain.mark_gone && aware && state == TaskState::TaskKilled {
                state = TaskState::TaskGoneByOperator;
            }
        }
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let slave_id = agent.record.slave_id.clone().unwrap_or_default();
        let address = lowpan::Eui64(id.0).link_local().to_string();
        let Some(task) = agent.tasks.get_mut(&handle) else { return };
        let repeats = state == task.state() && !is_terminal(state);
        // A node that takes a launch and its kill together says of the first that it starts: too late.
        let goes_back = task.state() == TaskState::TaskKilling && !is_terminal(state);
        if task.has_ended() || goes_back || (repeats && task.progress.updates.len() >= STREAM_MAX) {
            return;
        }
        let container_id = super::info::container_id(&slave_id, task.framework_id(), task.executor_id());
        let status = TaskStatus {
            task_id: mesos::TaskId { value: task.record.task_id.clone() },
            state: state as i32,
            message: Some(said.message).filter(|message| !message.is_empty()),
            source: said.source.map(|source| source as i32),
            reason: said.reason.map(|reason| reason as i32),
            slave_id: Some(mesos::SlaveId { value: slave_id }),
            executor_id: Some(mesos::ExecutorId { value: task.record.executor_id.clone() }),
            timestamp: Some(timestamp),
            uuid: Some(uuid.clone()),
            healthy: task.progress.healthy,
            check_status: task.info().and_then(|info| checks::status(&info, task.progress.checked)),
            container_status: Some(mesos::ContainerStatus {
                container_id: Some(mesos::ContainerId { value: container_id, parent: None }),
                network_infos: vec![mesos::NetworkInfo {
                    ip_addresses: vec![mesos::network_info::IpAddress {
                        protocol: Some(mesos::network_info::Protocol::IPv6 as i32),
                        ip_address: Some(address),
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            }),
            limitation: said.limitation,
            ..Default::default()
        };
        let first = task.progress.updates.is_empty();
        let fetching = task.waits_for().map(str::to_owned);
        task.progress.state = state as i32;
        let encoded = status.encode_to_vec();
        if !repeats {
            task.since_ms = Some(now_ms);
            self.notices.add(Notice::Task {
                node: id,
                framework_id: task.record.framework_id.clone(),
                task_id: task.record.task_id.clone(),
                state,
                message: status.message.unwrap_or_default(),
            });
        }
        if task.reported.len() >= REPORTED_MAX {
            task.reported.pop_front();
        }
        task.reported.push_back(encoded.clone());
        task.progress.updates.push_back(Update { status: encoded, uuid, state: state as i32, timestamp });
        let ends = is_terminal(state);
        self.counters.ended[state as usize] += u64::from(ends);
        if ends {
            task.progress.phase = Phase::Ended;
        }
        self.counters.updates += 1;
        self.save_progress(id, handle);
        if first {
            self.send_head(id, handle, now_ms);
        }
        if ends {
            if let Some(uri) = fetching {
                self.no_longer_waits(&uri, id, handle);
            }
            self.after_end(id, handle, now_ms);
        }
    }

    /// Sends the oldest unacknowledged update of a task, if the agent is registered.
    fn send_head(&mut self, id: NodeId, handle: TaskHandle, now_ms: u64) {
        let pid = self.nodes.get(&id).map(|agent| libprocess::Upid::new(agent.actor(), self.advertised));
        let (Some(agent), Some(pid)) = (self.nodes.get_mut(&id), pid) else { return };
        let registered = agent.is_registered();
        let (Some(task), Some(slave_id)) = (agent.tasks.get_mut(&handle), &agent.record.slave_id) else {
            return;
        };
        let Some(head) = task.progress.updates.front().filter(|_| registered) else { return };
        let Ok(status) = TaskStatus::decode(head.status.as_slice()) else { return };
        let message = internal::StatusUpdateMessage {
            update: internal::StatusUpdate {
                framework_id: mesos::FrameworkId { value: task.record.framework_id.clone() },
                executor_id: Some(mesos::ExecutorId { value: task.record.executor_id.clone() }),
                slave_id: Some(mesos::SlaveId { value: slave_id.clone() }),
                timestamp: head.timestamp,
                uuid: Some(head.uuid.clone()),
                status,
                latest_state: Some(task.progress.state),
            },
            pid: Some(pid.to_string()),
        };
        task.resend_ms = now_ms + task.pause_ms;
        task.pause_ms = (task.pause_ms * 2).min(RESEND_MAX_MS);
        self.counters.updates_sent += 1;
        self.send(id, &message);
    }

    pub(super) fn acknowledged(
        &mut self,
        id: NodeId,
        message: &internal::StatusUpdateAcknowledgementMessage,
        now_ms: u64,
    ) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let found = agent.find_head(&message.framework_id.value, &message.task_id.value, &message.uuid);
        let Some((handle, task)) = found else { return }; // late or doubled
        let last = task.progress.updates.pop_front();
        task.pause_ms = RESEND_MS;
        let ended = task.progress.updates.is_empty() && task.has_ended();
        if ended && last.is_some_and(|update| TaskState::try_from(update.state).is_ok_and(is_terminal)) {
            self.drop_task(id, handle);
            self.drained(id);
        } else {
            self.save_progress(id, handle);
            self.send_head(id, handle, now_ms);
        }
    }

    pub(super) fn resend_due(&mut self, id: NodeId, now_ms: u64) {
        self.resend_where(id, now_ms, |task| task.resend_at().is_some_and(|at| at <= now_ms));
    }

    /// After a (re-)registration every stream begins again at its head, with the first pause.
    pub(super) fn resume_streams(&mut self, id: NodeId, now_ms: u64) {
        self.resend_where(id, now_ms, |task| {
            task.pause_ms = RESEND_MS;
            true
        });
    }

    pub(super) fn resend_framework(&mut self, id: NodeId, framework: &str, now_ms: u64) {
        self.resend_where(id, now_ms, |task| task.framework_id() == framework);
    }

    fn resend_where(&mut self, id: NodeId, now_ms: u64, mut wanted: impl FnMut(&mut Task) -> bool) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let due: Vec<TaskHandle> =
            agent.tasks.iter_mut().filter_map(|(handle, task)| wanted(task).then_some(*handle)).collect();
        for handle in due {
            self.send_head(id, handle, now_ms);
        }
    }

    pub(super) fn save_progress(&mut self, id: NodeId, handle: TaskHandle) {
        let Some(task) = self.nodes.get(&id).and_then(|agent| agent.tasks.get(&handle)) else { return };
        let value = bytes_of(&task.progress);
        self.outputs.push_back(Output::Write(Write::Put(Table::Progress, task_key(id, handle), value)));
    }

    /// Forgets a task, and its framework if that was its last one.
    pub(super) fn drop_task(&mut self, id: NodeId, handle: TaskHandle) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let slave_id = agent.record.slave_id.clone().unwrap_or_default();
        let done = agent.tasks.get(&handle).and_then(|task| task.to_mesos(&slave_id, agent));
        let Some(task) = agent.tasks.remove(&handle) else { return };
        let framework = task.framework_id().to_owned();
        agent.remember(handle, done, &task);
        if !agent.tasks.values().any(|task| task.framework_id() == framework) {
            self.forget_framework(id, &framework);
        }
        if let Some(uri) = task.waits_for() {
            self.no_longer_waits(uri, id, handle);
        }
        self.outputs.push_back(Output::ToNode(id, ToNode::Forget { task: handle }));
        for table in [Table::Task, Table::Progress] {
            self.outputs.push_back(Output::Write(Write::Delete(table, task_key(id, handle))));
        }
    }

    pub(super) fn no_longer_waits(&mut self, uri: &str, id: NodeId, handle: TaskHandle) {
        if let Some(waiting) = self.waiting.get_mut(uri) {
            waiting.remove(&(id, handle));
            if waiting.is_empty() {
                self.waiting.remove(uri);
            }
        }
    }
}
