//! One subscription of a scheduler: a stream of events, and calls beside it. It is not renewed when it ends:
//! [`crate::SchedulerDriver`] does that.

use crate::calls;
use crate::error::Error;
use crate::reader::{Heard, Reader};
use crate::v1::scheduler::{Call, Event, event};
use crate::v1::{AgentId, ExecutorId, FrameworkId, FrameworkInfo, Offer, TaskId, TaskInfo, TaskStatus};
use crate::wire::{At, Caller, Endpoint, EventStream, Format};
use crate::{operation, wire};
use detect::Host;
use http::header::HeaderValue;
use libprocess::TlsClient;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Events that were read and wait to be taken, besides those that the reader keeps.
const HANDED_MAX: usize = 16;
/// Where a master serves schedulers.
const PATH: &str = "/api/v1/scheduler";

/// A subscribed framework.
#[derive(Clone, Debug)]
pub struct Client {
    caller: Arc<Caller>,
    stream_id: String,
    framework_id: String,
}

/// A subscription that has just begun.
pub(crate) struct Subscription {
    pub client: Client,
    pub subscribed: event::Subscribed,
    pub stream: EventStream<Event>,
}

/// How to speak with a master.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub format: Format,
    pub authorization: Option<HeaderValue>,
    pub tls: Option<TlsClient>,
}

/// Subscribes with one master, or with that to which it leads.
pub(crate) async fn open(master: Host, settings: &Settings, subscribe: &Call) -> Result<Subscription, Error> {
    let Settings { format, authorization, tls } = settings.clone();
    let endpoint = Endpoint { at: At::Tcp(master), path: PATH.to_owned(), format, authorization, tls };
    let peer = endpoint.at.to_string();
    let body = format.encode(subscribe).map_err(|why| Error::Malformed { peer: peer.clone(), why })?;
    let (endpoint, stream_id, mut stream) = endpoint.subscribe::<Event>(body).await?;
    let (first, _) = wire::in_time(&peer, stream.next()).await?;
    let Some(subscribed) = first.subscribed else {
        return Err(match first.error {
            Some(error) => Error::Ended(error.message),
            None => Error::Malformed { peer, why: "the first event is not SUBSCRIBED".into() },
        });
    };
    let framework_id = subscribed.framework_id.value.clone();
    let client = Client { caller: Arc::new(Caller::new(endpoint)), stream_id, framework_id };
    Ok(Subscription { client, subscribed, stream })
}

impl Client {
    /// Subscribes. With an id in `info` it is the framework's fail-over to this process. The receiver ends when the
    /// subscription does.
    pub async fn subscribe(
        master: SocketAddr,
        info: FrameworkInfo,
    ) -> Result<(Self, mpsc::Receiver<Event>), Error> {
        let master = Host { name: master.ip().to_string(), port: master.port() };
        let call = calls::subscribe(info, Vec::new(), None);
        let Subscription { client, subscribed, stream } = open(master, &Settings::default(), &call).await?;
        let first = Event {
            r#type: Some(event::Type::Subscribed as i32),
            subscribed: Some(subscribed),
            ..Default::default()
        };
        let mut reader = Reader::start(stream, Duration::MAX);
        let (events, received) = mpsc::channel(HANDED_MAX);
        tokio::spawn(async move {
            let mut next = first;
            // If nobody listens any more, closing the stream ends the subscription.
            while events.send(next).await.is_ok() {
                tokio::select! {
                    heard = reader.next() => match heard {
                        Heard::Event(event) => next = *event,
                        Heard::Silence(_) | Heard::Over(_) => return,
                    },
                    () = events.closed() => return,
                }
            }
        });
        Ok((client, received))
    }

    /// The framework's id, for a later fail-over.
    pub fn framework_id(&self) -> &str {
        &self.framework_id
    }

    /// True if both are the same subscription.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.caller, &other.caller)
    }

    /// Makes a call; the framework id is filled in.
    pub async fn call(&self, mut call: Call) -> Result<(), Error> {
        call.framework_id = Some(FrameworkId { value: self.framework_id.clone() });
        self.caller.call(&call, Some(&self.stream_id)).await
    }

    /// Launches tasks on an offer; what they do not use may be offered again at once.
    pub async fn launch(&self, offer: &Offer, tasks: Vec<TaskInfo>) -> Result<(), Error> {
        let operations = vec![operation::launch(tasks)];
        self.call(calls::accept(vec![offer.id.clone()], operations, Some(Duration::ZERO))).await
    }

    /// Declines offers for so many seconds.
    pub async fn decline(&self, offers: &[Offer], refuse_seconds: f64) -> Result<(), Error> {
        let ids = offers.iter().map(|offer| offer.id.clone()).collect();
        let refuse = Duration::try_from_secs_f64(refuse_seconds).ok();
        self.call(calls::decline(ids, refuse)).await
    }

    /// Acknowledges a status; one without a UUID needs none.
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<(), Error> {
        match calls::acknowledge(status) {
            Some(call) => self.call(call).await,
            None => Ok(()),
        }
    }

    /// Asks for a task's end.
    pub async fn kill(&self, task_id: &str) -> Result<(), Error> {
        self.call(calls::kill(TaskId { value: task_id.to_owned() }, None, None)).await
    }

    /// Sends bytes to an executor; a command task's has the task's id. Not reliable: what is lost is lost.
    pub async fn message(&self, agent: &AgentId, executor: &str, data: &[u8]) -> Result<(), Error> {
        let executor = ExecutorId { value: executor.to_owned() };
        self.call(calls::message(agent.clone(), executor, data.to_vec())).await
    }

    /// Asks for all offers again.
    pub async fn revive(&self) -> Result<(), Error> {
        self.call(calls::revive(Vec::new())).await
    }

    /// Wants no offers until it revives.
    pub async fn suppress(&self) -> Result<(), Error> {
        self.call(calls::suppress(Vec::new())).await
    }

    /// Ends the framework and its tasks.
    pub async fn teardown(&self) -> Result<(), Error> {
        self.call(calls::teardown()).await
    }
}
