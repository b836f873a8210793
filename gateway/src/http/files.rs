//! `/files`: the sandbox of a task as a directory that is nowhere on a disk (src/files/files.cpp).
//!
//! In it are `stdout`, the node's log stream; `stderr`, empty, for a node has one stream; `image`, what runs; and
//! `reported.json`, what the task said and used. An executor with several tasks has a directory `tasks/ID` for each.

use super::{ask, state};
use crate::agent::{Snapshot, TaskSnapshot, Who};
use crate::driver::Query;
use libprocess::reply::{Asked, Reply};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Bytes in one answer of `read` (src/files/files.cpp reads 16 pages at once).
const READ_MAX: usize = 16 * 4096;
/// Entries in one answer of `browse`.
const BROWSE_MAX: usize = 1_000;
const FILES: [&str; 4] = ["image", "reported.json", "stderr", "stdout"];

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The sandbox of an executor.
    Sandbox { executor: String },
    /// The directory of tasks in it.
    Tasks { executor: String },
    /// The directory of one task.
    Task { executor: String, task: String },
    /// A file of a task, or of an executor's only task.
    File { executor: String, task: Option<String>, name: String },
}

/// A path apart: agent, framework, place. `None` if it is none of a sandbox; `..` is none.
fn parse(path: &str) -> Option<(String, String, Place)> {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    if words.contains(&"..") {
        return None;
    }
    let ["slaves", agent, "frameworks", framework, "executors", executor, "runs", _, rest @ ..] = &words[..]
    else {
        return None;
    };
    let executor = executor.to_string();
    let place = match rest {
        [] => Place::Sandbox { executor },
        ["tasks"] => Place::Tasks { executor },
        ["tasks", task] => Place::Task { executor, task: task.to_string() },
        ["tasks", task, name] => {
            Place::File { executor, task: Some(task.to_string()), name: name.to_string() }
        }
        [name] => Place::File { executor, task: None, name: name.to_string() },
        _ => return None,
    };
    Some((agent.to_string(), framework.to_string(), place))
}

pub(super) async fn get(asked: &Asked, who: Who, what: &str, queries: &mpsc::Sender<Query>) -> Reply {
    if what == "debug" {
        return debug(who, queries).await;
    }
    let Some(path) = asked.value("path").filter(|path| !path.is_empty()) else {
        return Reply::bad("expected ?path=...");
    };
    let done = match what {
        "browse" => browse(asked, path, queries).await,
        "read" => read(asked, path, queries).await,
        _ => download(path, queries).await,
    };
    done.unwrap_or_else(|refusal| refusal)
}

async fn browse(asked: &Asked, path: &str, queries: &mpsc::Sender<Query>) -> Result<Reply, Reply> {
    let number = |name, default| {
        asked.number(name, default).map_err(|_| Reply::bad("offset and limit: expected numbers of 0 or more"))
    };
    let (offset, limit) = (number("offset", 0)?, number("limit", BROWSE_MAX)?);
    let entries = entries(path, queries).await?;
    Ok(Reply::json(entries.into_iter().skip(offset).take(limit.min(BROWSE_MAX)).collect()))
}

async fn read(asked: &Asked, path: &str, queries: &mpsc::Sender<Query>) -> Result<Reply, Reply> {
    let number = |name: &str, why: &str| match asked.value(name).map_or(Ok(-1), str::parse::<i64>) {
        Ok(number) if number >= -1 => Ok(number),
        _ => Err(Reply::bad(why)),
    };
    let offset = number("offset", "offset: expected a number, or -1 for the size")?;
    let length = number("length", "length: expected a number, or -1 for what there is")?;
    let length = usize::try_from(length).unwrap_or(READ_MAX);
    let piece = piece(path, u64::try_from(offset).unwrap_or(u64::MAX), queries).await?;
    if offset == -1 {
        return Ok(Reply::json(json!({ "offset": piece.size, "data": "" })));
    }
    let data = String::from_utf8_lossy(piece.upto(length));
    Ok(Reply::json(json!({ "offset": piece.start, "data": data })))
}

async fn download(path: &str, queries: &mpsc::Sender<Query>) -> Result<Reply, Reply> {
    let name = path.rsplit('/').next().unwrap_or_default();
    Ok(Reply::download(name, piece(path, 0, queries).await?.bytes))
}

/// What is in a directory; nothing is in a file.
pub(super) async fn entries(path: &str, queries: &mpsc::Sender<Query>) -> Result<Vec<Value>, Reply> {
    let (sandbox, place) = open(path, queries).await?;
    sandbox.entries(path.trim_end_matches('/'), &place).await
}

/// A piece of a file.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Where it really begins.
    pub start: u64,
    /// From there to the end.
    pub bytes: Vec<u8>,
    /// Size of the whole file.
    pub size: u64,
}

impl Piece {
    /// As much of it as one answer may hold.
    pub fn upto(&self, length: usize) -> &[u8] {
        &self.bytes[..length.min(READ_MAX).min(self.bytes.len())]
    }
}

/// A file from `offset`.
pub(super) async fn piece(path: &str, offset: u64, queries: &mpsc::Sender<Query>) -> Result<Piece, Reply> {
    let (sandbox, place) = open(path, queries).await?;
    let Place::File { executor, task, name } = place else {
        return Err(Reply::bad("this is a directory, or none"));
    };
    let none = || Reply::not_found("no such file");
    let owner = sandbox.owner(&executor, task.as_deref()).ok_or_else(none)?;
    sandbox.file(&owner, &name, offset).await.ok_or_else(none)
}

async fn open<'a>(path: &str, queries: &'a mpsc::Sender<Query>) -> Result<(Sandbox<'a>, Place), Reply> {
    let (agent, framework, place) = parse(path).ok_or_else(|| Reply::not_found("no such file"))?;
    let who = Who::Id(agent);
    let snapshot = ask(queries, |reply| Query::Snapshot(who.clone(), reply)).await.flatten();
    let snapshot = snapshot.ok_or_else(|| Reply::not_found("no such agent"))?;
    Ok((Sandbox { who, snapshot, framework, queries }, place))
}

/// Directories that there are, as a real agent shows what it has attached.
async fn debug(who: Who, queries: &mpsc::Sender<Query>) -> Reply {
    let Some(snapshot) = super::snapshot(queries, &who).await else {
        return Reply::not_found("no such agent: name one as /slave(N)/files/debug");
    };
    let attached = state::executors(&snapshot).into_iter().map(|executor| {
        let path = state::directory(snapshot.slave_id(), executor.framework, executor.id);
        (path.clone(), Value::from(path))
    });
    Reply::json(Value::Object(attached.collect()))
}

struct Sandbox<'a> {
    who: Who,
    snapshot: Snapshot,
    framework: String,
    queries: &'a mpsc::Sender<Query>,
}

impl Sandbox<'_> {
    /// Ids of the executor's tasks, those that are over included.
    fn tasks(&self, executor: &str) -> Vec<&str> {
        let live = self.snapshot.tasks.iter().map(|task| (&task.task, &task.executor_id));
        let over = self.snapshot.completed.iter().map(|done| (&done.task, &done.executor_id));
        let mine = live
            .chain(over)
            .filter(|(task, of)| task.framework_id.value == self.framework && of.as_str() == executor);
        let mut ids: Vec<&str> = mine.map(|(task, _)| task.task_id.value.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn live(&self, id: &str) -> Option<&TaskSnapshot> {
        let mut found =
            self.snapshot.tasks.iter().filter(|task| {
                task.task.task_id.value == id && task.task.framework_id.value == self.framework
            });
        found.next()
    }

    fn reported(&self, task: &str) -> Option<Vec<u8>> {
        let over = || {
            self.snapshot
                .completed
                .iter()
                .map(|done| &done.task)
                .find(|done| done.task_id.value == task && done.framework_id.value == self.framework)
        };
        let live = self.live(task);
        let stated = live.map(|live| &live.task).or_else(over)?;
        let said = stated.statuses.iter().map(|status| {
            let mut shown = state::status(status);
            if let Some(map) = shown.as_object_mut() {
                map.insert("message".into(), json!(status.message));
                map.insert("reason".into(), json!(status.reason.map(|_| status.reason().as_str_name())));
            }
            shown
        });
        let usage = live.and_then(|live| live.usage).map(|usage| {
            json!({ "cpu_ms": usage.cpu_ms, "cpu_granted_ms": usage.granted_ms, "mem_bytes": usage.mem_bytes,
                "mem_peak_bytes": usage.mem_peak_bytes, "received_bytes": usage.received,
                "messages": usage.messages, "log_bytes": usage.log_bytes, "radio_bytes": usage.radio_bytes })
        });
        let shown =
            json!({ "task": state::task(stated), "statuses": said.collect::<Vec<_>>(), "usage": usage });
        serde_json::to_vec_pretty(&shown).ok()
    }

    /// The task that a file belongs to: the named one, or the executor's only one.
    fn owner(&self, executor: &str, task: Option<&str>) -> Option<String> {
        let tasks = self.tasks(executor);
        match task {
            Some(task) => tasks.iter().find(|id| **id == task).map(|id| id.to_string()),
            None if tasks.len() == 1 => Some(tasks[0].to_owned()),
            None => None,
        }
    }

    async fn file(&self, task: &str, name: &str, offset: u64) -> Option<Piece> {
        let bytes = match name {
            "stdout" => {
                let (who, framework, task) = (self.who.clone(), self.framework.clone(), task.to_owned());
                let log = ask(self.queries, |reply| Query::LogOf { who, framework, task, offset, reply });
                let (start, bytes, size) = log.await.flatten()?;
                return Some(Piece { start, bytes, size });
            }
            "stderr" => Vec::new(),
            "reported.json" => self.reported(task)?,
            "image" => {
                let image = self.live(task)?.image?;
                ask(self.queries, |reply| Query::Image(image, reply)).await.flatten()?
            }
            _ => return None,
        };
        let size = bytes.len() as u64;
        let start = offset.min(size);
        Some(Piece { start, bytes: bytes[start as usize..].to_vec(), size })
    }

    async fn entries(&self, path: &str, place: &Place) -> Result<Vec<Value>, Reply> {
        let none = || Reply::not_found("no such directory");
        let (executor, task) = match place {
            Place::Sandbox { executor } => (executor, None),
            Place::Task { executor, task } => (executor, Some(task.as_str())),
            Place::Tasks { executor } => {
                let tasks = self.tasks(executor);
                return Ok(tasks.iter().map(|task| self.entry(&format!("{path}/{task}"), None)).collect());
            }
            Place::File { .. } => return Ok(Vec::new()), // as a real agent has it
        };
        if self.tasks(executor).is_empty() {
            return Err(none());
        }
        let Some(owner) = self.owner(executor, task) else {
            // Several tasks: each has a directory.
            return if task.is_none() {
                Ok(vec![self.entry(&format!("{path}/tasks"), None)])
            } else {
                Err(none())
            };
        };
        let mut entries = Vec::new();
        for name in FILES {
            if let Some(file) = self.file(&owner, name, u64::MAX).await {
                entries.push(self.entry(&format!("{path}/{name}"), Some(file.size)));
            }
        }
        Ok(entries)
    }

    fn entry(&self, path: &str, size: Option<u64>) -> Value {
        let (mode, nlink) = if size.is_some() { ("-r--r--r--", 1) } else { ("dr-xr-xr-x", 2) };
        json!({ "path": path, "nlink": nlink, "size": size.unwrap_or(0), "mode": mode, "uid": "root",
            "gid": "root", "mtime": self.snapshot.start_time as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_of_a_sandbox_or_of_nothing() {
        let base = "/slaves/S0/frameworks/F/executors/e/runs/latest";
        let place = |rest: &str| parse(&format!("{base}{rest}")).map(|(.., place)| place);
        let executor = "e".to_owned();
        assert_eq!(place("/"), Some(Place::Sandbox { executor: executor.clone() }));
        let file = Place::File { executor: executor.clone(), task: None, name: "stdout".into() };
        assert_eq!(place("/stdout"), Some(file));
        assert_eq!(place("/tasks/a"), Some(Place::Task { executor, task: "a".into() }));
        assert_eq!((place("/../x"), place("/a/b/c/d"), parse("/etc/passwd")), (None, None, None));
    }

    proptest! {
        #[test]
        fn any_path_is_survived(path in ".{0,80}") {
            let _ = parse(&path);
        }
    }
}
