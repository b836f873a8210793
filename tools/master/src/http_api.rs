//! The master's HTTP endpoints (src/master/http.cpp): which request goes where. Parses and answers; decides nothing.

mod changes;
mod documents;
mod jobs;
mod logging;
mod operator;

use crate::driver::{Answer, Request as Ask};
use crate::logging::LogLevel;
use crate::meters::Meters;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use libprocess::reply::{Asked, Reply};
use libprocess::{Body, full};
use mesos_proto::v1::scheduler::{Call, call};
use mesos_proto::whole;
use page::Page;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// What requests are answered with.
pub(crate) struct Doors {
    /// The core's task.
    pub core: mpsc::Sender<Ask>,
    /// What is told of the queues to that task, and of what it writes.
    pub meters: Arc<Meters>,
    /// The log of this process, if it can be changed.
    pub logging: Option<LogLevel>,
    /// The operator's page, and who may ask for what is not Mesos'.
    pub page: Page,
}

/// Answers one request. What is as open as in Mesos is still refused to other sites' pages if it changes something.
pub(crate) async fn answer(request: Request<Bytes>, doors: &Doors) -> Response<Body> {
    if let Err(refused) = doors.page.guard().check_origin(request.method(), request.headers()) {
        return *refused;
    }
    let path = request.uri().path();
    let path = path.strip_prefix("/master").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let path = path.trim_end_matches('/').to_owned();
    if let Some(rest) = path.strip_prefix("/jobs").filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        // Not Mesos': the operator's own.
        if let Err(refused) = doors.page.guard().check(request.method(), request.headers()) {
            return *refused;
        }
        return jobs::answer(rest, request, &doors.core).await;
    }
    match path.as_str() {
        // The alias is what pymesos' operator driver calls.
        "/api/v1" | "/api/v1/operator" => return operator::call(request, doors).await,
        "/api/v1/scheduler" => return scheduler(request, &doors.core).await,
        "/redirect" => return redirect(request.headers()),
        _ => {}
    }
    let asked = Asked::of(&request);
    let changes = changes::is_change(request.method(), &path) || logging::is_change(&path, &asked);
    if changes && let Err(refused) = may_change(request.headers(), doors) {
        return *refused;
    }
    let reply = other(&request, &path, &asked, doors).await;
    reply.finish(&asked, request.method() == Method::HEAD)
}

/// Changes are for whoever has the operator's token, where there is one, and never for other sites' pages; in Mesos
/// they are for whoever its authenticators let in.
fn may_change(headers: &HeaderMap, doors: &Doors) -> Result<(), Box<Response<Body>>> {
    // Whatever the method was, it is no question.
    doors.page.guard().check(&Method::POST, headers)
}

/// Everything but the two APIs.
async fn other(request: &Request<Bytes>, path: &str, asked: &Asked, doors: &Doors) -> Reply {
    let method = request.method();
    let reads = method == Method::GET || method == Method::HEAD;
    let allowed = changes::methods(path).unwrap_or("GET, HEAD");
    let listed = || allowed.split(", ").any(|one| one == method.as_str());
    if path == "/logging/toggle" {
        // Unlike all else here it changes something with GET, as its users are used to.
        return if reads { logging::toggle(asked, doors) } else { Reply::not_allowed("GET, HEAD") };
    }
    if changes::is_change(method, path) {
        return changes::make(method, path, request.body(), doors).await;
    }
    if reads && listed() {
        if let Some(reply) = documents::get(asked, path, doors).await {
            return reply;
        }
    } else if changes::methods(path).is_some() || documents::is(path) {
        return Reply::not_allowed(allowed);
    }
    Reply::not_found(
        "no such endpoint: here are /state, /slaves, /frameworks, /tasks, /roles, /metrics/snapshot, /health, and POST /api/v1",
    )
}

/// Asks the core's task; none if it is busy or has stopped.
async fn ask<T>(core: &mpsc::Sender<Ask>, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
    let (answer, wait) = oneshot::channel();
    core.try_send(make(answer)).ok()?;
    wait.await.ok()
}

async fn scheduler(request: Request<Bytes>, core: &mpsc::Sender<Ask>) -> Response<Body> {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let headers = request.headers();
    let parsed: Result<Call, String> = match media_type(headers) {
        None => return plain(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present"),
        Some(JSON) => whole::from_json(request.body()).map_err(|error| error.to_string()),
        Some(PROTOBUF) => whole::from_bytes(request.body()).map_err(|error| error.to_string()),
        Some(_) => {
            let why = format!("Expecting 'Content-Type' of {JSON} or {PROTOBUF}");
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        }
    };
    let call = match parsed {
        Ok(call) => call,
        Err(why) => {
            tracing::warn!(why, "call that does not parse");
            return plain(StatusCode::BAD_REQUEST, format!("Failed to parse body into Call: {why}"));
        }
    };
    let (json, protobuf) = (accepts(headers, JSON), accepts(headers, PROTOBUF));
    let answered = matches!(call.r#type(), call::Type::Subscribe | call::Type::ReconcileOperations);
    if answered && !json && !protobuf {
        let why = format!("Expecting 'Accept' to allow '{PROTOBUF}' or '{JSON}'");
        return plain(StatusCode::NOT_ACCEPTABLE, why);
    }
    let stream = headers.get("Mesos-Stream-Id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    match ask(core, |answer| Ask::Call { stream, json, call: Box::new(call), answer }).await {
        Some(Answer::Stream(subscription)) => {
            let stream = subscription.stream().to_owned();
            let response = Response::builder()
                .header(header::CONTENT_TYPE, if json { JSON } else { PROTOBUF })
                .header("Mesos-Stream-Id", stream)
                .body(subscription.boxed());
            response.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, ""))
        }
        Some(Answer::Plain { status, reason }) => refusal(status, reason),
        Some(Answer::Document(_)) | None => unavailable(),
    }
}

/// Where the leader is: here, by the name the client used.
fn redirect(headers: &HeaderMap) -> Response<Body> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let mut response = plain(StatusCode::TEMPORARY_REDIRECT, "");
    if let Ok(location) = format!("//{host}").parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

/// Whether `Accept` allows a type; no header allows all.
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().peekable();
    if accepted.peek().is_none() {
        return true;
    }
    accepted.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("");
        let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0"));
        !refused && (kind == wanted || kind == "*/*" || kind == "application/*")
    })
}

/// What the core answered.
fn refusal(status: u16, reason: String) -> Response<Body> {
    plain(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), reason)
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, format!("Expecting '{allow}'"));
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}

fn busy() -> Reply {
    Reply::unavailable("the master is busy or stopping")
}

/// What the core answered, to whoever asked at an older endpoint.
fn refused(status: u16, why: &str) -> Reply {
    Reply::text(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), why)
}

fn unavailable() -> Response<Body> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "The master is busy or stopping")
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}
