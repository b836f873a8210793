//! Asks the gateway, each subject on a thread of its own: a document at once, and after it its stream, which is asked for
//! again when it is lost. Whoever reads the keyboard never waits for it.

use super::model::{Subject, What};
use crate::ask::Server;
use anyhow::{Result, anyhow};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// So long something has to be wanted before a stream of it is opened: who leafs through a fleet opens none.
const SETTLED: Duration = Duration::from_secs(1);
/// How soon another wish is seen while a stream is followed.
const LOOK: Duration = Duration::from_millis(50);
/// Before a lost stream is asked for again: the first time, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The path that is wanted; none: rest.
type Order = Option<String>;

/// Takes what was learnt of a path; says whether anybody listens still.
type Tell = Box<dyn FnMut(&str, What) -> bool + Send>;

/// One subject that is followed.
pub struct Feed {
    orders: Sender<Order>,
    wanted: Order,
    thread: JoinHandle<()>,
}

/// Why a stream is not followed any more.
enum Ended {
    /// Something else is wanted.
    Order(Order),
    /// The thing is not there.
    Gone,
    /// Nobody needs it: the command ends.
    Unheard,
}

impl Feed {
    /// Starts the thread; `tell` takes what it learns of a path, and says whether anybody listens still.
    pub fn start(
        server: Server,
        subject: Subject,
        tell: impl FnMut(&str, What) -> bool + Send + 'static,
    ) -> Self {
        let (orders, taken) = channel();
        let thread = std::thread::spawn(move || {
            Worker { server, subject, orders: taken, tell: Box::new(tell), failures: 0 }.run();
        });
        Self { orders, wanted: None, thread }
    }

    /// Says which path is wanted from now on.
    pub fn want(&mut self, path: Order) {
        if path != self.wanted {
            self.wanted.clone_from(&path);
            let _ = self.orders.send(path); // if nobody takes it, is_alive says so
        }
    }

    /// Whether the thread is there. It ends by itself only if something is broken.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

struct Worker {
    server: Server,
    subject: Subject,
    orders: Receiver<Order>,
    tell: Tell,
    /// In a row.
    failures: u32,
}

impl Worker {
    fn run(mut self) {
        let mut wanted: Order = None;
        loop {
            let Some(path) = wanted.clone() else {
                match self.orders.recv() {
                    Ok(order) => wanted = order,
                    Err(_) => return,
                }
                continue;
            };
            let ended = self.follow(&path).unwrap_or_else(|error| {
                let heard = (self.tell)(&path, What::Lost(format!("{error:#}")));
                if heard { Ended::Gone } else { Ended::Unheard }
            });
            match ended {
                Ended::Order(order) => wanted = order,
                Ended::Unheard => return,
                Ended::Gone => {
                    let pause = PAUSE.0 * 2u32.saturating_pow(self.failures.min(8));
                    self.failures += 1;
                    match self.ordered(pause.min(PAUSE.1)) {
                        Ok(Some(order)) => wanted = order,
                        Ok(None) => {}
                        Err(Unneeded) => return,
                    }
                }
            }
        }
    }

    /// What is wanted instead, if that is said within this time.
    fn ordered(&mut self, patience: Duration) -> Result<Option<Order>, Unneeded> {
        let mut order = match self.orders.recv_timeout(patience) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err(Unneeded),
        };
        // Only the newest counts.
        while let Ok(newer) = self.orders.try_recv() {
            order = newer;
        }
        self.failures = 0;
        Ok(Some(order))
    }

    fn follow(&mut self, path: &str) -> Result<Ended> {
        let Some(document) = self.server.get(path)? else {
            return Ok(if (self.tell)(path, What::Gone) { Ended::Gone } else { Ended::Unheard });
        };
        let next = document["next"].as_u64();
        if !(self.tell)(path, What::Whole(document)) {
            return Ok(Ended::Unheard);
        }
        self.failures = 0;
        match self.ordered(SETTLED) {
            Ok(Some(order)) => return Ok(Ended::Order(order)),
            Ok(None) => {}
            Err(Unneeded) => return Ok(Ended::Unheard),
        }
        let stream = match (self.subject, next) {
            (Subject::Events, Some(next)) => self.server.follow(&format!("{path}&since={next}"))?,
            _ => self.server.follow(path)?,
        };
        let Some(mut stream) = stream else { return Ok(Ended::Gone) };
        loop {
            match self.ordered(Duration::ZERO) {
                Ok(Some(order)) => return Ok(Ended::Order(order)),
                Ok(None) => {}
                Err(Unneeded) => return Ok(Ended::Unheard),
            }
            let sent = match stream.within(LOOK) {
                None => return Err(anyhow!("the gateway ended the stream")),
                Some(sent) => sent?,
            };
            let Some(sent) = sent else { continue };
            let what = match sent.event.as_str() {
                "view" => What::Whole(sent.data),
                "event" => What::Event(sent.data),
                "gone" => What::Gone,
                _ => continue, // of a later version
            };
            let gone = matches!(what, What::Gone);
            if !(self.tell)(path, what) {
                return Ok(Ended::Unheard);
            }
            if gone {
                return Ok(Ended::Gone);
            }
        }
    }
}

/// Nobody gives orders any more.
struct Unneeded;
