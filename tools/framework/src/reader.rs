//! A stream of events, read on a task of its own.

use crate::error::Error;
use crate::wire::EventStream;
use prost::{Message, Name};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Events that wait before their stream is left unread.
const EVENTS_MAX: usize = 1024;
/// Bytes of events that wait; a longer one waits alone.
const BYTES_MAX: u32 = 64 << 20;

/// What was read.
pub(crate) enum Heard<E> {
    Event(Box<E>),
    /// Nothing came for so long.
    Silence(Duration),
    Over(Error),
}

/// Reads a stream; dropping it ends that, and the connection with it.
pub(crate) struct Reader<E> {
    heard: mpsc::Receiver<(Heard<E>, Option<OwnedSemaphorePermit>)>,
    task: JoinHandle<()>,
}

impl<E> Drop for Reader<E> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<E: Message + Name + Default + 'static> Reader<E> {
    /// Reads until the stream's end, or until it is silent for too long.
    pub fn start(stream: EventStream<E>, silence: Duration) -> Self {
        let (tell, heard) = mpsc::channel(EVENTS_MAX);
        Self { heard, task: tokio::spawn(read(stream, silence, tell)) }
    }

    /// What was read next. After anything but an event there is nothing more.
    pub async fn next(&mut self) -> Heard<E> {
        match self.heard.recv().await {
            Some((heard, _room)) => heard,
            None => std::future::pending().await,
        }
    }
}

/// While nobody takes what was read, the stream is left alone, and its silence says nothing.
async fn read<E: Message + Name + Default>(
    mut stream: EventStream<E>,
    silence: Duration,
    tell: mpsc::Sender<(Heard<E>, Option<OwnedSemaphorePermit>)>,
) {
    let room = Arc::new(Semaphore::new(BYTES_MAX as usize));
    loop {
        let mut bytes = 0;
        let heard = match tokio::time::timeout(silence, stream.next()).await {
            Err(_) => Heard::Silence(silence),
            Ok(Err(error)) => Heard::Over(error),
            Ok(Ok((event, length))) => {
                bytes = u32::try_from(length).unwrap_or(BYTES_MAX).min(BYTES_MAX);
                Heard::Event(Box::new(event))
            }
        };
        let over = !matches!(heard, Heard::Event(_));
        // The semaphore is never closed.
        let room = room.clone().acquire_many_owned(bytes).await.ok();
        if tell.send((heard, room)).await.is_err() || over {
            return;
        }
    }
}
