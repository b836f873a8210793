//! Messages of the framework that are too long for a command: fetched block by block before the command counts as seen,
//! so that the gateway keeps them for as long as they are not here.

use super::*;
use alloc::vec::Vec;

/// One on its way. There is at most one: commands come in order.
#[derive(Debug)]
pub(super) struct Body {
    /// The command.
    pub order: CommandSeq,
    task: TaskHandle,
    len: usize,
    /// What has come of it.
    got: Vec<u8>,
    /// Requests for a block that were refused in a row.
    failures: u8,
}

impl<O: Os> Agent<O> {
    /// Begins to fetch what a command is about, or goes on. False if nobody is here to have it.
    pub(super) fn fetch(&mut self, order: CommandSeq, task: TaskHandle, len: u16) -> bool {
        let len = usize::from(len);
        if self.body.as_ref().is_some_and(|body| body.order == order) {
            self.counters.repeated_orders = self.counters.repeated_orders.saturating_add(1);
            return true;
        }
        if len == 0 || len > MESSAGE_LONG_MAX || !self.takes_messages(task) {
            return false;
        }
        self.body = Some(Body { order, task, len, got: Vec::new(), failures: 0 });
        self.tighten();
        true
    }

    fn takes_messages(&self, task: TaskHandle) -> bool {
        self.find(task).is_some_and(|at| self.tasks[at].kept.phase != Phase::Ended)
    }

    pub(super) fn fetch_body(&mut self, now: u64) -> bool {
        let Some(body) = &self.body else { return false };
        let (order, got) = (body.order, body.got.len() as u32);
        if !self.takes_messages(body.task) {
            self.fetched(now); // it has ended meanwhile
            return false;
        }
        let szx = self.os.inventory().block_szx.min(6);
        self.get(paths::BODY, order, got, szx, Purpose::Body { order }, now)
    }

    pub(super) fn body_block(&mut self, order: CommandSeq, answer: &Answer, now: u64) {
        let Some(body) = self.body.as_mut().filter(|body| body.order == order) else { return };
        let task = body.task;
        let end = body.got.len() + answer.payload.len();
        let fits = answer.offset == body.got.len() as u32 && end <= body.len && !answer.payload.is_empty();
        if answer.has_content() && fits {
            body.got.extend_from_slice(&answer.payload);
            body.failures = 0;
        } else {
            body.failures = body.failures.saturating_add(1);
            self.fetch_from_ms = now + Config::REFUSED_PAUSE_MS;
        }
        // A message that cannot be had is lost: it must not keep the commands behind it waiting for ever.
        let over = body.got.len() == body.len || body.failures >= Config::FETCH_FAILURES_MAX;
        if let Some(at) = self.find(task) {
            let task = &mut self.tasks[at];
            task.radio_bytes = task.radio_bytes.saturating_add(answer.payload.len() as u32);
        }
        if over {
            self.fetched(now);
        }
    }

    /// The command is done with: what is here of it goes to the task if it is all.
    fn fetched(&mut self, now: u64) {
        let Some(body) = self.body.take() else { return };
        // As with a short message the counter comes first: it is lost rather than doubled.
        self.acted_on(body.order);
        if body.got.len() == body.len {
            self.deliver(body.task, &body.got);
        }
        if let Link::Up { poll_ms, pause_ms, .. } = self.link {
            self.link = Link::Up { poll_ms, pause_ms, next_ms: now }; // the next command waits for this one
        }
    }
}
