//! What the agent asks of the gateway, one request at a time, in order of what must not wait.

use super::*;

impl<O: Os> Agent<O> {
    pub(super) fn ask_next(&mut self, now: u64) {
        match self.link {
            Link::Down { next_ms, pause_ms } => {
                if now >= next_ms {
                    self.link = Link::Down {
                        next_ms: now + u64::from(pause_ms),
                        pause_ms: pause_ms.saturating_mul(2).min(Config::REGISTER_PAUSE_MAX_MS),
                    };
                    self.register(now);
                }
            }
            Link::Up { next_ms, .. } => {
                // In order of what must not wait: what became of a task, a due sign of life, output, blocks.
                let _ = (now >= self.status_from_ms && self.send_status(now))
                    || (now >= next_ms && self.poll(now))
                    || (now >= self.outbox_from_ms && self.send_outbox(now))
                    || (now >= self.fetch_from_ms && (self.fetch_body(now) || self.fetch_block(now)));
            }
        }
    }

    #[inline(never)] // seldom called, and its frame is large
    pub(super) fn register(&mut self, now: u64) {
        self.counters.registrations = self.counters.registrations.saturating_add(1);
        let message = Register {
            version: VERSION,
            eui64: self.os.eui64(),
            boot: self.boot,
            epoch: self.epoch,
            seen: self.seen,
            inventory: self.os.inventory(),
        };
        self.post(paths::REGISTER, &message, Purpose::Register, now);
    }

    #[inline(never)] // seldom called, and its frame is large
    pub(super) fn poll(&mut self, now: u64) -> bool {
        let Link::Up { poll_ms, pause_ms, .. } = self.link else { return false };
        let busy = matches!(self.os.power(), Power::Mains) && !self.tasks.is_empty();
        let longest = if busy { poll_ms.min(self.config.busy_poll_ms) } else { poll_ms };
        let pause_ms = pause_ms.saturating_mul(2).min(longest);
        let news = self.news(now);
        let next_s = pause_ms.div_ceil(1000).try_into().unwrap_or(u16::MAX);
        let message = Poll { seen: self.seen, power: self.os.power(), next_s, news };
        let sent = self.post(paths::POLL, &message, Purpose::Poll, now);
        if sent {
            // Reckoned from here, not from the answer, which may be long in coming: the lease is.
            let next_ms = now + u64::from(pause_ms);
            self.link = Link::Up { poll_ms, pause_ms, next_ms };
        }
        sent
    }

    /// Figures in turns: each task's, then the node's.
    fn news(&mut self, now: u64) -> News {
        let turn = self.usage_turn;
        self.usage_turn = if turn < self.tasks.len() { turn + 1 } else { 0 };
        match self.tasks.get(turn) {
            Some(task) => News::Usage(Self::usage_of(&mut self.os, task)),
            None => News::Vitals(self.vitals(now)),
        }
    }

    fn vitals(&mut self, now: u64) -> Vitals {
        self.account_listening(now);
        let used = self.os.used();
        Vitals {
            uptime_s: (now.saturating_sub(self.started_ms) / 1000) as u32,
            frames_out: used.frames_out,
            bytes_out: used.bytes_out,
            frames_in: used.frames_in,
            bytes_in: used.bytes_in,
            listened_ms: self.listened_ms,
            cpu_ms: used.cpu_ms,
        }
    }

    pub(super) fn usage_of(os: &mut O, task: &Task) -> Usage {
        let launch = &task.kept.launch;
        let used = os.usage(launch.task).unwrap_or_default();
        let image = os.image_len(&launch.digest).unwrap_or(0).min(launch.image_len);
        Usage {
            task: launch.task,
            cpu_ms: used.cpu_ms,
            granted_ms: used.granted_ms,
            mem_bytes: used.mem_bytes,
            mem_peak_bytes: used.mem_peak_bytes,
            received: image.saturating_add(task.document.len() as u32),
            messages: used.messages,
            log_bytes: used.log_bytes,
            radio_bytes: task.radio_bytes,
        }
    }

    /// Tasks in turn, beginning after the one served last.
    pub(super) fn in_turn(&mut self, wants: impl Fn(&Task) -> bool) -> Option<usize> {
        let count = self.tasks.len();
        let found = (0..count).map(|step| (self.turn + step) % count).find(|at| wants(&self.tasks[*at]))?;
        self.turn = found + 1;
        Some(found)
    }

    pub(super) fn send_status(&mut self, now: u64) -> bool {
        let Some(at) = self.in_turn(|task| !task.kept.statuses.is_empty()) else {
            return self.send_stranger(now);
        };
        let Some(status) = self.tasks[at].kept.statuses.front().cloned() else { return false };
        let purpose = Purpose::Status { task: status.task, seq: status.seq };
        self.post(paths::STATUS, &status, purpose, now)
    }

    fn send_stranger(&mut self, now: u64) -> bool {
        let Some(task) = self.strangers.front().copied() else { return false };
        // It was taken with a record that could not be written, and the node has restarted since; or the gateway knows
        // its end, and takes no other.
        let note = heapless::String::try_from("not on this node").unwrap_or_default();
        let status = Status { task, seq: 1, state: State::Killed, note };
        self.post(paths::STATUS, &status, Purpose::Stranger { task }, now)
    }

    pub(super) fn send_outbox(&mut self, now: u64) -> bool {
        let Some(at) = self.in_turn(|task| task.outbox.is_some()) else { return false };
        let task = &self.tasks[at];
        let handle = task.kept.launch.task;
        let purpose = Purpose::Outbox { task: handle };
        match &task.outbox {
            Some(Outbox::Message(bytes)) => {
                let data = heapless::Vec::from_slice(bytes).unwrap_or_default();
                let message = Message { task: handle, seq: task.message_seq, data };
                self.post(paths::MESSAGE, &message, purpose, now)
            }
            Some(Outbox::Long { body, upload }) => {
                let path = format!("{}/{handle}", paths::MESSAGE);
                let request = upload.request(&path, body, &LongMessage::tag(task.message_seq));
                let sent = self.wire.request(request, now);
                self.under_way = sent.then_some(purpose);
                sent
            }
            Some(Outbox::Log(bytes)) => {
                let data = heapless::Vec::from_slice(bytes).unwrap_or_default();
                let message = Log { task: handle, offset: task.log_offset, data };
                self.post(paths::LOG, &message, purpose, now)
            }
            None => false,
        }
    }

    pub(super) fn fetch_block(&mut self, now: u64) -> bool {
        let Some(at) = self.in_turn(|task| task.kept.phase == Phase::Fetching) else { return false };
        let launch = self.tasks[at].kept.launch;
        let got = self.tasks[at].document.len();
        let szx = self.os.inventory().block_szx.min(6);
        if got < usize::from(launch.document_len) {
            let purpose = Purpose::Document { task: launch.task };
            return self.get(paths::DOCUMENT, launch.task.into(), got as u32, szx, purpose, now);
        }
        match self.os.image_len(&launch.digest) {
            Ok(offset) if offset < launch.image_len => {
                let offset = offset & !block_mask(szx);
                let purpose = Purpose::Image { task: launch.task, offset };
                self.get(paths::IMAGE, launch.image.into(), offset, szx, purpose, now)
            }
            Ok(_) => false, // complete: `start_fetched` takes it from here
            Err(error) => {
                self.storage_failed(at, error);
                false
            }
        }
    }

    pub(super) fn post<T: serde::Serialize>(
        &mut self,
        path: &str,
        message: &T,
        purpose: Purpose,
        now: u64,
    ) -> bool {
        // Every message fits by the proof in `node_proto`; if one did not, asking again would not help.
        let Ok(payload) = node_proto::encode(message) else { return false };
        let sent = self.wire.post(path, &payload, now);
        self.under_way = sent.then_some(purpose);
        sent
    }

    pub(super) fn get(
        &mut self,
        path: &str,
        id: u32,
        offset: u32,
        szx: u8,
        purpose: Purpose,
        now: u64,
    ) -> bool {
        let sent = self.wire.get_block(&format!("{path}/{id}"), offset, szx, now);
        self.under_way = sent.then_some(purpose);
        sent
    }
}
