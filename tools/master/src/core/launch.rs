//! Tasks and task groups launched, and tasks taken off the books (src/master/master.cpp `_accept`, `addTask`,
//! `removeTask`).

use super::accept::{Purse, invalid_reason};
use super::conversion::for_agent;
use super::{MasterCore, validation};
use crate::state::{Agent, Executor, TaskRecord, is_terminal};
use mesos_proto::internal::{ResourceVersionUuid, RunTaskGroupMessage, RunTaskMessage};
use mesos_proto::mesos::offer::operation::LaunchGroup;
use mesos_proto::mesos::{
    ExecutorInfo, FrameworkId, HealthCheck, SlaveId, Task, TaskInfo, TaskState, Uuid, health_check,
    slave_info,
};
use mesos_proto::pool::Pool;

impl MasterCore {
    pub(super) fn launch(&mut self, framework: &str, purse: &mut Purse, mut task: TaskInfo) {
        let owner = FrameworkId { value: framework.to_owned() };
        if let Some(info) = &mut task.executor {
            info.framework_id.get_or_insert(owner.clone());
        }
        if let Some(check) = &mut task.health_check {
            infer_type(check);
        }
        let (Some(known), Some(agent)) = (self.frameworks.get(framework), self.agents.get(&purse.agent))
        else {
            return;
        };
        let mut needs = match validation::task(&task, framework, known, agent, &purse.left) {
            Ok(needs) => needs,
            Err(why) => {
                return self.tasks_error(framework, std::iter::once(&task), invalid_reason(false), &why);
            }
        };
        let launch_executor = task.executor.is_none() || needs.executor.is_some();
        if let (Some(info), Some(held)) = (&task.executor, needs.executor.take()) {
            self.book_executor(framework, purse, info, held);
        }
        self.book_task(framework, purse, &task, needs.tasks.pop().unwrap_or_default());
        let (Some(known), Some(agent)) = (self.frameworks.get(framework), self.agents.get(&purse.agent))
        else {
            return;
        };
        tell(agent, &purse.role, std::slice::from_mut(&mut task), None);
        let message = RunTaskMessage {
            framework_id: Some(owner),
            framework: known.info.clone(),
            pid: Some(known.pid()),
            task,
            resource_version_uuids: versions(agent),
            launch_executor: Some(launch_executor),
        };
        let to = agent.pid.clone();
        self.count("tasks_launched");
        self.send(&to, &message);
    }

    pub(super) fn launch_group(&mut self, framework: &str, purse: &mut Purse, mut group: LaunchGroup) {
        for task in &mut group.task_group.tasks {
            task.executor.get_or_insert(group.executor.clone());
            if let Some(check) = &mut task.health_check {
                infer_type(check);
            }
        }
        let (Some(known), Some(agent)) = (self.frameworks.get(framework), self.agents.get(&purse.agent))
        else {
            return;
        };
        let tasks = &group.task_group.tasks;
        let valid = validation::task_group(tasks, &group.executor, framework, known, agent, &purse.left);
        let needs = match valid {
            Ok(needs) => needs,
            Err(why) => return self.tasks_error(framework, tasks.iter(), invalid_reason(true), &why),
        };
        let launch_executor = needs.executor.is_some();
        if let Some(held) = needs.executor {
            self.book_executor(framework, purse, &group.executor, held);
        }
        for (task, held) in group.task_group.tasks.iter().zip(needs.tasks) {
            self.book_task(framework, purse, task, held);
            self.count("tasks_launched");
        }
        let (Some(known), Some(agent)) = (self.frameworks.get(framework), self.agents.get(&purse.agent))
        else {
            return;
        };
        tell(agent, &purse.role, &mut group.task_group.tasks, Some(&mut group.executor));
        let message = RunTaskGroupMessage {
            framework: known.info.clone(),
            executor: group.executor,
            task_group: group.task_group,
            resource_version_uuids: versions(agent),
            launch_executor: Some(launch_executor),
        };
        let to = agent.pid.clone();
        self.send(&to, &message);
    }

    fn book_executor(&mut self, framework: &str, purse: &mut Purse, info: &ExecutorInfo, held: Pool) {
        purse.left.subtract(&held);
        if let Some(agent) = self.agents.get_mut(&purse.agent) {
            let key = (framework.to_owned(), info.executor_id.value.clone());
            agent.executors.insert(key, Executor { info: info.clone(), role: purse.role.clone(), held });
        }
    }

    fn book_task(&mut self, framework: &str, purse: &mut Purse, task: &TaskInfo, held: Pool) {
        purse.left.subtract(&held);
        let id = task.task_id.value.clone();
        let record = TaskRecord {
            task: Task {
                name: task.name.clone(),
                task_id: task.task_id.clone(),
                framework_id: FrameworkId { value: framework.to_owned() },
                // The task of a command executor has none (protobuf::createTask).
                executor_id: task.executor.as_ref().map(|executor| executor.executor_id.clone()),
                slave_id: SlaveId { value: purse.agent.clone() },
                state: TaskState::TaskStaging as i32,
                resources: task.resources.clone(),
                labels: task.labels.clone(),
                discovery: task.discovery.clone(),
                container: task.container.clone(),
                user: task.command.as_ref().and_then(|command| command.user.clone()),
                health_check: task.health_check.clone(),
                kill_policy: task.kill_policy,
                limits: task.limits.clone(),
                ..Default::default()
            },
            role: purse.role.clone(),
            held,
            kill: None,
        };
        if let Some(agent) = self.agents.get_mut(&purse.agent) {
            agent.tasks.insert((framework.to_owned(), id.clone()));
        }
        if let Some(owner) = self.frameworks.get_mut(framework) {
            owner.tasks.insert(id.clone(), record);
        }
        self.watch_task_added(framework, &id);
    }

    /// Takes a task off the books and gives back what it holds.
    pub(super) fn remove_task(&mut self, framework: &str, task: &str) -> Option<Task> {
        let owner = self.frameworks.get_mut(framework)?;
        let record = owner.tasks.remove(task)?;
        let agent = record.task.slave_id.value.clone();
        self.allocator.recover(framework, &record.role, &agent, &record.held);
        let unfinished = if is_terminal(record.task.state()) {
            owner.complete(record.task);
            None
        } else {
            Some(record.task)
        };
        if let Some(entry) = self.agents.get_mut(&agent) {
            entry.tasks.remove(&(framework.to_owned(), task.to_owned()));
            self.something_ended(&agent);
            self.dirty.insert(agent);
        }
        unfinished
    }
}

/// Older frameworks do not say what kind of health check theirs is.
fn infer_type(check: &mut HealthCheck) {
    let kind = match (&check.command, &check.http) {
        (Some(_), None) => health_check::Type::Command,
        (None, Some(_)) => health_check::Type::Http,
        _ => return,
    };
    check.r#type.get_or_insert(kind as i32);
}

/// Puts what an agent is told into the words that it knows: agents that know several roles hear which one resources are
/// allocated to.
fn tell(agent: &Agent, role: &str, tasks: &mut [TaskInfo], executor: Option<&mut ExecutorInfo>) {
    use slave_info::capability::Type::{MultiRole, ReservationRefinement};
    let of_task = tasks.iter_mut().flat_map(|task| {
        task.resources.iter_mut().chain(task.executor.iter_mut().flat_map(|info| &mut info.resources))
    });
    let resources = of_task.chain(executor.into_iter().flat_map(|info| &mut info.resources)).collect();
    for_agent(resources, agent.has(MultiRole).then_some(role), agent.has(ReservationRefinement));
}

/// What an agent last said its resources' version is.
fn versions(agent: &Agent) -> Vec<ResourceVersionUuid> {
    let version = |value: &Vec<u8>| ResourceVersionUuid {
        resource_provider_id: None,
        uuid: Uuid { value: value.clone() },
    };
    agent.resource_version.iter().map(version).collect()
}
