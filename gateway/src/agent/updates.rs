//! Tasks from launch to the last acknowledgement: what the master asks, what the node says, and the streams of
//! status updates between them.

use super::task::{Phase, RESEND_MAX_MS, RESEND_MS, Task, TaskRecord, Update, free_handle};
use super::{Agents, FrameworkRecord, Image, Output, bytes_of, launch, task_key};
use crate::bridge::{NodeId, ToNode};
use crate::store::{Table, Write};
use mesos_proto::internal;
use mesos_proto::mesos::task_status::{Reason, Source};
use mesos_proto::mesos::{self, TaskState, TaskStatus};
use node_proto::{Failure, State, TaskHandle};
use prost::Message;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a task may still run after a kill, unless somebody says otherwise (src/launcher/executor.cpp).
const GRACE_MS: u32 = 3_000;

/// Tasks of one agent, those included whose updates wait: far fewer than there are handles.
const TASKS_MAX: usize = 1_024;

/// What a status says besides the state.
#[derive(Default)]
struct Said {
    source: Option<Source>,
    reason: Option<Reason>,
    message: String,
    limitation: Option<mesos::TaskResourceLimitation>,
}

impl Said {
    fn by(source: Source, reason: impl Into<Option<Reason>>, message: impl Into<String>) -> Self {
        Self { source: Some(source), reason: reason.into(), message: message.into(), limitation: None }
    }
}

fn is_terminal(state: TaskState) -> bool {
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

fn has_capability(info: &[u8], wanted: mesos::framework_info::capability::Type) -> bool {
    mesos::FrameworkInfo::decode(info)
        .is_ok_and(|info| info.capabilities.iter().any(|held| held.r#type == Some(wanted as i32)))
}

impl Agents {
    // --- what the master asks ---

    pub(super) fn run_task(&mut self, id: NodeId, message: internal::RunTaskMessage, now_ms: u64) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if agent.record.slave_id.as_deref() != Some(&*message.task.slave_id.value) {
            tracing::warn!(node = %id, slave = message.task.slave_id.value, "task for another agent id; ignored");
            return;
        }
        let Some(framework) = &message.framework.id else { return };
        let framework = framework.value.clone();
        let task_id = message.task.task_id.value.clone();
        if agent.find(&framework, &task_id).is_some() {
            tracing::warn!(node = %id, task_id, "this task is here already; ignored");
            return;
        }
        self.know_framework(id, &framework, &message.framework, message.pid);
        let executor_id = match &message.task.executor {
            Some(executor) => executor.executor_id.value.clone(),
            None => task_id.clone(),
        };
        let custom = message.task.executor.is_some();
        let planned = launch::plan(&message.task);
        let phase = match &planned {
            Ok(plan) => Phase::Fetching(plan.uri.clone()),
            Err(_) => Phase::Delivered,
        };
        let record = TaskRecord {
            framework_id: framework.clone(),
            task_id,
            executor_id: executor_id.clone(),
            info: message.task.encode_to_vec(),
            phase,
            state: TaskState::TaskStaging as i32,
            updates: VecDeque::new(),
            image_len: 0,
            document_len: planned.as_ref().map_or(0, |plan| plan.document.len() as u16),
        };
        let Some(task) = self.add_task(id, record, now_ms) else { return };
        match planned {
            Ok(plan) => self.outputs.push_back(Output::Fetch(plan.uri)),
            Err(why) => {
                let said = Said::by(Source::Slave, Reason::ContainerLaunchFailed, why);
                self.update(id, task, TaskState::TaskFailed, said, now_ms);
                if custom {
                    self.exited_executor(id, &framework, &executor_id);
                }
            }
        }
    }

    pub(super) fn run_task_group(&mut self, id: NodeId, message: internal::RunTaskGroupMessage, now_ms: u64) {
        let why = "a node runs single tasks, no task groups";
        let Some(framework) = message.framework.id.clone() else { return };
        self.know_framework(id, &framework.value, &message.framework, None);
        let executor_id = message.executor.executor_id.value;
        for task in message.task_group.tasks {
            if self.nodes.get(&id).is_none_or(|agent| {
                agent.record.slave_id.as_deref() != Some(&*task.slave_id.value)
                    || agent.find(&framework.value, &task.task_id.value).is_some()
            }) {
                continue;
            }
            let record = TaskRecord {
                framework_id: framework.value.clone(),
                task_id: task.task_id.value.clone(),
                executor_id: executor_id.clone(),
                info: task.encode_to_vec(),
                phase: Phase::Delivered,
                state: TaskState::TaskStaging as i32,
                updates: VecDeque::new(),
                image_len: 0,
                document_len: 0,
            };
            if let Some(task) = self.add_task(id, record, now_ms) {
                let said = Said::by(Source::Slave, Reason::ContainerLaunchFailed, why);
                self.update(id, task, TaskState::TaskFailed, said, now_ms);
            }
        }
        self.exited_executor(id, &framework.value, &executor_id);
    }

    fn exited_executor(&mut self, id: NodeId, framework: &str, executor: &str) {
        let Some(slave_id) = self.nodes.get(&id).and_then(|agent| agent.record.slave_id.clone()) else {
            return;
        };
        let message = internal::ExitedExecutorMessage {
            slave_id: mesos::SlaveId { value: slave_id },
            framework_id: mesos::FrameworkId { value: framework.to_owned() },
            executor_id: mesos::ExecutorId { value: executor.to_owned() },
            status: -1,
        };
        self.send(id, &message);
    }

    /// The answer to [`Output::Fetch`].
    pub fn image(&mut self, uri: &str, image: Result<Image, String>, now_ms: u64) {
        let mut waiting = Vec::new();
        for (id, agent) in &self.nodes {
            for (handle, task) in &agent.tasks {
                if task.record.waits_for() == Some(uri) {
                    waiting.push((*id, *handle));
                }
            }
        }
        waiting.sort_unstable();
        for (id, handle) in waiting {
            match &image {
                Err(why) => {
                    let said = Said::by(Source::Slave, Reason::ContainerLaunchFailed, why);
                    self.update(id, handle, TaskState::TaskFailed, said, now_ms);
                }
                Ok(image) => self.deliver(id, handle, image, now_ms),
            }
            self.rearm(id);
        }
    }

    fn deliver(&mut self, id: NodeId, handle: TaskHandle, image: &Image, now_ms: u64) {
        let Some(task) = self.nodes.get_mut(&id).and_then(|agent| agent.tasks.get_mut(&handle)) else {
            return;
        };
        let plan =
            task.info().ok_or("the task's record is damaged".to_owned()).and_then(|info| launch::plan(&info));
        let plan = match plan {
            Ok(plan) => plan,
            Err(why) => {
                let said = Said::by(Source::Slave, Reason::ContainerLaunchFailed, why);
                return self.update(id, handle, TaskState::TaskFailed, said, now_ms);
            }
        };
        task.record.phase = Phase::Delivered;
        task.record.image_len = image.len;
        self.outputs.push_back(Output::ToNode(
            id,
            ToNode::Launch {
                task: handle,
                image: image.handle,
                image_len: image.len,
                digest: image.digest,
                kind: image.kind,
                document: plan.document,
                cpu_permille: plan.cpu_permille,
                mem_bytes: plan.mem_bytes,
                capabilities: plan.capabilities,
                max_run_s: 0,
            },
        ));
        self.save_task(id, handle);
    }

    /// The session had no room for an order: the task it was for cannot be run.
    pub fn undeliverable(&mut self, id: NodeId, task: TaskHandle, now_ms: u64) {
        let said = Said::by(Source::Slave, Reason::ContainerLaunchFailed, "the node's mailbox is full");
        self.update(id, task, TaskState::TaskFailed, said, now_ms);
        self.rearm(id);
    }

    pub(super) fn kill_task(&mut self, id: NodeId, message: &internal::KillTaskMessage, now_ms: u64) {
        let (framework, task_id) = (&message.framework_id.value, &message.task_id.value);
        let Some(agent) = self.nodes.get(&id) else { return };
        let Some(known) = agent.frameworks.get(framework) else { return };
        let killing = has_capability(&known.info, mesos::framework_info::capability::Type::TaskKillingState);
        let Some(handle) = agent.find(framework, task_id) else {
            let said = Said::by(Source::Slave, Reason::ExecutorTerminated, "no such task on this agent");
            return self.report_unknown(id, framework, task_id, said, now_ms);
        };
        let Some(task) = agent.tasks.get(&handle) else { return };
        match &task.record.phase {
            Phase::Fetching(_) => {
                let said = Said::by(
                    Source::Slave,
                    Reason::TaskKilledDuringLaunch,
                    "killed before it reached the node",
                );
                self.update(id, handle, TaskState::TaskKilled, said, now_ms);
            }
            Phase::Delivered => {
                let grace =
                    |policy: Option<&mesos::KillPolicy>| policy?.grace_period.map(|grace| grace.nanoseconds);
                let own = task.info().and_then(|info| grace(info.kill_policy.as_ref()));
                let nanos = grace(message.kill_policy.as_ref()).or(own);
                let millis = |nanos: i64| u32::try_from(nanos.max(0) / 1_000_000).unwrap_or(u32::MAX);
                let grace_ms = nanos.map_or(GRACE_MS, millis);
                self.outputs.push_back(Output::ToNode(id, ToNode::Kill { task: handle, grace_ms }));
                if killing && task.record.state != TaskState::TaskKilling as i32 {
                    let said = Said::by(Source::Executor, None, "");
                    self.update(id, handle, TaskState::TaskKilling, said, now_ms);
                }
            }
            Phase::Ended => {}
        }
    }

    pub(super) fn shutdown_executor(
        &mut self,
        id: NodeId,
        message: &internal::ShutdownExecutorMessage,
        now_ms: u64,
    ) {
        let (Some(framework), Some(executor)) = (&message.framework_id, &message.executor_id) else { return };
        let Some(agent) = self.nodes.get(&id) else { return };
        if let Some(handle) = agent.find(&framework.value, &executor.value) {
            self.outputs.push_back(Output::ToNode(id, ToNode::Kill { task: handle, grace_ms: 0 }));
            let said = Said::by(Source::Slave, Reason::ExecutorTerminated, "executor was shut down");
            self.update(id, handle, TaskState::TaskFailed, said, now_ms);
        }
    }

    /// The framework is gone: its tasks end, and nobody is told.
    pub(super) fn shutdown_framework(&mut self, id: NodeId, framework: &str) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let gone: Vec<TaskHandle> = agent
            .tasks
            .iter()
            .filter(|(_, task)| task.framework_id() == framework)
            .map(|(handle, _)| *handle)
            .collect();
        for handle in gone {
            self.outputs.push_back(Output::ToNode(id, ToNode::Kill { task: handle, grace_ms: 0 }));
            self.remove_task(id, handle);
        }
        if let Some(agent) = self.nodes.get_mut(&id) {
            agent.frameworks.remove(framework);
        }
        self.delete_framework(id, framework);
    }

    /// Tasks that the master knows and this agent does not (src/slave/slave.cpp, `reregistered`).
    pub(super) fn reconcile(&mut self, id: NodeId, message: &internal::ReconcileTasksMessage, now_ms: u64) {
        let framework = message.framework_id.value.clone();
        if let Some(info) = &message.framework {
            self.know_framework(id, &framework, info, None);
        }
        for status in &message.statuses {
            let known = self.nodes.get(&id).and_then(|agent| agent.find(&framework, &status.task_id.value));
            if known.is_none() {
                let said = Said::by(Source::Slave, Reason::Reconciliation, "unknown to the agent");
                self.report_unknown(id, &framework, &status.task_id.value, said, now_ms);
            }
        }
    }

    fn report_unknown(&mut self, id: NodeId, framework: &str, task_id: &str, said: Said, now_ms: u64) {
        let aware = mesos::framework_info::capability::Type::PartitionAware;
        let held = self.nodes.get(&id).and_then(|agent| agent.frameworks.get(framework));
        let partition_aware = held.is_some_and(|held| has_capability(&held.info, aware));
        let state = if partition_aware { TaskState::TaskDropped } else { TaskState::TaskLost };
        let record = TaskRecord {
            framework_id: framework.to_owned(),
            task_id: task_id.to_owned(),
            executor_id: task_id.to_owned(),
            info: Vec::new(),
            phase: Phase::Delivered,
            state: TaskState::TaskStaging as i32,
            updates: VecDeque::new(),
            image_len: 0,
            document_len: 0,
        };
        if let Some(task) = self.add_task(id, record, now_ms) {
            self.update(id, task, state, said, now_ms);
        }
    }

    pub(super) fn acknowledged(
        &mut self,
        id: NodeId,
        message: &internal::StatusUpdateAcknowledgementMessage,
        now_ms: u64,
    ) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let Some(handle) = agent.find(&message.framework_id.value, &message.task_id.value) else { return };
        let Some(task) = agent.tasks.get_mut(&handle) else { return };
        if task.record.updates.front().is_none_or(|head| head.uuid != message.uuid) {
            return; // late or doubled
        }
        let last = task.record.updates.pop_front();
        task.pause_ms = RESEND_MS;
        let ended = task.record.updates.is_empty() && task.record.phase == Phase::Ended;
        if ended && last.is_some_and(|update| TaskState::try_from(update.state).is_ok_and(is_terminal)) {
            self.remove_task(id, handle);
        } else {
            self.save_task(id, handle);
            self.send_head(id, handle, now_ms);
        }
    }

    // --- what the node says ---

    pub(super) fn node_status(
        &mut self,
        id: NodeId,
        handle: TaskHandle,
        state: State,
        note: &str,
        now_ms: u64,
    ) {
        let text = |default: &str| if note.is_empty() { default.to_owned() } else { note.to_owned() };
        let failed = |reason: Reason, default: &str| {
            (TaskState::TaskFailed, Said::by(Source::Slave, reason, text(default)))
        };
        let executor = |state, message: String| (state, Said::by(Source::Executor, None, message));
        let (state, said) = match state {
            State::Starting => executor(TaskState::TaskStarting, note.to_owned()),
            State::Running => executor(TaskState::TaskRunning, note.to_owned()),
            State::Exited(0) => executor(TaskState::TaskFinished, text("exited with status 0")),
            State::Exited(code) => {
                executor(TaskState::TaskFailed, text(&format!("exited with status {code}")))
            }
            State::Killed => executor(TaskState::TaskKilled, text("killed on request")),
            State::Failed(Failure::Trap) => executor(TaskState::TaskFailed, text("trapped")),
            State::Failed(Failure::Memory) => {
                let (state, mut said) =
                    failed(Reason::ContainerLimitationMemory, "took more memory than granted");
                said.limitation = self.memory_of(id, handle);
                (state, said)
            }
            State::Failed(Failure::Restarted) => failed(Reason::ExecutorTerminated, "the node restarted"),
            State::Failed(Failure::Digest) => {
                failed(Reason::ContainerLaunchFailed, "image has a wrong digest")
            }
            State::Failed(Failure::Image) => failed(Reason::ContainerLaunchFailed, "image is not valid"),
            State::Failed(Failure::Capability) => {
                failed(Reason::ContainerLaunchFailed, "capability not granted")
            }
            State::Failed(Failure::Resources) => {
                failed(Reason::ContainerLaunchFailed, "node has too little left")
            }
            State::Failed(Failure::Fetch) => failed(Reason::ContainerLaunchFailed, "image cannot be fetched"),
            State::Failed(Failure::Unsupported) => {
                failed(Reason::ContainerLaunchFailed, "kind not supported")
            }
            State::Failed(Failure::Signature) => {
                failed(Reason::ContainerLaunchFailed, "image is not signed by a trusted publisher")
            }
            State::Failed(Failure::Timeout) => (
                TaskState::TaskFailed,
                Said::by(
                    Source::Executor,
                    Reason::MaxCompletionTimeReached,
                    text("ran for longer than it may"),
                ),
            ),
            State::Failed(Failure::Unhealthy) => (
                TaskState::TaskKilled,
                Said::by(
                    Source::Executor,
                    Reason::TaskHealthCheckStatusUpdated,
                    text("its health check failed"),
                ),
            ),
            State::Health(_) | State::Checked(_) => executor(TaskState::TaskRunning, note.to_owned()),
            State::Failed(Failure::Storage) => failed(Reason::ContainerLaunchFailed, "node's storage failed"),
        };
        self.update(id, handle, state, said, now_ms);
    }

    fn memory_of(&self, id: NodeId, handle: TaskHandle) -> Option<mesos::TaskResourceLimitation> {
        let info = self.nodes.get(&id)?.tasks.get(&handle)?.info()?;
        let resources = info.resources.into_iter().filter(|resource| resource.name == "mem").collect();
        Some(mesos::TaskResourceLimitation { resources })
    }

    /// The node lost its storage: what it had started is gone.
    pub(super) fn node_forgot(&mut self, id: NodeId, now_ms: u64) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let started: Vec<TaskHandle> = agent
            .tasks
            .iter()
            .filter(|(_, task)| {
                task.record.phase == Phase::Delivered && task.record.state != TaskState::TaskStaging as i32
            })
            .map(|(handle, _)| *handle)
            .collect();
        for handle in started {
            let said = Said::by(Source::Slave, Reason::ExecutorTerminated, "the node lost its storage");
            self.update(id, handle, TaskState::TaskFailed, said, now_ms);
        }
    }

    // --- streams ---

    fn know_framework(
        &mut self,
        id: NodeId,
        framework: &str,
        info: &mesos::FrameworkInfo,
        pid: Option<String>,
    ) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        // "@0.0.0.0:0" is what a master sends for an HTTP scheduler: no actor.
        let pid = pid.filter(|pid| pid.parse::<libprocess::Upid>().is_ok());
        let record = FrameworkRecord { info: info.encode_to_vec(), pid };
        let changed = agent
            .frameworks
            .get(framework)
            .is_none_or(|held| held.info != record.info || held.pid != record.pid);
        if changed {
            agent.frameworks.insert(framework.to_owned(), record.clone());
            self.put_framework(id, framework, &record);
        }
    }

    fn add_task(&mut self, id: NodeId, record: TaskRecord, now_ms: u64) -> Option<TaskHandle> {
        let agent = self.nodes.get_mut(&id)?;
        let tasks = &agent.tasks;
        if tasks.len() >= TASKS_MAX {
            tracing::warn!(node = %id, task_id = record.task_id, "too many tasks are not acknowledged; ignored");
            return None;
        }
        let handle = free_handle(&mut agent.record.next_task, |handle| tasks.contains_key(&handle));
        agent.tasks.insert(handle, Task::new(record, now_ms));
        self.save_agent(id);
        self.save_task(id, handle);
        Some(handle)
    }

    /// Adds a status to a task's stream. After a terminal one nothing is added: a task ends once.
    fn update(&mut self, id: NodeId, handle: TaskHandle, state: TaskState, said: Said, now_ms: u64) {
        let uuid = self.new_uuid();
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let slave_id = agent.record.slave_id.clone().unwrap_or_default();
        let address = lowpan::Eui64(id.0).link_local().to_string();
        let Some(task) = agent.tasks.get_mut(&handle) else { return };
        if task.record.phase == Phase::Ended {
            return;
        }
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
            container_status: Some(mesos::ContainerStatus {
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
        let first = task.record.updates.is_empty();
        task.record.state = state as i32;
        task.record.updates.push_back(Update {
            status: status.encode_to_vec(),
            uuid,
            state: state as i32,
            timestamp,
        });
        if is_terminal(state) {
            task.record.phase = Phase::Ended;
        }
        self.save_task(id, handle);
        if first {
            self.send_head(id, handle, now_ms);
        }
    }

    /// Sends the oldest unacknowledged update of a task, if the agent is registered.
    fn send_head(&mut self, id: NodeId, handle: TaskHandle, now_ms: u64) {
        let pid = self.nodes.get(&id).map(|agent| libprocess::Upid::new(agent.actor(), self.advertised));
        let (Some(agent), Some(pid)) = (self.nodes.get_mut(&id), pid) else { return };
        let registered = matches!(agent.registration, super::Registration::Registered { .. });
        let (Some(task), Some(slave_id)) = (agent.tasks.get_mut(&handle), &agent.record.slave_id) else {
            return;
        };
        let Some(head) = task.record.updates.front().filter(|_| registered) else { return };
        let Ok(status) = TaskStatus::decode(head.status.as_slice()) else { return };
        let message = internal::StatusUpdateMessage {
            update: internal::StatusUpdate {
                framework_id: mesos::FrameworkId { value: task.record.framework_id.clone() },
                executor_id: Some(mesos::ExecutorId { value: task.record.executor_id.clone() }),
                slave_id: Some(mesos::SlaveId { value: slave_id.clone() }),
                timestamp: head.timestamp,
                uuid: Some(head.uuid.clone()),
                status,
                latest_state: Some(task.record.state),
            },
            pid: Some(pid.to_string()),
        };
        task.resend_ms = now_ms + task.pause_ms;
        task.pause_ms = (task.pause_ms * 2).min(RESEND_MAX_MS);
        self.send(id, &message);
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

    fn save_task(&mut self, id: NodeId, handle: TaskHandle) {
        let Some(task) = self.nodes.get(&id).and_then(|agent| agent.tasks.get(&handle)) else { return };
        let value = bytes_of(&task.record);
        self.outputs.push_back(Output::Write(Write::Put(Table::Task, task_key(id, handle), value)));
    }

    fn remove_task(&mut self, id: NodeId, handle: TaskHandle) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let Some(task) = agent.tasks.remove(&handle) else { return };
        let framework = task.framework_id().to_owned();
        let idle = !agent.tasks.values().any(|task| task.framework_id() == framework);
        if idle {
            agent.frameworks.remove(&framework);
            self.delete_framework(id, &framework);
        }
        self.outputs.push_back(Output::ToNode(id, ToNode::Forget { task: handle }));
        self.outputs.push_back(Output::Write(Write::Delete(Table::Task, task_key(id, handle))));
    }
}
