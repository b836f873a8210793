//! Server-sent events (WHATWG HTML, 9.2): a document at once, and again when it has changed; looked at once a second.
//!
//! Between the source and a reader there is room for one document. A reader that takes nothing holds that and one more,
//! for a minute; then its place is given to somebody else.

use crate::document::{Answer, Document};
use crate::reply::{self, Refusal};
use crate::shared::Shared;
use crate::{Asked, Source};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Frame;
use libprocess::Body;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// Streams at once; who comes later is told to come again.
pub const STREAMS_MAX: usize = 64;
/// How often a document is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a stream says that it is still there, so that no proxy closes it and a reader notices if it is not.
const STILL_HERE: Duration = Duration::from_secs(15);
/// How long a reader may take nothing.
const STALLED: Duration = Duration::from_secs(60);

pub(crate) async fn open<S: Source>(
    places: &Arc<Semaphore>,
    shared: Arc<Shared>,
    asked: Asked,
    source: S,
) -> Response<Body> {
    let Ok(place) = places.clone().try_acquire_owned() else {
        let mut full = reply::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many watch already: close a page, or ask without text/event-stream",
        );
        full.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return full;
    };
    let mut feed = Feed { shared, asked, source, last: None };
    // What cannot be shown is refused with its status, not in a stream.
    let first = match feed.look().await {
        Ok(first) => first,
        Err(refusal) => return refusal.response(),
    };
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(feed.run(first, sender, place));
    let mut response = Response::new(Reader(receiver).boxed());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    reply::harden(headers);
    response
}

struct Feed<S> {
    shared: Arc<Shared>,
    asked: Asked,
    source: S,
    /// The document that the reader has.
    last: Option<Document>,
}

impl<S: Source> Feed<S> {
    /// What is to be sent now; nothing if there is nothing new.
    async fn look(&mut self) -> Result<Bytes, Refusal> {
        Ok(match self.shared.watch(&self.source, &self.asked).await? {
            Answer::State(document) if self.last.as_ref().is_some_and(|last| last.is_same(&document)) => {
                Bytes::new()
            }
            Answer::State(document) => self.last.insert(document).event(),
            Answer::Sequence { name, pieces, after, .. } => {
                self.asked.after = Some(after);
                let mut events = BytesMut::new();
                for piece in pieces {
                    events
                        .put(format!("event: {name}\nid: {}\ndata: {}\n\n", piece.id, piece.data).as_bytes());
                }
                events.freeze()
            }
        })
    }

    async fn run(mut self, first: Bytes, reader: mpsc::Sender<Bytes>, _place: OwnedSemaphorePermit) {
        let mut next = first;
        let mut said = Instant::now();
        let mut ended = false;
        loop {
            if next.is_empty() && said.elapsed() >= STILL_HERE {
                next = Bytes::from_static(b": still here\n\n");
            }
            if !next.is_empty() {
                match tokio::time::timeout(STALLED, reader.send(std::mem::take(&mut next))).await {
                    Ok(Ok(())) => said = Instant::now(),
                    _ => return,
                }
            }
            if ended {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = reader.closed() => return,
            }
            next = match self.look().await {
                Ok(next) => next,
                Err(refusal) if refusal.status == StatusCode::SERVICE_UNAVAILABLE => Bytes::new(), // it may pass
                Err(refusal) => {
                    ended = true;
                    let said = serde_json::json!({ "error": refusal.why });
                    format!("event: gone\ndata: {said}\n\n").into()
                }
            };
        }
    }
}

/// The body of a stream.
struct Reader(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Reader {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
