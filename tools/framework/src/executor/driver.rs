//! Keeps an executor subscribed with its agent, says again what the agent may have missed, and ends in time
//! (src/executor/executor.cpp; docs/executor-http-api.md, "Disconnections").

use super::Executor;
use super::environment::Environment;
use super::handle::ExecutorHandle;
use crate::error::{Error, Remedy};
use crate::reader::{Heard, Reader};
use crate::scheduler::log;
use crate::v1::executor::{Call, Event, call};
use crate::v1::{TaskId, TaskState};
use crate::wire::{Caller, Endpoint, Format, in_time};
use http::header::HeaderValue;
use libprocess::TlsClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between attempts to send an update that the agent does not take yet.
const SEND_AGAIN: Duration = Duration::from_millis(500);
/// An agent's heartbeats are half an hour apart and say little; that it is gone is seen by the connection's end.
const SILENCE: Duration = Duration::MAX;

/// How an executor's driver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorEnd {
    /// The agent said so.
    Shutdown,
    /// The executor said so.
    Stopped,
    /// The agent was away for too long.
    AgentLost,
}

/// Runs an [`Executor`].
pub struct ExecutorDriver<E> {
    executor: E,
    environment: Environment,
    handle: ExecutorHandle,
    format: Format,
    tls: Option<TlsClient>,
    /// How it is to end, and until when it may take.
    ending: Option<(ExecutorEnd, Instant)>,
}

struct Subscription {
    caller: Arc<Caller>,
    subscribed: crate::v1::executor::event::Subscribed,
    events: Reader<Event>,
}

impl<E: Executor> ExecutorDriver<E> {
    /// A driver for an executor of this environment, with protobuf.
    pub fn new(environment: Environment, executor: E) -> Self {
        let handle = ExecutorHandle::new(&environment);
        Self { executor, environment, handle, format: Format::default(), tls: None, ending: None }
    }

    /// Speaks JSON or protobuf.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Encrypts the connections with the agent, which has to speak TLS.
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Tells the agent of tasks, also from elsewhere.
    pub fn handle(&self) -> ExecutorHandle {
        self.handle.clone()
    }

    /// Runs until it is to end. What comes after this is the process' exit: the agent sees that too.
    pub async fn run(mut self) -> Result<ExecutorEnd, Error> {
        let mut stopping = self.handle.stopping();
        let mut subscribed_once = false;
        let mut patience = Instant::now() + self.environment.recovery_timeout;
        loop {
            match in_time("the agent", self.open()).await {
                Ok(subscription) => {
                    let over = self.session(subscription, subscribed_once, &mut stopping).await?;
                    self.handle.set_agent(None);
                    if over {
                        break;
                    }
                    log("disconnected", self.executor.disconnected(&self.handle).await);
                    subscribed_once = true;
                    patience = Instant::now() + self.environment.recovery_timeout;
                }
                Err(error) if matches!(error.remedy(), Remedy::Change | Remedy::Stop) => {
                    log("error", self.executor.error(&self.handle, error.to_string()).await);
                    return Err(error);
                }
                Err(error) => tracing::warn!(%error, "cannot subscribe with the agent"),
            }
            let lost = Instant::now() >= patience || subscribed_once && !self.environment.checkpoint;
            if lost || self.ending.is_some_and(|(_, until)| Instant::now() >= until) {
                break;
            }
            let pause = self.environment.subscription_backoff_max.mul_f64(rand::random());
            tokio::time::sleep(pause).await;
        }
        match self.ending {
            Some((end, _)) => Ok(end),
            None => {
                log("shutdown", self.executor.shutdown(&self.handle).await);
                Ok(ExecutorEnd::AgentLost)
            }
        }
    }

    async fn open(&self) -> Result<Subscription, Error> {
        let authorization = self.environment.token.as_ref().map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"));
            value.iter_mut().for_each(|value| value.set_sensitive(true));
            value.map_err(|_| Error::Environment {
                name: "MESOS_EXECUTOR_AUTHENTICATION_TOKEN",
                why: "holds what no HTTP header can".into(),
            })
        });
        let endpoint = Endpoint {
            at: self.environment.agent.clone(),
            path: self.environment.path.clone(),
            format: self.format,
            authorization: authorization.transpose()?,
            tls: self.tls.clone(),
        };
        let subscribe = self.handle.ledger().subscription();
        let call = Call { subscribe: Some(subscribe), ..self.handle.call(call::Type::Subscribe) };
        let peer = endpoint.at.to_string();
        let malformed = |why| Error::Malformed { peer: peer.clone(), why };
        let body = self.format.encode(&call).map_err(malformed)?;
        let (endpoint, _, mut stream) = endpoint.subscribe::<Event>(body).await?;
        let (first, _) = stream.next().await?;
        if let Some(error) = first.error {
            return Err(Error::Ended(error.message));
        }
        let subscribed =
            first.subscribed.ok_or_else(|| malformed("the first event is not SUBSCRIBED".into()))?;
        let caller = Arc::new(Caller::new(endpoint));
        Ok(Subscription { caller, subscribed, events: Reader::start(stream, SILENCE) })
    }

    /// Passes the events of one subscription on. True if it is the last one.
    async fn session(
        &mut self,
        subscription: Subscription,
        again: bool,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<bool, Error> {
        let Subscription { caller, subscribed, mut events } = subscription;
        let handle = self.handle.clone();
        handle.set_agent_id(subscribed.agent_info.id.clone());
        handle.set_agent(Some(caller.clone()));
        let _outbox = Outbox(tokio::spawn(send(handle.clone(), caller)));
        match again {
            false => log("subscribed", self.executor.subscribed(&handle, subscribed).await),
            true => log("resubscribed", self.executor.resubscribed(&handle, subscribed).await),
        };
        loop {
            if let Some((end, until)) = self.ending {
                let ended = end == ExecutorEnd::Stopped || handle.running().is_empty();
                if ended && handle.ledger().is_settled() || Instant::now() >= until {
                    return Ok(true);
                }
            }
            let until = self.ending.map(|(_, until)| until);
            let heard = tokio::select! {
                heard = events.next() => heard,
                _ = stopping.wait_for(|stopping| *stopping), if self.ending.is_none() => {
                    self.end(ExecutorEnd::Stopped);
                    continue;
                }
                () = at(until) => return Ok(true),
            };
            match heard {
                Heard::Event(event) => match event.error {
                    None => self.dispatch(*event).await,
                    Some(error) => {
                        log("error", self.executor.error(&handle, error.message.clone()).await);
                        return Err(Error::Ended(error.message));
                    }
                },
                Heard::Silence(_) => return Ok(false),
                Heard::Over(error) => {
                    tracing::warn!(%error, "the agent is away");
                    return Ok(false);
                }
            }
        }
    }

    fn end(&mut self, end: ExecutorEnd) {
        let patience = match end {
            ExecutorEnd::Stopped if self.environment.checkpoint => self.environment.recovery_timeout,
            _ => self.environment.shutdown_grace,
        };
        self.ending = Some((end, Instant::now() + patience));
    }

    /// One event, one callback.
    async fn dispatch(&mut self, event: Event) {
        let (handle, executor) = (self.handle.clone(), &mut self.executor);
        let shut = matches!(self.ending, Some((ExecutorEnd::Shutdown, _)));
        if let Some(acknowledged) = event.acknowledged {
            handle.ledger().acknowledged(&acknowledged.task_id, &acknowledged.uuid);
            let done = executor.acknowledged(&handle, acknowledged.task_id, acknowledged.uuid).await;
            log("acknowledged", done);
        } else if let Some(launch) = event.launch.filter(|_| !shut) {
            let id = launch.task.task_id.clone();
            handle.ledger().launched(launch.task.clone());
            let done = executor.launch(&handle, launch.task).await;
            fail(&handle, &[id], &done);
            log("launch", done);
        } else if let Some(launch) = event.launch_group.filter(|_| !shut) {
            let tasks = launch.task_group.tasks;
            let ids: Vec<_> = tasks.iter().map(|task| task.task_id.clone()).collect();
            tasks.iter().for_each(|task| handle.ledger().launched(task.clone()));
            let done = executor.launch_group(&handle, tasks).await;
            fail(&handle, &ids, &done);
            log("launch_group", done);
        } else if let Some(kill) = event.kill {
            log("kill", executor.kill(&handle, kill.task_id, kill.kill_policy).await);
        } else if let Some(message) = event.message {
            log("message", executor.message(&handle, message.data).await);
        } else if event.r#type == Some(crate::v1::executor::event::Type::Shutdown as i32) && !shut {
            log("shutdown", executor.shutdown(&handle).await);
            self.end(ExecutorEnd::Shutdown);
        }
    }
}

impl<E> Drop for ExecutorDriver<E> {
    /// Whoever has a handle is told that there is no agent any more.
    fn drop(&mut self) {
        self.handle.set_agent(None);
    }
}

/// Tasks that could not be launched have failed.
fn fail(handle: &ExecutorHandle, tasks: &[TaskId], outcome: &crate::Outcome) {
    let Err(error) = outcome else { return };
    for task in tasks {
        let running = handle.ledger().is_running(task);
        if running && let Err(error) = handle.report(task, TaskState::TaskFailed, &error.to_string()) {
            tracing::error!(task = task.value, %error, "its failure is not told");
        }
    }
}

/// Comes back at a time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Ends its task with itself.
struct Outbox(tokio::task::JoinHandle<()>);

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends what is in the ledger, one after the other.
async fn send(handle: ExecutorHandle, agent: Arc<Caller>) {
    loop {
        let next = handle.ledger().next();
        let Some(status) = next else {
            handle.news().await;
            continue;
        };
        let uuid = status.uuid.clone();
        let update = Call { update: Some(call::Update { status }), ..handle.call(call::Type::Update) };
        match agent.call(&update, None).await {
            Ok(()) => handle.ledger().sent(uuid.as_deref()),
            Err(error) if error.remedy() == Remedy::Change => {
                tracing::error!(%error, "the agent does not take an update; it is dropped");
                handle.ledger().refused(uuid.as_deref());
            }
            Err(error) => {
                tracing::warn!(%error, "an update is not sent yet");
                tokio::time::sleep(SEND_AGAIN).await;
            }
        }
    }
}
