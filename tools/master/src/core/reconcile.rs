//! What frameworks are told of tasks when they ask (src/master/master.cpp `reconcile`). An answer says what the framework
//! has been told already or could have been, never more; there is none while an agent that may know has yet to come back.

use super::MasterCore;
use crate::state::Framework;
use mesos_proto::mesos::{SlaveId, Task, TaskState, TaskStatus, framework_info, task_status};
use mesos_proto::v1::scheduler::call;

impl MasterCore {
    /// Answers for each task that is asked for, or for all that the framework has if none is.
    pub(super) fn reconcile(&mut self, framework: &str, reconcile: call::Reconcile) {
        let Some(owner) = self.frameworks.get(framework) else { return };
        let answers: Vec<_> = if reconcile.tasks.is_empty() {
            owner.tasks.values().map(|record| self.latest(&record.task)).collect()
        } else {
            let asked = reconcile.tasks.iter().map(|task| {
                let agent = task.agent_id.as_ref().map(|id| id.value.as_str());
                self.known_of(owner, &task.task_id.value, agent)
            });
            asked.flatten().collect()
        };
        answers.iter().for_each(|status| {
            self.update_event(framework, status);
        });
    }

    /// Answers for one task.
    pub(super) fn reconcile_one(&mut self, framework: &str, task: &str, agent: Option<&str>) {
        let answer = self.frameworks.get(framework).and_then(|owner| self.known_of(owner, task, agent));
        if let Some(status) = answer {
            self.update_event(framework, &status);
        }
    }

    /// As far as the framework has been told, not as far as the task is: the updates follow.
    fn latest(&self, task: &Task) -> TaskStatus {
        let told = task.status_update_state.and_then(|state| TaskState::try_from(state).ok());
        let state = told.unwrap_or(task.state());
        let agent = Some(task.slave_id.value.as_str());
        let last = task.statuses.last();
        TaskStatus {
            reason: Some(task_status::Reason::Reconciliation as i32),
            executor_id: task.executor_id.clone(),
            healthy: last.and_then(|status| status.healthy),
            check_status: last.and_then(|status| status.check_status),
            container_status: last.and_then(|status| status.container_status.clone()),
            ..self.master_status(&task.task_id.value, state, agent, "Reconciliation: Latest task state")
        }
    }

    /// None while somebody who may know has yet to come back.
    fn known_of(&self, owner: &Framework, task: &str, agent: Option<&str>) -> Option<TaskStatus> {
        if let Some(record) = owner.tasks.get(task) {
            return Some(self.latest(&record.task));
        }
        let agent = agent.or(owner.unreachable.get(task).map(|task| task.slave_id.value.as_str()));
        if agent.map_or(!self.recovered.is_empty(), |agent| self.recovered.contains_key(agent)) {
            return None;
        }
        let (state, why) = match agent {
            Some(agent) if self.agents.contains_key(agent) => {
                (TaskState::TaskGone, "Reconciliation: Task is unknown to the agent")
            }
            Some(agent) if self.unreachable.contains(agent) => {
                (TaskState::TaskUnreachable, "Reconciliation: Task is unreachable")
            }
            Some(agent) if self.gone.contains(agent) => {
                (TaskState::TaskGoneByOperator, "Reconciliation: Task is gone")
            }
            _ => (TaskState::TaskUnknown, "Reconciliation: Task is unknown"),
        };
        let aware = owner.has(framework_info::capability::Type::PartitionAware);
        let state = if aware { state } else { TaskState::TaskLost };
        let since_ms = agent.and_then(|agent| self.unreachable.since(agent));
        Some(TaskStatus {
            reason: Some(task_status::Reason::Reconciliation as i32),
            slave_id: agent.map(|agent| SlaveId { value: agent.to_owned() }),
            unreachable_time: since_ms.map(super::loss::time),
            ..self.master_status(task, state, agent, why)
        })
    }
}
