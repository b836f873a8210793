//! Jobs: the master as a scheduler of single tasks. [`Jobs::handle`] takes one input and the time and returns what is to
//! be done; it owns no socket, clock or randomness. To the master it is a framework like any other, one that lives in the
//! same process: it gets events and makes calls.
//!
//! A launch is written down before it goes out, so that after a restart it is known which tasks may run; the master and
//! its agents then say which do. What must never happen: an accepted job forgotten, an instance running twice, an
//! end acknowledged before it is written.

mod calls;
mod constraint;
mod follow;
mod job;
mod node;
mod place;
mod records;
mod requests;
mod schedule;
mod show;
mod span;
mod spec;
mod subscription;
mod turn;

pub use constraint::Constraint;
pub use requests::{Reply, Request};
pub use schedule::{Overlap, Schedule};
pub use span::Span;
pub use spec::{Backoff, Invalid, Policy, Restart, Spec};

use crate::store::{Records, Unreadable, Write};
use job::{At, Job};
use mesos_proto::v1::scheduler::{Call, Event, event};
use node::Node;
use records::All;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use subscription::Subscription;

/// Task numbers that are written down as used at a time.
const NUMBERS_AT_ONCE: u64 = 1024;

/// Settings.
#[derive(Clone, Debug)]
pub struct JobsConfig {
    /// The id of the jobs' framework, unless one was kept.
    pub framework: String,
    /// As whom tasks run, on agents that have users.
    pub user: String,
    /// How long the master keeps the framework when it is away, in seconds: long where jobs are kept over restarts, 0
    /// where they are not, so that their tasks end too.
    pub failover_s: f64,
    /// Seed of the chance in waits.
    pub seed: u64,
}

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// The master's event for the jobs' framework.
    Event(Box<Event>),
    /// The subscription ended.
    Closed,
    /// An operator's request. Answered by [`Output::Reply`] with the same number.
    Request(u64, Request),
    /// Time has passed.
    Tick,
}

/// What is to be done outside, in order.
#[derive(Debug)]
pub enum Output {
    /// Keep, or keep no more. All writes of a step are on disk before anything else of it is done.
    Write(Write),
    /// Make a call as a scheduler.
    Call(Box<Call>),
    /// Answer a request.
    Reply(u64, Reply),
    /// For those who watch: something became of a job.
    News(News),
}

/// Something that became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Which.
    pub job: String,
    /// Whether it is trouble.
    pub trouble: bool,
    /// What, in a sentence.
    pub text: String,
}

/// Jobs that wait for offers: highest priority first, then the oldest.
type Waiting = BTreeSet<(Reverse<i32>, u64, String)>;

/// How many jobs have a role, and how many of them wait for offers.
#[derive(Default)]
struct Role {
    jobs: usize,
    waiting: usize,
}

/// All jobs.
pub struct Jobs {
    config: JobsConfig,
    now_ms: u64,
    all: All,
    /// Below which task numbers are written down as used.
    numbers_kept: u64,
    jobs: BTreeMap<String, Job>,
    next_sequence: u64,
    /// Instances of all jobs.
    instances: usize,
    /// Where each task that may run belongs.
    tasks: BTreeMap<String, (String, At)>,
    waiting: Waiting,
    wakes: BTreeSet<(u64, String)>,
    roles: BTreeMap<String, Role>,
    /// By role and agent.
    nodes: BTreeMap<(String, String), Node>,
    /// Jobs with records to write.
    changed: BTreeSet<String>,
    subscription: Subscription,
    writes: Vec<Write>,
    calls: Vec<Call>,
    replies: Vec<(u64, Reply)>,
    news: Vec<News>,
}

impl Jobs {
    /// All jobs as they were kept.
    pub fn new(config: JobsConfig, kept: &Records, now_ms: u64) -> Result<Self, Unreadable> {
        let (all, read) = records::read(kept)?;
        let mut jobs = Self {
            config,
            now_ms,
            numbers_kept: all.next_task,
            all,
            jobs: BTreeMap::new(),
            next_sequence: 0,
            instances: 0,
            tasks: BTreeMap::new(),
            waiting: Waiting::new(),
            wakes: BTreeSet::new(),
            roles: BTreeMap::new(),
            nodes: BTreeMap::new(),
            changed: BTreeSet::new(),
            subscription: Subscription::default(),
            writes: Vec::new(),
            calls: Vec::new(),
            replies: Vec::new(),
            news: Vec::new(),
        };
        for job in read {
            jobs.insert(job);
        }
        Ok(jobs)
    }

    /// Takes one input at `now_ms` (milliseconds since the epoch, never going back) and says what is to be done.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> Vec<Output> {
        self.now_ms = self.now_ms.max(now_ms);
        self.wake();
        match input {
            Input::Event(event) => self.event(*event),
            Input::Closed => self.subscription_closed(),
            Input::Request(number, request) => {
                let reply = self.request(request);
                self.replies.push((number, reply));
            }
            Input::Tick => {}
        }
        self.keep_subscription();
        self.keep_records();
        let writes = std::mem::take(&mut self.writes).into_iter().map(Output::Write);
        let calls = std::mem::take(&mut self.calls).into_iter().map(|call| Output::Call(Box::new(call)));
        let replies = std::mem::take(&mut self.replies).into_iter();
        let replies = replies.map(|(number, reply)| Output::Reply(number, reply));
        let news = std::mem::take(&mut self.news).into_iter().map(Output::News);
        writes.chain(calls).chain(replies).chain(news).collect()
    }

    /// When [`Input::Tick`] is next needed.
    pub fn next_wakeup_ms(&self) -> u64 {
        let jobs = self.wakes.first().map_or(u64::MAX, |(at, _)| *at);
        jobs.min(self.subscription.next_wakeup_ms(self.nodes.len()))
    }

    fn event(&mut self, event: Event) {
        match event.r#type() {
            event::Type::Subscribed => self.subscribed(),
            event::Type::Offers => {
                if let Some(offers) = event.offers {
                    self.offers(offers.offers);
                }
            }
            event::Type::Update => {
                if let Some(update) = event.update {
                    self.update(&update.status);
                }
            }
            event::Type::Failure => {
                let agent = event.failure.filter(|failure| failure.executor_id.is_none());
                if let Some(agent) = agent.and_then(|failure| failure.agent_id) {
                    self.nodes.retain(|(_, known), _| *known != agent.value);
                }
            }
            event::Type::InverseOffers => {
                let asked = event.inverse_offers.map(|offers| offers.inverse_offers).unwrap_or_default();
                let ids: Vec<_> = asked.into_iter().map(|offer| offer.id).collect();
                self.calls.push(calls::decline_inverse(&self.all.framework, ids));
            }
            event::Type::Error => {
                self.subscription_refused(&event.error.map(|error| error.message).unwrap_or_default());
            }
            // An offer is answered at once: one that is withdrawn is not held. Tasks' messages are for their framework's
            // own protocol, and jobs have none.
            _ => {}
        }
    }

    /// Takes a job into the indices.
    fn insert(&mut self, job: Job) {
        let id = job.kept.spec.id.clone();
        self.next_sequence = self.next_sequence.max(job.kept.sequence + 1);
        self.instances += job.kept.spec.most_instances();
        self.roles.entry(job.kept.spec.role.clone()).or_default().jobs += 1;
        for (at, task) in job.tasks() {
            self.tasks.insert(task.id.clone(), (id.clone(), at));
        }
        self.jobs.insert(id.clone(), job);
        self.touch(&id);
    }

    /// Forgets a job that has ended.
    fn forget(&mut self, id: &str) {
        let Some(mut job) = self.jobs.remove(id) else { return };
        self.unindex(id, &mut job);
        self.changed.remove(id);
        self.instances -= job.kept.spec.most_instances();
        if let Some(role) = self.roles.get_mut(&job.kept.spec.role) {
            role.jobs -= 1;
            if role.jobs == 0 {
                self.roles.remove(&job.kept.spec.role);
                self.nodes.retain(|(role, _), _| *role != job.kept.spec.role);
            }
        }
        self.writes.push(records::delete_job(id));
        for (run, held) in &job.runs {
            let slots =
                (0u32..).zip(&held.slots).map(|(instance, _)| records::delete_slot(id, (*run, instance)));
            self.writes.extend(slots);
        }
    }

    fn unindex(&mut self, id: &str, job: &mut Job) {
        if let Some(at) = job.wake_ms.take() {
            self.wakes.remove(&(at, id.to_owned()));
        }
        if std::mem::take(&mut job.waits) {
            self.waiting.remove(&(Reverse(job.kept.spec.priority), job.kept.sequence, id.to_owned()));
            if let Some(role) = self.roles.get_mut(&job.kept.spec.role) {
                role.waiting -= 1;
            }
        }
    }

    /// Brings the indices in line with a job that changed.
    fn touch(&mut self, id: &str) {
        let Some(mut job) = self.jobs.remove(id) else { return };
        self.unindex(id, &mut job);
        job.wake_ms = job.next_wakeup_ms();
        if let Some(at) = job.wake_ms {
            self.wakes.insert((at, id.to_owned()));
        }
        job.waits = !job.due.is_empty();
        if job.waits {
            self.waiting.insert((Reverse(job.kept.spec.priority), job.kept.sequence, id.to_owned()));
            if let Some(role) = self.roles.get_mut(&job.kept.spec.role) {
                role.waiting += 1;
            }
        }
        if job.changed || !job.changed_slots.is_empty() {
            self.changed.insert(id.to_owned());
        }
        self.jobs.insert(id.to_owned(), job);
    }

    /// Says what changed.
    fn keep_records(&mut self) {
        for id in std::mem::take(&mut self.changed) {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if std::mem::take(&mut job.changed) {
                self.writes.push(records::put_job(&id, &job.kept));
            }
            for at in std::mem::take(&mut job.changed_slots) {
                if let Some(slot) = job.slot(at) {
                    self.writes.push(records::put_slot(&id, at, slot));
                }
            }
        }
        if self.all.next_task > self.numbers_kept {
            // A number that was not used before a restart is never used.
            self.numbers_kept = self.all.next_task + NUMBERS_AT_ONCE;
            let all = All { next_task: self.numbers_kept, ..self.all.clone() };
            self.writes.push(records::put_all(&all));
        }
    }

    /// A number that no task had before.
    fn number(&mut self) -> u64 {
        let number = self.all.next_task;
        self.all.next_task += 1;
        number
    }

    fn tell(&mut self, job: &str, trouble: bool, text: impl Into<String>) {
        let news = News { job: job.to_owned(), trouble, text: text.into() };
        self.news.push(news);
    }
}
