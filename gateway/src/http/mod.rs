//! What operators, the master's web UI, exporters and the `mesos` command ask over HTTP, on the port that the master
//! uses too. See `gateway/README.md` for the list.
//!
//! Thousands of agents share one address. Which one is meant is in the path (`/slave(7)/state`), or in the `Host`
//! header, or there is only one. The driver gives a snapshot; everything that takes time is done here, outside it.

mod files;
mod metrics;
mod operator;
mod state;

use crate::agent::{Snapshot, Who};
use crate::driver::Query;
use crate::view::Views;
use http::{Method, Request, Response, StatusCode, header};
use libprocess::reply::{Asked, Reply};
use libprocess::{Body, HttpHandler};
use page::Page;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

pub(crate) use metrics::{Figures, metrics};
pub(crate) use state::{attributes, charge, nodes};

/// Version of Mesos that the agents speak like.
pub const MESOS_VERSION: &str = "1.11.0";
/// What is the gateway's own besides the page and no agent's: asked for with the operator's token where there is one.
const OWN: [&str; 3] = ["/nodes", "/logs", "/metrics"];
/// Nodes in one answer of `/nodes`, at most and unless the asker says less.
const NODES_MAX: usize = 1_000;

/// Answers requests by asking the driver.
pub(crate) fn handler(queries: mpsc::Sender<Query>, page: Page, views: Views) -> HttpHandler {
    Arc::new(move |request| {
        let (queries, page, views) = (queries.clone(), page.clone(), views.clone());
        Box::pin(async move {
            let path = request.uri().path();
            if let Some(file) = page.file(&request) {
                return file;
            }
            if path.starts_with("/view/") {
                return page.view(&request, views).await;
            }
            if OWN.contains(&path) {
                return own(&request, &queries, &page).await;
            }
            answer(&request, &queries).await
        })
    })
}

/// Answers what is nobody's but the operator's: an agent's answers are there for the master's web UI, these are not for
/// pages of other origins, by CORS or as a script.
async fn own(request: &Request<bytes::Bytes>, queries: &mpsc::Sender<Query>, page: &Page) -> Response<Body> {
    if let Err(refused) = page.guard().check(request.method(), request.headers()) {
        return *refused;
    }
    if Asked::of(request).value("jsonp").is_some() {
        return page::Refusal::bad("jsonp: not here, where other sites' pages are not to read").response();
    }
    let mut response = answer(request, queries).await;
    for header in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
    ] {
        response.headers_mut().remove(header);
    }
    response
}

async fn ask<T>(queries: &mpsc::Sender<Query>, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    queries.send(query(reply)).await.ok()?;
    answer.await.ok()
}

/// The agent that the rest of a request is about, and that rest.
fn route<'a>(asked: &Asked, path: &'a str) -> (Who, &'a str) {
    if let Some((first, rest)) = path.get(1..).and_then(|path| path.split_once('/')) {
        let actor = libprocess::percent_decode(first).unwrap_or_default();
        if let Some(number) = crate::agent::actor_number(&actor).filter(|_| actor.starts_with("slave(")) {
            return (Who::Actor(number), &path[path.len() - rest.len() - 1..]);
        }
    }
    match &asked.host {
        Some(host) if host.parse::<std::net::IpAddr>().is_err() => (Who::Host(host.clone()), path),
        _ => (Who::Only, path),
    }
}

async fn answer(request: &Request<bytes::Bytes>, queries: &mpsc::Sender<Query>) -> Response<Body> {
    let asked = Asked::of(request);
    let (who, path) = route(&asked, request.uri().path());
    let reply = match (request.method(), path) {
        (&Method::OPTIONS, _) => Reply::empty(StatusCode::NO_CONTENT),
        (&Method::POST, "/api/v1") => operator::call(request, who, queries).await,
        (_, "/api/v1") => Reply::not_allowed("POST"),
        (&Method::GET | &Method::HEAD, path) => get(&asked, who, path, queries).await,
        _ => Reply::not_allowed("GET, HEAD, OPTIONS"),
    };
    reply.for_other_origins().finish(&asked, request.method() == Method::HEAD)
}

fn stopping() -> Reply {
    Reply::unavailable("the gateway is stopping")
}

async fn snapshot(queries: &mpsc::Sender<Query>, who: &Who) -> Option<Snapshot> {
    let found = ask(queries, |reply| Query::Snapshot(who.clone(), reply)).await.flatten();
    if found.is_some() || !matches!(who, Who::Host(_)) {
        return found;
    }
    // The gateway was called by a name of its own.
    ask(queries, |reply| Query::Snapshot(Who::Only, reply)).await.flatten()
}

async fn get(asked: &Asked, who: Who, path: &str, queries: &mpsc::Sender<Query>) -> Reply {
    match path {
        "/health" => Reply::text(StatusCode::OK, ""),
        "/version" => Reply::json(json!({ "version": MESOS_VERSION, "gateway": env!("CARGO_PKG_VERSION") })),
        "/nodes" => {
            let (Ok(offset), Ok(limit)) = (asked.number("offset", 0), asked.number("limit", NODES_MAX))
            else {
                return Reply::bad("offset and limit: expected numbers of 0 or more");
            };
            let limit = limit.min(NODES_MAX);
            let found = ask(queries, |reply| Query::Nodes { offset, limit, reply }).await;
            found.map_or_else(stopping, Reply::json)
        }
        "/metrics" => {
            let found = ask(queries, Query::Figures).await;
            found.map_or_else(stopping, |figures| Reply::prometheus(metrics::prometheus(&figures)))
        }
        "/metrics/snapshot" => {
            match ask(queries, |reply| Query::Snapshot(who.clone(), reply)).await.flatten() {
                Some(snapshot) if who != Who::Only => Reply::json(metrics::agent(&snapshot)),
                _ => {
                    let found = ask(queries, Query::Figures).await;
                    found.map_or_else(stopping, |figures| Reply::json(metrics(&figures)))
                }
            }
        }
        "/logs" => logs(asked, queries).await,
        "/files/browse" | "/files/read" | "/files/download" | "/files/debug" => {
            files::get(asked, who, &path["/files/".len()..], queries).await
        }
        "/files/browse.json" | "/files/read.json" | "/files/download.json" | "/files/debug.json" => {
            files::get(asked, who, path["/files/".len()..].trim_end_matches(".json"), queries).await
        }
        "/state" | "/state.json" => of_agent(queries, &who, state::state).await,
        "/containers" => of_agent(queries, &who, state::containers).await,
        "/monitor/statistics" | "/monitor/statistics.json" => {
            of_agent(queries, &who, state::statistics).await
        }
        "/flags" => of_agent(queries, &who, |snapshot| json!({ "flags": state::flags(snapshot) })).await,
        _ => Reply::not_found("no such thing here; the gateway's README has the list, /nodes the agents"),
    }
}

async fn of_agent(
    queries: &mpsc::Sender<Query>,
    who: &Who,
    show: impl FnOnce(&Snapshot) -> serde_json::Value,
) -> Reply {
    match snapshot(queries, who).await {
        Some(snapshot) => Reply::json(show(&snapshot)),
        None => Reply::not_found(
            "no such agent: name one as /slave(N)/..., or by its hostname as the Host; /nodes lists them",
        ),
    }
}

async fn logs(asked: &Asked, queries: &mpsc::Sender<Query>) -> Reply {
    let (Some(task), Ok(offset)) = (asked.value("task"), asked.number("offset", 0)) else {
        return Reply::bad("expected /logs?task=ID&offset=BYTES");
    };
    let task = task.to_owned();
    match ask(queries, |reply| Query::Log { task, offset: offset as u64, reply }).await.flatten() {
        Some((offset, data)) => {
            Reply::json(json!({ "offset": offset, "data": String::from_utf8_lossy(&data),
            "length": data.len() }))
        }
        None => Reply::not_found("no such task has logged anything here"),
    }
}
