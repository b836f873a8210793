//! A stream of events, read on a task of its own.

use crate::error::Error;
use crate::wire::EventStream;
use prost::{Message, Name};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Events that wait before their stream is left unread.
pub(crate) const EVENTS_MAX: usize = 1024;

/// What was read.
pub(crate) enum Heard<E> {
    Event(Box<E>),
    /// Nothing came for so long.
    Silence(Duration),
    Over(Error),
}

/// Reads a stream; dropping it ends that, and the connection with it.
pub(crate) struct Reader<E> {
    heard: mpsc::Receiver<Heard<E>>,
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
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

/// While nobody takes what was read, the stream is left alone, and its silence says nothing.
async fn read<E: Message + Name + Default>(
    mut stream: EventStream<E>,
    silence: Duration,
    tell: mpsc::Sender<Heard<E>>,
) {
    loop {
        let heard = match tokio::time::timeout(silence, stream.next()).await {
            Err(_) => Heard::Silence(silence),
            Ok(Err(error)) => Heard::Over(error),
            Ok(Ok(event)) => Heard::Event(Box::new(event)),
        };
        let over = !matches!(heard, Heard::Event(_));
        if tell.send(heard).await.is_err() || over {
            return;
        }
    }
}
