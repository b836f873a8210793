//! Puts [`MasterCore`] on a port: one task owns the core and feeds it messages, calls and time; everything else only
//! passes on. All queues are bounded.

use crate::allocator::Rules;
use crate::core::{CoreConfig, Input, MasterCore, Output};
use crate::http_api;
use crate::limits::{MAX_CALL_BYTES, MAX_QUEUED_INPUTS};
use crate::policy;
use crate::stream::{Records, Subscription};
use crate::view::View;
use bytes::Bytes;
use libprocess::Transport;
use mesos_proto::cram::Credential;
use mesos_proto::resources::Scalars;
use mesos_proto::v1::scheduler::{Call, Event};
use prost::Message;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Settings of a master.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The address peers are told, if they reach this one by another.
    pub advertise: Option<SocketAddrV4>,
    /// The name peers are told; the address if none.
    pub hostname: Option<String>,
    /// Name of the cluster, for `/state`.
    pub cluster: Option<String>,
    /// Between pings to an agent.
    pub ping_interval: Duration,
    /// Pings without an answer after which an agent is unreachable.
    pub max_missed_pings: u32,
    /// Between HEARTBEAT events to subscribers.
    pub heartbeat_interval: Duration,
    /// Between allocations that nothing in particular calls for.
    pub allocation_interval: Duration,
    /// `drf` or `priority`.
    pub policy: String,
    /// Weight by role; 1 if absent.
    pub weights: BTreeMap<String, f64>,
    /// Priority by role; 0 if absent.
    pub priorities: BTreeMap<String, i64>,
    /// What must be free on an agent to be offered: all of any of these; anything if empty.
    pub min_allocatable: Vec<Scalars>,
    /// Who may prove to be somebody; nobody can if it is empty.
    pub credentials: Vec<Credential>,
    /// Agents that have proved nothing are not taken in.
    pub authenticate_agents: bool,
}

impl Default for Config {
    /// Mesos' defaults, on its port of the loopback address.
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5050)),
            advertise: None,
            hostname: None,
            cluster: None,
            ping_interval: Duration::from_secs(15),
            max_missed_pings: 5,
            heartbeat_interval: Duration::from_secs(15),
            allocation_interval: Duration::from_secs(1),
            policy: "drf".into(),
            weights: rules.weights,
            priorities: rules.priorities,
            min_allocatable: rules.min_allocatable,
            credentials: Vec::new(),
            authenticate_agents: false,
        }
    }
}

/// Why a master does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is in use, or the address is not this machine's.
    #[error("master: {0}; is another master running there? choose another listen address")]
    Bind(#[from] libprocess::BindError),
    /// No such policy.
    #[error("unknown allocation policy '{0}': choose 'drf' or 'priority'")]
    Policy(String),
    /// A weight that is no positive number.
    #[error("weight {weight} of role '{role}': must be a positive number")]
    Weight {
        /// Whose.
        role: String,
        /// What it is.
        weight: f64,
    },
}

/// A running master. Dropping it stops the master.
pub struct Handle {
    /// Where agents and schedulers find it.
    pub addr: SocketAddrV4,
    /// Its id.
    pub id: String,
    inbox: mpsc::Sender<Request>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
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
        // An error would mean that the task panicked, which is the same as having stopped.
        let _ = (&mut self.task).await;
    }
}

/// What HTTP requests ask of the core's task.
pub(crate) enum Request {
    Call { stream: Option<String>, json: bool, call: Box<Call>, answer: oneshot::Sender<Answer> },
    Teardown { framework: String, answer: oneshot::Sender<Answer> },
    View { view: View, answer: oneshot::Sender<Value> },
}

/// The answer to a call.
pub(crate) enum Answer {
    Plain { status: u16, reason: String },
    Stream(Subscription),
}

struct Subscriber {
    records: Records,
    json: bool,
}

struct Pending {
    answer: oneshot::Sender<Answer>,
    json: bool,
}

/// Starts a master.
pub async fn run(config: Config) -> Result<Handle, Error> {
    let policy = policy::by_name(&config.policy).ok_or_else(|| Error::Policy(config.policy.clone()))?;
    if let Some((role, weight)) =
        config.weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight > 0.0))
    {
        return Err(Error::Weight { role: role.clone(), weight: *weight });
    }
    let (inbox, requests) = mpsc::channel(MAX_QUEUED_INPUTS);
    let (events, messages) = mpsc::channel(MAX_QUEUED_INPUTS);
    let http_inbox = inbox.clone();
    let transport = Transport::bind(
        libprocess::Config {
            listen: config.listen,
            advertise: config.advertise,
            is_hosted: Arc::new(|actor| {
                actor == "master"
                    || actor.starts_with("slave-observer(")
                    || actor.starts_with(crate::core::authentication::SESSION)
            }),
            http: Arc::new(move |request| Box::pin(http_api::answer(request, http_inbox.clone()))),
            max_body: MAX_CALL_BYTES,
            tls: None,
        },
        events,
    )
    .await?;
    let addr = transport.local();
    let id = uuid::Uuid::new_v4().to_string();
    let milliseconds =
        |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).max(1);
    let core_config = CoreConfig {
        id: id.clone(),
        address: addr,
        hostname: config.hostname.unwrap_or_else(|| addr.ip().to_string()),
        cluster: config.cluster,
        ping_interval_ms: milliseconds(config.ping_interval),
        max_missed_pings: config.max_missed_pings.max(1),
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
    let driver = Driver {
        core: MasterCore::new(core_config, policy, rules, now_ms()),
        transport,
        subscribers: HashMap::new(),
        pending: HashMap::new(),
        next_request: 0,
        closed,
    };
    let task = tokio::spawn(async move {
        driver.serve(requests, messages, closings, stopped).await;
        ending.wait().await;
    });
    tracing::info!(%addr, id, "master listens");
    Ok(Handle { addr, id, inbox, stop: Some(stop), task })
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

struct Driver {
    core: MasterCore,
    transport: Transport,
    subscribers: HashMap<String, Subscriber>,
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
    ) {
        loop {
            let wait = Duration::from_millis(self.core.next_wakeup_ms().saturating_sub(now_ms()).max(1));
            tokio::select! {
                _ = &mut stopped => return,
                Some(stream) = closings.recv() => {
                    self.subscribers.remove(&stream);
                    self.step(Input::Closed { stream });
                }
                event = messages.recv() => match event {
                    Some(libprocess::Event::Message(message)) => self.step(Input::Message(message)),
                    Some(libprocess::Event::Exited(address)) => self.step(Input::Exited(address)),
                    None => return,
                },
                Some(request) = requests.recv() => self.request(request),
                () = tokio::time::sleep(wait) => self.step(Input::Tick),
            }
        }
    }

    fn request(&mut self, request: Request) {
        self.next_request += 1;
        let number = self.next_request;
        match request {
            Request::View { view, answer } => {
                // The time in the document is that of the request.
                self.step(Input::Tick);
                let _ = answer.send(self.core.view(view));
            }
            Request::Call { stream, json, call, answer } => {
                self.pending.insert(number, Pending { answer, json });
                let fresh = uuid::Uuid::new_v4().to_string();
                self.step(Input::Call { request: number, stream, fresh, call });
            }
            Request::Teardown { framework, answer } => {
                self.pending.insert(number, Pending { answer, json: true });
                self.step(Input::Teardown { request: number, framework });
            }
        }
        // Every call is answered at once; should one not be, its connection must not wait for ever.
        self.pending.remove(&number);
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in self.core.handle(input, now_ms()) {
                if let Some(lost) = self.perform(output) {
                    inputs.push(Input::Closed { stream: lost });
                }
            }
        }
    }

    /// Does one thing; returns a stream that did not keep up.
    fn perform(&mut self, output: Output) -> Option<String> {
        match output {
            Output::Send { from, to, name, body } => self.transport.send(&from, &to, &name, &body),
            Output::Link(address) => self.transport.link(address),
            Output::Reply { request, status, reason } => {
                if let Some(pending) = self.pending.remove(&request) {
                    let _ = pending.answer.send(Answer::Plain { status, reason });
                }
            }
            Output::Subscribed { request, stream } => {
                let pending = self.pending.remove(&request)?;
                let records = Records::default();
                let subscriber = Subscriber { records: records.clone(), json: pending.json };
                self.subscribers.insert(stream.clone(), subscriber);
                let subscription = Subscription::new(stream, records, self.closed.clone());
                // If nobody is there any more, dropping the subscription closes it.
                let _ = pending.answer.send(Answer::Stream(subscription));
            }
            Output::Event { stream, event } => {
                let subscriber = self.subscribers.get(&stream)?;
                if !subscriber.records.push(record(&event, subscriber.json)) {
                    tracing::warn!(stream, "subscriber does not keep up, closed");
                    subscriber.records.abandon();
                    self.subscribers.remove(&stream);
                    return Some(stream);
                }
            }
            Output::Close { stream } => {
                if let Some(subscriber) = self.subscribers.remove(&stream) {
                    subscriber.records.end();
                }
            }
        }
        None
    }
}

/// An event as RecordIO: its length in decimal, a newline, its bytes.
fn record(event: &Event, json: bool) -> Bytes {
    let body = if json {
        mesos_proto::json::to_json(event).map(|json| json.to_string().into_bytes()).unwrap_or_else(|error| {
            tracing::error!(%error, "event has no JSON");
            Vec::new()
        })
    } else {
        event.encode_to_vec()
    };
    let mut record = format!("{}\n", body.len()).into_bytes();
    record.extend_from_slice(&body);
    record.into()
}
