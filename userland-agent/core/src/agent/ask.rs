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
                    || (now >= self.fetch_from_ms && self.fetch_block(now));
            }
        }
    }

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

    pub(super) fn poll(&mut self, now: u64) -> bool {
        let mut usage = heapless::Vec::new();
        for step in 0..self.tasks.len().min(USAGE_PER_POLL) {
            let task = &self.tasks[(self.usage_turn + step) % self.tasks.len()];
            let _ = usage.push(Self::usage_of(&mut self.os, task)); // the range is its capacity
        }
        self.usage_turn = self.usage_turn.wrapping_add(USAGE_PER_POLL);
        let message = Poll { seen: self.seen, power: self.os.power(), usage };
        self.post(paths::POLL, &message, Purpose::Poll, now)
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
            received: image.saturating_add(task.document.len() as u32),
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
        let Some(at) = self.in_turn(|task| !task.kept.statuses.is_empty()) else { return false };
        let Some(status) = self.tasks[at].kept.statuses.front().cloned() else { return false };
        let purpose = Purpose::Status { task: status.task, seq: status.seq };
        self.post(paths::STATUS, &status, purpose, now)
    }

    pub(super) fn send_outbox(&mut self, now: u64) -> bool {
        let Some(at) = self.in_turn(|task| task.outbox.is_some()) else { return false };
        let task = &self.tasks[at];
        let handle = task.kept.launch.task;
        let purpose = Purpose::Outbox { task: handle };
        match &task.outbox {
            Some(Event::Message(bytes)) => {
                let data = heapless::Vec::from_slice(bytes).unwrap_or_default();
                let message = Message { task: handle, seq: task.message_seq, data };
                self.post(paths::MESSAGE, &message, purpose, now)
            }
            Some(Event::Log(bytes)) => {
                let data = heapless::Vec::from_slice(bytes).unwrap_or_default();
                let message = Log { task: handle, offset: task.log_offset, data };
                self.post(paths::LOG, &message, purpose, now)
            }
            _ => false,
        }
    }

    pub(super) fn fetch_block(&mut self, now: u64) -> bool {
        let Some(at) = self.in_turn(|task| task.kept.phase == Phase::Fetching) else { return false };
        let launch = self.tasks[at].kept.launch;
        let got = self.tasks[at].document.len();
        let szx = self.os.inventory().block_szx.min(6);
        if got < usize::from(launch.document_len) {
            let purpose = Purpose::Document { task: launch.task };
            return self.get(paths::DOCUMENT, launch.task, got as u32, szx, purpose, now);
        }
        match self.os.image_len(&launch.digest) {
            Ok(offset) if offset < launch.image_len => {
                let offset = offset & !block_mask(szx);
                let purpose = Purpose::Image { task: launch.task, offset };
                self.get(paths::IMAGE, launch.image, offset, szx, purpose, now)
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
        id: u16,
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
