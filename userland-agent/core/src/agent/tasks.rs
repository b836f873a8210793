//! Tasks from the fetched image to the last confirmed status.

use super::*;

impl<O: Os> Agent<O> {
    /// Checks what has come of each task's document and image, and starts what is complete.
    pub(super) fn start_fetched(&mut self) {
        for at in 0..self.tasks.len() {
            let task = &self.tasks[at];
            let launch = task.kept.launch;
            let whole_document = task.document.len() == usize::from(launch.document_len);
            if task.kept.phase != Phase::Fetching || !whole_document || !self.believe(at) {
                continue;
            }
            self.take_in(at, Config::INTAKE_PER_STEP);
            let task = &self.tasks[at];
            if task.kept.phase == Phase::Fetching && task.intake.taken() >= launch.image_len {
                self.start(at);
            }
        }
    }

    /// What the publisher says, asked once, before a block of the image is worth the radio.
    #[inline(never)] // seldom called, and its frame is large
    fn believe(&mut self, at: usize) -> bool {
        let task = &mut self.tasks[at];
        if task.release.is_some() {
            return true;
        }
        let node = self.os.inventory();
        let checked =
            manifest::check(&mut self.os, &task.document, &task.kept.launch, &node, &self.config.publishers);
        let admitted = checked.and_then(|release| {
            release.as_ref().map_or(Ok(()), |release| self.releases.admit(release))?;
            Ok(release)
        });
        match admitted {
            Ok(release) => {
                task.release = Some(release);
                true
            }
            Err((failure, note)) => {
                self.report(at, State::Failed(failure), note);
                false
            }
        }
    }

    /// Looks at what of an image is in storage and was not looked at.
    pub(super) fn take_in(&mut self, at: usize, most: u32) {
        let task = &mut self.tasks[at];
        let launch = task.kept.launch;
        match task.intake.take(&mut self.os, &launch, most) {
            Ok(()) => {}
            Err(intake::Refused::Storage(error)) => self.storage_failed(at, error),
            Err(intake::Refused::Image(error)) => self.report(at, State::Failed(error.failure), &error.note),
        }
    }

    /// True if there is more to look at in storage, so that nothing has to arrive before the next step.
    pub(super) fn has_more_to_take_in(&mut self) -> bool {
        self.tasks.iter().any(|task| {
            let launch = &task.kept.launch;
            let held = self.os.image_len(&launch.digest).unwrap_or(0).min(launch.image_len);
            task.kept.phase == Phase::Fetching && task.release.is_some() && task.intake.taken() < held
        })
    }

    #[inline(never)] // seldom called, and its frame is large
    pub(super) fn start(&mut self, at: usize) {
        let task = &self.tasks[at];
        let (launch, digest, release) = (task.kept.launch, task.intake.digest(), task.release.flatten());
        if digest[..launch.digest.len()] != launch.digest || release.is_some_and(|said| said.digest != digest)
        {
            let _ = self.images.discard(&mut self.os, &launch.digest);
            self.report(at, State::Failed(Failure::Digest), "image has a wrong digest");
            return;
        }
        if let Some(release) = release {
            // Another task may have brought a newer one meanwhile.
            if let Err((failure, note)) = self.releases.admit(&release) {
                return self.report(at, State::Failed(failure), note);
            }
            if let Err(error) = self.releases.raise(&mut self.os, &release) {
                return self.storage_failed(at, error);
            }
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
        let (slot, resumed) = (self.tasks[at].slot, self.tasks[at].kept.resumed > 0);
        let started = self.os.start(&Start {
            task: launch.task,
            image: launch.digest,
            image_len: launch.image_len,
            sha256: digest,
            kind: launch.kind,
            document,
            grant: grant_of(&launch),
            leds: self.ledger.leds(slot.into()),
            resumed,
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
                Some(Event::Message(bytes)) => {
                    let szx = self.os.inventory().block_szx;
                    self.tasks[at].send(bytes, szx);
                }
                Some(Event::Log(bytes)) => self.tasks[at].outbox = Some(Outbox::Log(bytes)),
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
        while let Some(at) = self.tasks.iter().position(|task| task.is_done()) {
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
