//! What the master orders: launches, kills, shutdowns, drains. What a node says comes in `reports`.

use super::launch::{self, Plan};
use super::task::{Phase, Progress, Style, TaskRecord};
use super::{Agents, Drain, FrameworkRecord, Image, Notice, Output, Said};
use crate::bridge::{NodeId, ToNode};
use mesos_proto::internal;
use mesos_proto::mesos::framework_info::capability::Type as FrameworkCan;
use mesos_proto::mesos::task_status::{Reason, Source};
use mesos_proto::mesos::{self, TaskInfo, TaskState};
use node_proto::TaskHandle;
use prost::Message;

/// How long a task may still run after a kill, unless somebody says otherwise (src/launcher/executor.cpp).
const GRACE_MS: u64 = 3_000;

/// A launch as it was asked for: one task, or a group.
struct Launch {
    framework: mesos::FrameworkInfo,
    tasks: Vec<TaskInfo>,
    executor: Option<mesos::ExecutorInfo>,
    group: bool,
    /// What the master believes of the executor: to be started, or there already.
    starts_executor: Option<bool>,
}

/// Why a launch came to nothing before it was tried.
struct Refusal(Reason, &'static str);

impl Agents {
    pub(super) fn run_task(&mut self, id: NodeId, message: internal::RunTaskMessage, now_ms: u64) {
        let Some(framework) = message.framework.id.clone() else { return };
        if !self.is_for(id, std::slice::from_ref(&message.task)) {
            return;
        }
        self.know_framework(id, &framework.value, &message.framework, message.pid);
        let executor = message.task.executor.clone();
        self.launch(
            id,
            Launch {
                framework: message.framework,
                tasks: vec![message.task],
                executor,
                group: false,
                starts_executor: message.launch_executor,
            },
            now_ms,
        );
    }

    pub(super) fn run_task_group(&mut self, id: NodeId, message: internal::RunTaskGroupMessage, now_ms: u64) {
        let Some(framework) = message.framework.id.clone() else { return };
        let tasks = message.task_group.tasks;
        if tasks.is_empty() || !self.is_for(id, &tasks) {
            return;
        }
        self.know_framework(id, &framework.value, &message.framework, None);
        self.launch(
            id,
            Launch {
                framework: message.framework,
                tasks,
                executor: Some(message.executor),
                group: true,
                starts_executor: message.launch_executor,
            },
            now_ms,
        );
    }

    /// True if all tasks are meant for this agent as the master knows it now.
    fn is_for(&mut self, id: NodeId, tasks: &[TaskInfo]) -> bool {
        let Some(agent) = self.nodes.get(&id) else { return false };
        let other = tasks.iter().find(|task| agent.record.slave_id.as_deref() != Some(&*task.slave_id.value));
        if let Some(task) = other {
            tracing::warn!(node = %id, slave = task.slave_id.value, "task for another agent id; ignored");
            self.counters.wrong_agent += 1;
        }
        other.is_none()
    }

    fn launch(&mut self, id: NodeId, mut launch: Launch, now_ms: u64) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let Some(framework) = launch.framework.id.clone().map(|id| id.value) else { return };
        if let Some(known) =
            launch.tasks.iter().find(|task| agent.find(&framework, &task.task_id.value).is_some())
        {
            tracing::warn!(node = %id, task_id = known.task_id.value, "this task is here already; ignored");
            return;
        }
        for task in &mut launch.tasks {
            task.resources = agent.allocated(&framework, std::mem::take(&mut task.resources));
        }
        if let Err(Refusal(reason, why)) = self.admissible(id, &framework, &launch) {
            for task in &launch.tasks {
                let executor =
                    launch.executor.as_ref().map_or(&task.task_id.value, |held| &held.executor_id.value);
                let said = Said::by(Source::Slave, reason, why);
                self.report_unknown(id, &framework, (&task.task_id.value, executor), said, now_ms);
            }
            // The master has an executor in its books that was never started.
            if let (Some(executor), Some(true)) = (&launch.executor, launch.starts_executor) {
                self.exited_executor(id, &framework, &executor.executor_id.value, -1);
            }
            return;
        }
        if let Some(executor) = &launch.executor {
            self.add_executor(id, &framework, executor);
        }
        let style = match (&launch.executor, launch.group) {
            (None, _) => Style::Command,
            (Some(_), false) => Style::Custom,
            (Some(_), true) => Style::Group(self.next_random() as u32),
        };
        let mut refused = Vec::new();
        for task in &launch.tasks {
            let planned = launch::plan(task, launch.executor.as_ref(), launch.group);
            let executor =
                launch.executor.as_ref().map_or(&task.task_id.value, |held| &held.executor_id.value);
            let record = TaskRecord {
                framework_id: framework.clone(),
                task_id: task.task_id.value.clone(),
                executor_id: executor.clone(),
                style,
                uri: planned.as_ref().map(|plan| plan.uri.clone()).unwrap_or_default(),
                info: task.encode_to_vec(),
            };
            let phase = if planned.is_ok() { Phase::Fetching } else { Phase::Delivered };
            let added = self.add_task(id, record, Progress::new(phase), now_ms);
            match (added, planned) {
                (Some(_), Ok(plan)) => self.outputs.push_back(Output::Fetch(plan.uri)),
                (Some(task), Err(why)) => refused.push((task, why)),
                (None, _) => {}
            }
        }
        // After all are there: the end of one is the end of its group.
        for (task, why) in refused {
            let said = Said::by(Source::Slave, Reason::ContainerLaunchFailed, why);
            self.update(id, task, TaskState::TaskFailed, said, now_ms);
        }
    }

    /// What a real agent looks at before it launches (src/slave/slave.cpp, `__run`).
    fn admissible(&self, id: NodeId, framework: &str, launch: &Launch) -> Result<(), Refusal> {
        let Some(agent) = self.nodes.get(&id) else { return Ok(()) };
        if agent.record.drain.is_some() {
            return Err(Refusal(Reason::SlaveDraining, "the agent is draining"));
        }
        let executor = launch.executor.iter().flat_map(|executor| &executor.resources);
        let mut wanted = launch.tasks.iter().flat_map(|task| &task.resources).chain(executor);
        if wanted.any(|resource| resource.disk.is_some() || !agent.reserved.contains(resource)) {
            return Err(Refusal(Reason::ResourcesUnknown, "a reservation or volume is unknown to the agent"));
        }
        let Some(executor) = &launch.executor else { return Ok(()) };
        let there = agent.executors.contains_key(&(framework.to_owned(), executor.executor_id.value.clone()));
        let stopping =
            agent.stopping.contains_key(&(framework.to_owned(), executor.executor_id.value.clone()));
        match (launch.starts_executor, there) {
            (Some(true), true) => {
                Err(Refusal(Reason::ExecutorTerminated, "an executor of this id is there already"))
            }
            (Some(false), false) => {
                Err(Refusal(Reason::ExecutorTerminated, "the executor is gone and none is to be started"))
            }
            _ if stopping => Err(Refusal(Reason::ExecutorTerminated, "the executor is being shut down")),
            _ => Ok(()),
        }
    }

    /// The answer to [`Output::Fetch`].
    pub fn image(&mut self, uri: &str, image: Result<Image, String>, now_ms: u64) {
        for (id, handle) in self.waiting.remove(uri).unwrap_or_default() {
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

    fn plan_again(&self, id: NodeId, handle: TaskHandle) -> Result<Plan, String> {
        let damaged = || "the task's record is damaged".to_owned();
        let agent = self.nodes.get(&id).ok_or_else(damaged)?;
        let task = agent.tasks.get(&handle).ok_or_else(damaged)?;
        let key = (task.framework_id().to_owned(), task.executor_id().to_owned());
        let executor = agent.executors.get(&key);
        let executor = executor.and_then(|info| mesos::ExecutorInfo::decode(info.as_slice()).ok());
        let group = matches!(task.record.style, Style::Group(_));
        launch::plan(&task.info().ok_or_else(damaged)?, executor.as_ref(), group)
    }

    /// The role that a task's resources were allocated to.
    fn role_of(&self, id: NodeId, handle: TaskHandle) -> String {
        let allocated = || {
            let agent = self.nodes.get(&id)?;
            let task = agent.tasks.get(&handle)?;
            let resources = agent.allocated(task.framework_id(), task.info()?.resources);
            resources.into_iter().find_map(|resource| resource.allocation_info?.role)
        };
        allocated().unwrap_or_else(|| "*".into())
    }

    fn deliver(&mut self, id: NodeId, handle: TaskHandle, image: &Image, now_ms: u64) {
        let planned = self.plan_again(id, handle).and_then(|plan| {
            let manifest = plan.manifest.as_deref().or(image.manifest.as_deref());
            let trusted = self.config.trust.check(image, manifest, &self.role_of(id, handle)).map(drop);
            if let Err(why) = trusted {
                self.counters.images_refused += 1;
                self.notices.add(Notice::ImageRefused { node: id, why: why.clone() });
                return Err(why);
            }
            Ok((plan.document(manifest)?, plan))
        });
        let (document, plan) = match planned {
            Ok(planned) => planned,
            Err(why) => {
                let said = Said::by(Source::Slave, Reason::ContainerLaunchFailed, why);
                return self.update(id, handle, TaskState::TaskFailed, said, now_ms);
            }
        };
        let Some(task) = self.nodes.get_mut(&id).and_then(|agent| agent.tasks.get_mut(&handle)) else {
            return;
        };
        task.progress.phase = Phase::Delivered;
        task.progress.image = Some(image.handle);
        task.progress.image_len = image.len;
        task.progress.document_len = document.len() as u16;
        let order = ToNode::Launch {
            task: handle,
            image: image.handle,
            image_len: image.len,
            digest: image.digest,
            kind: image.kind,
            document,
            cpu_permille: plan.cpu_permille,
            mem_bytes: plan.mem_bytes,
            leds: plan.leds,
            capabilities: plan.capabilities,
            max_run_s: plan.max_run_s,
            resume: plan.resume,
        };
        self.outputs.push_back(Output::ToNode(id, order));
        self.save_progress(id, handle);
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
        if !agent.frameworks.contains_key(framework) {
            self.counters.unknown_framework += 1;
            return;
        }
        let Some(handle) = agent.find(framework, task_id) else {
            let said = Said::by(Source::Slave, Reason::ExecutorTerminated, "no such task on this agent");
            return self.report_unknown(id, framework, (task_id, task_id), said, now_ms);
        };
        let grace_ms = self.grace_of(id, handle, message.kill_policy.as_ref());
        // Of a group that has not reached the node nothing does (`killPendingTask`).
        let group: Vec<TaskHandle> = match agent.tasks.get(&handle).map(|task| (task.record.style, task)) {
            Some((style @ Style::Group(_), task)) if task.progress.phase == Phase::Fetching => {
                let of = agent.tasks.iter().filter(|(_, other)| {
                    other.record.style == style && other.framework_id() == framework && !other.has_ended()
                });
                of.map(|(handle, _)| *handle).collect()
            }
            _ => vec![handle],
        };
        for handle in group {
            self.stop_task(id, handle, grace_ms, now_ms);
        }
    }

    /// The grace of a kill: what the kill says, or the task, or [`GRACE_MS`].
    pub(super) fn grace_of(&self, id: NodeId, handle: TaskHandle, said: Option<&mesos::KillPolicy>) -> u64 {
        let millis = |policy: &mesos::KillPolicy| {
            policy.grace_period.map(|grace| u64::try_from(grace.nanoseconds / 1_000_000).unwrap_or(0))
        };
        let own = || {
            let info = self.nodes.get(&id)?.tasks.get(&handle)?.info()?;
            millis(info.kill_policy.as_ref()?)
        };
        said.and_then(millis).or_else(own).unwrap_or(GRACE_MS)
    }

    /// Stops a task where it is: before the node has heard of it at once, after that by an order.
    pub(super) fn stop_task(&mut self, id: NodeId, handle: TaskHandle, grace_ms: u64, now_ms: u64) {
        let Some(task) = self.nodes.get_mut(&id).and_then(|agent| agent.tasks.get_mut(&handle)) else {
            return;
        };
        match task.progress.phase {
            Phase::Fetching => {
                let said = Said::by(
                    Source::Slave,
                    Reason::TaskKilledDuringLaunch,
                    "killed before it reached the node",
                );
                self.update(id, handle, TaskState::TaskKilled, said, now_ms);
            }
            Phase::Delivered => {
                let grace_ms = u32::try_from(grace_ms).unwrap_or(u32::MAX);
                let first = !std::mem::replace(&mut task.progress.killing, true);
                let framework = task.framework_id().to_owned();
                self.outputs.push_back(Output::ToNode(id, ToNode::Kill { task: handle, grace_ms }));
                if first && self.framework_can(id, &framework, FrameworkCan::TaskKillingState) {
                    self.update(
                        id,
                        handle,
                        TaskState::TaskKilling,
                        Said::by(Source::Executor, None, ""),
                        now_ms,
                    );
                } else if first {
                    self.save_progress(id, handle);
                }
            }
            Phase::Ended => {}
        }
    }

    /// The framework is gone: its tasks end, and nobody is told.
    pub(super) fn shutdown_framework(&mut self, id: NodeId, framework: &str) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let gone = agent.tasks.iter().filter(|(_, task)| task.framework_id() == framework);
        let gone: Vec<TaskHandle> = gone.map(|(handle, _)| *handle).collect();
        for handle in gone {
            self.outputs
                .push_back(Output::ToNode(id, ToNode::Kill { task: handle, grace_ms: GRACE_MS as u32 }));
            self.drop_task(id, handle);
        }
        self.forget_framework(id, framework);
        self.drained(id);
    }

    /// Kills everything, with at most the grace that the operator gives; what comes later is refused until all is
    /// acknowledged.
    pub(super) fn drain(&mut self, id: NodeId, message: &internal::DrainSlaveMessage, now_ms: u64) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if agent.frameworks.is_empty() && agent.operations.is_empty() {
            return; // drained already
        }
        let most = message.config.max_grace_period.as_ref();
        let most = most.map(|grace| u64::try_from(grace.nanoseconds / 1_000_000).unwrap_or(0));
        agent.record.drain = Some(Drain { mark_gone: message.config.mark_gone.unwrap_or(false) });
        tracing::info!(node = %id, max_grace_ms = ?most, "draining");
        let tasks: Vec<TaskHandle> = agent.tasks.keys().copied().collect();
        self.save_agent(id);
        for task in tasks {
            let own = self.grace_of(id, task, None);
            self.stop_task(id, task, most.map_or(own, |most| own.min(most)), now_ms);
        }
    }

    /// A drain ends when nothing is left that somebody waits for.
    pub(super) fn drained(&mut self, id: NodeId) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if agent.record.drain.is_some() && agent.frameworks.is_empty() && agent.operations.is_empty() {
            tracing::info!(node = %id, "drained");
            agent.record.drain = None;
            self.save_agent(id);
        }
    }

    /// Tasks that the master knows and this agent does not (src/slave/slave.cpp, `reregistered`).
    pub(super) fn reconcile(&mut self, id: NodeId, message: &internal::ReconcileTasksMessage, now_ms: u64) {
        let framework = message.framework_id.value.clone();
        if let Some(info) = &message.framework {
            self.know_framework(id, &framework, info, None);
        }
        for status in message.statuses.iter().take(super::streams::TASKS_MAX) {
            let task_id = &status.task_id.value;
            if self.nodes.get(&id).is_some_and(|agent| agent.find(&framework, task_id).is_none()) {
                let said = Said::by(Source::Slave, Reason::Reconciliation, "unknown to the agent");
                let executor = status.executor_id.as_ref().map_or(task_id, |executor| &executor.value);
                self.report_unknown(id, &framework, (task_id, executor), said, now_ms);
            }
        }
    }

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
}
