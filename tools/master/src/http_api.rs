//! The master's HTTP endpoints (src/master/http.cpp). Parses and answers; decides nothing.

mod maintenance;
mod operator;

use crate::driver::{Answer, Request as Ask};
use crate::view::{TaskQuery, View};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use libprocess::{Body, full};
use mesos_proto::v1::scheduler::{Call, call};
use prost::Message;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// Answers one request.
pub(crate) async fn answer(request: Request<Bytes>, core: mpsc::Sender<Ask>) -> Response<Body> {
    let path = request.uri().path();
    let path = path.strip_prefix("/master").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let path = path.trim_end_matches('/').to_owned();
    let query = request.uri().query().unwrap_or("").to_owned();
    let view = match path.as_str() {
        // The alias is what pymesos' operator driver calls.
        "/api/v1" | "/api/v1/operator" => return operator::call(request, core).await,
        "/api/v1/scheduler" => return scheduler(request, core).await,
        "/teardown" => return teardown(request, core).await,
        "/health" => return plain(StatusCode::OK, ""),
        "/version" => return json_response(&query, crate::build::version()),
        "/redirect" => return redirect(request.headers()),
        "/state" | "/state.json" => View::State,
        "/state-summary" => View::Summary,
        "/slaves" => parameter(&query, "slave_id").map_or(View::Slaves, |id| View::Slave(id.to_owned())),
        "/frameworks" => {
            parameter(&query, "framework_id").map_or(View::Frameworks, |id| View::Framework(id.to_owned()))
        }
        "/weights" => View::Weights,
        "/flags" => View::Flags,
        "/tasks" | "/tasks.json" => {
            let text = |name| parameter(&query, name).map(str::to_owned);
            // A limit below zero, as the `mesos` command sends it, is none.
            let number = |name| parameter(&query, name).and_then(|value| value.parse::<i64>().ok());
            let natural = |value| usize::try_from(value).ok();
            View::Tasks(TaskQuery {
                limit: number("limit")
                    .map_or(TaskQuery::default().limit, |limit| natural(limit).unwrap_or(usize::MAX)),
                offset: number("offset").and_then(natural).unwrap_or(0),
                ascending: parameter(&query, "order") == Some("asc"),
                framework: text("framework_id"),
                task: text("task_id"),
            })
        }
        "/roles" => View::Roles,
        "/metrics/snapshot" => View::Metrics,
        other => {
            let answered = maintenance::answer(other, &request, &core).await;
            return answered.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "no such endpoint"));
        }
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_allowed("GET");
    }
    match ask(&core, |answer| Ask::View { view, answer }).await {
        Some(document) => json_response(&query, document),
        None => busy(),
    }
}

/// Asks the core's task; none if it is busy or has stopped.
async fn ask<T>(core: &mpsc::Sender<Ask>, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
    let (answer, wait) = oneshot::channel();
    core.try_send(make(answer)).ok()?;
    wait.await.ok()
}

async fn scheduler(request: Request<Bytes>, core: mpsc::Sender<Ask>) -> Response<Body> {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let headers = request.headers();
    let parsed: Result<Call, String> = match media_type(headers) {
        None => return plain(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present"),
        Some(JSON) => mesos_proto::json::from_json(request.body()).map_err(|error| error.to_string()),
        Some(PROTOBUF) => Call::decode(request.body().as_ref()).map_err(|error| error.to_string()),
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
    if call.r#type() == call::Type::Subscribe && !json && !protobuf {
        let why = format!("Expecting 'Accept' to allow '{PROTOBUF}' or '{JSON}'");
        return plain(StatusCode::NOT_ACCEPTABLE, why);
    }
    let stream = headers.get("Mesos-Stream-Id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    match ask(&core, |answer| Ask::Call { stream, json, call: Box::new(call), answer }).await {
        Some(Answer::Stream(subscription)) => {
            let stream = subscription.stream().to_owned();
            let response = Response::builder()
                .header(header::CONTENT_TYPE, if json { JSON } else { PROTOBUF })
                .header("Mesos-Stream-Id", stream)
                .body(subscription.boxed());
            response.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, ""))
        }
        Some(Answer::Plain { status, reason }) => refusal(status, reason),
        Some(Answer::Document(_)) | None => busy(),
    }
}

async fn teardown(request: Request<Bytes>, core: mpsc::Sender<Ask>) -> Response<Body> {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let form = String::from_utf8_lossy(request.body()).into_owned();
    let Some(framework) = parameter(form.trim(), "frameworkId") else {
        return plain(StatusCode::BAD_REQUEST, "Missing 'frameworkId' parameter");
    };
    match ask(&core, |answer| Ask::Teardown { framework: framework.to_owned(), answer }).await {
        Some(Answer::Plain { status, reason }) => refusal(status, reason),
        _ => busy(),
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

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

fn json_response(query: &str, document: Value) -> Response<Body> {
    let callback = parameter(query, "jsonp").filter(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.$".contains(c))
    });
    let (kind, body) = match callback {
        Some(callback) => ("text/javascript", format!("{callback}({document})")),
        None => (JSON, document.to_string()),
    };
    let mut response = plain(StatusCode::OK, body);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
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

fn busy() -> Response<Body> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "The master is busy or stopping")
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}
