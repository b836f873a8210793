//! `/tasks`.

use super::form::task;
use crate::core::MasterCore;
use mesos_proto::mesos::Task;
use serde_json::{Value, json};

/// Tasks shown unless others are asked for (src/master/constants.hpp, `TASK_LIMIT`).
const LIMIT: usize = 100;

/// Which tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskQuery {
    /// At most so many.
    pub limit: usize,
    /// After so many.
    pub offset: usize,
    /// The oldest first; else the newest.
    pub ascending: bool,
    /// Of this framework only.
    pub framework: Option<String>,
    /// Those of this id only.
    pub task: Option<String>,
}

impl Default for TaskQuery {
    fn default() -> Self {
        Self { limit: LIMIT, offset: 0, ascending: false, framework: None, task: None }
    }
}

impl MasterCore {
    pub(super) fn tasks(&self, query: &TaskQuery) -> Value {
        let wanted = |own: &str, only: &Option<String>| only.as_deref().is_none_or(|only| only == own);
        let live = self.frameworks.iter().filter(|(id, _)| wanted(id, &query.framework));
        let over = self.completed.iter().filter(|done| wanted(&done.id, &query.framework));
        let mut tasks: Vec<&Task> = live
            .flat_map(|(_, own)| own.known())
            .chain(over.flat_map(|done| &done.tasks))
            .filter(|task| wanted(&task.task_id.value, &query.task))
            .collect();
        // By the first status that is known; a task that has none yet is older than all.
        let first = |task: &&Task| {
            task.statuses.first().map_or(f64::NEG_INFINITY, |status| status.timestamp.unwrap_or_default())
        };
        if query.ascending {
            tasks.sort_by(|a, b| first(a).total_cmp(&first(b)));
        } else {
            tasks.sort_by(|a, b| first(b).total_cmp(&first(a)));
        }
        let shown: Vec<_> = tasks.into_iter().skip(query.offset).take(query.limit).map(task).collect();
        json!({ "tasks": shown })
    }
}
