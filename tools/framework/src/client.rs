//! One subscription: a connection that events come by, and calls on others.

use crate::recordio::{Decoder, Malformed};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use mesos_proto::v1::scheduler::{Call, Event, call};
use mesos_proto::v1::{self, FrameworkInfo, Offer, TaskInfo, TaskStatus};
use prost::Message;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Events that wait for the scheduler before the stream is left unread.
const EVENTS_MAX: usize = 1024;
/// How long a master may take to answer a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest error text read.
const ERROR_MAX: usize = 4096;
const PROTOBUF: &str = "application/x-protobuf";

/// A call or subscription failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The master cannot be reached.
    #[error("master at {0}: {1}")]
    Connect(SocketAddr, io::Error),
    /// The connection failed.
    #[error("master at {0}: {1}")]
    Http(SocketAddr, hyper::Error),
    /// The master refused.
    #[error("the master answers {0}: {1}")]
    Refused(StatusCode, String),
    /// The stream cannot be read.
    #[error(transparent)]
    Stream(#[from] Malformed),
    /// The stream ended, or did not begin with SUBSCRIBED.
    #[error("the master ended the subscription: {0}")]
    Ended(String),
    /// No answer came.
    #[error("the master at {0} did not answer")]
    Timeout(SocketAddr),
}

/// A subscribed framework.
#[derive(Clone, Debug)]
pub struct Client {
    master: SocketAddr,
    stream_id: String,
    framework_id: String,
}

impl Client {
    /// Subscribes. With an id in `info` it is the framework's fail-over to this process. The receiver ends when the
    /// subscription does.
    pub async fn subscribe(
        master: SocketAddr,
        info: FrameworkInfo,
    ) -> Result<(Self, mpsc::Receiver<Event>), Error> {
        let call = Call {
            framework_id: info.id.clone(),
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(call::Subscribe { framework_info: info, ..Default::default() }),
            ..Default::default()
        };
        let response = post(master, &call, None).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response).await);
        }
        let stream_id = response.headers().get("mesos-stream-id").and_then(|id| id.to_str().ok());
        let stream_id = stream_id.unwrap_or_default().to_owned();
        let mut stream = Stream { body: response.into_body(), decoder: Decoder::default(), master };
        let first = stream.next().await?.ok_or_else(|| Error::Ended("at once".into()))?;
        let Some(subscribed) = &first.subscribed else {
            let why = first.error.map_or_else(|| "no SUBSCRIBED".to_owned(), |error| error.message);
            return Err(Error::Ended(why));
        };
        let framework_id = subscribed.framework_id.value.clone();
        let (events, received) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(event) = next {
                if events.send(event).await.is_err() {
                    return; // nobody listens: closing the stream ends the subscription
                }
                next = stream.next().await.ok().flatten();
            }
        });
        Ok((Self { master, stream_id, framework_id }, received))
    }

    /// The framework's id, for a later fail-over.
    pub fn framework_id(&self) -> &str {
        &self.framework_id
    }

    /// Makes a call; the framework id is filled in.
    pub async fn call(&self, mut call: Call) -> Result<(), Error> {
        call.framework_id = Some(v1::FrameworkId { value: self.framework_id.clone() });
        let response = tokio::time::timeout(CALL_TIMEOUT, post(self.master, &call, Some(&self.stream_id)));
        let response = response.await.map_err(|_| Error::Timeout(self.master))??;
        if response.status() == StatusCode::ACCEPTED { Ok(()) } else { Err(refused(response).await) }
    }

    fn of(kind: call::Type) -> Call {
        Call { r#type: Some(kind as i32), ..Default::default() }
    }

    /// Launches tasks on an offer; what they do not use is declined for a moment.
    pub async fn launch(&self, offer: &Offer, tasks: Vec<TaskInfo>) -> Result<(), Error> {
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch as i32),
            launch: Some(v1::offer::operation::Launch { task_infos: tasks }),
            ..Default::default()
        };
        let accept = call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![operation],
            filters: Some(v1::Filters { refuse_seconds: Some(0.0) }),
        };
        self.call(Call { accept: Some(accept), ..Self::of(call::Type::Accept) }).await
    }

    /// Declines offers for so many seconds.
    pub async fn decline(&self, offers: &[Offer], refuse_seconds: f64) -> Result<(), Error> {
        let decline = call::Decline {
            offer_ids: offers.iter().map(|offer| offer.id.clone()).collect(),
            filters: Some(v1::Filters { refuse_seconds: Some(refuse_seconds) }),
        };
        self.call(Call { decline: Some(decline), ..Self::of(call::Type::Decline) }).await
    }

    /// Acknowledges a status; one without a UUID needs none.
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<(), Error> {
        let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) else {
            return Ok(());
        };
        let acknowledge = call::Acknowledge { agent_id, task_id: status.task_id.clone(), uuid };
        self.call(Call { acknowledge: Some(acknowledge), ..Self::of(call::Type::Acknowledge) }).await
    }

    /// Asks for a task's end.
    pub async fn kill(&self, task_id: &str) -> Result<(), Error> {
        let task_id = v1::TaskId { value: task_id.to_owned() };
        let kill = call::Kill { task_id, agent_id: None, kill_policy: None };
        self.call(Call { kill: Some(kill), ..Self::of(call::Type::Kill) }).await
    }

    /// Sends bytes to an executor; a command task's has the task's id. Not reliable: what is lost is lost.
    pub async fn message(&self, agent: &v1::AgentId, executor: &str, data: &[u8]) -> Result<(), Error> {
        let executor_id = v1::ExecutorId { value: executor.to_owned() };
        let message = call::Message { agent_id: agent.clone(), executor_id, data: data.to_vec() };
        self.call(Call { message: Some(message), ..Self::of(call::Type::Message) }).await
    }

    /// Asks for all offers again.
    pub async fn revive(&self) -> Result<(), Error> {
        self.call(Self::of(call::Type::Revive)).await
    }

    /// Wants no offers until it revives.
    pub async fn suppress(&self) -> Result<(), Error> {
        self.call(Self::of(call::Type::Suppress)).await
    }

    /// Ends the framework and its tasks.
    pub async fn teardown(&self) -> Result<(), Error> {
        self.call(Self::of(call::Type::Teardown)).await
    }
}

struct Stream {
    body: Incoming,
    decoder: Decoder,
    master: SocketAddr,
}

impl Stream {
    async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(record) = self.decoder.next_record()? {
                return Event::decode(record.as_slice()).map(Some).map_err(|_| Error::Stream(Malformed));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Error::Http(self.master, error)),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.decoder.push(bytes);
                    }
                }
            }
        }
    }
}

async fn post(master: SocketAddr, call: &Call, stream_id: Option<&str>) -> Result<Response<Incoming>, Error> {
    let stream = TcpStream::connect(master).await.map_err(|error| Error::Connect(master, error))?;
    let _ = stream.set_nodelay(true);
    let http = |error| Error::Http(master, error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    tokio::spawn(connection);
    let mut request = Request::new(Full::new(Bytes::from(call.encode_to_vec())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/api/v1/scheduler");
    let headers = request.headers_mut();
    for (name, value) in [("content-type", PROTOBUF), ("accept", PROTOBUF), ("host", "master")] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    if let Some(Ok(id)) = stream_id.map(http::HeaderValue::from_str) {
        headers.insert("mesos-stream-id", id);
    }
    sender.send_request(request).await.map_err(http)
}

async fn refused(response: Response<Incoming>) -> Error {
    let status = response.status();
    let text = match Limited::new(response.into_body(), ERROR_MAX).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(_) => String::new(),
    };
    Error::Refused(status, text)
}
