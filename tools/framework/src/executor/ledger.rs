//! What an executor has to remember for its agent: tasks that run, and updates that the scheduler has not acknowledged.
//! Both are said again with each subscription, so that nothing is lost while the agent is away
//! (docs/executor-http-api.md, "SUBSCRIBE"). No I/O here.

use crate::v1::executor::call;
use crate::v1::{TaskId, TaskInfo, TaskState, TaskStatus};
use std::collections::{BTreeMap, VecDeque};

/// Updates that may wait for acknowledgement.
pub(super) const UPDATES_MAX: usize = 10_000;
/// Tasks remembered; further ones run but are not said again.
const TASKS_MAX: usize = 10_000;

/// True if a task in this state comes to no other.
pub fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    match state {
        TaskStaging | TaskStarting | TaskRunning | TaskKilling | TaskUnreachable | TaskUnknown => false,
        TaskFinished | TaskFailed | TaskKilled | TaskError | TaskLost | TaskDropped | TaskGone
        | TaskGoneByOperator => true,
    }
}

struct Task {
    info: TaskInfo,
    /// None of its updates was acknowledged.
    fresh: bool,
    ended: bool,
}

struct Update {
    status: TaskStatus,
    sent: bool,
}

#[derive(Default)]
pub(super) struct Ledger {
    tasks: BTreeMap<String, Task>,
    updates: VecDeque<Update>,
}

impl Ledger {
    pub fn launched(&mut self, info: TaskInfo) {
        if self.tasks.len() < TASKS_MAX {
            let id = info.task_id.value.clone();
            self.tasks.insert(id, Task { info, fresh: true, ended: false });
        }
    }

    /// Takes an update; false if there is no room.
    pub fn record(&mut self, status: TaskStatus) -> bool {
        if self.updates.len() >= UPDATES_MAX {
            return false;
        }
        if is_terminal(status.state())
            && let Some(task) = self.tasks.get_mut(&status.task_id.value)
        {
            task.ended = true;
        }
        self.updates.push_back(Update { status, sent: false });
        true
    }

    pub fn acknowledged(&mut self, task: &TaskId, uuid: &[u8]) {
        self.updates.retain(|update| update.status.uuid.as_deref() != Some(uuid));
        let waits = self.updates.iter().any(|update| update.status.task_id == *task);
        if let Some(known) = self.tasks.get_mut(&task.value) {
            known.fresh = false;
            if known.ended && !waits {
                self.tasks.remove(&task.value);
            }
        }
    }

    /// What goes with a subscription; all of it counts as sent then.
    pub fn subscription(&mut self) -> call::Subscribe {
        self.updates.iter_mut().for_each(|update| update.sent = true);
        let fresh = self.tasks.values().filter(|task| task.fresh);
        call::Subscribe {
            unacknowledged_tasks: fresh.map(|task| task.info.clone()).collect(),
            unacknowledged_updates: self
                .updates
                .iter()
                .map(|update| call::Update { status: update.status.clone() })
                .collect(),
        }
    }

    /// The first update that was not sent.
    pub fn next(&self) -> Option<TaskStatus> {
        self.updates.iter().find(|update| !update.sent).map(|update| update.status.clone())
    }

    /// An update was taken by the agent.
    pub fn sent(&mut self, uuid: Option<&[u8]>) {
        let update = self.updates.iter_mut().find(|update| update.status.uuid.as_deref() == uuid);
        if let Some(update) = update {
            update.sent = true;
        }
    }

    /// An update that no agent takes is no use.
    pub fn refused(&mut self, uuid: Option<&[u8]>) {
        self.updates.retain(|update| update.status.uuid.as_deref() != uuid);
    }

    /// Tasks that have not ended.
    pub fn running(&self) -> Vec<TaskId> {
        self.tasks.values().filter(|task| !task.ended).map(|task| task.info.task_id.clone()).collect()
    }

    pub fn is_running(&self, task: &TaskId) -> bool {
        self.tasks.get(&task.value).is_some_and(|task| !task.ended)
    }

    /// True if nothing waits for acknowledgement.
    pub fn is_settled(&self) -> bool {
        self.updates.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(task: &str) -> TaskId {
        TaskId { value: task.into() }
    }

    fn status(task: &str, state: TaskState, uuid: u8) -> TaskStatus {
        TaskStatus {
            task_id: id(task),
            state: state as i32,
            uuid: Some(vec![uuid; 16]),
            ..Default::default()
        }
    }

    fn launched(tasks: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        tasks.iter().for_each(|task| ledger.launched(TaskInfo { task_id: id(task), ..Default::default() }));
        ledger
    }

    fn uuids(subscribe: &call::Subscribe) -> Vec<u8> {
        let uuid = |update: &call::Update| update.status.uuid.as_ref().unwrap()[0];
        subscribe.unacknowledged_updates.iter().map(uuid).collect()
    }

    #[test]
    fn what_is_not_acknowledged_is_said_again_in_order_and_what_is_is_not() {
        let mut ledger = launched(&["a", "b"]);
        assert!(ledger.record(status("a", TaskState::TaskRunning, 1)));
        assert!(ledger.record(status("a", TaskState::TaskFinished, 2)));
        assert_eq!(ledger.running(), [id("b")]);
        let first = ledger.subscription();
        assert_eq!((first.unacknowledged_tasks.len(), uuids(&first)), (2, vec![1, 2]));
        assert!(ledger.next().is_none(), "the subscription has said it");

        ledger.acknowledged(&id("a"), &[1; 16]);
        let second = ledger.subscription();
        assert_eq!(second.unacknowledged_tasks.len(), 1, "one update of a was acknowledged");
        assert_eq!(uuids(&second), [2]);
        ledger.acknowledged(&id("a"), &[2; 16]);
        ledger.acknowledged(&id("a"), &[2; 16]);
        assert!(ledger.is_settled() && !ledger.is_running(&id("a")) && ledger.is_running(&id("b")));
    }

    #[test]
    fn updates_go_out_one_by_one() {
        let mut ledger = launched(&["a"]);
        ledger.record(status("a", TaskState::TaskStarting, 1));
        ledger.record(status("a", TaskState::TaskRunning, 2));
        assert_eq!(ledger.next().unwrap().uuid.unwrap()[0], 1);
        ledger.sent(Some(&[1; 16]));
        assert_eq!(ledger.next().unwrap().uuid.unwrap()[0], 2);
        ledger.refused(Some(&[2; 16]));
        assert!(ledger.next().is_none() && !ledger.is_settled());
    }

    #[test]
    fn both_bounds_hold() {
        let mut ledger = Ledger::default();
        for at in 0..=TASKS_MAX {
            ledger.launched(TaskInfo { task_id: id(&at.to_string()), ..Default::default() });
        }
        assert_eq!(ledger.running().len(), TASKS_MAX);
        for _ in 0..UPDATES_MAX {
            assert!(ledger.record(status("0", TaskState::TaskRunning, 1)));
        }
        assert!(!ledger.record(status("0", TaskState::TaskRunning, 1)));
    }
}
