//! What an agent brings with it when it registers again, and what it lacks (src/master/master.cpp `__reregisterSlave`,
//! `reconcileKnownSlave`). Of what the agent says nothing is taken that would overrun a limit, or make a task end twice.

use super::agents::abilities;
use super::{MasterCore, valid_id};
use crate::allocator::constraints::Facts;
use crate::limits::MAX_TASKS_PER_FRAMEWORK;
use crate::state::{Executor, TaskRecord, is_terminal};
use libprocess::Upid;
use mesos_proto::internal::{
    ReconcileTasksMessage, ReregisterSlaveMessage, ShutdownFrameworkMessage, UpdateFrameworkMessage,
};
use mesos_proto::mesos::{FrameworkId, SlaveId, Task, TaskStatus, task_status};
use mesos_proto::pool::Pool;
use std::collections::{BTreeMap, BTreeSet};

impl MasterCore {
    /// A known agent is back: what it lacks is for it to answer, what it has more is taken over.
    pub(super) fn reconnect(
        &mut self,
        id: &str,
        from: &Upid,
        message: &ReregisterSlaveMessage,
        total: Pool,
    ) -> Vec<ReconcileTasksMessage> {
        let Some(agent) = self.agents.get_mut(id) else { return Vec::new() };
        let old = std::mem::replace(&mut agent.pid, from.clone());
        let changed = agent.info != message.slave;
        agent.info = message.slave.clone();
        agent.version = message.version.clone().unwrap_or_default();
        agent.capabilities = message.agent_capabilities.iter().filter_map(|c| c.r#type).collect();
        agent.connected = true;
        agent.missed = 0;
        agent.awaiting_pong = false;
        agent.removal_ms = None;
        agent.total = total.clone();
        let abilities = abilities(agent);
        let facts = Facts::of(&agent.info);
        if changed {
            self.keep_agent(id);
        }
        self.unindex(id, &old);
        self.index(id, from);
        self.rescind_agent(id);
        self.allocator.add_agent(id, total, abilities);
        self.allocator.describe_agent(id, facts);
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
    pub(super) fn recover_from(
        &mut self,
        id: &str,
        message: &ReregisterSlaveMessage,
        announce: Option<&str>,
    ) {
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
        // Its end is the agent's to say, once; Mesos says it here too, and then it comes again.
        if let Some(why) = announce.filter(|_| !is_terminal(state)) {
            let mut status = self.master_status(&task_id, state, Some(id), why);
            status.reason = Some(task_status::Reason::SlaveReregistered as i32);
            status.executor_id = task.executor_id.clone();
            self.update_event(&framework_id, &status);
        }
    }

    pub(super) fn after_reregistration(&mut self, id: &str, to: &Upid, message: &ReregisterSlaveMessage) {
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
}
