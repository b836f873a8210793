//! A framework's scheduler: launches tasks, kills some of them, talks to others, acknowledges and reconciles.

use crate::images;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::task;
use gateway::agent::RESUME_LABEL;
use mesos_proto::mesos;
use mesos_proto::recast;
use mesos_proto::resources::{Scalars, scalar};
use mesos_proto::v1::scheduler::{Call, Event, call, event};
use mesos_proto::v1::{self, TaskState};
use std::collections::BTreeMap;

/// Pause before a kill is repeated.
const KILL_PAUSE_MS: u64 = 20_000;
/// Tasks that wait for an offer.
const WAITING_MAX: usize = 4;

/// Where a task stands, as far as the scheduler knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// No offer was good enough yet.
    Waiting,
    /// It was launched, and has not ended.
    Out,
    /// It has ended, or nobody knows it.
    Over,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Job {
    pub behaviour: u64,
    pub image: u64,
    pub cpu: f64,
    pub mem: f64,
    pub stand: Stand,
    pub state: TaskState,
    pub agent: Option<String>,
    /// It was asked for its end.
    pub killed: bool,
    /// Its agent said how it ended.
    ended: bool,
    kill_at: u64,
    talk_at: u64,
    told: u32,
}

/// The scheduler.
pub(crate) struct Scheduler {
    pub jobs: Vec<Job>,
    pub framework: Option<String>,
    pub subscribed: bool,
    /// No new tasks; nothing is forgotten.
    pub calm: bool,
    /// When every agent has registered again.
    pub all_back_ms: u64,
    pub calls: Vec<Call>,
    acks: BTreeMap<(u64, u64), Call>,
    order: u64,
    next_job: u64,
    next_reconcile: u64,
    plan: Plan,
    rng: Rng,
}

/// The name of a task, and back.
pub(crate) fn name(number: usize) -> String {
    format!("t{number}")
}

pub(crate) fn number(name: &str) -> Option<usize> {
    name.strip_prefix('t')?.parse().ok()
}

/// The last states of a task.
pub(crate) fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    !matches!(state, TaskStaging | TaskStarting | TaskRunning | TaskKilling | TaskUnreachable | TaskUnknown)
}

impl Scheduler {
    pub fn new(plan: Plan, rng: Rng) -> Self {
        Self {
            jobs: Vec::new(),
            framework: None,
            subscribed: false,
            calm: false,
            all_back_ms: u64::MAX,
            calls: Vec::new(),
            acks: BTreeMap::new(),
            order: 0,
            next_job: 1_000,
            next_reconcile: 0,
            plan,
            rng,
        }
    }

    /// The call that begins a subscription.
    pub fn subscribe(&self) -> Call {
        use v1::framework_info::capability::Type;
        let mut capabilities = vec![Type::MultiRole, Type::PartitionAware];
        if self.plan.killing {
            capabilities.push(Type::TaskKillingState);
        }
        let id = self.framework.clone().map(|value| v1::FrameworkId { value });
        let framework_info = v1::FrameworkInfo {
            user: "sim".into(),
            name: "sim".into(),
            id: id.clone(),
            roles: vec!["sim".into()],
            failover_timeout: Some(1e7),
            checkpoint: Some(true),
            capabilities: capabilities
                .into_iter()
                .map(|kind| v1::framework_info::Capability { r#type: Some(kind as i32) })
                .collect(),
            ..Default::default()
        };
        Call {
            framework_id: id,
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(call::Subscribe { framework_info, ..Default::default() }),
            ..Default::default()
        }
    }

    fn call(&mut self, kind: call::Type, call: Call) {
        self.calls.push(self.of(kind, call));
    }

    fn of(&self, kind: call::Type, call: Call) -> Call {
        let id = self.framework.clone().unwrap_or_default();
        Call { framework_id: Some(v1::FrameworkId { value: id }), r#type: Some(kind as i32), ..call }
    }

    /// When [`Scheduler::step`] is to be called.
    pub fn due(&self) -> u64 {
        if !self.subscribed {
            return u64::MAX;
        }
        let acks = self.acks.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let out = self.jobs.iter().filter(|job| job.stand == Stand::Out);
        let jobs = out.map(|job| job.kill_at.min(job.talk_at)).min().unwrap_or(u64::MAX);
        let next = if self.calm { u64::MAX } else { self.next_job };
        acks.min(jobs).min(next).min(self.next_reconcile)
    }

    /// Does what is due; the calls are in [`Scheduler::calls`].
    pub fn step(&mut self, now: u64) {
        while let Some(entry) = self.acks.first_entry().filter(|entry| entry.key().0 <= now) {
            let call = entry.remove();
            self.calls.push(call);
        }
        if now >= self.next_job && !self.calm {
            self.next_job = now + self.rng.between(1, 2 * self.plan.task_pause_ms);
            if self.jobs.iter().filter(|job| job.stand == Stand::Waiting).count() < WAITING_MAX {
                self.add_job();
            }
        }
        for at in 0..self.jobs.len() {
            if self.jobs[at].stand == Stand::Out {
                self.kill(at, now);
                self.talk(at, now);
            }
        }
        if now >= self.next_reconcile {
            self.next_reconcile = now + self.rng.between(20_000, 120_000);
            self.reconcile();
        }
    }

    fn add_job(&mut self) {
        let rng = &mut self.rng;
        self.jobs.push(Job {
            behaviour: rng.next(),
            image: rng.below(images::COUNT),
            cpu: rng.between(5, 60) as f64 / 100.0,
            mem: rng.between(4, 60) as f64 / 1000.0,
            stand: Stand::Waiting,
            state: TaskState::TaskStaging,
            agent: None,
            killed: false,
            ended: false,
            kill_at: u64::MAX,
            talk_at: u64::MAX,
            told: 0,
        });
    }

    fn kill(&mut self, at: usize, now: u64) {
        let job = &mut self.jobs[at];
        if now < job.kill_at {
            return;
        }
        job.kill_at = now + KILL_PAUSE_MS;
        job.killed = true;
        let agent_id = job.agent.clone().map(|value| v1::AgentId { value });
        let nanoseconds = self.rng.pick(&[0, 1_000, 3_000, 10_000]) as i64 * 1_000_000;
        let grace_period = Some(v1::DurationInfo { nanoseconds });
        let kill_policy = self.rng.chance(700).then_some(v1::KillPolicy { grace_period });
        let task_id = v1::TaskId { value: name(at) };
        let kill = call::Kill { task_id, agent_id, kill_policy };
        self.call(call::Type::Kill, Call { kill: Some(kill), ..Default::default() });
    }

    fn talk(&mut self, at: usize, now: u64) {
        let job = &mut self.jobs[at];
        if now < job.talk_at {
            return;
        }
        job.talk_at = now + self.rng.between(100, 120_000);
        job.told += 1;
        let message = call::Message {
            agent_id: v1::AgentId { value: job.agent.clone().unwrap_or_default() },
            executor_id: v1::ExecutorId { value: name(at) },
            data: task::message(at as u32, job.told),
        };
        self.call(call::Type::Message, Call { message: Some(message), ..Default::default() });
    }

    fn reconcile(&mut self) {
        let out = self.jobs.iter().enumerate().filter(|(_, job)| job.stand == Stand::Out);
        let tasks: Vec<_> = out
            .map(|(at, job)| call::reconcile::Task {
                task_id: v1::TaskId { value: name(at) },
                agent_id: job.agent.clone().map(|value| v1::AgentId { value }),
            })
            .collect();
        // Without any it asks for all that the master knows, which may be more than it has believed.
        let all = self.calm.then(Vec::new);
        for tasks in [Some(tasks).filter(|tasks| !tasks.is_empty()), all].into_iter().flatten() {
            let reconcile = Some(call::Reconcile { tasks });
            self.call(call::Type::Reconcile, Call { reconcile, ..Default::default() });
        }
    }

    /// The subscription is over, one way or another.
    pub fn lost(&mut self) {
        self.subscribed = false;
        self.calls.clear();
    }

    /// Takes an event; an update is returned, for whoever checks it.
    pub fn event(&mut self, event: &Event, now: u64) -> Option<v1::TaskStatus> {
        match event.r#type() {
            event::Type::Subscribed => {
                let subscribed = event.subscribed.as_ref()?;
                self.framework = Some(subscribed.framework_id.value.clone());
                self.subscribed = true;
                self.next_reconcile = now + self.rng.between(0, 2_000);
            }
            event::Type::Offers => {
                for offer in event.offers.iter().flat_map(|offers| &offers.offers) {
                    self.offered(offer, now);
                }
            }
            event::Type::Update => {
                let status = event.update.as_ref()?.status.clone();
                self.updated(&status, now);
                return Some(status);
            }
            _ => {}
        }
        None
    }

    fn offered(&mut self, offer: &v1::Offer, now: u64) {
        let resources: Vec<mesos::Resource> =
            offer.resources.iter().filter_map(|resource| recast(resource).ok()).collect();
        let offered = Scalars::of(&resources);
        let fits =
            |job: &Job| offered.contains(&Scalars::from_amounts([("cpus", job.cpu), ("mem", job.mem)]));
        let found = self.jobs.iter().position(|job| job.stand == Stand::Waiting && fits(job));
        let Some(at) = found.filter(|_| !self.calm) else {
            let filters = Some(v1::Filters { refuse_seconds: Some(self.rng.between(1, 20) as f64) });
            let decline = call::Decline { offer_ids: vec![offer.id.clone()], filters };
            return self.call(call::Type::Decline, Call { decline: Some(decline), ..Default::default() });
        };
        let job = &mut self.jobs[at];
        job.stand = Stand::Out;
        job.agent = Some(offer.agent_id.value.clone());
        job.kill_at = if self.rng.chance(600) { now + self.rng.scale(500, 1_500_000) } else { u64::MAX };
        job.talk_at = if self.rng.chance(300) { now + self.rng.scale(1, 60_000) } else { u64::MAX };
        let resources = [scalar("cpus", job.cpu), scalar("mem", job.mem)];
        let uri = v1::command_info::Uri { value: images::uri(job.image), ..Default::default() };
        let task = v1::TaskInfo {
            name: name(at),
            task_id: v1::TaskId { value: name(at) },
            agent_id: offer.agent_id.clone(),
            resources: resources.iter().filter_map(|resource| recast(resource).ok()).collect(),
            command: Some(v1::CommandInfo { uris: vec![uri], ..Default::default() }),
            data: Some(task::data(at as u32, job.behaviour)),
            labels: task::resumes(at as u32).then(|| v1::Labels {
                labels: vec![v1::Label { key: RESUME_LABEL.into(), value: Some("true".into()) }],
            }),
            ..Default::default()
        };
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch as i32),
            launch: Some(v1::offer::operation::Launch { task_infos: vec![task] }),
            ..Default::default()
        };
        let accept = call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![operation],
            filters: Some(v1::Filters { refuse_seconds: Some(1.0) }),
        };
        self.call(call::Type::Accept, Call { accept: Some(accept), ..Default::default() });
    }

    fn updated(&mut self, status: &v1::TaskStatus, now: u64) {
        let Some(at) = number(&status.task_id.value).filter(|at| *at < self.jobs.len()) else { return };
        let state = status.state();
        let job = &mut self.jobs[at];
        let lost = matches!(state, TaskState::TaskUnreachable | TaskState::TaskUnknown);
        if job.stand == Stand::Over && !job.ended && !lost && !is_terminal(state) {
            // The master did not know it any more, and it is there.
            (job.stand, job.kill_at) = (Stand::Out, now);
        }
        job.ended |= status.uuid.is_some() && is_terminal(state);
        if job.stand == Stand::Out {
            job.state = state;
            // How a task ended is for its agent to say; the master says that it is not there any more. With every
            // agent back, what nobody knows now nobody will ever know, and an agent that is still away is one whose
            // id never reached it.
            let by_agent = status.uuid.is_some();
            let is_end =
                matches!(state, TaskState::TaskFinished | TaskState::TaskFailed | TaskState::TaskKilled);
            let unknown = now > self.all_back_ms && lost;
            if is_terminal(state) && (by_agent || !is_end) || unknown {
                job.stand = Stand::Over;
            }
        }
        let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) else { return };
        if !self.calm && self.rng.chance(self.plan.forgets_acks) {
            return; // it comes again
        }
        let late = if self.calm { 0 } else { self.rng.pick(&[0, 0, 0, 10, 1_000, 15_000]) };
        let acknowledge = call::Acknowledge { agent_id, task_id: status.task_id.clone(), uuid };
        let ack = Call { acknowledge: Some(acknowledge), ..Default::default() };
        let ack = self.of(call::Type::Acknowledge, ack);
        self.order += 1;
        self.acks.insert((now + late, self.order), ack);
    }

    /// Everything that runs is to end.
    pub fn close(&mut self, now: u64) {
        for job in self.jobs.iter_mut().filter(|job| job.stand == Stand::Out) {
            job.kill_at = job.kill_at.min(now);
            job.talk_at = u64::MAX;
        }
    }
}
