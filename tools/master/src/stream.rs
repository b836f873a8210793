//! The queues between the core and its subscribers: each bounded in records and bytes, emptied at once when given up,
//! so that a subscriber that reads nothing holds nothing. Events are encoded here.

use crate::limits::{MAX_QUEUED_BYTES, MAX_QUEUED_EVENTS};
use bytes::Bytes;
use hyper::body::Frame;
use prost::{Message, Name};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use tokio::sync::mpsc;

#[derive(Default)]
struct Queue {
    records: VecDeque<Bytes>,
    bytes: usize,
    ended: bool,
    reader: Option<Waker>,
}

/// The writer's end.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Mutex<Queue>>);

impl Records {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds a record. False if there is no room or the stream has ended.
    pub fn push(&self, record: Bytes) -> bool {
        let mut queue = self.queue();
        let bytes = queue.bytes + record.len();
        if queue.ended || queue.records.len() >= MAX_QUEUED_EVENTS || bytes > MAX_QUEUED_BYTES {
            return false;
        }
        queue.bytes = bytes;
        queue.records.push_back(record);
        wake(queue);
        true
    }

    /// Ends the stream after what is in it.
    pub fn end(&self) {
        let mut queue = self.queue();
        queue.ended = true;
        wake(queue);
    }

    /// Ends the stream and forgets what is in it.
    pub fn abandon(&self) {
        let mut queue = self.queue();
        queue.ended = true;
        queue.bytes = 0;
        queue.records = VecDeque::new();
        wake(queue);
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut queue = self.queue();
        if let Some(record) = queue.records.pop_front() {
            queue.bytes -= record.len();
            return Poll::Ready(Some(record));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        queue.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

fn wake(mut queue: MutexGuard<'_, Queue>) {
    let reader = queue.reader.take();
    drop(queue);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// The reader's end: a response body of one record per frame. Dropping it ends the subscription.
pub(crate) struct Subscription {
    stream: String,
    records: Records,
    closed: mpsc::UnboundedSender<String>,
}

impl Subscription {
    /// Reads `records`; `closed` gets the stream's id when the reader is gone.
    pub fn new(stream: String, records: Records, closed: mpsc::UnboundedSender<String>) -> Self {
        Self { stream, records, closed }
    }

    /// The stream's id.
    pub fn stream(&self) -> &str {
        &self.stream
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.records.abandon();
        // Unbounded, but with one entry per connection at most, and those are bounded. An error means that the
        // master has stopped.
        let _ = self.closed.send(std::mem::take(&mut self.stream));
    }
}

impl hyper::body::Body for Subscription {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.records.poll(context).map(|record| record.map(|record| Ok(Frame::data(record))))
    }
}

struct Subscriber {
    records: Records,
    json: bool,
}

/// The writers' ends of all streams, by their ids.
#[derive(Default)]
pub(crate) struct Subscribers(HashMap<String, Subscriber>);

impl Subscribers {
    /// Opens a stream in either form; what is returned is for its reader.
    pub fn open(&mut self, stream: &str, json: bool) -> Records {
        let records = Records::default();
        self.0.insert(stream.to_owned(), Subscriber { records: records.clone(), json });
        records
    }

    /// Puts an event into streams, encoded once for each form; returns those that did not keep up, which are over.
    pub fn publish<E: Message + Name>(&mut self, streams: &[String], event: &E) -> Vec<String> {
        let mut encoded: [Option<Bytes>; 2] = [None, None];
        let mut lost = Vec::new();
        for stream in streams {
            let Some(subscriber) = self.0.get(stream) else { continue };
            let json = subscriber.json;
            let bytes = encoded[usize::from(json)].get_or_insert_with(|| record(event, json));
            if !subscriber.records.push(bytes.clone()) {
                tracing::warn!(stream, "subscriber does not keep up, closed");
                subscriber.records.abandon();
                self.0.remove(stream);
                lost.push(stream.clone());
            }
        }
        lost
    }

    /// Ends a stream after what is in it.
    pub fn close(&mut self, stream: &str) {
        if let Some(subscriber) = self.0.remove(stream) {
            subscriber.records.end();
        }
    }

    /// Its reader is gone.
    pub fn forget(&mut self, stream: &str) {
        self.0.remove(stream);
    }
}

/// An event as RecordIO: its length in decimal, a newline, its bytes.
fn record<E: Message + Name>(event: &E, json: bool) -> Bytes {
    let body = if json {
        crate::operator::as_json(event).map(|json| json.to_string().into_bytes()).unwrap_or_else(|error| {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &Records) -> Poll<Option<Bytes>> {
        records.poll(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn ended_streams_are_read_to_their_end_and_abandoned_ones_are_not() {
        let records = Records::default();
        assert_eq!(read(&records), Poll::Pending);
        assert!(records.push(Bytes::from_static(b"a")));
        records.end();
        assert!(!records.push(Bytes::from_static(b"b")));
        assert_eq!(read(&records), Poll::Ready(Some(Bytes::from_static(b"a"))));
        assert_eq!(read(&records), Poll::Ready(None));

        let records = Records::default();
        assert!(records.push(Bytes::from_static(b"a")));
        records.abandon();
        assert_eq!(read(&records), Poll::Ready(None));
    }

    #[test]
    fn both_bounds_hold_and_reading_makes_room() {
        let records = Records::default();
        for _ in 0..MAX_QUEUED_EVENTS {
            assert!(records.push(Bytes::from_static(b"x")));
        }
        assert!(!records.push(Bytes::from_static(b"x")));
        assert!(read(&records).is_ready());
        assert!(records.push(Bytes::from_static(b"x")));

        let records = Records::default();
        let half = Bytes::from(vec![0; MAX_QUEUED_BYTES / 2]);
        assert!(records.push(half.clone()) && records.push(half.clone()));
        assert!(!records.push(Bytes::from_static(b"x")));
        assert!(read(&records).is_ready());
        assert!(records.push(half));
    }
}
