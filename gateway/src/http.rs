//! What operators ask over HTTP, on the port that the master uses too. See `gateway/README.md` for the list.

use crate::agent::{AgentView, Agents};
use crate::driver::Query;
use crate::session::Sessions;
use http::{Method, Request, Response, StatusCode};
use libprocess::{Body, HttpHandler, full};
use node_proto::Power;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Answers requests by asking the driver.
pub(crate) fn handler(queries: mpsc::Sender<Query>) -> HttpHandler {
    Arc::new(move |request| {
        let queries = queries.clone();
        Box::pin(async move { answer(&request, &queries).await })
    })
}

async fn ask<T>(queries: &mpsc::Sender<Query>, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    queries.send(query(reply)).await.ok()?;
    answer.await.ok()
}

async fn answer(request: &Request<bytes::Bytes>, queries: &mpsc::Sender<Query>) -> Response<Body> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
    }
    let query: Vec<(&str, &str)> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let value = |name: &str| query.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let path = request.uri().path();
    let found = match path {
        "/health" => return text(StatusCode::OK, ""),
        "/version" => Some(json!({ "version": "1.11.0", "gateway": env!("CARGO_PKG_VERSION") })),
        "/nodes" => ask(queries, Query::Nodes).await,
        "/metrics/snapshot" => ask(queries, Query::Metrics).await,
        "/logs" => {
            let (Some(task), Ok(offset)) = (value("task"), value("offset").unwrap_or("0").parse()) else {
                return text(StatusCode::BAD_REQUEST, "expected /logs?task=ID&offset=BYTES\n");
            };
            let task = task.to_owned();
            let log = ask(queries, |reply| Query::Log { task, offset, reply }).await.flatten();
            log.map(|(offset, data)| {
                json!({ "offset": offset, "data": String::from_utf8_lossy(&data),
                "length": data.len() })
            })
        }
        _ => match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((actor, "state")) => {
                let actor = actor.replace("%28", "(").replace("%29", ")");
                ask(queries, |reply| Query::AgentState(actor, reply)).await.flatten()
            }
            _ => None,
        },
    };
    match found {
        Some(value) => {
            let mut response = Response::new(full(value.to_string()));
            response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
            response
        }
        None => text(StatusCode::NOT_FOUND, "no such thing here; see /nodes\n"),
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

fn power(power: Power) -> Value {
    match power {
        Power::Mains => json!("mains"),
        Power::Battery(percent) => json!({ "battery_percent": percent }),
    }
}

pub(crate) fn nodes(agents: &Agents, sessions: &Sessions, now_ms: u64) -> Value {
    let nodes = agents.node_ids().into_iter().filter_map(|id| {
        let agent = agents.view(id)?;
        let session = sessions.view(id, now_ms)?;
        let tasks: Vec<Value> = agent
            .tasks
            .iter()
            .map(|task| {
                let usage = task.usage.unwrap_or(node_proto::Usage {
                    task: 0,
                    cpu_ms: 0,
                    granted_ms: 0,
                    mem_bytes: 0,
                    received: 0,
                });
                json!({
                    "task_id": task.task_id, "framework_id": task.framework_id, "state": task.state,
                    "cpus": task.cpu_permille as f64 / 1000.0, "cpu_ms": usage.cpu_ms, "cpu_granted_ms": usage.granted_ms,
                    "mem_bytes": usage.mem_bytes, "mem_granted_bytes": task.mem_bytes,
                    "received_bytes": usage.received, "total_bytes": task.total_bytes,
                    "updates_waiting": task.updates_waiting,
                })
            })
            .collect();
        Some(json!({
            "node": id.to_string(), "board": agent.board, "actor": agent.actor, "agent_id": agent.slave_id,
            "state": agent.state, "live": agent.live, "power": power(agent.power), "boot": agent.boot,
            "resources": agent.resources.iter().map(|(name, milli)| (name.to_owned(), json!(milli as f64 / 1000.0)))
                .collect::<serde_json::Map<_, _>>(),
            "address": session.peer.map(|peer| peer.to_string()), "heard_ms_ago": session.heard_ms_ago,
            "mailbox": session.mailbox, "mailbox_age_ms": session.mailbox_age_ms,
            "datagrams_in": session.traffic.datagrams_in, "bytes_in": session.traffic.bytes_in,
            "datagrams_out": session.traffic.datagrams_out, "bytes_out": session.traffic.bytes_out,
            "tasks": tasks,
        }))
    });
    json!({ "nodes": nodes.collect::<Vec<_>>() })
}

pub(crate) fn agent_state(agent: &AgentView) -> Value {
    json!({
        "id": agent.slave_id, "pid_actor": agent.actor, "hostname": format!("{}", agent.node), "version": "1.11.0",
        "resources": agent.resources.iter().map(|(name, milli)| (name.to_owned(), json!(milli as f64 / 1000.0)))
            .collect::<serde_json::Map<_, _>>(),
        "attributes": { "eui64": agent.node.to_string(), "board": agent.board },
        "tasks": agent.tasks.iter().map(|task| json!({ "id": task.task_id, "framework_id": task.framework_id,
            "state": task.state })).collect::<Vec<_>>(),
    })
}

pub(crate) fn metrics(
    agents: &Agents,
    sessions: &Sessions,
    transport: libprocess::Counters,
    radio: Option<lowpan::Counters>,
    now_ms: u64,
) -> Value {
    let ids = agents.node_ids();
    let live = ids.iter().filter(|id| sessions.view(**id, now_ms).is_some_and(|view| view.online)).count();
    let registered =
        ids.iter().filter_map(|id| agents.view(*id)).filter(|view| view.state == "registered").count();
    let (session, coap) = sessions.counters();
    let mut metrics = json!({
        "gateway/nodes": ids.len(), "gateway/nodes_live": live, "gateway/agents_registered": registered,
        "gateway/unknown_peers": session.unknown_peers, "gateway/malformed": session.malformed + coap.malformed,
        "gateway/repeated": session.repeated, "gateway/mailbox_full": session.mailbox_full,
        "coap/received": coap.received, "coap/sent": coap.sent, "coap/retransmitted": coap.retransmitted,
        "coap/duplicates": coap.duplicates, "coap/unmatched": coap.unmatched,
        "libprocess/received": transport.received, "libprocess/sent": transport.sent,
        "libprocess/dropped": transport.dropped, "libprocess/refused": transport.refused,
    });
    if let (Some(radio), Some(map)) = (radio, metrics.as_object_mut()) {
        map.insert("radio/frames_in".into(), json!(radio.frames_in));
        map.insert("radio/frames_out".into(), json!(radio.frames_out));
        map.insert("radio/bytes_in".into(), json!(radio.bytes_in));
        map.insert("radio/bytes_out".into(), json!(radio.bytes_out));
        map.insert("radio/malformed".into(), json!(radio.malformed));
        map.insert("radio/lapsed".into(), json!(radio.lapsed));
    }
    metrics
}
