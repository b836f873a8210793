//! Agents that go, and what frameworks hear of it (src/master/master.cpp, `markUnreachable`, `markGone`,
//! `__removeSlave`). That one is unreachable or gone is kept before anybody hears of it.

use super::MasterCore;
use crate::limits::MAX_TASKS_PER_FRAMEWORK;
use crate::state::is_terminal;
use mesos_proto::internal::ShutdownMessage;
use mesos_proto::mesos::{
    OperationState, SlaveId, TaskId, TaskState, TaskStatus, TimeInfo, framework_info, task_status,
};
use mesos_proto::v1::scheduler::{Event, event};

/// What is said to and of agents that are marked gone.
pub(super) const MARKED_GONE: &str = "Agent has been marked gone";

/// Why an agent goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It does not answer and may come back.
    Unreachable,
    /// It said goodbye, or another took its place.
    Removed,
    /// Its machine is down for maintenance.
    Down,
    /// The operator says that it will never be back.
    Gone,
}

impl MasterCore {
    /// Removes an agent and tells everybody concerned.
    pub(super) fn remove_agent(&mut self, id: &str, loss: Loss) {
        if !self.agents.contains_key(id) {
            return;
        }
        self.rescind_agent(id);
        use task_status::Reason;
        let (state, reason, why) = match loss {
            Loss::Unreachable => {
                let why = "Agent did not answer the master's pings";
                (TaskState::TaskUnreachable, Reason::SlaveRemoved, why)
            }
            Loss::Removed => (TaskState::TaskGone, Reason::SlaveRemoved, "Agent was removed"),
            Loss::Down => (TaskState::TaskGone, Reason::SlaveRemoved, super::maintenance::MACHINE_DOWN),
            Loss::Gone => (TaskState::TaskGoneByOperator, Reason::SlaveRemovedByOperator, MARKED_GONE),
        };
        self.lose_tasks(id, None, state, reason, why);
        let executors: Vec<_> =
            self.agents.get(id).into_iter().flat_map(|agent| agent.executors.keys().cloned()).collect();
        for key in executors {
            self.drop_executor(id, &key);
        }
        let (state, why) = match loss {
            Loss::Unreachable => (OperationState::OperationUnreachable, "Agent is unreachable"),
            Loss::Removed | Loss::Down => (OperationState::OperationUnknown, "Agent was removed"),
            Loss::Gone => (OperationState::OperationGoneByOperator, MARKED_GONE),
        };
        self.lose_operations(id, state, why);
        let Some(agent) = self.agents.remove(id) else { return };
        self.by_observer.remove(&agent.observer);
        self.unindex(id, &agent.pid);
        self.allocator.remove_agent(id);
        self.dirty.remove(id);
        self.forget_inverse_agent(id);
        self.watch_agent_removed(id);
        self.count("slave_removals");
        match loss {
            Loss::Unreachable => {
                self.count("slave_unreachable_completed");
                self.count("slave_removals/reason_unhealthy");
                self.keep_unreachable(id);
            }
            Loss::Removed | Loss::Down => self.forget_agent(id),
            Loss::Gone => self.keep_gone(id),
        }
        self.tell_agent_lost(id);
    }

    /// Frameworks hear that an agent is lost.
    pub(super) fn tell_agent_lost(&mut self, id: &str) {
        let failure = event::Failure {
            agent_id: Some(mesos_proto::v1::AgentId { value: id.to_owned() }),
            ..Default::default()
        };
        let event =
            Event { r#type: Some(event::Type::Failure as i32), failure: Some(failure), ..Default::default() };
        let frameworks: Vec<_> = self.frameworks.keys().cloned().collect();
        for framework in frameworks {
            self.event(&framework, event.clone());
        }
    }

    /// An agent never comes back: its id is refused from now on. False if there is no such agent.
    pub(crate) fn mark_gone(&mut self, id: &str) -> bool {
        if self.gone.contains(id) {
            return true;
        }
        if let Some(agent) = self.agents.get(id) {
            tracing::warn!(agent = id, "agent marked gone");
            let pid = agent.pid.clone();
            self.send(&pid, &ShutdownMessage { message: Some(MARKED_GONE.into()) });
            self.remove_agent(id, Loss::Gone);
            return true;
        }
        if self.recovered.remove(id).is_none() && !self.unreachable.contains(id) {
            return false;
        }
        tracing::warn!(agent = id, "absent agent marked gone");
        self.keep_gone(id);
        let tasks: Vec<_> = self
            .frameworks
            .iter()
            .flat_map(|(framework, record)| {
                let there = record.unreachable.iter().filter(|(_, task)| task.slave_id.value == id);
                there.map(move |(task, _)| (framework.clone(), task.clone()))
            })
            .collect();
        for (framework_id, task) in tasks {
            // Only frameworks that know partitions have tasks there; for the others they were lost for good.
            let mut status = self.master_status(&task, TaskState::TaskGoneByOperator, Some(id), MARKED_GONE);
            status.reason = Some(task_status::Reason::SlaveRemovedByOperator as i32);
            if let Some(framework) = self.frameworks.get_mut(&framework_id)
                && let Some(mut lost) = framework.unreachable.remove(&task)
            {
                lost.state = status.state;
                lost.statuses.push(status.clone());
                framework.complete(lost);
            }
            self.watch_task_updated(&framework_id, &status, TaskState::TaskGoneByOperator);
            self.update_event(&framework_id, &status);
        }
        true
    }

    /// The tasks of an agent (of one framework there) are lost; frameworks that know partitions hear `aware`.
    pub(super) fn lose_tasks(
        &mut self,
        id: &str,
        only: Option<&str>,
        aware: TaskState,
        reason: task_status::Reason,
        why: &str,
    ) {
        let Some(agent) = self.agents.get(id) else { return };
        let tasks: Vec<_> = agent
            .tasks
            .iter()
            .filter(|(framework, _)| only.is_none_or(|only| only == framework))
            .cloned()
            .collect();
        let why = format!("{why}: {}", agent.info.hostname);
        for (framework_id, task_id) in tasks {
            let Some(record) = self.frameworks.get(&framework_id).and_then(|f| f.tasks.get(&task_id)) else {
                continue;
            };
            let over = is_terminal(record.task.state());
            let executor = record.task.executor_id.clone();
            let knows = self
                .frameworks
                .get(&framework_id)
                .is_some_and(|framework| framework.has(framework_info::capability::Type::PartitionAware));
            let (state, reason) = match reason {
                _ if knows => (aware, reason),
                task_status::Reason::SlaveRemovedByOperator => {
                    (TaskState::TaskLost, task_status::Reason::SlaveRemoved)
                }
                _ => (TaskState::TaskLost, reason),
            };
            if !over {
                let mut status = self.master_status(&task_id, state, Some(id), &why);
                status.reason = Some(reason as i32);
                status.executor_id = executor;
                if aware == TaskState::TaskUnreachable {
                    status.unreachable_time = Some(time(self.now_ms));
                }
                if let Some(record) =
                    self.frameworks.get_mut(&framework_id).and_then(|f| f.tasks.get_mut(&task_id))
                {
                    record.task.state = state as i32;
                    record.remember(&status);
                }
                self.watch_task_updated(&framework_id, &status, state);
                self.update_event(&framework_id, &status);
                self.count_end(state, &status);
            }
            let unfinished = self.remove_task(&framework_id, &task_id);
            if over
                && let Some(framework) = self.frameworks.get_mut(&framework_id)
                && let Some(done) = framework.completed.back_mut()
            {
                // Not acknowledged: it is taken over again if the agent comes back with it.
                done.status_update_uuid = None;
            }
            if let Some(task) = unfinished
                && state == TaskState::TaskUnreachable
                && let Some(framework) = self.frameworks.get_mut(&framework_id)
                && framework.unreachable.len() < MAX_TASKS_PER_FRAMEWORK
            {
                framework.unreachable.insert(task_id, task);
            }
        }
    }

    /// Gives back what an executor holds.
    pub(super) fn drop_executor(&mut self, id: &str, key: &(String, String)) -> bool {
        let Some(executor) = self.agents.get_mut(id).and_then(|agent| agent.executors.remove(key)) else {
            return false;
        };
        self.allocator.recover(&key.0, &executor.role, id, &executor.held);
        self.dirty.insert(id.to_owned());
        true
    }

    /// A status made by the master; it has no uuid and needs no acknowledgement.
    pub(super) fn master_status(
        &self,
        task: &str,
        state: TaskState,
        agent: Option<&str>,
        message: &str,
    ) -> TaskStatus {
        TaskStatus {
            task_id: TaskId { value: task.to_owned() },
            state: state as i32,
            message: Some(message.to_owned()),
            slave_id: agent.map(|agent| SlaveId { value: agent.to_owned() }),
            timestamp: Some(self.now_ms as f64 / 1000.0),
            source: Some(task_status::Source::Master as i32),
            ..Default::default()
        }
    }
}

/// A time in milliseconds since the epoch as messages have it.
pub(super) fn time(ms: u64) -> TimeInfo {
    TimeInfo { nanoseconds: i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000) }
}
