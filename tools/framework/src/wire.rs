//! HTTP to a master or an agent: one connection for the events of a subscription, one for all calls after one another.
//! Knows neither schedulers nor executors, and tries nothing twice that may have been taken.

use crate::error::Error;
use crate::recordio::Decoder;
use bytes::Bytes;
use detect::Host;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use libprocess::TlsClient;
use prost::{Message, Name};
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take to come.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest error text read, bytes.
const ERROR_MAX: usize = 4096;
/// Redirections followed one after the other.
const REDIRECTS_MAX: usize = 5;
/// Names a subscription to those who make calls on it.
const STREAM_ID: &str = "mesos-stream-id";

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `application/x-protobuf`: small.
    #[default]
    Protobuf,
    /// `application/json`: readable.
    Json,
}

impl Format {
    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }

    pub(crate) fn encode<M: Message + Name>(self, message: &M) -> Result<Bytes, String> {
        match self {
            Self::Protobuf => Ok(message.encode_to_vec().into()),
            Self::Json => mesos_proto::json::to_json(message)
                .map(|json| json.to_string().into())
                .map_err(|error| error.to_string()),
        }
    }

    pub(crate) fn decode<M: Message + Name + Default>(self, bytes: &[u8]) -> Result<M, String> {
        match self {
            Self::Protobuf => M::decode(bytes).map_err(|error| error.to_string()),
            Self::Json => mesos_proto::json::from_json(bytes).map_err(|error| error.to_string()),
        }
    }
}

/// What connections are made to.
#[derive(Clone, Debug)]
pub(crate) enum At {
    Tcp(Host),
    Unix(PathBuf),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "{host}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An endpoint of the v1 API and how to speak with it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub at: At,
    pub path: String,
    pub format: Format,
    /// Proves who calls.
    pub authorization: Option<HeaderValue>,
    /// Encrypts the connections over TCP.
    pub tls: Option<TlsClient>,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Sender = SendRequest<Full<Bytes>>;

impl Endpoint {
    fn peer(&self) -> String {
        self.at.to_string()
    }

    async fn connect(&self) -> Result<Sender, Error> {
        let unreachable = |why| Error::Unreachable { peer: self.peer(), why };
        let open = async {
            Ok::<Box<dyn Io>, std::io::Error>(match &self.at {
                At::Tcp(host) => {
                    let stream = TcpStream::connect((host.name.as_str(), host.port)).await?;
                    stream.set_nodelay(true)?;
                    match &self.tls {
                        Some(tls) => Box::new(tls.connect(&host.name, stream).await?),
                        None => Box::new(stream),
                    }
                }
                At::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, open)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|why| Error::Broken { peer: self.peer(), why })?;
        // Ends with the connection; how it ended is seen by who waits for an answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, body: Bytes, stream_id: Option<&str>) -> Result<Request<Full<Bytes>>, Error> {
        let malformed = |why: &dyn fmt::Display| Error::Malformed { peer: self.peer(), why: why.to_string() };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().map_err(|why: http::uri::InvalidUri| malformed(&why))?;
        let host = match &self.at {
            At::Tcp(host) => host.to_string(),
            At::Unix(_) => "localhost".to_owned(),
        };
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::try_from(host).map_err(|why| malformed(&why))?);
        headers.insert(CONTENT_TYPE, self.format.media_type());
        headers.insert(ACCEPT, self.format.media_type());
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(id) = stream_id {
            headers.insert(STREAM_ID, HeaderValue::try_from(id).map_err(|why| malformed(&why))?);
        }
        Ok(request)
    }

    /// Makes the first call, whose answer is a stream of events. Gives the endpoint that took it, which is another one
    /// after a redirection, the stream's id, and the stream.
    pub async fn subscribe<E>(mut self, body: Bytes) -> Result<(Self, String, EventStream<E>), Error> {
        for _ in 0..=REDIRECTS_MAX {
            let mut sender = self.connect().await?;
            let answer = sender.send_request(self.request(body.clone(), None)?);
            let broken = |why| Error::Broken { peer: self.peer(), why };
            let response = in_time(&self.peer(), async { answer.await.map_err(broken) }).await?;
            match response.status() {
                StatusCode::OK => {
                    let id = response.headers().get(STREAM_ID).and_then(|id| id.to_str().ok());
                    let id = id.unwrap_or_default().to_owned();
                    let stream = EventStream::new(response.into_body(), self.format, self.peer());
                    return Ok((self, id, stream));
                }
                StatusCode::TEMPORARY_REDIRECT => {
                    let location =
                        response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
                    let host = location.and_then(Host::of_location);
                    self.at = At::Tcp(host.ok_or_else(|| Error::Malformed {
                        peer: self.peer(),
                        why: format!("a redirection to '{}'", location.unwrap_or_default()),
                    })?);
                }
                _ => return Err(refused(self.peer(), response).await),
            }
        }
        Err(Error::Redirected { peer: self.peer() })
    }
}

/// Makes calls one after the other, in the order in which they were begun, on one connection that is kept.
#[derive(Debug)]
pub(crate) struct Caller {
    endpoint: Endpoint,
    idle: Mutex<Option<Sender>>,
}

impl Caller {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, idle: Mutex::new(None) }
    }

    /// Makes a call and waits for the peer to take it.
    pub async fn call<M: Message + Name>(&self, call: &M, stream_id: Option<&str>) -> Result<(), Error> {
        let peer = || self.endpoint.peer();
        let body = self.endpoint.format.encode(call).map_err(|why| Error::Malformed { peer: peer(), why })?;
        let mut request = self.endpoint.request(body, stream_id)?;
        let mut idle = self.idle.lock().await;
        let exchange = async {
            let mut held = idle.take().filter(|sender| !sender.is_closed());
            let response = loop {
                let fresh = held.is_none();
                let mut sender = match held.take() {
                    Some(sender) => sender,
                    None => self.endpoint.connect().await?,
                };
                match sender.try_send_request(request).await {
                    Ok(response) => {
                        held = Some(sender);
                        break response;
                    }
                    // A kept connection was closed before anything of this call was sent.
                    Err(mut error) => match error.take_message() {
                        Some(unsent) if !fresh => request = unsent,
                        _ => return Err(Error::Broken { peer: peer(), why: error.into_error() }),
                    },
                }
            };
            match response.status() {
                status if status.is_success() => {
                    // The connection can be used again once the answer is read.
                    let read = Limited::new(response.into_body(), ERROR_MAX).collect().await;
                    *idle = held.filter(|_| read.is_ok());
                    Ok(())
                }
                // It leads no more; the subscription ends too.
                StatusCode::TEMPORARY_REDIRECT => Err(Error::Disconnected),
                _ => Err(refused(peer(), response).await),
            }
        };
        in_time(&peer(), exchange).await
    }
}

/// Waits for an answer no longer than anybody may take.
pub(crate) async fn in_time<T>(
    peer: &str,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    answer.unwrap_or_else(|_| Err(Error::NoAnswer { peer: peer.to_owned() }))
}

async fn refused(peer: String, response: Response<Incoming>) -> Error {
    let status = response.status().as_u16();
    let read = Limited::new(response.into_body(), ERROR_MAX).collect();
    let reason = match tokio::time::timeout(ANSWER_TIMEOUT, read).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        _ => String::new(),
    };
    Error::answered(peer, status, reason)
}

/// The events of a subscription.
pub(crate) struct EventStream<E> {
    body: Incoming,
    decoder: Decoder,
    format: Format,
    peer: String,
    of: PhantomData<fn() -> E>,
}

impl<E> EventStream<E> {
    fn new(body: Incoming, format: Format, peer: String) -> Self {
        Self { body, decoder: Decoder::default(), format, peer, of: PhantomData }
    }
}

impl<E: Message + Name + Default> EventStream<E> {
    /// The next event and its length in bytes; an error at the end, or if what comes is none. Nothing is lost if this is
    /// given up.
    pub async fn next(&mut self) -> Result<(E, usize), Error> {
        let malformed = |peer: &str, why: String| Error::Malformed { peer: peer.to_owned(), why };
        loop {
            let record = self.decoder.next_record();
            if let Some(record) = record.map_err(|error| malformed(&self.peer, error.to_string()))? {
                let event = self.format.decode(&record).map_err(|why| malformed(&self.peer, why))?;
                return Ok((event, record.len()));
            }
            match self.body.frame().await {
                None => return Err(Error::Closed { peer: self.peer.clone() }),
                Some(Err(why)) => return Err(Error::Broken { peer: self.peer.clone(), why }),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.decoder.push(bytes);
                    }
                }
            }
        }
    }
}
