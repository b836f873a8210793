//! Puts [`MasterCore`] on a port: one task owns the core and feeds it messages, calls and time; everything else only
//! passes on. All queues are bounded. Nothing leaves before what belongs to it is committed.

use crate::allocator::Rules;
pub use crate::config::{Config, Error};
use crate::console::{self, Look};
use crate::core::{CoreConfig, Input, MasterCore, Output};
use crate::http_api::Doors;
use crate::jobs;
use crate::limits::{MAX_CALL_BYTES, MAX_QUEUED_INPUTS};
use crate::local::Local;
use crate::meters::Meters;
use crate::policy;
use crate::store::{Commit, Nowhere, Records as Kept, Store, StoreError, Table, Write};
use crate::stream::{Subscribers, Subscription};
use crate::view::View;
use libprocess::Transport;
use mesos_proto::v1::master as operator;
use mesos_proto::v1::scheduler::Call;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages taken in one step.
const BATCH_MAX: usize = 256;

/// A running master. Dropping it stops the master.
pub struct Handle {
    /// Where agents and schedulers find it.
    pub addr: SocketAddrV4,
    /// Its id.
    pub id: String,
    /// Where the operator's page is, with the token if one is asked for.
    pub page: String,
    inbox: mpsc::Sender<Request>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Handle {
    /// A document, as over HTTP. None if the master has stopped.
    pub async fn view(&self, view: View) -> Option<Value> {
        let (answer, wait) = oneshot::channel();
        self.inbox.send(Request::View { view, answer }).await.ok()?;
        wait.await.ok()
    }

    /// Stops: connections are closed, the port is free afterwards.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        // It ends now for whatever reason.
        let _ = self.wait().await;
    }

    /// Waits until the master ends by itself, which it does only if it cannot write.
    pub async fn wait(&mut self) -> Result<(), Error> {
        match self.task.take() {
            // An error in joining would mean that the task panicked, which is the same as having stopped.
            Some(task) => Ok(task.await.unwrap_or(Ok(()))?),
            None => Ok(()),
        }
    }
}

/// What HTTP requests ask of the core's task.
pub(crate) enum Request {
    Call { stream: Option<String>, json: bool, call: Box<Call>, answer: oneshot::Sender<Answer> },
    Operator { json: bool, call: Box<operator::Call>, answer: oneshot::Sender<Answer> },
    Jobs { request: jobs::Request, answer: oneshot::Sender<jobs::Reply> },
    View { view: View, answer: oneshot::Sender<Value> },
    Look(Look),
}

/// The answer to a call.
pub(crate) enum Answer {
    Plain { status: u16, reason: String },
    Document(Box<operator::Response>),
    Stream(Subscription),
}

struct Pending {
    answer: oneshot::Sender<Answer>,
    json: bool,
}

/// Starts a master.
pub async fn run(config: Config) -> Result<Handle, Error> {
    match &config.state {
        Some(directory) => {
            let (store, records) = Store::open(&directory.join("master.redb"))?;
            run_on(config, Box::new(store), records).await
        }
        None => run_on(config, Box::new(Nowhere), Vec::new()).await,
    }
}

/// Starts a master that takes up these records and commits its writes here.
async fn run_on(config: Config, store: Box<dyn Commit<Table>>, records: Kept) -> Result<Handle, Error> {
    let policy = policy::by_name(&config.policy).ok_or_else(|| Error::Policy(config.policy.clone()))?;
    if let Some((role, weight)) =
        config.weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight > 0.0))
    {
        return Err(Error::Weight { role: role.clone(), weight: *weight });
    }
    let (inbox, requests) = mpsc::channel(MAX_QUEUED_INPUTS);
    let (events, messages) = mpsc::channel(MAX_QUEUED_INPUTS);
    let token = config.state.as_ref().map(|state| state.join("token"));
    let guard = page::Guard::new(config.listen, config.token_file.as_deref(), token.as_deref())?;
    let page = page::Page::new(guard);
    let meters = Arc::new(Meters::default());
    let doors =
        Doors { core: inbox.clone(), meters: meters.clone(), logging: config.logging, page: page.clone() };
    let transport = Transport::bind(
        libprocess::Config {
            listen: config.listen,
            advertise: config.advertise,
            is_hosted: Arc::new(|actor| {
                actor == "master"
                    || actor.starts_with("slave-observer(")
                    || actor.starts_with(crate::core::authentication::SESSION)
            }),
            http: console::handler(doors),
            max_body: MAX_CALL_BYTES,
            tls: None,
        },
        events,
    )
    .await?;
    let addr = transport.local();
    let milliseconds =
        |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).max(1);
    let core_config = CoreConfig {
        id: uuid::Uuid::new_v4().to_string(),
        address: addr,
        hostname: config.hostname.unwrap_or_else(|| addr.ip().to_string()),
        cluster: config.cluster,
        ping_interval_ms: milliseconds(config.ping_interval),
        max_missed_pings: config.max_missed_pings.max(1),
        agent_reregister_timeout_ms: milliseconds(config.agent_reregister_timeout),
        recovery_agent_removal_limit: config.recovery_agent_removal_limit,
        agent_removal_interval_ms: u64::try_from(config.agent_removal_interval.as_millis())
            .unwrap_or(u64::MAX / 4),
        heartbeat_ms: milliseconds(config.heartbeat_interval),
        allocation_ms: milliseconds(config.allocation_interval),
        seed: uuid::Uuid::new_v4().as_u64_pair().0,
        credentials: config.credentials,
        authenticate_agents: config.authenticate_agents,
    };
    let rules = Rules {
        weights: config.weights,
        priorities: config.priorities,
        min_allocatable: config.min_allocatable,
    };
    let (stop, stopped) = oneshot::channel();
    let (closed, closings) = mpsc::unbounded_channel();
    let ending = transport.ending();
    let core = MasterCore::restore(core_config, policy, rules, &records, now_ms())?;
    let mut driver = Driver {
        meters,
        local: Local::new(core.id(), config.state.is_some(), &records, now_ms())?,
        core,
        store,
        transport,
        subscribers: Subscribers::default(),
        pending: HashMap::new(),
        next_request: 0,
        closed,
    };
    driver.step([Input::Tick])?;
    let id = driver.core.id().to_owned();
    let task = tokio::spawn(async move {
        let done = driver.serve(requests, messages, closings, stopped).await;
        if let Err(error) = &done {
            tracing::error!(%error, "the master stops");
        }
        ending.wait().await;
        done
    });
    tracing::info!(%addr, id, "master listens");
    let page = page.guard().url("http", addr.into());
    Ok(Handle { addr, id, page, inbox, stop: Some(stop), task: Some(task) })
}

fn arrived(event: libprocess::Event) -> Input {
    match event {
        libprocess::Event::Message(message) => Input::Message(message),
        libprocess::Event::Exited(address) => Input::Exited(address),
    }
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

struct Driver {
    meters: Arc<Meters>,
    core: MasterCore,
    local: Local,
    store: Box<dyn Commit<Table>>,
    transport: Transport,
    subscribers: Subscribers,
    pending: HashMap<u64, Pending>,
    next_request: u64,
    closed: mpsc::UnboundedSender<String>,
}

impl Driver {
    async fn serve(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut messages: mpsc::Receiver<libprocess::Event>,
        mut closings: mpsc::UnboundedReceiver<String>,
        mut stopped: oneshot::Receiver<()>,
    ) -> Result<(), StoreError> {
        loop {
            let next = self.core.next_wakeup_ms().min(self.local.next_wakeup_ms());
            let wait = Duration::from_millis(next.saturating_sub(now_ms()).max(1));
            tokio::select! {
                _ = &mut stopped => return Ok(()),
                Some(stream) = closings.recv() => {
                    self.subscribers.forget(&stream);
                    self.step([Input::Closed { stream }])?;
                }
                event = messages.recv() => {
                    let Some(event) = event else { return Ok(()) };
                    // One commit serves all that is there.
                    let mut inputs = vec![arrived(event)];
                    while inputs.len() < BATCH_MAX && let Ok(event) = messages.try_recv() {
                        inputs.push(arrived(event));
                    }
                    self.meters.messages_waiting(messages.len());
                    self.step(inputs)?;
                }
                Some(request) = requests.recv() => self.request(request)?,
                () = tokio::time::sleep(wait) => self.step([Input::Tick])?,
            }
        }
    }

    fn request(&mut self, request: Request) -> Result<(), StoreError> {
        self.next_request += 1;
        let number = self.next_request;
        match request {
            Request::View { view, answer } => {
                // The time in the document is that of the request.
                self.step([Input::Tick])?;
                let _ = answer.send(self.core.view(view));
            }
            Request::Look(look) => look(&self.core),
            Request::Call { stream, json, call, answer } => {
                self.pending.insert(number, Pending { answer, json });
                let fresh = uuid::Uuid::new_v4().to_string();
                self.step([Input::Call { request: number, stream, fresh, call }])?;
            }
            Request::Operator { json, call, answer } => {
                self.pending.insert(number, Pending { answer, json });
                let fresh = uuid::Uuid::new_v4().to_string();
                self.step([Input::Operator { request: number, fresh, call }])?;
            }
            Request::Jobs { request, answer } => {
                self.local.ask(request, answer);
                self.step([Input::Tick])?;
            }
        }
        // Every call is answered at once; should one not be, its connection must not wait for ever.
        self.pending.remove(&number);
        Ok(())
    }

    /// Gives the core inputs, commits what it and the jobs want kept, and only then does what else they say. After an
    /// error nothing of the step has been promised to anybody.
    fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Result<(), StoreError> {
        let mut inputs: VecDeque<Input> = inputs.into_iter().collect();
        while !inputs.is_empty() {
            let (mut writes, mut rest, mut answers) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(input) = inputs.pop_front() {
                for output in self.core.handle(input, now_ms()) {
                    match output {
                        Output::Write(write) => writes.push(write),
                        other => rest.extend(self.local.take(other)),
                    }
                }
                for output in self.local.turn(now_ms()) {
                    match output {
                        jobs::Output::Write(write) => writes.push(write),
                        jobs::Output::Call(call) => inputs.push_back(self.local.call(call)),
                        jobs::Output::Reply(number, reply) => answers.push((number, reply)),
                        jobs::Output::News(news) => {
                            tracing::debug!(job = news.job, "{}", news.text);
                            self.core.note_job(&news);
                        }
                    }
                }
            }
            self.commit(&writes)?;
            for output in rest {
                let lost = self.perform(output);
                inputs.extend(lost.into_iter().map(|stream| Input::Closed { stream }));
            }
            answers.into_iter().for_each(|(number, reply)| self.local.answer(number, reply));
        }
        Ok(())
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        use tokio::runtime::{Handle, RuntimeFlavor};
        if writes.is_empty() {
            return Ok(());
        }
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::CurrentThread => self.meters.store(|| self.store.commit(writes)),
            // A commit waits for the disk; other tasks of this process go on meanwhile.
            _ => tokio::task::block_in_place(|| self.meters.store(|| self.store.commit(writes))),
        }
    }

    /// Does one thing; returns the streams that did not keep up.
    fn perform(&mut self, output: Output) -> Vec<String> {
        match output {
            // Committed with its step.
            Output::Write(_) => {}
            Output::Send { from, to, name, body } => self.transport.send(&from, &to, &name, &body),
            Output::Link(address) => self.transport.link(address),
            Output::Reply { request, status, reason } => {
                if let Some(pending) = self.pending.remove(&request) {
                    let _ = pending.answer.send(Answer::Plain { status, reason });
                }
            }
            Output::Answer { request, response } => {
                if let Some(pending) = self.pending.remove(&request) {
                    let _ = pending.answer.send(Answer::Document(response));
                }
            }
            Output::Subscribed { request, stream } => {
                let Some(pending) = self.pending.remove(&request) else { return vec![stream] };
                let records = self.subscribers.open(&stream, pending.json);
                let subscription = Subscription::new(stream, records, self.closed.clone());
                // If nobody is there any more, dropping the subscription closes it.
                let _ = pending.answer.send(Answer::Stream(subscription));
            }
            Output::Event { stream, event } => return self.subscribers.publish(&[stream], event.as_ref()),
            Output::OperatorEvent { streams, event } => {
                return self.subscribers.publish(&streams, event.as_ref());
            }
            Output::Close { stream } => self.subscribers.close(&stream),
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
