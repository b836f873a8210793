//! `/frameworks`, and a framework as `/state` and `/state-summary` have it too.

use super::form::{labels, maybe, seconds, task};
use crate::core::{Completed, MasterCore};
use crate::state::{Executor, Framework, Link, is_terminal};
use crate::sums::{Executors, total, used_by};
use mesos_proto::mesos::{CommandInfo, FrameworkInfo, framework_info};
use mesos_proto::pool::Pool;
use serde_json::{Value, json};

impl MasterCore {
    /// All frameworks, or one.
    pub(super) fn frameworks_document(&self, only: Option<&str>) -> Value {
        let wanted = |id: &str| only.is_none_or(|only| only == id);
        let executors = self.executors();
        let nothing = Executors::new();
        let frameworks: Vec<_> = self
            .frameworks
            .iter()
            .filter(|(id, _)| wanted(id))
            .map(|(id, own)| self.framework(id, own, executors.get(id.as_str()).unwrap_or(&nothing)))
            .collect();
        let over: Vec<_> = self.completed.iter().filter(|done| wanted(&done.id)).map(completed).collect();
        json!({
            "frameworks": frameworks, "completed_frameworks": over, "unregistered_frameworks": [],
        })
    }

    /// What `/state-summary` says of a framework, and `/state` first.
    pub(super) fn framework_summary(
        &self,
        id: &str,
        framework: &Framework,
        executors: &Executors<'_>,
    ) -> Value {
        let mut json = named(id, &framework.info);
        json["used_resources"] = total(&used_by(framework, executors)).to_json(None).into();
        json["offered_resources"] = total(&self.offered(&framework.offers)).to_json(None).into();
        json["active"] = framework.active.into();
        json["connected"] = framework.connected.into();
        json["recovered"] = framework.recovered().into();
        if let Some(Link::Driver(pid)) = &framework.link {
            json["pid"] = pid.to_string().into();
        }
        json
    }

    fn framework(&self, id: &str, framework: &Framework, executors: &Executors<'_>) -> Value {
        let mut json = self.framework_summary(id, framework, executors);
        let mut held = total(&used_by(framework, executors));
        held.add(&total(&self.offered(&framework.offers)));
        let offers: Vec<_> = framework
            .offers
            .iter()
            .filter_map(|offer| Some((offer, self.offers.get(offer)?)))
            .map(|(offer, record)| {
                json!({
                    "id": offer, "framework_id": id, "slave_id": record.agent,
                    "allocation_info": {"role": record.role}, "resources": record.resources.to_json(None),
                })
            })
            .collect();
        // An end that is not acknowledged yet is shown with those that are.
        let (over, live): (Vec<_>, Vec<_>) =
            framework.tasks.values().map(|record| &record.task).partition(|task| is_terminal(task.state()));
        let over: Vec<_> = over.into_iter().chain(&framework.completed).map(task).collect();
        let unreachable: Vec<_> = framework.unreachable.values().map(task).collect();
        describe(&mut json, &framework.info);
        let more = json!({
            "registered_time": seconds(framework.registered_ms), "unregistered_time": 0.0,
            "resources": held.to_json(None),
            "tasks": live.into_iter().map(task).collect::<Vec<_>>(),
            "completed_tasks": over, "unreachable_tasks": unreachable,
            "executors": executors.iter().map(|(agent, own)| executor(agent, own)).collect::<Vec<_>>(),
            "offers": offers,
        });
        if let (Some(json), Value::Object(more)) = (json.as_object_mut(), more) {
            json.extend(more);
        }
        maybe(&mut json, "reregistered_time", framework.reregistered_ms.map(seconds));
        json
    }
}

/// What every document says of a framework.
fn named(id: &str, info: &FrameworkInfo) -> Value {
    let capabilities: Vec<_> = info
        .capabilities
        .iter()
        .filter_map(|c| framework_info::capability::Type::try_from(c.r#type?).ok())
        .map(|c| c.as_str_name())
        .collect();
    json!({
        "id": id, "name": info.name, "hostname": info.hostname(), "webui_url": info.webui_url(),
        "capabilities": capabilities,
    })
}

/// What a framework said of itself.
fn describe(json: &mut Value, info: &FrameworkInfo) {
    json["user"] = info.user.as_str().into();
    json["checkpoint"] = info.checkpoint().into();
    json["failover_timeout"] = info.failover_timeout().into();
    json["labels"] = labels(info.labels.as_ref());
    // One or the other, as the framework's own message has it.
    let multi = framework_info::capability::Type::MultiRole as i32;
    if info.capabilities.iter().any(|capability| capability.r#type == Some(multi)) {
        json["roles"] = info.roles.clone().into();
    } else {
        json["role"] = info.role().into();
    }
    maybe(json, "principal", info.principal.clone());
}

fn completed(done: &Completed) -> Value {
    let mut json = named(&done.id, &done.info);
    describe(&mut json, &done.info);
    let tasks: Vec<_> = done.tasks.iter().map(task).collect();
    let nothing = Pool::default().to_json(None);
    let more = json!({
        "active": false, "connected": false, "recovered": false,
        "used_resources": nothing, "offered_resources": nothing, "resources": nothing,
        "registered_time": seconds(done.registered_ms), "unregistered_time": seconds(done.unregistered_ms),
        "tasks": [], "completed_tasks": tasks, "unreachable_tasks": [], "executors": [], "offers": [],
    });
    if let (Some(json), Value::Object(more)) = (json.as_object_mut(), more) {
        json.extend(more);
    }
    json
}

fn executor(agent: &str, executor: &Executor) -> Value {
    let info = &executor.info;
    let mut json = json!({
        "executor_id": info.executor_id.value, "name": info.name(), "slave_id": agent,
        "framework_id": info.framework_id.as_ref().map(|id| id.value.as_str()),
        "resources": executor.held.to_json(None), "role": executor.role,
    });
    maybe(&mut json, "command", info.command.as_ref().map(command));
    maybe(&mut json, "labels", info.labels.as_ref().map(|own| labels(Some(own))));
    maybe(&mut json, "type", info.r#type.map(|_| info.r#type().as_str_name()));
    json
}

/// A command without its environment, in which secrets are kept.
fn command(command: &CommandInfo) -> Value {
    let uris = command.uris.iter();
    let uris: Vec<_> = uris.map(|uri| json!({"value": uri.value, "executable": uri.executable()})).collect();
    json!({
        "shell": command.shell(), "value": command.value(), "argv": command.arguments, "uris": uris,
    })
}
