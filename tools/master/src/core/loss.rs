//! Agents that go: broken connections, unanswered pings, removal, and what frameworks hear of it
//! (src/master/master.cpp, `exited`, `SlaveObserver`, `__removeSlave`).

use super::{MasterCore, Timer};
use crate::limits::{AGENT_REREGISTER_TIMEOUT_MS, MAX_TASKS_PER_FRAMEWORK, MAX_UNREACHABLE};
use crate::state::is_terminal;
use libprocess::Upid;
use mesos_proto::internal::PingSlaveMessage;
use mesos_proto::mesos::{SlaveId, TaskId, TaskState, TaskStatus, framework_info, task_status};
use mesos_proto::v1::scheduler::{Event, event};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;

/// Why an agent goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It does not answer and may come back.
    Unreachable,
    /// It said goodbye, or another took its place.
    Removed,
}

impl MasterCore {
    pub(super) fn exited(&mut self, address: SocketAddrV4) {
        let ids: Vec<_> = self.by_address.get(&address).into_iter().flatten().cloned().collect();
        for id in ids {
            self.disconnect(&id);
        }
        self.drivers_exited(address);
    }

    fn disconnect(&mut self, id: &str) {
        let Some(agent) = self.agents.get_mut(id).filter(|agent| agent.connected) else { return };
        tracing::info!(agent = id, pid = %agent.pid, "agent disconnected");
        agent.connected = false;
        agent.disconnected_ms = self.now_ms;
        self.authenticated.remove(&agent.pid);
        let keeps = agent.info.checkpoint();
        let frameworks: BTreeSet<String> =
            agent.tasks.iter().map(|(framework, _)| framework.clone()).collect();
        self.count("slave_disconnections");
        self.allocator.set_agent_active(id, false);
        self.rescind_agent(id);
        for framework in frameworks {
            if !keeps || !self.frameworks.get(&framework).is_some_and(|f| f.info.checkpoint()) {
                let reason = task_status::Reason::SlaveDisconnected;
                let why = "Agent disconnected and the framework does not checkpoint";
                self.lose_tasks(id, Some(&framework), TaskState::TaskLost, reason, why);
            }
        }
    }

    pub(super) fn ping(&mut self, observer: u64) {
        // The timer of an agent that is gone finds nobody: observers are never numbered twice.
        let Some(id) = self.by_observer.get(&observer).cloned() else { return };
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if agent.awaiting_pong {
            agent.missed += 1;
        }
        let silent = agent.missed >= self.config.max_missed_pings;
        let away = !agent.connected && self.now_ms >= agent.disconnected_ms + AGENT_REREGISTER_TIMEOUT_MS;
        if silent || away {
            tracing::warn!(agent = id, "agent unreachable");
            return self.remove_agent(&id, Loss::Unreachable);
        }
        agent.awaiting_pong = true;
        let pid = agent.pid.clone();
        let message = PingSlaveMessage { connected: agent.connected };
        self.send_from(format!("slave-observer({observer})"), &pid, &message);
        self.timers.insert((self.now_ms + self.config.ping_interval_ms.max(1), Timer::Ping(observer)));
    }

    pub(super) fn pong(&mut self, observer: Option<u64>, from: &Upid) {
        let id = observer.and_then(|number| self.by_observer.get(&number));
        match id.and_then(|id| self.agents.get_mut(id)).filter(|agent| agent.pid == *from) {
            Some(agent) => {
                agent.missed = 0;
                agent.awaiting_pong = false;
            }
            None => self.count("messages_from_wrong_sender"),
        }
    }

    /// Removes an agent and tells everybody concerned.
    pub(super) fn remove_agent(&mut self, id: &str, loss: Loss) {
        if !self.agents.contains_key(id) {
            return;
        }
        self.rescind_agent(id);
        let (state, why) = match loss {
            Loss::Unreachable => (TaskState::TaskUnreachable, "Agent did not answer the master's pings"),
            Loss::Removed => (TaskState::TaskGone, "Agent was removed"),
        };
        self.lose_tasks(id, None, state, task_status::Reason::SlaveRemoved, why);
        let executors: Vec<_> =
            self.agents.get(id).into_iter().flat_map(|agent| agent.executors.keys().cloned()).collect();
        for key in executors {
            self.drop_executor(id, &key);
        }
        let Some(agent) = self.agents.remove(id) else { return };
        self.by_observer.remove(&agent.observer);
        self.unindex(id, &agent.pid);
        self.allocator.remove_agent(id);
        self.dirty.remove(id);
        self.watch_agent_removed(id);
        self.count(match loss {
            Loss::Unreachable => "slave_unreachable_completed",
            Loss::Removed => "slave_removals",
        });
        if loss == Loss::Unreachable {
            if self.unreachable.len() >= MAX_UNREACHABLE {
                self.unreachable.pop_first();
            }
            self.unreachable.insert(id.to_owned(), self.now_ms);
        }
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

    /// The tasks of an agent (of one framework there) are lost; frameworks that know partitions hear `aware`.
    fn lose_tasks(
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
            let state = if knows { aware } else { TaskState::TaskLost };
            if !over {
                let mut status = self.master_status(&task_id, state, Some(id), &why);
                status.reason = Some(reason as i32);
                status.executor_id = executor;
                if aware == TaskState::TaskUnreachable {
                    let nanoseconds = i64::try_from(self.now_ms).unwrap_or(0).saturating_mul(1_000_000);
                    status.unreachable_time = Some(mesos_proto::mesos::TimeInfo { nanoseconds });
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
            self.remove_task(&framework_id, &task_id);
            if over
                && let Some(framework) = self.frameworks.get_mut(&framework_id)
                && let Some(done) = framework.completed.back_mut()
            {
                // Not acknowledged: it is taken over again if the agent comes back with it.
                done.status_update_uuid = None;
            }
            if !over
                && state == TaskState::TaskUnreachable
                && let Some(framework) = self.frameworks.get_mut(&framework_id)
                && framework.unreachable.len() < MAX_TASKS_PER_FRAMEWORK
            {
                framework.unreachable.insert(task_id, id.to_owned());
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
