//! What operators ask for: jobs accepted, looked at, ended, run at once. Every refusal says what to do instead.

use super::job::{End, Job, Phase};
use super::spec::Spec;
use super::subscription::AGAIN_MS;
use super::{Jobs, calls, show};
use crate::limits::{MAX_INSTANCES_OF_ALL, MAX_JOBS, MAX_JOBS_SHOWN, MAX_ROLES};
use serde_json::{Value, json};

/// Jobs in one answer unless another number is asked for.
const SHOWN: usize = 100;
/// Nodes looked at for one answer that says why jobs wait, and at least for each job in it.
const MAX_LOOKS: usize = 20_000;
const LEAST_LOOKS: usize = 20;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Accept a job: its JSON.
    Create(Vec<u8>),
    /// Show jobs, the newest first.
    List {
        /// Of this state only.
        state: Option<String>,
        /// With this in their id or name.
        text: Option<String>,
        /// So many are left out.
        offset: usize,
        /// At most so many are shown, of 1,000.
        limit: Option<usize>,
    },
    /// Show one job, with its instances and history.
    Show(String),
    /// End a job.
    Kill {
        /// Which.
        id: String,
        /// And forget it.
        purge: bool,
    },
    /// Run a periodic job now.
    Run(String),
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The document; with `error` if it was refused.
    pub body: Value,
    /// Where the job is that was accepted.
    pub location: Option<String>,
}

fn refusal(status: u16, why: impl Into<String>) -> Reply {
    Reply { status, body: json!({ "error": why.into() }), location: None }
}

fn unknown(id: &str) -> Reply {
    let id: String = id.chars().take(128).collect();
    refusal(404, format!("there is no job '{id}': micro job list shows all"))
}

impl Jobs {
    pub(super) fn request(&mut self, request: Request) -> Reply {
        match request {
            Request::Create(json) => self.create(&json),
            Request::List { state, text, offset, limit } => {
                self.list(state.as_deref(), text.as_deref(), offset, limit.unwrap_or(SHOWN))
            }
            Request::Show(id) => match self.jobs.get(&id) {
                Some(job) => self.answer(200, job),
                None => unknown(&id),
            },
            Request::Kill { id, purge } => self.kill(&id, purge),
            Request::Run(id) => self.run_now(&id),
        }
    }

    fn answer(&self, status: u16, job: &Job) -> Reply {
        Reply { status, body: show::whole(job, &self.view(1)), location: None }
    }

    /// For an answer with so many jobs.
    fn view(&self, jobs: usize) -> show::View<'_> {
        show::View {
            nodes: &self.nodes,
            now_ms: self.now_ms,
            connected: self.subscription.connected(),
            look: (MAX_LOOKS / jobs.max(1)).max(LEAST_LOOKS),
        }
    }

    fn create(&mut self, json: &[u8]) -> Reply {
        let spec = match Spec::parse(json) {
            Ok(spec) => spec,
            Err(invalid) => {
                let body = json!({ "error": invalid.to_string(), "field": invalid.field });
                return Reply { status: 400, body, location: None };
            }
        };
        let id = spec.id.clone();
        if self.jobs.contains_key(&id) {
            let why = format!(
                "job '{id}' exists: choose another id, or forget it first (micro job kill {id} --purge)"
            );
            return refusal(409, why);
        }
        let full = "forget some that have ended (micro job kill ID --purge)";
        if self.jobs.len() >= MAX_JOBS {
            return refusal(503, format!("there are {MAX_JOBS} jobs already: {full}"));
        }
        if self.instances + spec.most_instances() > MAX_INSTANCES_OF_ALL {
            return refusal(503, format!("that would be more than {MAX_INSTANCES_OF_ALL} instances: {full}"));
        }
        if !self.roles.contains_key(&spec.role) && self.roles.len() >= MAX_ROLES {
            return refusal(503, format!("jobs have {MAX_ROLES} roles already: use one of them, or {full}"));
        }
        let mut job = Job::new(spec, self.next_sequence, self.now_ms);
        job.changed = true;
        self.insert(job);
        self.tell(&id, false, "accepted");
        self.wake();
        match self.jobs.get(&id) {
            Some(job) => Reply { location: Some(format!("/jobs/{id}")), ..self.answer(201, job) },
            None => refusal(500, "the job is gone at once: its ttl is over"),
        }
    }

    fn list(&self, state: Option<&str>, text: Option<&str>, offset: usize, limit: usize) -> Reply {
        let limit = limit.min(MAX_JOBS_SHOWN);
        let view = self.view(limit);
        let wanted = |job: &&Job| {
            let spec = &job.kept.spec;
            let has = |text: &str| {
                spec.id.contains(text) || spec.name.as_ref().is_some_and(|name| name.contains(text))
            };
            text.is_none_or(has) && state.is_none_or(|state| show::state(job) == state)
        };
        let mut jobs: Vec<&Job> = self.jobs.values().filter(wanted).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.kept.sequence));
        let matching = jobs.len();
        let shown = jobs.into_iter().skip(offset).take(limit);
        let jobs: Vec<Value> = shown.map(|job| show::short(job, &view)).collect();
        let body = json!({ "total": self.jobs.len(), "matching": matching, "offset": offset, "jobs": jobs });
        Reply { status: 200, body, location: None }
    }

    fn kill(&mut self, id: &str, purge: bool) -> Reply {
        let Some(job) = self.jobs.get_mut(id) else { return unknown(id) };
        let over = job.kept.ended_ms.is_some();
        if over && purge {
            let reply = self.jobs.get(id).map(|job| self.answer(200, job));
            self.forget(id);
            return reply.unwrap_or_else(|| unknown(id));
        }
        if !over {
            let first = !job.kept.killed;
            (job.kept.killed, job.kept.purge, job.kept.next_ms) = (true, job.kept.purge || purge, None);
            job.changed = true;
            let waiting: Vec<_> =
                job.due.iter().copied().chain(job.backoffs.iter().map(|(_, at)| *at)).collect();
            for at in waiting {
                job.set(at, Phase::Done(End::Killed));
            }
            let tasks: Vec<_> =
                job.tasks().map(|(at, task)| (at, task.id.clone(), task.agent.clone())).collect();
            for (at, task, agent) in tasks {
                // Without a subscription it is asked for when there is one.
                if self.subscription.connected() {
                    self.calls.push(calls::kill(&self.all.framework, &task, Some(&agent)));
                    job.task_mut(at).into_iter().for_each(|task| task.kill_sent_ms = Some(self.now_ms));
                }
            }
            if first {
                self.tell(id, false, "is killed");
            }
            self.ask_soon(AGAIN_MS);
            let forgotten = self.jobs.get(id).map(|job| self.answer(200, job));
            self.touch(id);
            self.conclude(id);
            if !self.jobs.contains_key(id) {
                return forgotten.unwrap_or_else(|| unknown(id));
            }
        }
        match self.jobs.get(id) {
            Some(job) => self.answer(if job.kept.ended_ms.is_some() { 200 } else { 202 }, job),
            None => unknown(id),
        }
    }

    fn run_now(&mut self, id: &str) -> Reply {
        let now = self.now_ms;
        let Some(job) = self.jobs.get_mut(id) else { return unknown(id) };
        if !job.periodic() {
            return refusal(409, format!("job '{id}' is not periodic: submit it again under another id"));
        }
        if job.kept.killed {
            return refusal(409, format!("job '{id}' was killed: submit it again"));
        }
        if !job.may_run() {
            let why = format!(
                "a run of job '{id}' is under way: wait for its end, or let runs overlap (schedule.overlap allow)"
            );
            return refusal(409, why);
        }
        let number = job.begin(true, now);
        let role = job.kept.spec.role.clone();
        self.tell(id, false, format!("run {number} begins, as an operator asked"));
        self.look_again(&role);
        self.touch(id);
        match self.jobs.get(id) {
            Some(job) => self.answer(202, job),
            None => unknown(id),
        }
    }
}
