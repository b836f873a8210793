//! What goes between the parts over TCP: the gateway's and the master's messages, the scheduler's calls and events.

use crate::images;
use crate::link::Use;
use crate::scheduler::number;
use crate::words::words;
use crate::world::{EPOCH_MS, Happening, Killed, World, master_address};
use libprocess::{Message, Upid};
use master::allocator::Rules;
use master::core::{CoreConfig, Input, MasterCore, Output};
use master::policy::Drf;
use master::store::Write;
use mesos_proto::v1::scheduler::{Call, Event, call};

impl World {
    /// A libprocess message over one of the two ways.
    pub fn send_over(&mut self, to_master: bool, message: Message) {
        let delay = if self.calm { 1 } else { self.rng.between(1, self.plan.wire_ms) };
        let reachable = if to_master { self.master.is_some() } else { self.gateway.is_up() };
        let way = if to_master { &mut self.to_master } else { &mut self.to_gateway };
        match way.send(reachable, self.now, delay) {
            Use::Arrives(at, opened) => self.put_at(at, Happening::Message { to_master, opened, message }),
            Use::Lost => self.stats.messages_lost += 1,
        }
    }

    /// Gives the master an input and does what it says.
    pub fn feed_core(&mut self, input: Input) {
        let now = self.now;
        let Some(core) = &mut self.master else { return };
        let mut writes = Vec::new();
        let mut outputs = Vec::new();
        for output in core.handle(input, EPOCH_MS + now) {
            match output {
                Output::Write(write) => writes.push(write),
                other => outputs.push(other),
            }
        }
        let killed = self.master_armed.filter(|_| !writes.is_empty());
        if killed != Some(Killed::BeforeCommit) {
            writes.into_iter().for_each(|write| self.keep(write));
        }
        if killed.is_some() {
            return self.stop_master();
        }
        for output in outputs {
            match output {
                // Committed already.
                Output::Write(_) => {}
                Output::Send { from, to, name, body } => {
                    self.trace.note(now, &body, || format!("{from} to {}: {}", to.id, words(&name, &body)));
                    let from = Some(Upid::new(from, master_address()));
                    self.send_over(false, Message { from, to: to.id, name, body: body.into() });
                }
                Output::Link(_) => {
                    if !self.to_gateway.link(self.gateway.is_up(), now) {
                        self.put(1, Happening::Unreachable);
                    }
                }
                Output::Reply { status, reason, .. } => {
                    if status >= 400 {
                        self.trace
                            .note(now, reason.as_bytes(), || format!("master refuses: {status} {reason}"));
                        let session = self.session;
                        self.put(1, Happening::Refused { session });
                    }
                }
                Output::Subscribed { stream, .. } => self.stream = Some(stream),
                Output::Event { stream, event } => {
                    if self.stream.as_ref() == Some(&stream) {
                        let session = self.session;
                        let at = self.api_delay(false);
                        self.put_at(at, Happening::Event { session, event });
                    }
                }
                // Nobody asks as an operator here.
                Output::Close { .. } | Output::Answer { .. } | Output::OperatorEvent { .. } => {}
            }
        }
    }

    /// When something over the scheduler's connection arrives: in order, each way.
    fn api_delay(&mut self, to_master: bool) -> u64 {
        let delay = if self.calm { 1 } else { self.rng.between(1, self.plan.wire_ms) };
        let last = if to_master { &mut self.api_last.0 } else { &mut self.api_last.1 };
        *last = (*last).max(self.now + delay);
        *last
    }

    pub fn send_calls(&mut self) {
        for call in std::mem::take(&mut self.scheduler.calls) {
            self.trace.note(self.now, &[], || format!("scheduler: {}", call.r#type().as_str_name()));
            let (session, at) = (self.session, self.api_delay(true));
            self.put_at(at, Happening::Call { session, call: Box::new(call) });
        }
    }

    pub fn call(&mut self, call: Box<Call>) {
        self.calls += 1;
        let (request, fresh) = (self.calls, format!("stream-{}", self.calls));
        let subscribes = call.r#type() == call::Type::Subscribe;
        let stream = if subscribes { None } else { self.stream.clone() };
        self.feed_core(Input::Call { request, stream, fresh, call });
    }

    pub fn start_master(&mut self) {
        self.masters += 1;
        let id = format!("m{}", self.masters);
        let config = CoreConfig { seed: self.rng.next(), ..CoreConfig::new(&id, master_address()) };
        let records = self.kept.iter();
        let records = records.map(|((table, key), value)| (*table, key.clone(), value.clone())).collect();
        let now = EPOCH_MS + self.now;
        match MasterCore::restore(config, Box::new(Drf), Rules::default(), &records, now) {
            Ok(core) => self.master = Some(core),
            Err(error) => self.checks.fail("the master can read what it kept", error.to_string()),
        }
    }

    fn keep(&mut self, write: Write) {
        match write {
            Write::Put(table, key, value) => drop(self.kept.insert((table, key), value)),
            Write::Delete(table, key) => drop(self.kept.remove(&(table, key))),
        }
    }

    pub fn start_gateway(&mut self) {
        self.gateway.boot(self.now, EPOCH_MS);
        let run = self.gateway.run;
        let after = self.rng.below(200);
        self.put(after, Happening::Detected { run, there: true });
    }

    /// An event of the master's reaches the scheduler.
    pub fn scheduler_hears(&mut self, event: &Event) {
        if let Some(message) = &event.message {
            self.checks.heard_message(&message.data);
        }
        let now = self.now;
        if let Some(status) = self.scheduler.event(event, now) {
            let job = number(&status.task_id.value).and_then(|at| self.scheduler.jobs.get(at));
            let killed = job.is_some_and(|job| job.killed);
            self.trace.note(now, status.uuid(), || {
                let (task, state) = (&status.task_id.value, status.state().as_str_name());
                format!("scheduler hears {task} {state}: {}", status.message())
            });
            self.stats.updates += u64::from(status.uuid.is_some());
            self.checks.heard(&status, killed);
        }
        self.send_calls();
    }

    /// What a fetched image is.
    pub fn fetched(&mut self, uri: String) {
        let fails = !self.calm && self.rng.chance(self.plan.fetch_fails);
        let image = images::download(&uri).filter(|_| !fails);
        self.gateway.fetched(uri, image.ok_or_else(|| "the server does not answer".into()));
    }
}
