//! The master's side of the jobs' subscription, as small as it can be and still true: agents with resources and
//! attributes, tasks that run on them, statuses that are sent again until they are acknowledged, and a disk. The jobs
//! can be stopped at any output of a step.

use master::jobs::{Input, Jobs, JobsConfig, Output, Reply, Request};
use master::store::{Table, Write};
use mesos_proto::resources::{Scalars, scalar, text_attribute};
use mesos_proto::v1::scheduler::{Call, Event, call, event};
use mesos_proto::v1::{self, TaskState, task_status::Reason};
use mesos_proto::{mesos, recast};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const START: u64 = 1_700_000_000_000;

#[derive(Clone)]
pub struct Agent {
    pub attributes: Vec<(String, String)>,
    pub total: Scalars,
    /// It can be offered and asked after.
    pub connected: bool,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub agent: String,
    pub needs: Scalars,
    pub alive: bool,
    /// Not acknowledged, the oldest first.
    pub statuses: VecDeque<v1::TaskStatus>,
    pub info: v1::TaskInfo,
}

pub struct World {
    pub jobs: Option<Jobs>,
    pub disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub now: u64,
    pub agents: BTreeMap<String, Agent>,
    pub tasks: BTreeMap<String, Task>,
    pub calls: Vec<Call>,
    pub replies: Vec<Reply>,
    pub news: Vec<String>,
    /// Outputs that are done before the process is killed; `None` for all.
    pub fuse: Option<usize>,
    pub roles: BTreeSet<String>,
    pub suppressed: BTreeSet<String>,
    /// (role, agent) -> what was refused, until when.
    refused: BTreeMap<(String, String), (Scalars, u64)>,
    offers: BTreeMap<String, (String, String, Scalars)>,
    next_offer: u64,
    next_status: u8,
    subscribed: bool,
    pub frameworks: BTreeSet<String>,
    /// Kills do nothing.
    pub deaf: bool,
    /// Agents that are to be away from then on.
    pub away: BTreeMap<String, u64>,
    /// Ids of all tasks that ever were.
    ids: BTreeSet<String>,
}

fn config() -> JobsConfig {
    JobsConfig { framework: "m-jobs".into(), user: "test".into(), failover_s: 3600.0, seed: 7 }
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            jobs: None,
            disk: BTreeMap::new(),
            now: START,
            agents: BTreeMap::new(),
            tasks: BTreeMap::new(),
            calls: Vec::new(),
            replies: Vec::new(),
            news: Vec::new(),
            fuse: None,
            roles: BTreeSet::new(),
            suppressed: BTreeSet::new(),
            refused: BTreeMap::new(),
            offers: BTreeMap::new(),
            next_offer: 0,
            next_status: 0,
            subscribed: false,
            frameworks: BTreeSet::new(),
            deaf: false,
            away: BTreeMap::new(),
            ids: BTreeSet::new(),
        };
        world.start();
        world
    }

    pub fn agent(&mut self, name: &str, attributes: &[(&str, &str)], amounts: &[(&str, f64)]) {
        let attributes =
            attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let total = Scalars::from_amounts(amounts.iter().copied());
        self.agents.insert(name.into(), Agent { attributes, total, connected: true });
    }

    /// The process begins with what is on disk.
    pub fn start(&mut self) {
        let records =
            self.disk.iter().map(|((kind, key), value)| (*kind, key.clone(), value.clone())).collect();
        self.jobs = Some(Jobs::new(config(), &records, self.now).unwrap());
        self.input(Input::Tick);
    }

    /// The process is killed: offers are gone, the subscription too.
    pub fn kill(&mut self) {
        self.jobs = None;
        self.fuse = None;
        self.subscribed = false;
        self.offers.clear();
        self.refused.clear();
    }

    pub fn input(&mut self, input: Input) {
        let Some(jobs) = &mut self.jobs else { return };
        let outputs = jobs.handle(input, self.now);
        let mut events = VecDeque::new();
        let (writes, rest): (Vec<_>, Vec<_>) =
            outputs.into_iter().partition(|o| matches!(o, Output::Write(_)));
        // One commit: all of it or nothing.
        if !writes.is_empty() && self.burnt() {
            return self.kill();
        }
        for write in writes {
            match write {
                Output::Write(Write::Put(kind, key, value)) => drop(self.disk.insert((kind, key), value)),
                Output::Write(Write::Delete(kind, key)) => drop(self.disk.remove(&(kind, key))),
                _ => unreachable!(),
            }
        }
        for output in rest {
            if self.burnt() {
                return self.kill();
            }
            match output {
                Output::Call(call) => events.extend(self.call(*call)),
                Output::Reply(_, reply) => self.replies.push(reply),
                Output::News(news) => self.news.push(format!("{}: {}", news.job, news.text)),
                Output::Write(_) => unreachable!(),
            }
        }
        for event in events {
            self.input(Input::Event(Box::new(event)));
        }
    }

    fn burnt(&mut self) -> bool {
        match &mut self.fuse {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    pub fn ask(&mut self, request: Request) -> Reply {
        let before = self.replies.len();
        self.input(Input::Request(1, request));
        self.replies.drain(before..).next().unwrap_or(Reply { status: 0, body: Value::Null, location: None })
    }

    pub fn submit(&mut self, job: Value) -> Reply {
        self.ask(Request::Create(job.to_string().into_bytes()))
    }

    pub fn show(&mut self, id: &str) -> Value {
        let reply = self.ask(Request::Show(id.into()));
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    pub fn state(&mut self, id: &str) -> String {
        self.show(id)["state"].as_str().unwrap().into()
    }

    fn call(&mut self, call: Call) -> Vec<Event> {
        self.calls.push(call.clone());
        let framework = call.framework_id.clone().unwrap().value;
        assert!(!framework.is_empty());
        match call.r#type() {
            call::Type::Subscribe => {
                let subscribe = call.subscribe.unwrap();
                self.frameworks.insert(framework.clone());
                self.subscribed = true;
                self.roles = subscribe.framework_info.roles.into_iter().collect();
                self.suppressed = subscribe.suppressed_roles.into_iter().collect();
                let subscribed = event::Subscribed {
                    framework_id: v1::FrameworkId { value: framework },
                    ..Default::default()
                };
                vec![Event {
                    r#type: Some(event::Type::Subscribed as i32),
                    subscribed: Some(subscribed),
                    ..Default::default()
                }]
            }
            call::Type::UpdateFramework => {
                let update = call.update_framework.unwrap();
                self.roles = update.framework_info.roles.into_iter().collect();
                self.suppressed = update.suppressed_roles.into_iter().collect();
                vec![]
            }
            call::Type::Suppress => {
                self.suppressed.extend(call.suppress.unwrap().roles);
                vec![]
            }
            call::Type::Revive => {
                for role in call.revive.unwrap().roles {
                    self.suppressed.remove(&role);
                    self.refused.retain(|(held, _), _| *held != role);
                }
                vec![]
            }
            call::Type::Decline => {
                let decline = call.decline.unwrap();
                for offer in decline.offer_ids {
                    self.refuse(&offer.value, decline.filters.unwrap().refuse_seconds(), &Scalars::default());
                }
                vec![]
            }
            call::Type::Accept => self.accept(call.accept.unwrap()),
            call::Type::Kill => {
                let id = call.kill.unwrap().task_id.value;
                match self.tasks.get(&id) {
                    Some(task) if task.alive && !self.deaf => {
                        self.end(&id, TaskState::TaskKilled, None);
                        vec![]
                    }
                    Some(_) => vec![],
                    None => vec![self.reconciled(&id, None)],
                }
            }
            call::Type::Acknowledge => {
                let acknowledge = call.acknowledge.unwrap();
                let task = self.tasks.get_mut(&acknowledge.task_id.value).unwrap();
                if task.statuses.front().is_some_and(|status| status.uuid.as_ref() == Some(&acknowledge.uuid))
                {
                    task.statuses.pop_front();
                }
                if task.statuses.is_empty() && !task.alive {
                    self.tasks.remove(&acknowledge.task_id.value);
                }
                vec![]
            }
            call::Type::Reconcile => {
                let tasks = call.reconcile.unwrap().tasks;
                let ask = |task: call::reconcile::Task| {
                    self.reconciled(&task.task_id.value, task.agent_id.map(|agent| agent.value))
                };
                tasks.into_iter().map(ask).collect()
            }
            call::Type::DeclineInverseOffers => vec![],
            other => panic!("{other:?}"),
        }
    }

    fn refuse(&mut self, offer: &str, seconds: f64, spent: &Scalars) {
        let (role, agent, mut amounts) = self.offers.remove(offer).expect("an offer that is out");
        amounts.subtract(spent);
        self.refused.insert((role, agent), (amounts, self.now + (seconds * 1000.0) as u64));
    }

    fn accept(&mut self, accept: call::Accept) -> Vec<Event> {
        let offer = accept.offer_ids[0].value.clone();
        let (_, agent, amounts) = self.offers[&offer].clone();
        let mut spent = Scalars::default();
        for info in accept.operations.into_iter().flat_map(|operation| operation.launch.unwrap().task_infos) {
            let resources: Vec<mesos::Resource> =
                info.resources.iter().map(|held| recast(held).unwrap()).collect();
            let needs = Scalars::of(&resources);
            spent.add(&needs);
            assert_eq!(info.agent_id.value, agent);
            let id = info.task_id.value.clone();
            let task = Task { agent: agent.clone(), needs, alive: true, statuses: VecDeque::new(), info };
            assert!(self.ids.insert(id.clone()), "{id} twice");
            self.tasks.insert(id.clone(), task);
            self.say(&id, TaskState::TaskRunning, None);
        }
        assert!(amounts.contains(&spent), "{amounts} for {spent}");
        self.refuse(&offer, accept.filters.unwrap().refuse_seconds(), &spent);
        vec![]
    }

    fn status(&mut self, task: &str, state: TaskState, reason: Option<Reason>) -> v1::TaskStatus {
        let agent = self.tasks.get(task).map(|task| v1::AgentId { value: task.agent.clone() });
        v1::TaskStatus {
            task_id: v1::TaskId { value: task.into() },
            state: state as i32,
            reason: reason.map(|reason| reason as i32),
            agent_id: agent,
            ..Default::default()
        }
    }

    fn say(&mut self, id: &str, state: TaskState, reason: Option<Reason>) {
        self.next_status = self.next_status.wrapping_add(1);
        let mut status = self.status(id, state, reason);
        status.uuid = Some(vec![self.next_status; 16]);
        self.tasks.get_mut(id).unwrap().statuses.push_back(status);
    }

    /// A task ends by itself.
    pub fn end(&mut self, id: &str, state: TaskState, reason: Option<Reason>) {
        self.tasks.get_mut(id).unwrap().alive = false;
        self.say(id, state, reason);
    }

    fn reconciled(&mut self, id: &str, agent: Option<String>) -> Event {
        let state = match (self.tasks.get(id), agent.as_ref().and_then(|agent| self.agents.get(agent))) {
            // As far as was told.
            (Some(task), Some(agent)) if agent.connected => {
                task.statuses.front().map_or(TaskState::TaskRunning, |_| TaskState::TaskStaging)
            }
            (_, Some(agent)) if !agent.connected => TaskState::TaskUnreachable,
            (None, Some(_)) => TaskState::TaskGone,
            _ => TaskState::TaskUnknown,
        };
        update(self.status(id, state, Some(Reason::Reconciliation)))
    }

    /// What is free of an agent.
    pub fn free(&self, agent: &str) -> Scalars {
        let mut free = self.agents[agent].total.clone();
        let held = |task: &&Task| task.alive && task.agent == agent;
        self.tasks.values().filter(held).for_each(|task| free.subtract(&task.needs));
        free
    }

    /// Offers of these agents what is free and not refused, in one event.
    pub fn offer(&mut self, agents: &[String]) {
        if !self.subscribed {
            return;
        }
        let mut offers = Vec::new();
        for agent in agents {
            for role in self.roles.difference(&self.suppressed).cloned().collect::<Vec<_>>() {
                let free = self.free(agent);
                let refused = self.refused.get(&(role.clone(), agent.clone()));
                let refused = refused.is_some_and(|(held, until)| *until > self.now && held.contains(&free));
                if refused || free.is_empty() || !self.agents[agent].connected {
                    continue;
                }
                let id = format!("O{}", self.next_offer);
                self.next_offer += 1;
                self.offers.insert(id.clone(), (role.clone(), agent.clone(), free.clone()));
                let attributes = &self.agents[agent].attributes;
                let allocation = v1::resource::AllocationInfo { role: Some(role.clone()) };
                let resources = free.iter().map(|(name, milli)| {
                    let mut held: v1::Resource = recast(&scalar(name, milli as f64 / 1000.0)).unwrap();
                    held.allocation_info = Some(allocation.clone());
                    held
                });
                offers.push(v1::Offer {
                    id: v1::OfferId { value: id },
                    agent_id: v1::AgentId { value: agent.clone() },
                    hostname: format!("{agent}.test"),
                    attributes: attributes
                        .iter()
                        .map(|(name, value)| recast(&text_attribute(name, value)).unwrap())
                        .collect(),
                    resources: resources.collect(),
                    allocation_info: Some(allocation.clone()),
                    unavailability: self.away.get(agent).map(|from| v1::Unavailability {
                        start: v1::TimeInfo { nanoseconds: (from * 1_000_000) as i64 },
                        duration: None,
                    }),
                    ..Default::default()
                });
                // What is out with one role is not out with another.
                break;
            }
        }
        if !offers.is_empty() {
            self.input(Input::Event(Box::new(Event {
                r#type: Some(event::Type::Offers as i32),
                offers: Some(event::Offers { offers }),
                ..Default::default()
            })));
        }
    }

    /// Offers, and sends what is not acknowledged, until nothing more happens.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            self.input(Input::Tick);
            let agents: Vec<String> = self.agents.keys().cloned().collect();
            let calls = self.calls.len();
            self.offer(&agents);
            let statuses: Vec<_> = self
                .tasks
                .values()
                .filter(|task| self.agents[&task.agent].connected)
                .filter_map(|task| task.statuses.front().cloned())
                .collect();
            for status in statuses {
                self.deliver(status);
            }
            if self.calls.len() == calls {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub fn deliver(&mut self, status: v1::TaskStatus) {
        if self.subscribed {
            self.input(Input::Event(Box::new(update(status))));
        }
    }

    /// Time passes, with offers in between.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            let next = self.jobs.as_ref().map_or(u64::MAX, Jobs::next_wakeup_ms);
            self.now = next.clamp(self.now + 1, end).min(self.now + 60_000);
            self.settle();
        }
    }

    /// Tasks of a job that run.
    pub fn alive(&self, job: &str) -> Vec<(String, Task)> {
        let of = |id: &str| id.rsplit_once('.').is_some_and(|(held, _)| held == job);
        let alive = self.tasks.iter().filter(|(id, task)| task.alive && of(id));
        alive.map(|(id, task)| (id.clone(), task.clone())).collect()
    }

    /// Ends the only task of a job.
    pub fn end_one(&mut self, job: &str, state: TaskState) {
        let (id, _) = self.alive(job).pop().expect("a task that runs");
        self.end(&id, state, None);
        self.settle();
    }

    pub fn count(&self, kind: call::Type) -> usize {
        self.calls.iter().filter(|call| call.r#type() == kind).count()
    }
}

pub fn update(status: v1::TaskStatus) -> Event {
    Event {
        r#type: Some(event::Type::Update as i32),
        update: Some(event::Update { status }),
        ..Default::default()
    }
}

/// A job with these fields besides the least.
pub fn job(id: &str, more: Value) -> Value {
    let mut job = json!({"id": id, "image": "/x/task.wasm", "resources": {"cpus": 0.1, "mem": 0.01}});
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    job
}
