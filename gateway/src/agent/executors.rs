//! Executors as the master sees them. On a node nothing runs but tasks, so an executor is a book entry: it is there
//! from its first task until its last one has ended, and then the master hears that it has exited.
//!
//! Command tasks have one of their own making, which is never spoken of (src/slave/slave.cpp,
//! `isGeneratedForCommandTask`).

use super::task::Style;
use super::{Agent, Agents, Output, Said, bytes_of};
use crate::bridge::NodeId;
use crate::store::{Table, Write};
use mesos_proto::internal;
use mesos_proto::mesos::task_status::{Reason, Source};
use mesos_proto::mesos::{self, TaskState};
use node_proto::TaskHandle;
use prost::Message;

/// How long an executor that is shut down has, unless it says otherwise (src/slave/flags.cpp,
/// `executor_shutdown_grace_period`).
const SHUTDOWN_GRACE_MS: u64 = 5_000;
/// Of it, what is kept for the answer: an executor stops its tasks a little before it is stopped itself.
const ANSWER_MS: u64 = 1_000;
/// The longest such time that is believed: a day.
const SHUTDOWN_GRACE_MAX_MS: u64 = 86_400_000;

/// Who an executor is: framework and executor id.
pub(super) type ExecutorKey = (String, String);

fn store_key(id: NodeId, key: &ExecutorKey) -> Vec<u8> {
    [&id.0[..], &bytes_of(key)].concat()
}

pub(super) fn read_key(rest: &[u8]) -> Option<ExecutorKey> {
    postcard::from_bytes(rest).ok()
}

impl Agent {
    /// As a re-registration states them: each with its framework, its resources allocated.
    pub(super) fn executor_infos(&self) -> Vec<mesos::ExecutorInfo> {
        let info = |((framework, _), encoded): (&ExecutorKey, &Vec<u8>)| {
            let mut info = mesos::ExecutorInfo::decode(encoded.as_slice()).ok()?;
            info.framework_id = Some(mesos::FrameworkId { value: framework.clone() });
            info.resources = self.allocated(framework, info.resources);
            Some(info)
        };
        self.executors.iter().filter_map(info).collect()
    }

    /// Tasks of an executor that have not ended.
    pub(super) fn tasks_of(&self, framework: &str, executor: &str) -> Vec<TaskHandle> {
        let of = self.tasks.iter().filter(|(_, task)| {
            task.framework_id() == framework && task.executor_id() == executor && !task.has_ended()
        });
        of.map(|(handle, _)| *handle).collect()
    }
}

impl Agents {
    pub(super) fn add_executor(&mut self, id: NodeId, framework: &str, info: &mesos::ExecutorInfo) {
        let key = (framework.to_owned(), info.executor_id.value.clone());
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if agent.executors.contains_key(&key) {
            return;
        }
        let encoded = info.encode_to_vec();
        self.outputs.push_back(Output::Write(Write::Put(
            Table::Executor,
            store_key(id, &key),
            encoded.clone(),
        )));
        agent.executors.insert(key, encoded);
    }

    /// Lets an executor go whose last task has ended.
    pub(super) fn executor_idle(&mut self, id: NodeId, framework: &str, executor: &str, status: i32) {
        let key = (framework.to_owned(), executor.to_owned());
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if !agent.tasks_of(framework, executor).is_empty() {
            return;
        }
        agent.stopping.remove(&key);
        if agent.executors.remove(&key).is_some() {
            self.outputs.push_back(Output::Write(Write::Delete(Table::Executor, store_key(id, &key))));
            self.exited_executor(id, framework, executor, status);
        }
    }

    /// Tells the master that an executor is gone, or was never there. Not reliable, as with a real agent.
    pub(super) fn exited_executor(&mut self, id: NodeId, framework: &str, executor: &str, status: i32) {
        let Some(slave_id) = self.nodes.get(&id).and_then(|agent| agent.record.slave_id.clone()) else {
            return;
        };
        let message = internal::ExitedExecutorMessage {
            slave_id: mesos::SlaveId { value: slave_id },
            framework_id: mesos::FrameworkId { value: framework.to_owned() },
            executor_id: mesos::ExecutorId { value: executor.to_owned() },
            status,
        };
        self.send(id, &message);
    }

    pub(super) fn shutdown_executor(
        &mut self,
        id: NodeId,
        message: &internal::ShutdownExecutorMessage,
        now_ms: u64,
    ) {
        let (Some(framework), Some(executor)) = (&message.framework_id, &message.executor_id) else { return };
        let key = (framework.value.clone(), executor.value.clone());
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let tasks = agent.tasks_of(&key.0, &key.1);
        if tasks.is_empty() || agent.stopping.contains_key(&key) {
            return;
        }
        let own = agent
            .executors
            .get(&key)
            .and_then(|info| mesos::ExecutorInfo::decode(info.as_slice()).ok()?.shutdown_grace_period);
        let grace_ms = own.map_or(SHUTDOWN_GRACE_MS, |grace| {
            u64::try_from(grace.nanoseconds / 1_000_000).unwrap_or(0).min(SHUTDOWN_GRACE_MAX_MS)
        });
        agent.stopping.insert(key, now_ms + grace_ms);
        for task in tasks {
            self.stop_task(id, task, grace_ms.saturating_sub(ANSWER_MS), now_ms);
        }
    }

    /// Ends what did not end by itself in the grace of its executor's shutdown.
    pub(super) fn shutdowns_due(&mut self, id: NodeId, now_ms: u64) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let due = agent.stopping.iter().filter(|(_, at)| **at <= now_ms);
        let due: Vec<ExecutorKey> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            let Some(agent) = self.nodes.get_mut(&id) else { return };
            agent.stopping.remove(&key);
            for task in agent.tasks_of(&key.0, &key.1) {
                let said = Said::by(Source::Slave, Reason::ExecutorTerminated, "executor was shut down");
                self.update(id, task, TaskState::TaskFailed, said, now_ms);
            }
        }
    }

    /// What follows from the end of a task: the rest of its group is stopped if it did not go well (src/launcher/
    /// default_executor.cpp, `waited`), and an executor without tasks is gone.
    pub(super) fn after_end(&mut self, id: NodeId, handle: TaskHandle, now_ms: u64) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let Some(task) = agent.tasks.get(&handle) else { return };
        let (framework, executor) = (task.framework_id().to_owned(), task.executor_id().to_owned());
        let went_well = task.state() == TaskState::TaskFinished;
        if let (Style::Group(_), false) = (task.record.style, went_well) {
            let style = task.record.style;
            let group = agent.tasks.iter().filter(|(_, other)| {
                other.record.style == style && other.framework_id() == framework && !other.has_ended()
            });
            let rest: Vec<TaskHandle> =
                group.filter(|(_, other)| !other.progress.killing).map(|(handle, _)| *handle).collect();
            for other in rest {
                let grace_ms = self.grace_of(id, other, None);
                self.stop_task(id, other, grace_ms, now_ms);
            }
        }
        self.executor_idle(id, &framework, &executor, 0);
        if let Some(agent) = self.nodes.get_mut(&id)
            && agent.tasks_of(&framework, &executor).is_empty()
        {
            agent.stopping.remove(&(framework, executor));
        }
    }
}
