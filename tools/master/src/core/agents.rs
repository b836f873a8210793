//! Agents: registration, pings, loss (src/master/master.cpp, `registerSlave`, `reregisterSlave`, `SlaveObserver`).

use super::loss::Loss;
use super::{MasterCore, Output, Timer, valid_id};
use crate::allocator::Abilities;
use crate::limits::{MAX_AGENTS, MAX_TASKS_PER_FRAMEWORK};
use crate::state::{Agent, Executor, TaskRecord, is_terminal};
use libprocess::Upid;
use mesos_proto::internal::{
    MasterSlaveConnection, ReconcileTasksMessage, RegisterSlaveMessage, ReregisterSlaveMessage,
    ShutdownFrameworkMessage, ShutdownMessage, SlaveRegisteredMessage, SlaveReregisteredMessage,
    UnregisterSlaveMessage, UpdateFrameworkMessage, UpdateSlaveMessage,
};
use mesos_proto::mesos::{FrameworkId, SlaveId, SlaveInfo, Task, TaskStatus, slave_info, task_status};
use mesos_proto::pool::Pool;
use std::collections::{BTreeMap, BTreeSet};

impl MasterCore {
    fn connection(&self) -> Option<MasterSlaveConnection> {
        let total = self.config.ping_interval_ms.saturating_mul(u64::from(self.config.max_missed_pings));
        Some(MasterSlaveConnection { total_ping_timeout_seconds: Some(total as f64 / 1000.0) })
    }

    pub(super) fn register_agent(&mut self, from: Upid, message: RegisterSlaveMessage) {
        if !self.may_register(&from) {
            return self.refuse_agent(&from, "not authenticated");
        }
        let total = match acceptable(&message.slave, message.version.as_deref()) {
            Ok(total) => total,
            Err(why) => return self.refuse_agent(&from, &why),
        };
        if let Some(id) = self.by_pid.get(&from).cloned() {
            if self.agents.get(&id).is_some_and(|agent| agent.connected) {
                // The answer was lost: the same id again (M:6406).
                let answer =
                    SlaveRegisteredMessage { slave_id: SlaveId { value: id }, connection: self.connection() };
                return self.send(&from, &answer);
            }
            // A new agent where a lost one was.
            self.remove_agent(&id, Loss::Removed);
        }
        if self.agents.len() >= MAX_AGENTS {
            return self.refuse_agent(&from, "too many agents");
        }
        let id = self.new_agent_id();
        let capabilities = message.agent_capabilities;
        self.admit(id.clone(), from.clone(), message.slave, message.version, capabilities, total);
        tracing::info!(agent = id, pid = %from, "agent registered");
        self.count("slave_registrations");
        let answer =
            SlaveRegisteredMessage { slave_id: SlaveId { value: id }, connection: self.connection() };
        self.send(&from, &answer);
    }

    fn refuse_agent(&mut self, from: &Upid, why: &str) {
        // Mesos only logs and lets the agent try again; so do we.
        tracing::warn!(pid = %from, why, "agent refused");
        self.count("slave_registrations_refused");
    }

    fn admit(
        &mut self,
        id: String,
        pid: Upid,
        mut info: SlaveInfo,
        version: Option<String>,
        capabilities: Vec<slave_info::Capability>,
        total: Pool,
    ) {
        info.id = Some(SlaveId { value: id.clone() });
        self.unreachable.remove(&id);
        let observer = self.next_observer;
        self.next_observer += 1;
        let agent = Agent {
            info,
            pid: pid.clone(),
            version: version.unwrap_or_default(),
            capabilities: capabilities.into_iter().filter_map(|c| c.r#type).collect(),
            total,
            observer,
            connected: true,
            disconnected_ms: 0,
            registered_ms: self.now_ms,
            reregistered_ms: None,
            missed: 0,
            awaiting_pong: false,
            tasks: BTreeSet::new(),
            executors: BTreeMap::new(),
            offers: BTreeSet::new(),
        };
        self.allocator.add_agent(&id, agent.total.clone(), abilities(&agent));
        self.by_observer.insert(observer, id.clone());
        self.index(&id, &pid);
        self.timers.insert((self.now_ms + self.config.ping_interval_ms, Timer::Ping(observer)));
        self.agents.insert(id.clone(), agent);
        self.watch_agent_added(&id);
        self.dirty.insert(id);
    }

    pub(super) fn index(&mut self, id: &str, pid: &Upid) {
        self.by_pid.insert(pid.clone(), id.to_owned());
        self.by_address.entry(pid.addr).or_default().insert(id.to_owned());
        self.outputs.push(Output::Link(pid.addr));
    }

    pub(super) fn unindex(&mut self, id: &str, pid: &Upid) {
        if self.by_pid.get(pid).is_some_and(|known| known == id) {
            self.by_pid.remove(pid);
        }
        if let Some(ids) = self.by_address.get_mut(&pid.addr) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_address.remove(&pid.addr);
            }
        }
    }

    pub(super) fn reregister_agent(&mut self, from: Upid, message: ReregisterSlaveMessage) {
        if !self.may_register(&from) {
            return self.refuse_agent(&from, "not authenticated");
        }
        let Some(id) = message.slave.id.clone().map(|id| id.value).filter(|id| valid_id(id)) else {
            return self.refuse_agent(&from, "re-registration without a valid id");
        };
        let total = match acceptable(&message.slave, message.version.as_deref()) {
            Ok(total) => total,
            Err(why) => return self.refuse_agent(&from, &why),
        };
        if let Some(other) = self.by_pid.get(&from).filter(|other| **other != id).cloned() {
            // One actor is one agent: the earlier one is gone.
            self.remove_agent(&other, Loss::Removed);
        }
        let reconciliations = match self.agents.get(&id) {
            Some(agent) => {
                if agent.pid.addr.ip() != from.addr.ip() || agent.info.hostname != message.slave.hostname {
                    // M:6809
                    let why = "Agent attempted to re-register with a different IP or hostname";
                    self.refuse_agent(&from, why);
                    return self.send(&from, &ShutdownMessage { message: Some(why.into()) });
                }
                self.reconnect(&id, &from, &message, total)
            }
            None => {
                if self.agents.len() >= MAX_AGENTS {
                    return self.refuse_agent(&from, "too many agents");
                }
                let was_unreachable = self.unreachable.contains_key(&id);
                self.admit(
                    id.clone(),
                    from.clone(),
                    message.slave.clone(),
                    message.version.clone(),
                    message.agent_capabilities.clone(),
                    total,
                );
                let why = if was_unreachable {
                    "Unreachable agent re-registered"
                } else {
                    "Unknown agent re-registered"
                };
                self.recover_from(&id, &message, Some(why));
                // What it does not have it will not have again.
                for framework in self.frameworks.values_mut() {
                    framework.unreachable.retain(|_, agent| *agent != id);
                }
                Vec::new()
            }
        };
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.reregistered_ms = Some(self.now_ms);
        }
        tracing::info!(agent = id, pid = %from, tasks = message.tasks.len(), "agent re-registered");
        self.count("slave_reregistrations");
        let answer = SlaveReregisteredMessage {
            slave_id: SlaveId { value: id.clone() },
            reconciliations,
            connection: self.connection(),
        };
        self.send(&from, &answer);
        self.after_reregistration(&id, &from, &message);
    }

    /// A known agent is back: what it lacks is for it to answer, what it has more is taken over.
    fn reconnect(
        &mut self,
        id: &str,
        from: &Upid,
        message: &ReregisterSlaveMessage,
        total: Pool,
    ) -> Vec<ReconcileTasksMessage> {
        let Some(agent) = self.agents.get_mut(id) else { return Vec::new() };
        let old = std::mem::replace(&mut agent.pid, from.clone());
        agent.info = message.slave.clone();
        agent.version = message.version.clone().unwrap_or_default();
        agent.capabilities = message.agent_capabilities.iter().filter_map(|c| c.r#type).collect();
        agent.connected = true;
        agent.missed = 0;
        agent.awaiting_pong = false;
        agent.total = total.clone();
        let abilities = abilities(agent);
        self.unindex(id, &old);
        self.index(id, from);
        self.rescind_agent(id);
        self.allocator.add_agent(id, total, abilities);
        self.recover_from(id, message, None);

        let there: BTreeSet<(&str, &str)> = message
            .tasks
            .iter()
            .map(|task| (task.framework_id.value.as_str(), task.task_id.value.as_str()))
            .collect();
        let mut missing: BTreeMap<String, Vec<TaskStatus>> = BTreeMap::new();
        let Some(agent) = self.agents.get(id) else { return Vec::new() };
        for (framework, task) in &agent.tasks {
            let record = self.frameworks.get(framework).and_then(|f| f.tasks.get(task));
            let Some(record) = record.filter(|_| !there.contains(&(framework, task))) else { continue };
            missing.entry(framework.clone()).or_default().push(TaskStatus {
                task_id: record.task.task_id.clone(),
                state: record.task.state,
                slave_id: Some(SlaveId { value: id.to_owned() }),
                source: Some(task_status::Source::Master as i32),
                message: Some("Reconciliation request".into()),
                reason: Some(task_status::Reason::Reconciliation as i32),
                ..Default::default()
            });
        }
        // Executors that ended while the agent was away.
        let there: BTreeSet<(String, String)> = message
            .executor_infos
            .iter()
            .filter_map(|e| Some((e.framework_id.as_ref()?.value.clone(), e.executor_id.value.clone())))
            .collect();
        let gone: Vec<_> = agent.executors.keys().filter(|key| !there.contains(*key)).cloned().collect();
        for key in gone {
            self.drop_executor(id, &key);
        }
        missing
            .into_iter()
            .map(|(framework, statuses)| ReconcileTasksMessage {
                framework: self.frameworks.get(&framework).map(|f| f.info.clone()),
                framework_id: FrameworkId { value: framework },
                statuses,
            })
            .collect()
    }

    /// Takes over frameworks, executors and tasks that an agent has and the master does not know.
    fn recover_from(&mut self, id: &str, message: &ReregisterSlaveMessage, announce: Option<&str>) {
        for info in &message.frameworks {
            if let Some(framework) = info.id.as_ref().map(|id| id.value.clone()) {
                self.recover_framework(&framework, info);
            }
        }
        for executor in &message.executor_infos {
            let Some(framework) = executor.framework_id.as_ref().map(|id| id.value.clone()) else { continue };
            let key = (framework.clone(), executor.executor_id.value.clone());
            let known = self.agents.get(id).is_none_or(|agent| agent.executors.contains_key(&key));
            if known || !self.frameworks.contains_key(&framework) {
                continue;
            }
            let role = self.role_of(&framework, &executor.resources);
            let Ok(held) = Pool::of(&executor.resources) else { continue };
            self.allocator.hold(&framework, &role, id, &held);
            if let Some(agent) = self.agents.get_mut(id) {
                agent.executors.insert(key, Executor { info: executor.clone(), role, held });
            }
        }
        for task in &message.tasks {
            self.recover_task(id, task, announce);
        }
    }

    fn recover_task(&mut self, id: &str, task: &Task, announce: Option<&str>) {
        let framework_id = task.framework_id.value.clone();
        let task_id = task.task_id.value.clone();
        let role = self.role_of(&framework_id, &task.resources);
        let Ok(mut held) = Pool::of(&task.resources) else { return self.count("tasks_not_recovered") };
        let Some(framework) = self.frameworks.get_mut(&framework_id) else {
            return self.count("tasks_not_recovered");
        };
        if framework.tasks.contains_key(&task_id) {
            return;
        }
        if framework.tasks.len() >= MAX_TASKS_PER_FRAMEWORK
            || task.slave_id.value != id
            || !valid_id(&task_id)
        {
            return self.count("tasks_not_recovered");
        }
        let state = task.state();
        if is_terminal(state) {
            let acknowledged =
                |done: &Task| done.task_id.value == task_id && done.status_update_uuid.is_some();
            if framework.completed.iter().any(acknowledged) {
                // Said before the acknowledgement came: taken over again, it would be asked for when the agent, which
                // has forgotten it, registers once more, and end a second time.
                return;
            }
            held = Pool::default();
        }
        framework.unreachable.remove(&task_id);
        framework.completed.retain(|done| done.task_id.value != task_id);
        let record = TaskRecord { task: task.clone(), role: role.clone(), held: held.clone(), kill: None };
        framework.tasks.insert(task_id.clone(), record);
        self.watch_task_added(&framework_id, &task_id);
        self.allocator.hold(&framework_id, &role, id, &held);
        if let Some(agent) = self.agents.get_mut(id) {
            agent.tasks.insert((framework_id.clone(), task_id.clone()));
        }
        if let Some(why) = announce {
            let mut status = self.master_status(&task_id, state, Some(id), why);
            status.reason = Some(task_status::Reason::SlaveReregistered as i32);
            status.executor_id = task.executor_id.clone();
            self.update_event(&framework_id, &status);
        }
    }

    fn after_reregistration(&mut self, id: &str, to: &Upid, message: &ReregisterSlaveMessage) {
        for info in &message.frameworks {
            let Some(framework_id) = info.id.clone() else { continue };
            if self.completed.iter().any(|done| done.id == framework_id.value) {
                self.send(to, &ShutdownFrameworkMessage { framework_id });
            } else if let Some(framework) = self.frameworks.get(&framework_id.value) {
                let info = framework.info.clone();
                let message = UpdateFrameworkMessage {
                    framework_id,
                    pid: Some(framework.pid()),
                    framework_info: Some(info),
                };
                self.send(to, &message);
            }
        }
        let tasks: Vec<_> = self.agents.get(id).into_iter().flat_map(|agent| agent.tasks.clone()).collect();
        for (framework, task) in tasks {
            let record = self.frameworks.get_mut(&framework).and_then(|f| f.tasks.get_mut(&task));
            if let Some(kill) = record.and_then(|record| record.kill.take()) {
                self.send(to, &kill);
            }
        }
        self.dirty.insert(id.to_owned());
    }

    pub(super) fn unregister_agent(&mut self, from: &Upid, message: UnregisterSlaveMessage) {
        let id = message.slave_id.value;
        if self.agents.get(&id).is_some_and(|agent| agent.pid == *from) {
            tracing::info!(agent = id, "agent unregistered");
            self.remove_agent(&id, Loss::Removed);
        } else {
            self.count("messages_from_wrong_sender");
        }
    }

    pub(super) fn update_agent(&mut self, from: &Upid, message: UpdateSlaveMessage) {
        // Accepted: there is nothing oversubscribed to offer on this kind of agent.
        if self.agents.get(&message.slave_id.value).is_none_or(|agent| agent.pid != *from) {
            self.count("messages_from_wrong_sender");
        }
    }
}

fn abilities(agent: &Agent) -> Abilities {
    Abilities {
        multi_role: agent.has(slave_info::capability::Type::MultiRole),
        hierarchical_role: agent.has(slave_info::capability::Type::HierarchicalRole),
        gpus: agent.total.quantities().milli("gpus") > 0,
    }
}

/// An agent's total if it may register (M:6358, `validation::master::message`).
fn acceptable(info: &SlaveInfo, version: Option<&str>) -> Result<Pool, String> {
    let major =
        version.and_then(|version| version.split('.').next()).and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 1) {
        return Err(format!("version {version:?} is not 1.0.0 or later"));
    }
    if info.hostname.is_empty() || info.hostname.len() > crate::limits::MAX_ID {
        return Err("no hostname, or too long a one".into());
    }
    if info.attributes.len() > mesos_proto::pool::MAX_RESOURCES {
        return Err("too many attributes".into());
    }
    Pool::of(&info.resources)
}
