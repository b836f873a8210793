//! What is read with GET: the documents about the cluster, and those about this process that every libprocess program
//! serves.

use super::{Doors, ask};
use crate::driver::{Answer, Request as Ask};
use crate::view::{TaskQuery, View};
use crate::{build, system};
use http::StatusCode;
use libprocess::reply::{Asked, Reply};
use mesos_proto::v1::master::{Call, call};
use serde_json::json;

/// Whether there is a document here.
pub(super) fn is(path: &str) -> bool {
    const PATHS: [&str; 16] = [
        "/files/browse",
        "/files/debug",
        "/files/download",
        "/files/read",
        "/flags",
        "/frameworks",
        "/health",
        "/maintenance/status",
        "/metrics/snapshot",
        "/roles",
        "/slaves",
        "/state",
        "/state-summary",
        "/system/stats",
        "/tasks",
        "/version",
    ];
    PATHS.contains(&path.strip_suffix(".json").unwrap_or(path))
}

/// Answers a GET of `path`; none if there is nothing there.
pub(super) async fn get(asked: &Asked, path: &str, doors: &Doors) -> Option<Reply> {
    let path = path.strip_suffix(".json").unwrap_or(path);
    let text = |name| asked.value(name).map(str::to_owned);
    let view = match path {
        "/health" => return Some(Reply::empty(StatusCode::OK)),
        "/version" => return Some(Reply::json(build::version())),
        "/system/stats" => return Some(Reply::json(system::stats())),
        "/state" => View::State,
        "/state-summary" => View::Summary,
        "/slaves" => text("slave_id").map_or(View::Slaves, View::Slave),
        "/frameworks" => text("framework_id").map_or(View::Frameworks, View::Framework),
        "/tasks" => View::Tasks(tasks(asked)),
        "/roles" => View::Roles,
        "/weights" => View::Weights,
        "/flags" => View::Flags,
        "/metrics/snapshot" => View::Metrics,
        "/maintenance/schedule" => {
            return Some(part(call::Type::GetMaintenanceSchedule, "schedule", doors).await);
        }
        "/maintenance/status" => return Some(part(call::Type::GetMaintenanceStatus, "status", doors).await),
        "/quota" => return Some(part(call::Type::GetQuota, "status", doors).await),
        _ => return files(asked, path),
    };
    let measured = view == View::Metrics;
    let document = ask(&doors.core, |answer| Ask::View { view, answer }).await;
    Some(document.map_or_else(super::busy, |mut document| {
        if let (true, Some(metrics)) = (measured, document.as_object_mut()) {
            metrics.extend(measured_here(doors).map(|(name, value)| (name.to_owned(), value.into())));
        }
        Reply::json(document)
    }))
}

fn tasks(asked: &Asked) -> TaskQuery {
    // A limit below zero, as the `mesos` command sends it, is none; what is no number is as good as absent.
    let number = |name| asked.value(name).and_then(|value| value.parse::<i64>().ok());
    let natural = |value| usize::try_from(value).ok();
    TaskQuery {
        limit: number("limit")
            .map_or(TaskQuery::default().limit, |limit| natural(limit).unwrap_or(usize::MAX)),
        offset: number("offset").and_then(natural).unwrap_or(0),
        ascending: asked.value("order") == Some("asc"),
        framework: asked.value("framework_id").map(str::to_owned),
        task: asked.value("task_id").map(str::to_owned),
    }
}

/// The only field of what a call of the operator API answers: some documents are just that.
async fn part(kind: call::Type, field: &str, doors: &Doors) -> Reply {
    let call = Box::new(Call { r#type: Some(kind as i32), ..Default::default() });
    match ask(&doors.core, |answer| Ask::Operator { json: true, call, answer }).await {
        Some(Answer::Document(document)) => match mesos_proto::json::to_json(document.as_ref()) {
            Ok(mut document) => {
                let name = kind.as_str_name().to_ascii_lowercase();
                Reply::json(document[name.as_str()][field].take())
            }
            Err(error) => Reply::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Some(Answer::Plain { status, reason }) => super::refused(status, &reason),
        Some(Answer::Stream(_)) | None => super::busy(),
    }
}

/// A master has no files: its log goes to the standard error output of its process (src/files/files.cpp).
fn files(asked: &Asked, path: &str) -> Option<Reply> {
    let action = path.strip_prefix("/files/")?;
    match action {
        "debug" => Some(Reply::json(json!({}))),
        "browse" | "read" | "download" => Some(match asked.value("path") {
            None => Reply::bad("Expecting 'path=value' in query."),
            Some(_) => Reply::not_found(
                "no such file: this master keeps none, its log is on its standard error output",
            ),
        }),
        _ => None,
    }
}

/// Adds to the figures of the core what is known of the machine and of what is around the core.
pub(super) fn measure(document: &mut mesos_proto::v1::master::Response, doors: &Doors) {
    if let Some(metrics) = &mut document.get_metrics {
        let more = measured_here(doors)
            .map(|(name, value)| mesos_proto::v1::Metric { name: name.to_owned(), value: Some(value) });
        metrics.metrics.extend(more);
    }
}

fn measured_here(doors: &Doors) -> impl Iterator<Item = (&'static str, f64)> {
    // libprocess has one queue for all; here what is asked over HTTP has its own. There are no dispatches.
    let waiting = doors.core.max_capacity() - doors.core.capacity();
    let queues =
        [("master/event_queue_http_requests", waiting as f64), ("master/event_queue_dispatches", 0.0)];
    queues.into_iter().chain(doors.meters.metrics()).chain(system::metrics())
}
