//! Offers accepted: what may be launched and what not (src/master/master.cpp `accept`, `_accept`;
//! src/master/validation.cpp).

use super::{MasterCore, valid_id};
use crate::limits::MAX_TASKS_PER_FRAMEWORK;
use crate::state::{Executor, OfferRecord, TaskRecord, is_terminal};
use mesos_proto::internal::RunTaskMessage;
use mesos_proto::mesos::{
    FrameworkId, Resource, SlaveId, Task, TaskInfo, TaskState, framework_info, resource, slave_info,
    task_status,
};
use mesos_proto::pool::Pool;
use mesos_proto::recast;
use mesos_proto::v1::scheduler::call;
use mesos_proto::v1::{self, offer::operation};
use std::collections::BTreeSet;

/// What an ACCEPT has to spend: the offers' resources, all of one agent and one role.
struct Purse {
    agent: String,
    role: String,
    left: Pool,
}

impl MasterCore {
    pub(super) fn accept(&mut self, framework: &str, accept: call::Accept) {
        let until = self.filter_until(accept.filters.as_ref());
        let purse = self.open_purse(framework, &accept.offer_ids);
        for operation in &accept.operations {
            let tasks: Vec<&v1::TaskInfo> = match operation.r#type() {
                operation::Type::Launch => {
                    operation.launch.iter().flat_map(|launch| &launch.task_infos).collect()
                }
                operation::Type::LaunchGroup => {
                    operation.launch_group.iter().flat_map(|group| &group.task_group.tasks).collect()
                }
                other => {
                    tracing::warn!(
                        framework,
                        operation = other.as_str_name(),
                        "operation not supported, dropped"
                    );
                    self.count("operations_dropped");
                    continue;
                }
            };
            let group = operation.r#type() == operation::Type::LaunchGroup;
            for task in tasks {
                let Ok(task) = recast::<_, TaskInfo>(task) else { continue };
                match &purse {
                    Err((_, why)) => self.offers_invalid(framework, &task, why),
                    Ok(_) if group => {
                        let why = "Task groups are not supported by this master";
                        self.task_error(framework, &task, task_status::Reason::TaskGroupInvalid, why);
                    }
                    Ok(_) => {}
                }
            }
        }
        let mut purse = match purse {
            Ok(purse) => purse,
            Err((back, _)) => {
                // Invalid offers are used up all the same.
                for record in back {
                    self.allocator.recover(framework, &record.role, &record.agent, &record.resources);
                    self.dirty.insert(record.agent);
                }
                return;
            }
        };
        for operation in accept.operations {
            if operation.r#type() != operation::Type::Launch {
                continue;
            }
            for task in operation.launch.into_iter().flat_map(|launch| launch.task_infos) {
                match recast::<_, TaskInfo>(&task) {
                    Ok(task) => self.launch(framework, &mut purse, task),
                    Err(_) => self.count("messages_malformed"),
                }
            }
        }
        self.give_back(framework, &purse.role, &purse.agent, purse.left, until);
    }

    /// Takes the offers of an ACCEPT together, if all are the framework's, of one agent and one role
    /// (`validation::offer`). The error has the offers that were taken nevertheless.
    fn open_purse(
        &mut self,
        framework: &str,
        offers: &[v1::OfferId],
    ) -> Result<Purse, (Vec<OfferRecord>, String)> {
        let mut why = offers.is_empty().then(|| "No offers specified".to_owned());
        let mut seen = BTreeSet::new();
        let mut records: Vec<OfferRecord> = Vec::new();
        for offer in offers {
            let id = &offer.value;
            if !seen.insert(id) {
                why = Some(format!("Duplicate offer {id} in offer list"));
                continue;
            }
            match self.offers.get(id) {
                None => why = Some(format!("Offer {id} is no longer valid")),
                Some(record) if record.framework != framework => {
                    why = Some(format!("Offer {id} has invalid framework {}", record.framework));
                }
                Some(_) => records.extend(self.take_offer(id)),
            }
        }
        if let Some(first) = records.first() {
            if records.iter().any(|record| record.agent != first.agent) {
                why = Some("Aggregated offers must belong to one single agent".into());
            } else if records.iter().any(|record| record.role != first.role) {
                why = Some("Aggregated offers must be allocated to the same role".into());
            }
        }
        let (None, Some(first)) = (&why, records.first()) else {
            self.count("offers_unknown");
            return Err((records, why.unwrap_or_default()));
        };
        let mut purse = Purse { agent: first.agent.clone(), role: first.role.clone(), left: Pool::default() };
        records.iter().for_each(|record| purse.left.add(&record.resources));
        Ok(purse)
    }

    fn offers_invalid(&mut self, framework: &str, task: &TaskInfo, why: &str) {
        let aware = self
            .frameworks
            .get(framework)
            .is_some_and(|framework| framework.has(framework_info::capability::Type::PartitionAware));
        let state = if aware { TaskState::TaskDropped } else { TaskState::TaskLost };
        let why = format!("Task launched with invalid offers: {why}");
        let mut status = self.master_status(&task.task_id.value, state, Some(&task.slave_id.value), &why);
        status.reason = Some(task_status::Reason::InvalidOffers as i32);
        self.count_end(state, &status);
        self.update_event(framework, &status);
    }

    fn task_error(&mut self, framework: &str, task: &TaskInfo, reason: task_status::Reason, why: &str) {
        let agent = Some(task.slave_id.value.as_str());
        let mut status = self.master_status(&task.task_id.value, TaskState::TaskError, agent, why);
        status.reason = Some(reason as i32);
        self.count_end(TaskState::TaskError, &status);
        self.update_event(framework, &status);
    }

    fn launch(&mut self, framework: &str, purse: &mut Purse, mut task: TaskInfo) {
        let (needs, executor) = match self.validate(framework, purse, &task) {
            Ok(valid) => valid,
            Err(why) => return self.task_error(framework, &task, task_status::Reason::TaskInvalid, &why),
        };
        let Some(agent) = self.agents.get(&purse.agent) else { return };
        // Agents that know several roles are told which one the resources are allocated to.
        let multi = agent.has(slave_info::capability::Type::MultiRole);
        allocate_to(&mut task.resources, multi.then_some(&purse.role));
        let owner = FrameworkId { value: framework.to_owned() };
        if let Some(info) = &mut task.executor {
            allocate_to(&mut info.resources, multi.then_some(&purse.role));
            info.framework_id = Some(owner.clone());
        }
        let pid = agent.pid.clone();
        purse.left.subtract(&needs);
        let key = (framework.to_owned(), task.task_id.value.clone());
        let launch_executor = task.executor.is_none() || executor.is_some();
        if let Some(held) = executor
            && let Some(info) = &task.executor
            && let Some(agent) = self.agents.get_mut(&purse.agent)
        {
            purse.left.subtract(&held);
            let key = (framework.to_owned(), info.executor_id.value.clone());
            agent.executors.insert(key, Executor { info: info.clone(), role: purse.role.clone(), held });
        }
        if let Some(agent) = self.agents.get_mut(&purse.agent) {
            agent.tasks.insert(key);
        }
        let Some(owner_record) = self.frameworks.get_mut(framework) else { return };
        let record = TaskRecord {
            task: Task {
                name: task.name.clone(),
                task_id: task.task_id.clone(),
                framework_id: owner.clone(),
                // The task of a command executor has none (protobuf::createTask).
                executor_id: task.executor.as_ref().map(|executor| executor.executor_id.clone()),
                slave_id: SlaveId { value: purse.agent.clone() },
                state: TaskState::TaskStaging as i32,
                resources: task.resources.clone(),
                labels: task.labels.clone(),
                container: task.container.clone(),
                user: task.command.as_ref().and_then(|command| command.user.clone()),
                health_check: task.health_check.clone(),
                kill_policy: task.kill_policy,
                limits: task.limits.clone(),
                ..Default::default()
            },
            role: purse.role.clone(),
            held: needs,
            kill: None,
        };
        owner_record.tasks.insert(task.task_id.value.clone(), record);
        owner_record.unreachable.remove(&task.task_id.value);
        let message = RunTaskMessage {
            framework_id: Some(owner),
            framework: owner_record.info.clone(),
            pid: Some(owner_record.pid()),
            task,
            resource_version_uuids: Vec::new(),
            launch_executor: Some(launch_executor),
        };
        self.watch_task_added(framework, &message.task.task_id.value);
        self.count("tasks_launched");
        self.send(&pid, &message);
    }

    /// What the task needs and, if its executor is new, what that needs (`validation::task`).
    fn validate(
        &self,
        framework: &str,
        purse: &Purse,
        task: &TaskInfo,
    ) -> Result<(Pool, Option<Pool>), String> {
        let id = &task.task_id.value;
        if !valid_id(id) {
            return Err("Task has an invalid TaskID".into());
        }
        let Some(owner) = self.frameworks.get(framework) else { return Err("Unknown framework".into()) };
        if owner.tasks.contains_key(id) {
            return Err(format!("Task has duplicate ID: {id}"));
        }
        if owner.tasks.len() >= MAX_TASKS_PER_FRAMEWORK {
            return Err("The framework has too many tasks".into());
        }
        if task.slave_id.value != purse.agent {
            return Err(format!(
                "Task uses invalid agent {} while agent {} is expected",
                task.slave_id.value, purse.agent
            ));
        }
        let Some(agent) = self.agents.get(&purse.agent).filter(|agent| agent.active()) else {
            return Err("The agent is not connected".into());
        };
        if task.executor.is_some() == task.command.is_some() {
            return Err(
                "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".into(),
            );
        }
        if !task.limits.is_empty() && !agent.has(slave_info::capability::Type::TaskResourceLimits) {
            return Err("Agent is not capable of handling task resource limits".into());
        }
        if task.resources.is_empty() {
            return Err("Task uses no resources".into());
        }
        let needs = Pool::of(&task.resources).map_err(|why| format!("Task uses invalid resources: {why}"))?;
        if needs.is_empty() {
            return Err("Task uses no resources".into());
        }
        let wrong = |resource: &Resource| {
            resource
                .allocation_info
                .as_ref()
                .is_some_and(|a| a.role.as_ref().is_some_and(|r| *r != purse.role))
        };
        if task.resources.iter().any(wrong) {
            return Err(format!("Task's resources are not allocated to role '{}'", purse.role));
        }
        let mut executor_needs = None;
        if let Some(executor) = &task.executor {
            if !valid_id(&executor.executor_id.value) {
                return Err("Executor has an invalid ExecutorID".into());
            }
            if executor.framework_id.as_ref().is_some_and(|id| id.value != framework) {
                return Err("ExecutorInfo has an invalid FrameworkID".into());
            }
            let key = (framework.to_owned(), executor.executor_id.value.clone());
            match agent.executors.get(&key) {
                Some(running) if !same_executor(&running.info, executor) => {
                    return Err(format!("ExecutorInfo is not compatible with existing executor {}", key.1));
                }
                Some(_) => {}
                None => {
                    let held = Pool::of(&executor.resources)
                        .map_err(|why| format!("Executor uses invalid resources: {why}"))?;
                    executor_needs = Some(held);
                }
            }
        }
        let mut total = needs.clone();
        if let Some(more) = &executor_needs {
            total.add(more);
        }
        if !purse.left.contains(&total) {
            return Err(format!(
                "Total resources {total} required by task and its executor is more than available {}",
                purse.left
            ));
        }
        Ok((needs, executor_needs))
    }

    /// Takes a task off the books and gives back what it holds.
    pub(super) fn remove_task(&mut self, framework: &str, task: &str) {
        let Some(owner) = self.frameworks.get_mut(framework) else { return };
        let Some(record) = owner.tasks.remove(task) else { return };
        let agent = record.task.slave_id.value.clone();
        self.allocator.recover(framework, &record.role, &agent, &record.held);
        if is_terminal(record.task.state()) {
            owner.complete(record.task);
        }
        if let Some(entry) = self.agents.get_mut(&agent) {
            entry.tasks.remove(&(framework.to_owned(), task.to_owned()));
            self.something_ended(&agent);
            self.dirty.insert(agent);
        }
    }
}

fn allocate_to(resources: &mut [Resource], role: Option<&String>) {
    for resource in resources {
        resource.allocation_info = role.map(|role| resource::AllocationInfo { role: Some(role.clone()) });
    }
}

/// Same executor, apart from what the master fills in.
fn same_executor(a: &mesos_proto::mesos::ExecutorInfo, b: &mesos_proto::mesos::ExecutorInfo) -> bool {
    let plain = |info: &mesos_proto::mesos::ExecutorInfo| {
        let mut info = info.clone();
        info.framework_id = None;
        info.resources.iter_mut().for_each(|resource| resource.allocation_info = None);
        info
    };
    plain(a) == plain(b)
}
