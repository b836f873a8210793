//! What the gateway orders: each order once, in order.

use super::*;

impl<O: Os> Agent<O> {
    /// Takes an order pushed by the gateway. While the answer to a registration is outstanding none is taken: it may
    /// say that everything the node remembers is to be forgotten, this order's task included.
    pub(super) fn order(&mut self, payload: &[u8]) -> Code {
        if !matches!(self.link, Link::Up { .. }) {
            return Code::UNAVAILABLE;
        }
        match decode::<Command>(payload) {
            Ok(command) => {
                self.act(command);
                Code::CHANGED
            }
            Err(_) => {
                self.counters.malformed = self.counters.malformed.saturating_add(1);
                Code::BAD_REQUEST
            }
        }
    }

    pub(super) fn act(&mut self, command: Command) {
        if command.seq <= self.seen {
            self.counters.repeated_orders = self.counters.repeated_orders.saturating_add(1);
            return;
        }
        if let Order::Fetch { task, len } = command.order
            && self.fetch(command.seq, task, len)
        {
            return; // it counts as seen once what it is about is here
        }
        self.body = None; // the gateway has gone on to another command
        // A task's record comes before the command counter, a message after it: should the node stop in between,
        // a launch is found to be known, a kill is repeated without harm, a message is lost rather than doubled.
        match &command.order {
            Order::Launch(launch) => self.launch(command.seq, *launch),
            Order::Kill { task, grace_ms } => self.kill(*task, *grace_ms),
            Order::Message { .. } | Order::Fetch { .. } => {}
        }
        self.tighten();
        self.acted_on(command.seq);
        if let Order::Message { task, data } = &command.order {
            self.deliver(*task, data);
        }
    }

    pub(super) fn acted_on(&mut self, order: CommandSeq) {
        self.seen = order;
        self.counters.orders = self.counters.orders.saturating_add(1);
        self.check(|os| record::save(os, Record::Seen, &order));
    }

    pub(super) fn deliver(&mut self, task: TaskHandle, data: &[u8]) {
        let Some(at) = self.find(task) else { return };
        match self.tasks[at].kept.phase {
            Phase::Fetching => self.tasks[at].keep_message(data),
            Phase::Running => self.os.deliver(task, data),
            Phase::Ended => {}
        }
    }

    pub(super) fn launch(&mut self, order: CommandSeq, launch: Launch) {
        if self.find(launch.task).is_some() {
            return;
        }
        let free = (0..TASKS_MAX as u8).find(|slot| self.tasks.iter().all(|task| task.slot != *slot));
        let Some(slot) = free else {
            // Every slot holds a task. The gateway counts slots too, so this is a gateway gone wrong, and there is
            // no place to keep a status in: the task shows up as lost when the gateway reconciles.
            return;
        };
        let mut task = Box::new(Task::new(slot, order, launch));
        match self.refusal(slot, &launch) {
            None => task.report(State::Starting, ""),
            Some((failure, note)) => task.report(State::Failed(failure), note),
        }
        self.tasks.push(task);
        let at = self.tasks.len() - 1;
        self.save_task(at);
        if self.tasks[at].kept.phase == Phase::Fetching {
            self.admit_image(at);
        }
    }

    /// Reserves what a task asks for, or says why this node will not run it.
    pub(super) fn refusal(&mut self, slot: u8, launch: &Launch) -> Option<(Failure, &'static str)> {
        let has = self.os.inventory();
        let held = self.tasks.iter().filter(|task| task.kept.phase != Phase::Ended).count();
        if held >= self.os.tasks_max() {
            return Some((Failure::Resources, "no slot left"));
        }
        let runtime = match launch.kind {
            Kind::Wasm => Runtimes::WASM,
            Kind::Native => Runtimes::NATIVE,
        };
        if has.runtimes.0 & runtime == 0 {
            return Some((Failure::Unsupported, "node cannot run this kind"));
        }
        if launch.capabilities.has(Capabilities::SENSOR) && has.sensors == 0 {
            return Some((Failure::Capability, "node has no sensor"));
        }
        if launch.capabilities.has(Capabilities::LED) && launch.leds == 0 {
            return Some((Failure::Capability, "no LED of its own granted"));
        }
        if launch.image_len == 0
            || launch.image_len > IMAGE_MAX.min(has.flash_bytes).min(self.os.image_limits().bytes)
        {
            return Some((Failure::Resources, "image too large for node"));
        }
        if usize::from(launch.document_len) > DOCUMENT_MAX {
            return Some((Failure::Resources, "arguments too long for node"));
        }
        let refused = self.ledger.reserve(slot.into(), grant_of(launch)).err()?;
        Some(match refused {
            Refusal::Cpu(_) => (Failure::Resources, "not enough cpu left"),
            Refusal::Memory(_) => (Failure::Resources, "not enough memory left"),
            Refusal::Flash(_) => (Failure::Resources, "not enough flash left"),
            Refusal::Leds(_) => (Failure::Resources, "not enough LEDs left"),
            Refusal::NoSlot | Refusal::Taken => (Failure::Resources, "no slot left"),
        })
    }

    pub(super) fn admit_image(&mut self, at: usize) {
        let launch = self.tasks[at].kept.launch;
        let flash = self.os.inventory().flash_bytes;
        let in_use = |tasks: &[Box<Task>], image: &Digest| {
            tasks.iter().any(|task| task.kept.phase != Phase::Ended && task.kept.launch.digest == *image)
        };
        let tasks = &self.tasks;
        let admitted = self
            .images
            .admit(&mut self.os, launch.digest, launch.image_len, flash, |image| in_use(tasks, image));
        match admitted {
            Ok(()) => {}
            Err(NoRoom::InUse) => {
                self.report(at, State::Failed(Failure::Storage), "no room for the image");
            }
            Err(NoRoom::Storage(error)) => self.storage_failed(at, error),
        }
    }

    pub(super) fn kill(&mut self, task: TaskHandle, grace_ms: u32) {
        let Some(at) = self.find(task) else {
            if !self.strangers.iter().any(|held| *held == task) {
                let _ = self.strangers.push_back(task); // a gateway that still wants it to end says so again
            }
            return;
        };
        match self.tasks[at].kept.phase {
            Phase::Fetching => self.report(at, State::Killed, "killed before it ran"),
            Phase::Running => {
                let at_ms = self.os.now_ms() + u64::from(grace_ms);
                // A kill that is repeated may only shorten the time.
                let at_ms = self.tasks[at].stopping.map_or(at_ms, |held| held.at_ms.min(at_ms));
                self.tasks[at].stopping = Some(Deadline { at_ms, failure: None });
                if grace_ms == 0 || !self.os.stop(task, grace_ms) {
                    self.os.kill(task); // `Event::Killed` follows
                }
            }
            Phase::Ended => {}
        }
    }

    /// Ends tasks whose grace or time is over.
    pub(super) fn end_overdue(&mut self, now: u64) {
        for at in 0..self.tasks.len() {
            let task = &mut self.tasks[at];
            let Some(deadline) = task.deadline().filter(|deadline| deadline.at_ms <= now) else { continue };
            let handle = task.kept.launch.task;
            (task.stopping, task.time_limit) = (None, None);
            if task.kept.phase == Phase::Running {
                task.ended_as = deadline.failure;
                self.os.kill(handle); // `Event::Killed` follows
            }
        }
    }
}
