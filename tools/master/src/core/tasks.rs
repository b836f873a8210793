//! Tasks after their launch: status updates, acknowledgements, kills, executors' messages
//! (src/master/master.cpp `statusUpdate`, `acknowledge`, `kill`).

use super::MasterCore;
use crate::state::is_terminal;
use libprocess::Upid;
use mesos_proto::internal::{
    ExecutorToFrameworkMessage, ExitedExecutorMessage, FrameworkToExecutorMessage, KillTaskMessage,
    ShutdownExecutorMessage, StatusUpdateAcknowledgementMessage, StatusUpdateMessage,
};
use mesos_proto::mesos::{ExecutorId, FrameworkId, SlaveId, TaskId, TaskState, TaskStatus};
use mesos_proto::pool::Pool;
use mesos_proto::recast;
use mesos_proto::v1::scheduler::{Event, call, event};
use mesos_proto::v1::{self};

impl MasterCore {
    /// Sends an UPDATE event.
    pub(super) fn update_event(&mut self, framework: &str, status: &TaskStatus) -> bool {
        let Ok(status) = recast::<_, v1::TaskStatus>(status) else { return false };
        let event = Event {
            r#type: Some(event::Type::Update as i32),
            update: Some(event::Update { status }),
            ..Default::default()
        };
        self.event(framework, event)
    }

    /// Counts a task that ended, by what its status says of the end.
    pub(super) fn count_end(&mut self, state: TaskState, status: &TaskStatus) {
        if status.reason.is_some() {
            *self.ends.entry((state, status.source(), status.reason())).or_default() += 1;
        }
        self.count(match state {
            TaskState::TaskFinished => "tasks_finished",
            TaskState::TaskFailed => "tasks_failed",
            TaskState::TaskKilled => "tasks_killed",
            TaskState::TaskLost => "tasks_lost",
            TaskState::TaskError => "tasks_error",
            TaskState::TaskDropped => "tasks_dropped",
            TaskState::TaskGone => "tasks_gone",
            TaskState::TaskGoneByOperator => "tasks_gone_by_operator",
            TaskState::TaskUnreachable => "tasks_unreachable",
            _ => return,
        });
    }

    pub(super) fn status_update(&mut self, from: &Upid, message: StatusUpdateMessage) {
        let update = message.update;
        let framework_id = update.framework_id.value;
        let mut status = update.status;
        let agent_id =
            update.slave_id.or_else(|| status.slave_id.clone()).map(|id| id.value).unwrap_or_default();
        if self.agents.get(&agent_id).is_none_or(|agent| agent.pid != *from) {
            tracing::warn!(%from, agent = agent_id, "status update from nobody registered");
            return self.count("invalid_status_updates");
        }
        let Some(framework) = self.frameworks.get_mut(&framework_id) else {
            tracing::warn!(%from, framework = framework_id, "status update for an unknown framework");
            return self.count("invalid_status_updates");
        };
        // An empty uuid means that no acknowledgement is wanted.
        let uuid = update.uuid.filter(|uuid| !uuid.is_empty());
        status.uuid.clone_from(&uuid);
        status.slave_id = Some(SlaveId { value: agent_id.clone() });
        status.executor_id = status.executor_id.or(update.executor_id);
        status.timestamp = status.timestamp.or(Some(update.timestamp));
        let reported = status.state();
        let latest =
            update.latest_state.and_then(|state| TaskState::try_from(state).ok()).unwrap_or(reported);
        let task_id = status.task_id.value.clone();
        let mut ended = None;
        match framework.tasks.get_mut(&task_id).filter(|record| record.task.slave_id.value == agent_id) {
            Some(record) => {
                record.task.status_update_state = Some(reported as i32);
                record.task.status_update_uuid.clone_from(&uuid);
                // No way back from an end: an older update may arrive after a newer one's latest_state.
                if !is_terminal(record.task.state()) {
                    record.task.state = latest as i32;
                    if is_terminal(latest) {
                        let held = std::mem::take(&mut record.held);
                        ended = Some((record.role.clone(), held, latest));
                    }
                }
                let latest = record.task.state();
                if record.remember(&status) {
                    self.watch_task_updated(&framework_id, &status, latest);
                }
            }
            None => {
                tracing::warn!(task = task_id, framework = framework_id, "status update for an unknown task");
                self.count("status_updates_for_unknown_tasks");
            }
        }
        self.count("valid_status_updates");
        if !self.update_event(&framework_id, &status) {
            // The agent keeps it and sends it again.
            self.count("status_updates_undelivered");
        }
        if let Some((role, held, state)) = ended {
            self.release(&framework_id, &role, &agent_id, &held);
            self.count_end(state, &status);
        }
        if uuid.is_none() && is_terminal(latest) {
            // Nobody will acknowledge it.
            self.remove_task(&framework_id, &task_id);
        }
    }

    fn release(&mut self, framework: &str, role: &str, agent: &str, held: &Pool) {
        self.allocator.recover(framework, role, agent, held);
        self.dirty.insert(agent.to_owned());
    }

    pub(super) fn acknowledge(&mut self, framework: &str, ack: call::Acknowledge) {
        let (agent, task, uuid) = (ack.agent_id.value, ack.task_id.value, ack.uuid);
        let Some(pid) = self.connected(&agent) else {
            return self.count("invalid_status_update_acknowledgements");
        };
        let record = self.frameworks.get(framework).and_then(|framework| framework.tasks.get(&task));
        let record = record.filter(|record| record.task.slave_id.value == agent);
        if record.is_some_and(|record| record.task.status_update_state.is_none()) {
            // Of an update that this master has not passed on.
            return self.count("invalid_status_update_acknowledgements");
        }
        let over = record.is_some_and(|record| {
            record.task.status_update_uuid.as_ref() == Some(&uuid)
                && record
                    .task
                    .status_update_state
                    .and_then(|state| TaskState::try_from(state).ok())
                    .is_some_and(is_terminal)
        });
        let message = StatusUpdateAcknowledgementMessage {
            slave_id: SlaveId { value: agent },
            framework_id: FrameworkId { value: framework.to_owned() },
            task_id: TaskId { value: task.clone() },
            uuid,
        };
        self.send(&pid, &message);
        self.count("valid_status_update_acknowledgements");
        if over {
            self.remove_task(framework, &task);
        }
    }

    fn connected(&self, agent: &str) -> Option<Upid> {
        self.agents.get(agent).filter(|agent| agent.connected).map(|agent| agent.pid.clone())
    }

    pub(super) fn kill(&mut self, framework: &str, kill: call::Kill) {
        let task = kill.task_id.value;
        let record = self.frameworks.get_mut(framework).and_then(|framework| framework.tasks.get_mut(&task));
        let Some(record) = record else {
            // Unknown here: the framework learns what is known (M: `kill`).
            let agent = kill.agent_id.map(|id| id.value);
            return self.reconcile_one(framework, &task, agent.as_deref());
        };
        let agent = record.task.slave_id.value.clone();
        if kill.agent_id.is_some_and(|id| id.value != agent) {
            tracing::warn!(framework, task, "kill of a task of another agent, dropped");
            return self.count("kills_dropped");
        }
        let message = KillTaskMessage {
            framework_id: FrameworkId { value: framework.to_owned() },
            task_id: TaskId { value: task },
            kill_policy: kill.kill_policy.and_then(|policy| recast(&policy).ok()),
        };
        if self.agents.get(&agent).is_some_and(|agent| agent.connected) {
            let Some(pid) = self.connected(&agent) else { return };
            self.send(&pid, &message);
        } else {
            record.kill = Some(message);
        }
    }

    pub(super) fn shutdown_executor(&mut self, framework: &str, shutdown: call::Shutdown) {
        let Some(pid) = self.connected(&shutdown.agent_id.value) else { return };
        let message = ShutdownExecutorMessage {
            executor_id: Some(ExecutorId { value: shutdown.executor_id.value }),
            framework_id: Some(FrameworkId { value: framework.to_owned() }),
        };
        self.send(&pid, &message);
    }

    pub(super) fn message_to_executor(&mut self, framework: &str, message: call::Message) {
        let Some(pid) = self.connected(&message.agent_id.value) else {
            return self.count("invalid_framework_to_executor_messages");
        };
        let message = FrameworkToExecutorMessage {
            slave_id: SlaveId { value: message.agent_id.value },
            framework_id: FrameworkId { value: framework.to_owned() },
            executor_id: ExecutorId { value: message.executor_id.value },
            data: message.data,
        };
        self.send(&pid, &message);
    }

    pub(super) fn executor_message(&mut self, from: &Upid, message: ExecutorToFrameworkMessage) {
        if self.agents.get(&message.slave_id.value).is_none_or(|agent| agent.pid != *from) {
            return self.count("messages_from_wrong_sender");
        }
        let event = Event {
            r#type: Some(event::Type::Message as i32),
            message: Some(event::Message {
                agent_id: v1::AgentId { value: message.slave_id.value },
                executor_id: v1::ExecutorId { value: message.executor_id.value },
                data: message.data,
            }),
            ..Default::default()
        };
        if !self.event(&message.framework_id.value, event) {
            return self.count("invalid_executor_to_framework_messages");
        }
        self.count("valid_executor_to_framework_messages");
    }

    pub(super) fn exited_executor(&mut self, from: &Upid, message: ExitedExecutorMessage) {
        let agent = message.slave_id.value;
        if self.agents.get(&agent).is_none_or(|known| known.pid != *from) {
            return self.count("messages_from_wrong_sender");
        }
        let key = (message.framework_id.value.clone(), message.executor_id.value.clone());
        if !self.drop_executor(&agent, &key) {
            tracing::warn!(agent, executor = key.1, "an executor ended that was not known");
            return self.count("exited_executors_unknown");
        }
        let event = Event {
            r#type: Some(event::Type::Failure as i32),
            failure: Some(event::Failure {
                agent_id: Some(v1::AgentId { value: agent }),
                executor_id: Some(v1::ExecutorId { value: message.executor_id.value }),
                status: Some(message.status),
            }),
            ..Default::default()
        };
        self.event(&message.framework_id.value, event);
    }
}
