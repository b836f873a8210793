//! Offers: made from what the allocator grants, accepted, declined, rescinded (src/master/master.cpp `offer`,
//! `accept`, `_accept`; src/master/validation.cpp).

use super::frameworks::refuse_ms;
use super::{MasterCore, valid_id};
use crate::limits::{MAX_OFFERS_PER_EVENT, MAX_TASKS_PER_FRAMEWORK};
use crate::pool::Pool;
use crate::state::{Executor, OfferRecord, TaskRecord, is_terminal};
use mesos_proto::internal::RunTaskMessage;
use mesos_proto::mesos::{
    FrameworkId, Resource, SlaveId, Task, TaskInfo, TaskState, framework_info, resource, slave_info,
    task_status,
};
use mesos_proto::recast;
use mesos_proto::v1::scheduler::{Event, call, event};
use mesos_proto::v1::{self, offer::operation};
use std::collections::{BTreeMap, BTreeSet};

/// What an ACCEPT has to spend: the offers' resources, all of one agent and one role.
struct Purse {
    agent: String,
    role: String,
    left: Pool,
}

impl MasterCore {
    /// Offers what is free of the agents that changed.
    pub(super) fn allocate_dirty(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let grants = self.allocator.allocate(dirty.iter().map(String::as_str), self.now_ms);
        let mut offers: BTreeMap<String, Vec<v1::Offer>> = BTreeMap::new();
        for grant in grants {
            let id = format!("{}-O{}", self.config.id, self.next_offer);
            self.next_offer += 1;
            let record = OfferRecord {
                framework: grant.framework.clone(),
                role: grant.role,
                agent: grant.agent,
                resources: grant.resources,
            };
            let Some(offer) = self.offer(&id, &record) else {
                self.allocator.recover(&record.framework, &record.role, &record.agent, &record.resources);
                continue;
            };
            if let Some(agent) = self.agents.get_mut(&record.agent) {
                agent.offers.insert(id.clone());
            }
            if let Some(framework) = self.frameworks.get_mut(&record.framework) {
                framework.offers.insert(id.clone());
            }
            self.count("offers");
            offers.entry(grant.framework).or_default().push(offer);
            self.offers.insert(id, record);
        }
        for (framework, mut offers) in offers {
            while !offers.is_empty() {
                let rest = offers.split_off(offers.len().min(MAX_OFFERS_PER_EVENT));
                let event = Event {
                    r#type: Some(event::Type::Offers as i32),
                    offers: Some(event::Offers { offers }),
                    ..Default::default()
                };
                self.event(&framework, event);
                offers = rest;
            }
        }
    }

    fn offer(&self, id: &str, record: &OfferRecord) -> Option<v1::Offer> {
        use framework_info::capability::Type;
        let agent = self.agents.get(&record.agent)?;
        let framework = self.frameworks.get(&record.framework)?;
        // Clients that know one role only are not shown for which it is (MULTI_ROLE).
        let role = framework.has(Type::MultiRole).then_some(record.role.as_str());
        let resources = record.resources.to_resources(role, framework.has(Type::ReservationRefinement));
        let executors = agent.executors.keys().filter(|(framework, _)| *framework == record.framework);
        let executor_ids = executors.map(|(_, id)| v1::ExecutorId { value: id.clone() }).collect();
        Some(v1::Offer {
            id: v1::OfferId { value: id.to_owned() },
            framework_id: v1::FrameworkId { value: record.framework.clone() },
            agent_id: v1::AgentId { value: record.agent.clone() },
            hostname: agent.info.hostname.clone(),
            resources: resources.iter().filter_map(|resource| recast(resource).ok()).collect(),
            attributes: agent.info.attributes.iter().filter_map(|attribute| recast(attribute).ok()).collect(),
            executor_ids,
            url: Some(v1::Url {
                scheme: "http".into(),
                address: v1::Address {
                    hostname: Some(agent.info.hostname.clone()),
                    ip: Some(agent.pid.addr.ip().to_string()),
                    port: i32::from(agent.pid.addr.port()),
                },
                path: Some(format!("/{}", agent.pid.id)),
            }),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some(record.role.clone()) }),
        })
    }

    /// Takes an offer off the books; its resources are the caller's to hold or recover.
    fn take_offer(&mut self, id: &str) -> Option<OfferRecord> {
        let record = self.offers.remove(id)?;
        if let Some(agent) = self.agents.get_mut(&record.agent) {
            agent.offers.remove(id);
        }
        if let Some(framework) = self.frameworks.get_mut(&record.framework) {
            framework.offers.remove(id);
        }
        Some(record)
    }

    fn rescind(&mut self, id: &str, tell: bool) {
        let Some(record) = self.take_offer(id) else { return };
        self.allocator.recover(&record.framework, &record.role, &record.agent, &record.resources);
        self.dirty.insert(record.agent);
        if tell {
            let offer_id = v1::OfferId { value: id.to_owned() };
            let event = Event {
                r#type: Some(event::Type::Rescind as i32),
                rescind: Some(event::Rescind { offer_id }),
                ..Default::default()
            };
            self.event(&record.framework, event);
            self.count("offers_rescinded");
        }
    }

    /// Withdraws all offers of an agent.
    pub(super) fn rescind_agent(&mut self, id: &str) {
        let offers = self.agents.get(id).map(|agent| agent.offers.clone()).unwrap_or_default();
        offers.iter().for_each(|offer| self.rescind(offer, true));
    }

    /// Withdraws all offers of a framework.
    pub(super) fn rescind_framework(&mut self, id: &str, tell: bool) {
        let offers = self.frameworks.get(id).map(|framework| framework.offers.clone()).unwrap_or_default();
        offers.iter().for_each(|offer| self.rescind(offer, tell));
    }

    pub(super) fn decline(&mut self, framework: &str, decline: call::Decline) {
        let until = self.filter_until(decline.filters.as_ref());
        for offer in decline.offer_ids {
            if self.offers.get(&offer.value).is_none_or(|record| record.framework != framework) {
                self.count("offers_unknown");
                continue;
            }
            let Some(record) = self.take_offer(&offer.value) else { continue };
            self.give_back(framework, &record.role, &record.agent, record.resources, until);
        }
    }

    fn filter_until(&self, filters: Option<&v1::Filters>) -> u64 {
        let seconds = filters.and_then(|filters| filters.refuse_seconds);
        self.now_ms + refuse_ms(seconds, self.config.allocation_ms)
    }

    fn give_back(&mut self, framework: &str, role: &str, agent: &str, resources: Pool, until: u64) {
        self.allocator.recover(framework, role, agent, &resources);
        self.allocator.filter(framework, role, agent, resources, until);
        self.dirty.insert(agent.to_owned());
    }

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
        self.count_end(state);
        self.update_event(framework, &status);
    }

    fn task_error(&mut self, framework: &str, task: &TaskInfo, reason: task_status::Reason, why: &str) {
        let agent = Some(task.slave_id.value.as_str());
        let mut status = self.master_status(&task.task_id.value, TaskState::TaskError, agent, why);
        status.reason = Some(reason as i32);
        self.count_end(TaskState::TaskError);
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
                container: task.container,
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
            pid: Some(super::tasks::HTTP_SCHEDULER_PID.into()),
            task,
            launch_executor: Some(launch_executor),
        };
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
