//! Tasks from the fetched image to the last confirmed status.

use super::*;

impl<O: Os> Agent<O> {
    pub(super) fn start_fetched(&mut self) {
        for at in 0..self.tasks.len() {
            let task = &self.tasks[at];
            let launch = task.kept.launch;
            let whole_document = task.document.len() == usize::from(launch.document_len);
            if task.kept.phase != Phase::Fetching || !whole_document {
                continue;
            }
            if self.config.publisher.is_some() && signature_in(&task.document).is_empty() {
                // Not worth a block of the image.
                self.report(at, State::Failed(Failure::Signature), "image is not signed");
                continue;
            }
            match self.os.image_len(&launch.digest) {
                Ok(len) if len >= launch.image_len => self.start(at),
                Ok(_) => {}
                Err(error) => self.storage_failed(at, error),
            }
        }
    }

    pub(super) fn start(&mut self, at: usize) {
        let launch = self.tasks[at].kept.launch;
        let digest = match images::verify(&mut self.os, &launch.digest, launch.image_len) {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                let _ = self.images.discard(&mut self.os, &launch.digest);
                self.report(at, State::Failed(Failure::Digest), "image has a wrong digest");
                return;
            }
            Err(error) => return self.storage_failed(at, error),
        };
        if let Some(publisher) = &self.config.publisher
            && !is_signed(&digest, publisher, signature_in(&self.tasks[at].document))
        {
            self.report(at, State::Failed(Failure::Signature), "not signed by the publisher");
            return;
        }
        // Known to run before it runs: if the node stops here, the task is not started a second time.
        self.tasks[at].kept.phase = Phase::Running;
        if !self.save_task(at) {
            self.report(at, State::Failed(Failure::Storage), "cannot keep the task's record");
            return;
        }
        let bytes = core::mem::take(&mut self.tasks[at].document);
        let document = match launch.document_len {
            0 => Ok(Document::default()),
            _ => postcard::from_bytes::<Document<'_>>(&bytes),
        };
        let Ok(document) = document else {
            self.report(at, State::Failed(Failure::Fetch), "document cannot be read");
            return;
        };
        let started = self.os.start(&Start {
            task: launch.task,
            image: launch.digest,
            image_len: launch.image_len,
            kind: launch.kind,
            document,
            grant: grant_of(&launch),
        });
        match started {
            Ok(()) => {
                if launch.max_run_s > 0 {
                    let at_ms = self.os.now_ms() + u64::from(launch.max_run_s) * 1000;
                    self.tasks[at].time_limit = Some(Deadline { at_ms, failure: Some(Failure::Timeout) });
                }
                self.report(at, State::Running, "");
                for message in core::mem::take(&mut self.tasks[at].inbox) {
                    self.os.deliver(launch.task, &message);
                }
            }
            Err(error) => self.report(at, State::Failed(error.failure), &error.note),
        }
    }

    pub(super) fn drain_executor(&mut self) {
        for at in 0..self.tasks.len() {
            self.drain_task(at);
            if self.tasks[at].report_health() {
                self.save_task(at);
            }
        }
    }

    pub(super) fn drain_task(&mut self, at: usize) {
        while self.tasks[at].kept.phase == Phase::Running && self.tasks[at].outbox.is_none() {
            let stopping = self.tasks[at].stopping.is_some();
            match self.os.next_event(self.tasks[at].kept.launch.task) {
                None => break,
                Some(output @ (Event::Message(_) | Event::Log(_))) => self.tasks[at].outbox = Some(output),
                Some(Event::Health(well)) => self.tasks[at].health = Some(State::Health(well)),
                Some(Event::Checked(value)) => self.tasks[at].health = Some(State::Checked(value)),
                // However it ended: it was told to.
                Some(Event::Exited(_) | Event::Failed(..)) if stopping => self.report(at, State::Killed, ""),
                Some(Event::Exited(code)) => self.report(at, State::Exited(code), ""),
                Some(Event::Killed) => match self.tasks[at].ended_as {
                    Some(failure) => self.report(at, State::Failed(failure), ""),
                    None => self.report(at, State::Killed, ""),
                },
                Some(Event::Failed(failure, note)) => self.report(at, State::Failed(failure), &note),
            }
        }
    }

    pub(super) fn release_done(&mut self) {
        while let Some(at) = self.tasks.iter().position(Task::is_done) {
            self.drop_task(at);
        }
    }

    pub(super) fn drop_task(&mut self, at: usize) {
        let task = self.tasks.swap_remove(at);
        self.ledger.release(task.slot.into());
        if task.kept.phase == Phase::Running {
            self.abandon(task.kept.launch.task);
        }
        self.check(|os| os.delete(task.record()));
    }

    /// Ends a task of which nobody wants to hear any more. Its events are taken up to the last, since an executor
    /// holds a task's place until then.
    pub(super) fn abandon(&mut self, task: TaskHandle) {
        self.os.kill(task);
        while let Some(Event::Message(_) | Event::Log(_) | Event::Health(_) | Event::Checked(_)) =
            self.os.next_event(task)
        {}
    }

    pub(super) fn report(&mut self, at: usize, state: State, note: &str) {
        self.tasks[at].report(state, note);
        if state.is_terminal() {
            self.tighten(); // another task may follow
            self.ledger.release(self.tasks[at].slot.into());
        }
        self.save_task(at);
    }

    pub(super) fn storage_failed(&mut self, at: usize, error: StorageError) {
        self.counters.storage_errors = self.counters.storage_errors.saturating_add(1);
        let note = match error {
            StorageError::Full => "node's storage is full",
            StorageError::Failed => "node's storage failed",
        };
        self.report(at, State::Failed(Failure::Storage), note);
    }

    pub(super) fn save_task(&mut self, at: usize) -> bool {
        let task = &self.tasks[at];
        let (record, kept) = (task.record(), task.kept.clone());
        self.check(|os| record::save(os, record, &kept))
    }

    /// Counts a failure of storage. What was to be kept is then only in memory: a restart may repeat a status,
    /// which the gateway recognises by its number.
    pub(super) fn check(&mut self, work: impl FnOnce(&mut O) -> Result<(), StorageError>) -> bool {
        let done = work(&mut self.os).is_ok();
        if !done {
            self.counters.storage_errors = self.counters.storage_errors.saturating_add(1);
        }
        done
    }

    pub(super) fn find(&self, task: TaskHandle) -> Option<usize> {
        self.tasks.iter().position(|held| held.kept.launch.task == task)
    }
}
