//! `/view/task/FRAMEWORK/TASK` and `/view/log/FRAMEWORK/TASK`: one task in full, and what it logs.

use super::Looked;
use super::history::permille;
use super::images::{ImageShown, Publishers};
use super::parts::{Status, Task};
use crate::agent::{Completed, Glance, TaskGlance};
use crate::images::About;
use mesos_proto::mesos::Labels;
use node_proto::{ImageHandle, TaskHandle};
use page::{Answer, Asked, Document, Piece, Refusal, Seq};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// Where a task is.
enum Found<'a> {
    Here(Glance<'a>, TaskGlance<'a>),
    Over(Glance<'a>, &'a Completed),
}

fn unknown(framework: &str, task: &str) -> Refusal {
    Refusal::not_found(format!(
        "no task {task} of framework {framework} here, or it ended long ago; /view/tasks lists them"
    ))
}

/// The task that was launched last of those with this id; one that is not over before any that is.
fn find<'a>(looked: &Looked<'a>, framework: &str, task_id: &str) -> Option<Found<'a>> {
    let mut over = None;
    for agent in looked.agents.glances() {
        if let Some(task) = agent.task(framework, task_id) {
            return Some(Found::Here(agent, task));
        }
        let mut done = agent.completed().rev();
        if let Some(done) =
            done.find(|done| done.task.framework_id.value == framework && done.task.task_id.value == task_id)
        {
            over = Some(Found::Over(agent, done));
        }
    }
    over
}

#[derive(Debug, Serialize)]
struct Point {
    /// Unix time, seconds.
    at: u32,
    cpu_permille: Option<u16>,
    mem_bytes: u32,
}

#[derive(Debug, Serialize)]
struct History {
    points: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Bounds {
    begin: u64,
    end: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct TaskView {
    task: Task,
    /// The oldest first.
    statuses: Vec<Status>,
    history: History,
    image: Option<ImageShown>,
    log: Bounds,
    labels: BTreeMap<String, Option<String>>,
}

/// A task as it is seen in the driver's step; who published its image is found out outside.
pub(super) fn task(
    looked: &mut Looked<'_>,
    framework: &str,
    task_id: &str,
) -> Result<(TaskView, Option<About>), Refusal> {
    let found = find(looked, framework, task_id).ok_or_else(|| unknown(framework, task_id))?;
    let (agent, handle, image): (Glance<'_>, TaskHandle, Option<ImageHandle>) = match found {
        Found::Here(agent, task) => (agent, task.handle, task.image()),
        Found::Over(agent, done) => (agent, done.handle, done.image),
    };
    let points = looked.seen.history.of_task(agent.node, handle).iter();
    let points = points.map(|point| Point {
        at: point.at_s,
        cpu_permille: permille(point.cpu_permille),
        mem_bytes: point.mem_bytes,
    });
    let history = History { points: points.collect() };
    let (begin, end) = agent.log_bounds(framework, task_id).unwrap_or_default();
    let (task, statuses, labels) = match found {
        Found::Here(agent, task) => {
            let statuses = task.statuses();
            let statuses =
                statuses.iter().map(|(status, acknowledged)| Status::of(status, *acknowledged)).collect();
            (looked.task(agent, task), statuses, task.info().and_then(|info| info.labels))
        }
        Found::Over(agent, done) => {
            let statuses = done.task.statuses.iter().map(|status| Status::of(status, true)).collect();
            let kind = done.image.and_then(|image| looked.images.kind(image));
            (Task::completed(agent.node, done, kind), statuses, done.task.labels.clone())
        }
    };
    let about = image.and_then(|image| looked.images.about(image));
    let log = Bounds { begin, end };
    Ok((TaskView { task, statuses, history, image: None, log, labels: of_labels(labels) }, about))
}

impl TaskView {
    pub fn with_image(self, about: Option<About>, publishers: &Publishers) -> Self {
        Self { image: about.map(|about| publishers.shown(about)), ..self }
    }
}

fn of_labels(labels: Option<Labels>) -> BTreeMap<String, Option<String>> {
    let labels = labels.into_iter().flat_map(|labels| labels.labels);
    labels.map(|label| (label.key, label.value)).collect()
}

/// Where a reader of a log is.
pub(super) fn log_offset(asked: &Asked) -> Result<u64, Refusal> {
    let offset = asked.query.number("offset")?.unwrap_or(0);
    Ok(asked.after.map(|after| after.0).or(asked.had).unwrap_or(offset))
}

/// What a task logged from there on: where it really begins, and the bytes.
pub(super) fn log(
    looked: &Looked<'_>,
    framework: &str,
    task_id: &str,
    offset: u64,
) -> Result<(u64, Vec<u8>), Refusal> {
    let found = find(looked, framework, task_id).ok_or_else(|| unknown(framework, task_id))?;
    let (Found::Here(agent, _) | Found::Over(agent, _)) = found;
    Ok(agent.log(framework, task_id, offset).unwrap_or_default())
}

/// A piece of a log as it is shown. A character of which a part has not come yet waits for the rest.
pub(super) fn log_piece(offset: u64, mut bytes: Vec<u8>) -> Answer {
    if let Some(last) = bytes.utf8_chunks().last()
        && last.invalid().len() < 4
        && std::str::from_utf8(last.invalid()).is_err_and(|error| error.error_len().is_none())
    {
        bytes.truncate(bytes.len() - last.invalid().len());
    }
    let end = offset + bytes.len() as u64;
    let piece = json!({ "offset": offset, "data": String::from_utf8_lossy(&bytes), "end": end });
    let pieces = if bytes.is_empty() { Vec::new() } else { vec![Piece { id: end, data: piece.to_string() }] };
    Answer::Sequence { whole: Document::of(&piece), name: "log", pieces, after: Seq(end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> (String, u64) {
        let Answer::Sequence { pieces, after, .. } = log_piece(10, bytes.to_vec()) else { panic!() };
        let data =
            pieces.first().map(|piece| serde_json::from_str::<serde_json::Value>(&piece.data).unwrap());
        (data.map_or(String::new(), |data| data["data"].as_str().unwrap().to_owned()), after.0)
    }

    #[test]
    fn a_character_is_not_torn_apart() {
        assert_eq!(shown("grün".as_bytes()), ("grün".into(), 15));
        assert_eq!(shown(&"grün".as_bytes()[..3]), ("gr".into(), 12));
        assert_eq!(shown(b"\xc3"), (String::new(), 10));
        assert_eq!(
            shown(b"a\xff"),
            ("a\u{fffd}".into(), 12),
            "what never becomes a character is shown as such"
        );
        assert_eq!(shown(b"\xff\xfe!"), ("\u{fffd}\u{fffd}!".into(), 13));
        assert_eq!(shown(b""), (String::new(), 10));
    }
}
