//! Small things as `/state` writes them.

use mesos_proto::json::to_json;
use mesos_proto::mesos::{Attribute, Labels, Task, TaskState, TaskStatus};
use mesos_proto::pool::{Pool, UNRESERVED};
use mesos_proto::reservations;
use prost::{Message, Name};
use serde_json::{Map, Value, json};

/// Milliseconds as the seconds that Mesos shows.
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Adds a field if there is something to say.
pub(super) fn maybe(json: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let (Some(map), Some(value)) = (json.as_object_mut(), value) {
        map.insert(name.to_owned(), value.into());
    }
}

/// A message as protobuf's JSON; null if it has none, which does not happen.
pub(super) fn message<M: Message + Name>(message: &M) -> Value {
    to_json(message).unwrap_or_default()
}

/// Resources in full, with both formats of their reservations, for those who have to name them again to undo
/// something (`reserved_resources_full` and its like).
pub(super) fn full(pool: &Pool, allocated_to: Option<&str>) -> Vec<Value> {
    let resources = pool.to_resources(allocated_to, true);
    resources
        .into_iter()
        .map(|mut resource| {
            reservations::show_both(&mut resource);
            message(&resource)
        })
        .collect()
}

/// Tasks by state, all states present.
pub(super) fn tally<'a>(tasks: impl Iterator<Item = &'a Task>) -> Map<String, Value> {
    let mut numbers = [0u64; TaskState::TaskUnknown as usize + 1];
    for task in tasks {
        if let Some(number) = usize::try_from(task.state).ok().and_then(|state| numbers.get_mut(state)) {
            *number += 1;
        }
    }
    let name = |state: usize| TaskState::try_from(i32::try_from(state).ok()?).ok();
    let named = numbers.iter().enumerate().filter_map(|(state, number)| Some((name(state)?, *number)));
    named.map(|(state, number)| (state.as_str_name().to_owned(), number.into())).collect()
}

/// A task with the statuses that are still known.
pub(super) fn task(task: &Task) -> Value {
    let role = task.resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.clone());
    let mut json = json!({
        "id": task.task_id.value, "name": task.name, "framework_id": task.framework_id.value,
        "executor_id": task.executor_id.as_ref().map_or("", |id| id.value.as_str()),
        "slave_id": task.slave_id.value, "state": task.state().as_str_name(),
        "resources": Pool::of(&task.resources).unwrap_or_default().to_json(None),
        "role": role.as_deref().unwrap_or(UNRESERVED),
        "statuses": task.statuses.iter().map(status).collect::<Vec<_>>(),
        "labels": labels(task.labels.as_ref()),
    });
    maybe(&mut json, "user", task.user.clone());
    if !task.limits.is_empty() {
        let limits = task.limits.iter().map(|(name, scalar)| (name.clone(), scalar.value.into()));
        json["limits"] = Value::Object(limits.collect());
    }
    maybe(&mut json, "discovery", task.discovery.as_ref().map(message));
    maybe(&mut json, "container", task.container.as_ref().map(message));
    maybe(&mut json, "health_check", task.health_check.as_ref().map(message));
    json
}

/// A status. Mesos says less: message, source and reason are what an operator asks for next.
fn status(status: &TaskStatus) -> Value {
    let mut json = json!({"state": status.state().as_str_name(), "timestamp": status.timestamp});
    maybe(&mut json, "labels", status.labels.as_ref().map(|own| labels(Some(own))));
    maybe(&mut json, "container_status", status.container_status.as_ref().map(message));
    maybe(&mut json, "healthy", status.healthy);
    maybe(&mut json, "message", status.message.clone());
    maybe(&mut json, "source", status.source.map(|_| status.source().as_str_name()));
    maybe(&mut json, "reason", status.reason.map(|_| status.reason().as_str_name()));
    json
}

pub(super) fn labels(labels: Option<&Labels>) -> Value {
    let labels = labels.map_or(&[][..], |labels| &labels.labels);
    labels
        .iter()
        .map(|label| match &label.value {
            Some(value) => json!({"key": label.key, "value": value}),
            None => json!({"key": label.key}),
        })
        .collect()
}

/// An attribute's value: a number, or text such as `[1-5]` and `{a, b}`.
pub(crate) fn attribute(attribute: &Attribute) -> Value {
    if let Some(scalar) = &attribute.scalar {
        scalar.value.into()
    } else if let Some(text) = &attribute.text {
        text.value.clone().into()
    } else if let Some(ranges) = &attribute.ranges {
        let parts: Vec<_> = ranges.range.iter().map(|r| format!("{}-{}", r.begin, r.end)).collect();
        format!("[{}]", parts.join(", ")).into()
    } else {
        let items = attribute.set.as_ref().map(|set| set.item.join(", ")).unwrap_or_default();
        format!("{{{items}}}").into()
    }
}
