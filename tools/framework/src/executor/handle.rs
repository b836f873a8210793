//! What an executor tells, from anywhere and at any time.

use super::environment::Environment;
use super::ledger::{Ledger, UPDATES_MAX};
use crate::error::Error;
use crate::v1::executor::{Call, call};
use crate::v1::task_status::Source;
use crate::v1::{AgentId, ExecutorId, FrameworkId, TaskId, TaskState, TaskStatus};
use crate::wire::Caller;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

struct Shared {
    framework_id: String,
    executor_id: String,
    ledger: Mutex<Ledger>,
    /// There is something to send in the ledger.
    news: Notify,
    /// The agent, while there is one.
    agent: watch::Sender<Option<Arc<Caller>>>,
    agent_id: Mutex<Option<AgentId>>,
    stopping: watch::Sender<bool>,
}

/// Tells the agent of tasks. Clones are the same handle.
#[derive(Clone)]
pub struct ExecutorHandle(Arc<Shared>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl ExecutorHandle {
    pub(super) fn new(environment: &Environment) -> Self {
        Self(Arc::new(Shared {
            framework_id: environment.framework_id.clone(),
            executor_id: environment.executor_id.clone(),
            ledger: Mutex::new(Ledger::default()),
            news: Notify::new(),
            agent: watch::Sender::new(None),
            agent_id: Mutex::new(None),
            stopping: watch::Sender::new(false),
        }))
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.0.ledger)
    }

    pub(super) fn set_agent(&self, agent: Option<Arc<Caller>>) {
        self.0.agent.send_replace(agent);
    }

    pub(super) fn set_agent_id(&self, id: Option<AgentId>) {
        *locked(&self.0.agent_id) = id;
    }

    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    /// Comes back when something may have to be sent.
    pub(super) async fn news(&self) {
        self.0.news.notified().await;
    }

    /// A call of this executor.
    pub(super) fn call(&self, kind: call::Type) -> Call {
        Call {
            executor_id: ExecutorId { value: self.0.executor_id.clone() },
            framework_id: FrameworkId { value: self.0.framework_id.clone() },
            r#type: Some(kind as i32),
            ..Default::default()
        }
    }

    /// Tells what became of a task. UUID, time, source and ids are filled in if they are missing. Once this returned `Ok`
    /// the update is kept until the scheduler has acknowledged it, and told again to an agent that was away; updates go
    /// out in the order in which they were told.
    pub fn update(&self, mut status: TaskStatus) -> Result<(), Error> {
        status.uuid.get_or_insert_with(|| uuid::Uuid::new_v4().as_bytes().to_vec());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        status.timestamp.get_or_insert(now.as_secs_f64());
        status.source.get_or_insert(Source::Executor as i32);
        status.executor_id.get_or_insert_with(|| ExecutorId { value: self.0.executor_id.clone() });
        if status.agent_id.is_none() {
            status.agent_id = locked(&self.0.agent_id).clone();
        }
        if !self.ledger().record(status) {
            return Err(Error::Full { what: "updates without acknowledgement", max: UPDATES_MAX });
        }
        self.0.news.notify_one();
        Ok(())
    }

    /// The same with a state and a text for people; none if it is empty.
    pub fn report(&self, task: &TaskId, state: TaskState, message: &str) -> Result<(), Error> {
        self.update(TaskStatus {
            task_id: task.clone(),
            state: state as i32,
            message: Some(message.to_owned()).filter(|message| !message.is_empty()),
            ..Default::default()
        })
    }

    /// Sends bytes to the scheduler. Not reliable: what is lost on the way is lost.
    pub async fn message(&self, data: &[u8]) -> Result<(), Error> {
        let agent = self.0.agent.borrow().clone().ok_or(Error::Disconnected)?;
        let message = call::Message { data: data.to_vec() };
        agent.call(&Call { message: Some(message), ..self.call(call::Type::Message) }, None).await
    }

    /// Tasks that were launched and of which no end was told.
    pub fn running(&self) -> Vec<TaskId> {
        self.ledger().running()
    }

    /// Ends the driver once all updates are acknowledged: for executors that end with their tasks.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }
}
