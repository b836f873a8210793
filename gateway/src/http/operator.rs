//! `/api/v1`: the operator API of a real agent (include/mesos/v1/agent/agent.proto), the calls that read. Calls and
//! answers are JSON; calls that would change a container, and protobuf, are refused with the status that says so.

use super::files;
use super::metrics;
use super::state;
use crate::agent::{Snapshot, Who};
use crate::driver::Query;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use libprocess::reply::Reply;
use mesos_proto::mesos::{self, v1};
use mesos_proto::{json as form, recast};
use prost::{Message, Name};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

const JSON: &str = "application/json";

pub(super) async fn call(request: &Request<Bytes>, who: Who, queries: &mpsc::Sender<Query>) -> Reply {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !text(header::CONTENT_TYPE).starts_with(JSON) {
        return Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "calls are application/json here");
    }
    let accept = text(header::ACCEPT);
    if !accept.is_empty() && ![JSON, "*/*", "application/*"].iter().any(|kind| accept.contains(kind)) {
        return Reply::text(StatusCode::NOT_ACCEPTABLE, "answers are application/json here");
    }
    let Ok(call) = serde_json::from_slice::<Value>(request.body()) else {
        return Reply::bad("the call is no JSON");
    };
    let Some(kind) = call.get("type").and_then(Value::as_str) else {
        return Reply::bad("expected a call with a 'type'");
    };
    let field = |of: &str, name: &str| call.get(of)?.get(name).cloned();
    let path = |of: &str| field(of, "path").and_then(|path| path.as_str().map(str::to_owned));
    match kind {
        "GET_HEALTH" => answered(kind, json!({ "healthy": true })),
        "GET_VERSION" => answered(kind, json!({ "version_info": { "version": super::MESOS_VERSION } })),
        "GET_LOGGING_LEVEL" => answered(kind, json!({ "level": 0 })),
        "LIST_FILES" => match path("list_files") {
            Some(path) => list_files(&path, queries).await.unwrap_or_else(|refusal| refusal),
            None => Reply::bad("list_files.path: expected a path"),
        },
        "READ_FILE" => match (path("read_file"), field("read_file", "offset").and_then(|at| at.as_u64())) {
            (Some(path), Some(offset)) => {
                let length = field("read_file", "length").and_then(|length| length.as_u64());
                read_file(&path, offset, length, queries).await.unwrap_or_else(|refusal| refusal)
            }
            _ => Reply::bad("read_file: expected path and offset"),
        },
        "GET_FLAGS" | "GET_METRICS" | "GET_STATE" | "GET_TASKS" | "GET_EXECUTORS" | "GET_FRAMEWORKS"
        | "GET_CONTAINERS" | "GET_AGENT" | "GET_OPERATIONS" => match super::snapshot(queries, &who).await {
            Some(snapshot) => answered(kind, of_agent(kind, &snapshot)),
            None => Reply::not_found("no such agent: call /slave(N)/api/v1, or by its hostname"),
        },
        _ => Reply::text(StatusCode::NOT_IMPLEMENTED, "a node has no containers to attach to or to change"),
    }
}

fn answered(kind: &str, body: Value) -> Reply {
    Reply::json(json!({ "type": kind, (kind.to_ascii_lowercase()): body }))
}

async fn list_files(path: &str, queries: &mpsc::Sender<Query>) -> Result<Reply, Reply> {
    let infos = files::entries(path, queries).await?.into_iter().map(|mut entry| {
        if let Some(map) = entry.as_object_mut() {
            let seconds = map.get("mtime").and_then(Value::as_u64).unwrap_or_default();
            map.insert("mtime".into(), json!({ "nanoseconds": seconds.saturating_mul(1_000_000_000) }));
            let directory = map.get("mode").and_then(Value::as_str).is_some_and(|mode| mode.starts_with('d'));
            map.insert("mode".into(), json!(if directory { 0o040_555 } else { 0o100_444 }));
        }
        entry
    });
    Ok(answered("LIST_FILES", json!({ "file_infos": infos.collect::<Vec<_>>() })))
}

async fn read_file(
    path: &str,
    offset: u64,
    length: Option<u64>,
    queries: &mpsc::Sender<Query>,
) -> Result<Reply, Reply> {
    let piece = files::piece(path, offset, queries).await?;
    let data = piece.upto(length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX)));
    Ok(answered("READ_FILE", json!({ "size": piece.size, "data": STANDARD.encode(data) })))
}

/// A v0 message as the v1 API's JSON.
fn v1<A: Message, B: Message + Name + Default>(message: &A) -> Value {
    let cast = recast::<A, B>(message).ok();
    cast.and_then(|message| form::to_json(&message).ok()).unwrap_or_default()
}

fn of_agent(kind: &str, snapshot: &Snapshot) -> Value {
    match kind {
        "GET_FLAGS" => {
            let flags = state::flags(snapshot);
            let flags = flags.as_object().into_iter().flatten();
            let named = flags.map(|(name, value)| json!({ "name": name, "value": value }));
            json!({ "flags": named.collect::<Vec<_>>() })
        }
        "GET_METRICS" => {
            let metrics = metrics::agent(snapshot);
            let metrics = metrics.as_object().into_iter().flatten();
            let named = metrics.map(|(name, value)| json!({ "name": name, "value": value }));
            json!({ "metrics": named.collect::<Vec<_>>() })
        }
        "GET_TASKS" => tasks(snapshot),
        "GET_EXECUTORS" => executors(snapshot),
        "GET_FRAMEWORKS" => frameworks(snapshot),
        "GET_CONTAINERS" => containers(snapshot),
        "GET_AGENT" => {
            let mut slave = snapshot.slave.clone();
            slave.resources.extend(snapshot.reserved.iter().cloned());
            json!({ "agent_info": v1::<_, v1::AgentInfo>(&slave) })
        }
        "GET_OPERATIONS" => {
            let operations = snapshot.operations.iter().map(v1::<mesos::Operation, v1::Operation>);
            json!({ "operations": operations.collect::<Vec<_>>() })
        }
        _ => json!({ "get_tasks": tasks(snapshot), "get_executors": executors(snapshot),
            "get_frameworks": frameworks(snapshot) }),
    }
}

fn tasks(snapshot: &Snapshot) -> Value {
    let with = |wanted: &dyn Fn(&crate::agent::TaskSnapshot) -> bool| -> Vec<Value> {
        let chosen = snapshot.tasks.iter().filter(|task| wanted(task));
        chosen.map(|task| v1::<_, v1::Task>(&task.task)).collect()
    };
    let completed = snapshot.completed.iter().map(|done| v1::<_, v1::Task>(&done.task));
    json!({
        "queued_tasks": with(&|task| task.queued),
        "launched_tasks": with(&|task| !task.queued && !task.ended),
        "terminated_tasks": with(&|task| task.ended),
        "completed_tasks": completed.collect::<Vec<_>>(),
    })
}

fn executors(snapshot: &Snapshot) -> Value {
    let (live, over): (Vec<_>, Vec<_>) =
        state::executors(snapshot).into_iter().partition(|executor| !executor.tasks.is_empty());
    let show = |executors: Vec<state::Executor<'_>>| -> Vec<Value> {
        let info = |executor: &state::Executor<'_>| {
            let own = executor.info.cloned().unwrap_or_else(|| mesos::ExecutorInfo {
                executor_id: mesos::ExecutorId { value: executor.id.to_owned() },
                framework_id: Some(mesos::FrameworkId { value: executor.framework.to_owned() }),
                name: Some(executor.name()),
                resources: executor.allocated(),
                ..Default::default()
            });
            json!({ "executor_info": v1::<_, v1::ExecutorInfo>(&own) })
        };
        executors.iter().map(info).collect()
    };
    json!({ "executors": show(live), "completed_executors": show(over) })
}

fn frameworks(snapshot: &Snapshot) -> Value {
    let show = |info: &mesos::FrameworkInfo| json!({ "framework_info": v1::<_, v1::FrameworkInfo>(info) });
    let mut over: Map<String, Value> = Map::new();
    for done in &snapshot.completed {
        if snapshot.frameworks.iter().all(|live| live.id != done.framework.id) {
            let id = done.framework.id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
            over.insert(id, show(&done.framework));
        }
    }
    json!({
        "frameworks": snapshot.frameworks.iter().map(show).collect::<Vec<_>>(),
        "completed_frameworks": over.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>(),
    })
}

fn containers(snapshot: &Snapshot) -> Value {
    let shown = state::containers(snapshot);
    let list = shown.as_array().into_iter().flatten().map(|container| {
        json!({
            "framework_id": { "value": container["framework_id"] },
            "executor_id": { "value": container["executor_id"] },
            "executor_name": container["executor_name"],
            "container_id": { "value": container["container_id"] },
            "resource_statistics": container["statistics"], "container_status": container["status"],
        })
    });
    json!({ "containers": list.collect::<Vec<_>>() })
}
