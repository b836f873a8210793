//! Tasks, task groups and their executors (`validation::task`, `validation::executor`). Resources are in the newer
//! format.

use super::checks;
use super::operation::unique_volumes;
use crate::core::valid_id;
use crate::limits::MAX_TASKS_PER_FRAMEWORK;
use crate::state::{Agent, Framework};
use mesos_proto::mesos::{
    ContainerInfo, DurationInfo, ExecutorInfo, HealthCheck, Resource, TaskInfo, container_info,
    executor_info, health_check, slave_info,
};
use mesos_proto::pool::Pool;
use mesos_proto::resources::milli;

/// The least that the executor of a task group needs (`MIN_CPUS`, `MIN_MEM`), in thousandths.
const EXECUTOR_MIN_MILLI_CPUS: i64 = 10;
const EXECUTOR_MIN_MILLI_MB: i64 = 32_000;

/// What a launch takes.
#[derive(Debug)]
pub(crate) struct Needs {
    /// For each task.
    pub tasks: Vec<Pool>,
    /// For the executor, if it is not there yet.
    pub executor: Option<Pool>,
}

impl Needs {
    fn total(&self) -> Pool {
        let mut total = self.executor.clone().unwrap_or_default();
        self.tasks.iter().for_each(|task| total.add(task));
        total
    }
}

/// A task that is to be launched of what is `available` on an agent.
pub(crate) fn task(
    task: &TaskInfo,
    id: &str,
    framework: &Framework,
    agent: &Agent,
    available: &Pool,
) -> Result<Needs, String> {
    let needs = alone(task, framework, agent)?;
    if task.executor.is_some() == task.command.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".into()
        );
    }
    let mut executor_needs = None;
    if let Some(info) = &task.executor {
        let (held, new) = executor(info, id, agent)?;
        if info.r#type.is_some() && info.r#type() != executor_info::Type::Custom {
            return Err("'ExecutorInfo.type' must be 'CUSTOM'".into());
        }
        if info.command.is_none() {
            return Err("'ExecutorInfo.command' must be set".into());
        }
        if info.resources.iter().any(|resource| resource.shared.is_some()) {
            return Err("Executor resources should not contain any shared resources".into());
        }
        if needs.overlaps(&held) {
            return Err(format!(
                "There are overlapping resources in the task resources {needs} and executor resources {held}"
            ));
        }
        unique_volumes(task.resources.iter().chain(&info.resources))
            .map_err(|why| format!("Task and its executor use duplicate persistence ID: {why}"))?;
        executor_needs = new.then_some(held);
    }
    let needs = Needs { tasks: vec![needs], executor: executor_needs };
    let total = needs.total();
    if !available.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task and its executor is more than available {available}"
        ));
    }
    Ok(needs)
}

/// A group of tasks under one executor.
pub(crate) fn task_group(
    tasks: &[TaskInfo],
    info: &ExecutorInfo,
    id: &str,
    framework: &Framework,
    agent: &Agent,
    available: &Pool,
) -> Result<Needs, String> {
    let mut each = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for task in tasks {
        let wrong = |why: String| format!("Task '{}' is invalid: {why}", task.task_id.value);
        each.push(alone(task, framework, agent).map_err(wrong)?);
        grouped(task).map_err(wrong)?;
        if !seen.insert(&task.task_id.value) {
            return Err(wrong(format!("Task has duplicate ID: {}", task.task_id.value)));
        }
        if task.executor.as_ref().is_some_and(|own| own != info) {
            return Err(format!(
                "The `ExecutorInfo` of task '{}' is different from executor '{}'",
                task.task_id.value, info.executor_id.value
            ));
        }
    }
    let (held, new) = executor(info, id, agent)?;
    if info.r#type.is_none() {
        return Err("'ExecutorInfo.type' must be set".into());
    }
    if info.r#type() == executor_info::Type::Unknown {
        return Err("Unknown executor type".into());
    }
    if info.container.as_ref().is_some_and(is_docker) {
        return Err("Docker ContainerInfo is not supported on the executor".into());
    }
    let name = &info.executor_id.value;
    let has = held.quantities();
    if has.milli("cpus") < EXECUTOR_MIN_MILLI_CPUS {
        return Err(format!(
            "Executor '{name}' uses less CPUs ({}) than the minimum required (0.01)",
            has.get("cpus")
        ));
    }
    if has.milli("mem") < EXECUTOR_MIN_MILLI_MB {
        return Err(format!(
            "Executor '{name}' uses less memory ({}MB) than the minimum required (32MB)",
            has.get("mem")
        ));
    }
    if !info.resources.iter().any(|resource| resource.name == "disk") {
        return Err(format!("Executor '{name}' uses no disk"));
    }
    unique_volumes(tasks.iter().flat_map(|task| &task.resources).chain(&info.resources))
        .map_err(|why| format!("Task group and executor use duplicate persistence ID: {why}"))?;
    let mut sum = held.clone();
    for needs in &each {
        if sum.overlaps(needs) {
            return Err(
                "There are overlapping resources in the task group's task resources and/or executor \
                        resources"
                    .into(),
            );
        }
        sum.add(needs);
    }
    let needs = Needs { tasks: each, executor: new.then_some(held) };
    let total = needs.total();
    if !available.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task group and its executor are more than available {available}"
        ));
    }
    Ok(needs)
}

fn is_docker(container: &ContainerInfo) -> bool {
    container.r#type() == container_info::Type::Docker
}

/// What a task in a group may not have.
fn grouped(task: &TaskInfo) -> Result<(), String> {
    if task.executor.is_none() {
        return Err("'TaskInfo.executor' must be set".into());
    }
    if let Some(container) = &task.container {
        let remote = |check: &HealthCheck| {
            matches!(check.r#type(), health_check::Type::Http | health_check::Type::Tcp)
        };
        if !container.network_infos.is_empty() && task.health_check.as_ref().is_some_and(remote) {
            return Err("HTTP and TCP health checks are not supported for nested containers not joining \
                        parent's network"
                .into());
        }
        if is_docker(container) {
            return Err("Docker ContainerInfo is not supported on the task".into());
        }
    }
    if !task.limits.is_empty() {
        return Err(
            "Resource limits may only be set for tasks within a task group when the 'share_cgroups' field \
                    is set to 'false'."
                .into(),
        );
    }
    Ok(())
}

/// What holds for any task (`validateTask`): what it needs by itself.
fn alone(task: &TaskInfo, framework: &Framework, agent: &Agent) -> Result<Pool, String> {
    let id = &task.task_id.value;
    if !valid_id(id) {
        return Err("Task has an invalid TaskID".into());
    }
    if framework.tasks.contains_key(id) {
        return Err(format!("Task has duplicate ID: {id}"));
    }
    if framework.unreachable.contains_key(id) {
        return Err(format!("Task reuses the ID of an unreachable task: {id}"));
    }
    if framework.tasks.len() >= MAX_TASKS_PER_FRAMEWORK {
        return Err(format!("The framework has {MAX_TASKS_PER_FRAMEWORK} tasks, which is the limit"));
    }
    let here = agent.info.id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
    if task.slave_id.value != here {
        return Err(format!(
            "Task uses invalid agent {} while agent {here} is expected",
            task.slave_id.value
        ));
    }
    if negative(task.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref())) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".into());
    }
    if negative(task.max_completion_time.as_ref()) {
        return Err("Task's `max_completion_time` must be non-negative".into());
    }
    if let Some(check) = &task.check {
        checks::check(check).map_err(|why| format!("Task uses invalid check: {why}"))?;
    }
    if let Some(check) = &task.health_check {
        checks::health_check(check).map_err(|why| format!("Task uses invalid health check: {why}"))?;
    }
    if task.resources.is_empty() {
        return Err("Task uses no resources".into());
    }
    let needs = resources(&task.resources, "Task")?;
    if needs.is_empty() {
        return Err("Task uses no resources".into());
    }
    if let Some(command) = &task.command {
        checks::command(command).map_err(|why| format!("Task's `CommandInfo` is invalid: {why}"))?;
    }
    if let Some(container) = &task.container {
        checks::container(container).map_err(|why| format!("Task's `ContainerInfo` is invalid: {why}"))?;
    }
    limits(task, &needs, agent)?;
    Ok(needs)
}

fn negative(duration: Option<&DurationInfo>) -> bool {
    duration.is_some_and(|duration| duration.nanoseconds < 0)
}

/// `resource::validate` and what else holds for the resources of a task or an executor.
fn resources(list: &[Resource], whose: &str) -> Result<Pool, String> {
    let invalid = |why: String| format!("{whose} uses invalid resources: {why}");
    let pool = Pool::of(list).map_err(invalid)?;
    if pool.quantities().milli("gpus") % 1000 != 0 {
        return Err(invalid("The 'gpus' resource must be an unsigned integer".into()));
    }
    list.iter().try_for_each(checks::disk_info).map_err(invalid)?;
    unique_volumes(list.iter()).map_err(|why| format!("{whose} uses duplicate persistence ID: {why}"))?;
    let revocable = |resource: &&Resource| resource.revocable.is_some();
    let mixed = |one: &Resource| list.iter().any(|other| other.name == one.name && other.revocable.is_none());
    if let Some(resource) = list.iter().filter(revocable).find(|resource| mixed(resource)) {
        return Err(format!(
            "Cannot use both revocable and non-revocable '{}' at the same time",
            resource.name
        ));
    }
    Ok(pool)
}

/// Limits are for cpus and mem alone, and not below the request (`validateResourceLimits`). They may be infinite.
fn limits(task: &TaskInfo, needs: &Pool, agent: &Agent) -> Result<(), String> {
    if task.limits.is_empty() {
        return Ok(());
    }
    if !agent.has(slave_info::capability::Type::TaskResourceLimits) {
        return Err("Agent is not capable of handling task resource limits".into());
    }
    for (name, limit) in &task.limits {
        let (short, long) = match name.as_str() {
            "cpus" => ("cpu", "CPU"),
            "mem" => ("memory", "memory"),
            _ => return Err("Only cpus and mem may be included in a task's resource limits".into()),
        };
        let request = needs.quantities().milli(name);
        if request == 0 {
            return Err(format!("When a {long} limit is specified, a {long} request must also be specified"));
        }
        if limit.value.is_nan()
            || limit.value.is_finite() && milli(limit.value) < request
            || limit.value < 0.0
        {
            return Err(format!("The {short} limit must be greater than or equal to the {short} request"));
        }
    }
    Ok(())
}

/// An executor of framework `id`: what it holds, and whether it is still to be launched.
fn executor(info: &ExecutorInfo, id: &str, agent: &Agent) -> Result<(Pool, bool), String> {
    use executor_info::Type;
    match info.r#type() {
        Type::Default if info.command.is_some() => {
            return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".into());
        }
        Type::Default => {
            if let Some(container) = &info.container {
                if container.r#type() != container_info::Type::Mesos {
                    return Err("'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor".into());
                }
                if container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) {
                    return Err(
                        "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor".into(),
                    );
                }
            }
        }
        Type::Custom if info.command.is_none() => {
            return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".into());
        }
        Type::Custom | Type::Unknown => {}
    }
    if !valid_id(&info.executor_id.value) {
        return Err("Executor has an invalid ExecutorID".into());
    }
    if negative(info.shutdown_grace_period.as_ref()) {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".into());
    }
    if let Some(command) = &info.command {
        checks::command(command).map_err(|why| format!("Executor's `CommandInfo` is invalid: {why}"))?;
    }
    if let Some(container) = &info.container {
        checks::container(container)
            .map_err(|why| format!("Executor's `ContainerInfo` is invalid: {why}"))?;
    }
    match &info.framework_id {
        None => return Err("'ExecutorInfo.framework_id' must be set".into()),
        Some(other) if other.value != id => {
            return Err(format!(
                "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {id})",
                other.value
            ));
        }
        Some(_) => {}
    }
    let held = resources(&info.resources, "Executor")?;
    let key = (id.to_owned(), info.executor_id.value.clone());
    match agent.executors.get(&key) {
        None => Ok((held, true)),
        Some(there) if same(&there.info, info) => Ok((held, false)),
        Some(_) => Err(format!(
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID '{}'",
            key.1
        )),
    }
}

/// Same executor, whatever format its resources were said in.
fn same(a: &ExecutorInfo, b: &ExecutorInfo) -> bool {
    let plain = |info: &ExecutorInfo| ExecutorInfo { resources: Vec::new(), ..info.clone() };
    plain(a) == plain(b) && Pool::of(&a.resources) == Pool::of(&b.resources)
}
