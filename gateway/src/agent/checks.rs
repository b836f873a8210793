//! Checks of tasks: what a framework asks for, as a node can do it, and what it is told.
//!
//! A node asks the task itself, by a function that it exports. There is no shell and no port to probe, so HTTP and
//! TCP checks are refused. A health check by the word [`LEASE`] is the gateway's own: the task is well while its node
//! is heard.

use super::{Agents, Said};
use crate::bridge::NodeId;
use mesos_proto::mesos::task_status::{Reason, Source};
use mesos_proto::mesos::{CheckInfo, CheckStatusInfo, HealthCheck, TaskInfo, TaskState};
use mesos_proto::mesos::{CommandInfo, check_info, check_status_info, health_check};
use node_proto::TaskHandle;

/// The command of a health check that follows the node's lease.
pub const LEASE: &str = "lease";

/// A check as the document of a launch carries it, with names of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub entry: String,
    pub delay_s: u16,
    pub interval_s: u16,
    pub timeout_s: u16,
    pub grace_s: u16,
    pub failures: u8,
}

/// What the node is to ask, if anything. The error is for the framework.
pub(super) fn plan(task: &TaskInfo) -> Result<Option<Check>, String> {
    match (&task.health_check, &task.check) {
        (Some(_), Some(_)) => Err("a node asks a task one thing: give a health check or a check".into()),
        (Some(check), None) => health(check),
        (None, Some(check)) => general(check).map(Some),
        (None, None) => Ok(None),
    }
}

fn health(check: &HealthCheck) -> Result<Option<Check>, String> {
    use health_check::Type;
    let kind = check.r#type.and_then(|kind| Type::try_from(kind).ok());
    if matches!(kind, Some(Type::Http | Type::Tcp)) || check.http.is_some() || check.tcp.is_some() {
        return Err(
            "a node answers no HTTP or TCP health checks: name an exported function as command".into()
        );
    }
    let entry = entry(check.command.as_ref())?;
    if entry == LEASE {
        return Ok(None);
    }
    Ok(Some(Check {
        entry,
        delay_s: seconds("delay_seconds", check.delay_seconds, 15.0)?,
        interval_s: seconds("interval_seconds", check.interval_seconds, 10.0)?.max(1),
        timeout_s: seconds("timeout_seconds", check.timeout_seconds, 20.0)?,
        grace_s: seconds("grace_period_seconds", check.grace_period_seconds, 10.0)?,
        failures: check.consecutive_failures.unwrap_or(3).clamp(1, 255) as u8,
    }))
}

fn general(check: &CheckInfo) -> Result<Check, String> {
    let Some(command) = &check.command else {
        return Err("a node answers no HTTP or TCP checks: name an exported function as command".into());
    };
    Ok(Check {
        entry: entry(Some(&command.command))?,
        delay_s: seconds("delay_seconds", check.delay_seconds, 15.0)?,
        interval_s: seconds("interval_seconds", check.interval_seconds, 10.0)?.max(1),
        timeout_s: seconds("timeout_seconds", check.timeout_seconds, 20.0)?,
        grace_s: 0,
        failures: 0,
    })
}

fn entry(command: Option<&CommandInfo>) -> Result<String, String> {
    let name = command.and_then(|command| command.value.as_deref()).unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!("check: '{}' is not the name of an exported function", name.escape_debug()));
    }
    Ok(name.to_owned())
}

/// Whole seconds, rounded up.
fn seconds(field: &str, value: Option<f64>, default: f64) -> Result<u16, String> {
    let value = value.unwrap_or(default);
    match value.ceil() {
        whole if (0.0..=f64::from(u16::MAX)).contains(&whole) => Ok(whole as u16),
        _ => Err(format!("check: {field} {value}: expected 0 to {} seconds", u16::MAX)),
    }
}

/// What every status of a task with a check says of it, even before the first result.
pub(super) fn status(info: &TaskInfo, exit_code: Option<i32>) -> Option<CheckStatusInfo> {
    let check = info.check.as_ref()?;
    let kind = check.r#type.unwrap_or(check_info::Type::Command as i32);
    let is = |wanted: check_info::Type| kind == wanted as i32;
    Some(CheckStatusInfo {
        r#type: Some(kind),
        command: is(check_info::Type::Command).then_some(check_status_info::Command { exit_code }),
        http: is(check_info::Type::Http).then(Default::default),
        tcp: is(check_info::Type::Tcp).then(Default::default),
    })
}

fn follows_lease(info: &TaskInfo) -> bool {
    let command = info.health_check.as_ref().and_then(|check| check.command.as_ref());
    command.is_some_and(|command| command.value.as_deref() == Some(LEASE))
}

impl Agents {
    /// A health check has changed its mind.
    pub(super) fn health_changed(&mut self, id: NodeId, handle: TaskHandle, healthy: bool, now_ms: u64) {
        let Some(task) = self.nodes.get_mut(&id).and_then(|agent| agent.tasks.get_mut(&handle)) else {
            return;
        };
        if task.progress.killing || task.has_ended() {
            return; // as a real executor, which asks no more then
        }
        task.progress.healthy = Some(healthy);
        let said = Said::by(Source::Executor, Reason::TaskHealthCheckStatusUpdated, "");
        self.update(id, handle, TaskState::TaskRunning, said, now_ms);
    }

    /// A check has returned another value.
    pub(super) fn check_changed(&mut self, id: NodeId, handle: TaskHandle, value: i32, now_ms: u64) {
        let Some(task) = self.nodes.get_mut(&id).and_then(|agent| agent.tasks.get_mut(&handle)) else {
            return;
        };
        if task.progress.killing || task.has_ended() {
            return;
        }
        task.progress.checked = Some(value);
        let said = Said::by(Source::Executor, Reason::TaskCheckStatusUpdated, "");
        self.update(id, handle, TaskState::TaskRunning, said, now_ms);
    }

    /// The lease of a node came or went, or one of its tasks began to run.
    pub(super) fn lease_checks(&mut self, id: NodeId, now_ms: u64) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let live = agent.live;
        let changed = agent.tasks.iter().filter(|(_, task)| {
            task.state() == TaskState::TaskRunning
                && task.progress.healthy != Some(live)
                && task.info().is_some_and(|info| follows_lease(&info))
        });
        let changed: Vec<TaskHandle> = changed.map(|(handle, _)| *handle).collect();
        for handle in changed {
            self.health_changed(id, handle, live, now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(value: &str) -> CommandInfo {
        CommandInfo { value: Some(value.into()), ..Default::default() }
    }

    #[test]
    fn a_check_is_a_function_of_the_task() {
        let health =
            HealthCheck { command: Some(command("well")), delay_seconds: Some(0.2), ..Default::default() };
        let task = TaskInfo { health_check: Some(health.clone()), ..Default::default() };
        let expected = Check {
            entry: "well".into(),
            delay_s: 1,
            interval_s: 10,
            timeout_s: 20,
            grace_s: 10,
            failures: 3,
        };
        assert_eq!(plan(&task), Ok(Some(expected)));
        let lease = HealthCheck { command: Some(command(LEASE)), ..Default::default() };
        assert_eq!(plan(&TaskInfo { health_check: Some(lease), ..Default::default() }), Ok(None));

        let refused = |health: HealthCheck| {
            plan(&TaskInfo { health_check: Some(health), ..Default::default() }).unwrap_err()
        };
        let http = HealthCheck { r#type: Some(health_check::Type::Http as i32), ..health.clone() };
        assert!(refused(http).contains("no HTTP"));
        assert!(
            refused(HealthCheck { command: Some(command("rm -rf /")), ..health.clone() })
                .contains("function")
        );
        assert!(
            refused(HealthCheck { delay_seconds: Some(f64::NAN), ..health.clone() })
                .contains("delay_seconds")
        );
        assert!(refused(HealthCheck { interval_seconds: Some(-2.0), ..health }).contains("interval_seconds"));
    }
}
