//! What the gateway's answers do.

use super::*;

impl<O: Os> Agent<O> {
    #[inline(never)] // in its caller's large frame it takes more code
    pub(super) fn answered(&mut self, answer: Answer, now: u64) {
        let Some(purpose) = self.under_way.take() else { return };
        if answer.is_unauthorized() && purpose != Purpose::Register {
            // The gateway does not know this address: it restarted, or the lease ran out.
            self.link = Link::Down { next_ms: now, pause_ms: self.config.register_pause_ms };
            return;
        }
        if !answer.is_success() {
            let from_ms = now + Config::REFUSED_PAUSE_MS;
            match purpose {
                Purpose::Register | Purpose::Poll => {} // these have pauses of their own
                Purpose::Status { .. } | Purpose::Stranger { .. } => self.status_from_ms = from_ms,
                Purpose::Outbox { .. } => self.outbox_from_ms = from_ms,
                Purpose::Document { .. } | Purpose::Image { .. } | Purpose::Body { .. } => {
                    self.fetch_from_ms = from_ms
                }
            }
        }
        match purpose {
            Purpose::Register => self.registered(&answer, now),
            Purpose::Poll => self.polled(&answer, now),
            Purpose::Stranger { task } => {
                if answer.is_success() || answer.is_not_found() {
                    self.strangers.retain(|held| *held != task);
                }
            }
            Purpose::Status { task, seq } => self.status_taken(task, seq, &answer),
            Purpose::Outbox { task } => self.outbox_taken(task, &answer),
            Purpose::Document { task } => self.document_block(task, &answer),
            Purpose::Image { task, offset } => self.image_block(task, offset, &answer),
            Purpose::Body { order } => self.body_block(order, &answer, now),
        }
    }

    pub(super) fn unanswered(&mut self, now: u64) {
        match self.under_way.take() {
            // The pause before the next attempt is running already.
            None | Some(Purpose::Register) => {}
            Some(_) => self.link = Link::Down { next_ms: now, pause_ms: self.config.register_pause_ms },
        }
    }

    pub(super) fn registered(&mut self, answer: &Answer, now: u64) {
        let Some(registered) = self.read::<Registered>(answer) else { return };
        if registered.fresh {
            // The gateway's store knows nothing of what this node remembers: nobody waits for it any more.
            while let Some(task) = self.tasks.pop() {
                self.abandon(task.kept.launch.task);
                self.ledger.release(task.slot.into());
                self.check(|os| os.delete(task.record()));
            }
        }
        let seen = if registered.fresh { registered.done } else { self.seen.max(registered.done) };
        if seen != self.seen {
            self.seen = seen;
            self.check(|os| record::save(os, Record::Seen, &seen));
        }
        self.body.take_if(|body| registered.fresh || body.order <= seen);
        self.wire.resume_from(registered.number);
        let poll_ms = u32::from(registered.poll_s.min(self.config.poll_max_s).max(1)) * 1000;
        // Orders may have waited while the node was away.
        let pause_ms = self.config.busy_poll_ms.min(poll_ms);
        self.link = Link::Up { poll_ms, pause_ms, next_ms: now };
    }

    pub(super) fn polled(&mut self, answer: &Answer, now: u64) {
        let Link::Up { poll_ms, .. } = self.link else { return };
        if answer.has_content() {
            match decode::<Command>(&answer.payload) {
                Ok(command) => {
                    self.act(command);
                    // The next poll confirms this order, whether or not another one waits. While there is something
                    // to fetch first, there is nothing to confirm.
                    let pause_ms = self.config.busy_poll_ms.min(poll_ms);
                    let wait_ms = if self.body.is_some() { u64::from(pause_ms) } else { 0 };
                    self.link = Link::Up { poll_ms, pause_ms, next_ms: now + wait_ms };
                }
                Err(_) => self.counters.malformed = self.counters.malformed.saturating_add(1),
            }
        }
    }

    /// Something happens: whoever is behind it may go on, and is not to wait for long.
    pub(super) fn tighten(&mut self) {
        if let Link::Up { poll_ms, next_ms, .. } = self.link {
            let pause_ms = self.config.busy_poll_ms.min(poll_ms);
            let next_ms = next_ms.min(self.os.now_ms() + u64::from(pause_ms));
            self.link = Link::Up { poll_ms, pause_ms, next_ms };
        }
    }

    pub(super) fn status_taken(&mut self, task: TaskHandle, seq: u16, answer: &Answer) {
        let Some(at) = self.find(task) else { return };
        if answer.is_not_found() {
            // The gateway has no such task: nobody waits for its statuses.
            self.drop_task(at);
        } else if answer.is_success() {
            let kept = &mut self.tasks[at].kept;
            if kept.statuses.front().is_some_and(|front| front.seq == seq) {
                kept.statuses.pop_front();
                self.save_task(at);
            }
        }
    }

    pub(super) fn outbox_taken(&mut self, task: TaskHandle, answer: &Answer) {
        let Some(at) = self.find(task) else { return };
        let task = &mut self.tasks[at];
        let done = match &mut task.outbox {
            Some(Outbox::Long { body, upload }) => match answer.to_upload(upload, body.len()) {
                Next::Block => false,
                Next::Done | Next::TooLarge => true,
                Next::Refused => {
                    if !answer.is_unavailable() {
                        *upload = upload.anew(); // what the gateway has of it is not known
                    }
                    answer.is_not_found()
                }
            },
            _ => answer.is_success() || answer.is_not_found(),
        };
        if !done {
            return; // there is more, or it is busy there: it stays and is sent again
        }
        let bytes = match task.outbox.take() {
            Some(Outbox::Message(bytes) | Outbox::Long { body: bytes, .. }) => {
                task.message_seq = task.message_seq.wrapping_add(1);
                bytes.len() as u32
            }
            Some(Outbox::Log(bytes)) => {
                task.log_offset = task.log_offset.wrapping_add(bytes.len() as u32);
                bytes.len() as u32
            }
            None => 0,
        };
        task.radio_bytes = task.radio_bytes.saturating_add(bytes);
    }

    pub(super) fn document_block(&mut self, task: TaskHandle, answer: &Answer) {
        let Some(at) = self.find(task) else { return };
        let task = &mut self.tasks[at];
        task.radio_bytes = task.radio_bytes.saturating_add(answer.payload.len() as u32);
        let expected = usize::from(task.kept.launch.document_len);
        let fits = expected <= DOCUMENT_MAX && task.document.len() + answer.payload.len() <= expected;
        let more = !answer.payload.is_empty();
        if answer.has_content() && fits && more && answer.offset == task.document.len() as u32 {
            task.document.extend_from_slice(&answer.payload);
            task.fetch_failures = 0;
        } else {
            self.fetch_refused(at, answer, "document");
        }
    }

    pub(super) fn image_block(&mut self, task: TaskHandle, offset: u32, answer: &Answer) {
        let Some(at) = self.find(task) else { return };
        let task = &mut self.tasks[at];
        task.radio_bytes = task.radio_bytes.saturating_add(answer.payload.len() as u32);
        let launch = task.kept.launch;
        let end = u64::from(offset) + answer.payload.len() as u64;
        let fits = end <= u64::from(launch.image_len);
        // A block that brings nothing new, because the gateway has less than it said, would be asked for for ever.
        let more = match self.os.image_len(&launch.digest) {
            Ok(held) => end > u64::from(held),
            Err(error) => return self.storage_failed(at, error),
        };
        if answer.has_content() && fits && answer.offset == offset && more {
            self.tasks[at].fetch_failures = 0;
            for task in self.tasks.iter_mut().filter(|task| task.kept.launch.digest == launch.digest) {
                task.intake.rewritten(offset);
            }
            match self.os.image_write(&launch.digest, offset, &answer.payload) {
                Ok(()) => self.take_in(at, Config::INTAKE_PER_STEP),
                Err(error) => self.storage_failed(at, error),
            }
        } else {
            self.fetch_refused(at, answer, "image");
        }
    }

    pub(super) fn fetch_refused(&mut self, at: usize, answer: &Answer, what: &str) {
        let task = &mut self.tasks[at];
        task.fetch_failures = task.fetch_failures.saturating_add(1);
        let most = match answer.is_unavailable() {
            true => Config::FETCH_UNAVAILABLE_MAX,
            false => Config::FETCH_FAILURES_MAX,
        };
        if answer.is_not_found() || task.fetch_failures >= most {
            let note = format!("{what}: gateway says {}", answer.code_text());
            self.report(at, State::Failed(Failure::Fetch), &note);
        }
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(&mut self, answer: &Answer) -> Option<T> {
        if !answer.is_success() {
            return None;
        }
        let message = decode(&answer.payload).ok();
        if message.is_none() {
            self.counters.malformed = self.counters.malformed.saturating_add(1);
        }
        message
    }
}
