//! What a node says of its tasks, in Mesos' words: states, sources and reasons as a real agent and its command
//! executor set them (src/launcher/executor.cpp; src/slave/slave.cpp).

use super::task::Phase;
use super::{Agents, Said};
use crate::bridge::NodeId;
use mesos_proto::mesos::task_status::{Reason, Source};
use mesos_proto::mesos::{self, TaskState};
use node_proto::{Failure, State, TaskHandle};

impl Agents {
    pub(super) fn node_status(
        &mut self,
        id: NodeId,
        handle: TaskHandle,
        state: State,
        note: &str,
        now_ms: u64,
    ) {
        let text = |default: &str| if note.is_empty() { default.to_owned() } else { note.to_owned() };
        let executor = |state, message: String| (state, Said::by(Source::Executor, None, message));
        let (state, said) = match state {
            State::Starting => executor(TaskState::TaskStarting, note.to_owned()),
            State::Running => executor(TaskState::TaskRunning, note.to_owned()),
            State::Exited(0) => executor(TaskState::TaskFinished, text("exited with status 0")),
            State::Exited(code) => {
                executor(TaskState::TaskFailed, text(&format!("exited with status {code}")))
            }
            State::Killed => executor(TaskState::TaskKilled, text("killed on request")),
            State::Health(healthy) => return self.health_changed(id, handle, healthy, now_ms),
            State::Checked(value) => return self.check_changed(id, handle, value, now_ms),
            State::Failed(failure) => self.failed(id, handle, failure, text),
        };
        self.update(id, handle, state, said, now_ms);
        if state == TaskState::TaskRunning {
            self.lease_checks(id, now_ms);
        }
    }

    fn failed(
        &mut self,
        id: NodeId,
        handle: TaskHandle,
        failure: Failure,
        text: impl Fn(&str) -> String,
    ) -> (TaskState, Said) {
        let (reason, default) = match failure {
            Failure::Trap => {
                return (TaskState::TaskFailed, Said::by(Source::Executor, None, text("trapped")));
            }
            Failure::Timeout => {
                let said = text("ran for longer than it may");
                let said = Said::by(Source::Executor, Reason::MaxCompletionTimeReached, said);
                return (TaskState::TaskFailed, said);
            }
            Failure::Unhealthy => {
                // A real executor kills what is not well, and says so by `healthy` alone.
                if let Some(task) = self.nodes.get_mut(&id).and_then(|agent| agent.tasks.get_mut(&handle)) {
                    task.progress.healthy = Some(false);
                }
                let said = Said::by(Source::Executor, None, text("its health check failed"));
                return (TaskState::TaskKilled, said);
            }
            Failure::Memory => {
                let reason = Reason::ContainerLimitationMemory;
                let mut said = Said::by(Source::Slave, reason, text("took more memory than granted"));
                said.limitation = self.memory_of(id, handle);
                return (TaskState::TaskFailed, said);
            }
            Failure::Restarted => (Reason::ExecutorTerminated, "the node restarted"),
            Failure::Digest => (Reason::ContainerLaunchFailed, "image has a wrong digest"),
            Failure::Image => (Reason::ContainerLaunchFailed, "image is not valid"),
            Failure::Capability => (Reason::ContainerLaunchFailed, "capability not granted"),
            Failure::Resources => (Reason::ContainerLaunchFailed, "node has too little left"),
            Failure::Fetch => (Reason::ContainerLaunchFailed, "image cannot be fetched"),
            Failure::Unsupported => (Reason::ContainerLaunchFailed, "kind not supported"),
            Failure::Storage => (Reason::ContainerLaunchFailed, "node's storage failed"),
            Failure::Signature => (
                Reason::ContainerLaunchFailed,
                "image is not signed for this node by a publisher that it trusts",
            ),
            Failure::Rollback => (Reason::ContainerLaunchFailed, "the node has run a newer release"),
        };
        (TaskState::TaskFailed, Said::by(Source::Slave, reason, text(default)))
    }

    fn memory_of(&self, id: NodeId, handle: TaskHandle) -> Option<mesos::TaskResourceLimitation> {
        let info = self.nodes.get(&id)?.tasks.get(&handle)?.info()?;
        let resources = info.resources.into_iter().filter(|resource| resource.name == "mem").collect();
        Some(mesos::TaskResourceLimitation { resources })
    }

    /// The node lost its storage: what it had started is gone.
    pub(super) fn node_forgot(&mut self, id: NodeId, now_ms: u64) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let started = agent.tasks.iter().filter(|(_, task)| {
            task.progress.phase == Phase::Delivered && task.state() != TaskState::TaskStaging
        });
        let started: Vec<TaskHandle> = started.map(|(handle, _)| *handle).collect();
        for handle in started {
            let said = Said::by(Source::Slave, Reason::ExecutorTerminated, "the node lost its storage");
            self.update(id, handle, TaskState::TaskFailed, said, now_ms);
        }
    }
}
