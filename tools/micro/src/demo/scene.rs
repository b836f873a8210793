//! Who runs what, and what has to come true of it.

use super::cast::{ON_TOCK, TENANTS, WANTED, Wanted};
use crate::run::{info, offered, task};
use agent_posix::Snapshot;
use air::{Conditions, Stats};
use anyhow::{Context, Result};
use framework::v1::{TaskInfo, TaskState, TaskStatus, task_status::Reason, task_status::Source};
use framework::{Client, Event, is_terminal, v1};
use mesos_proto::resources::Scalars;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long an endless task runs before it is killed: enough windows for its share to show.
const SPIN_FOR: Duration = Duration::from_secs(4);

/// What became of a task so far.
#[derive(Default)]
pub struct Outcome {
    pub statuses: Vec<TaskStatus>,
    pub agent: Option<String>,
    launched: bool,
    running_since: Option<Instant>,
    killed: bool,
    /// Used and granted CPU time, as last reported while it ran.
    pub cpu: Option<(u64, u64)>,
    uuids: BTreeSet<Vec<u8>>,
    /// Statuses that came again with the UUID they had.
    repeated: u64,
    terminals: u64,
}

impl Outcome {
    fn state(&self) -> Option<TaskState> {
        self.statuses.last().map(TaskStatus::state)
    }

    fn is_over(&self) -> bool {
        self.state().is_some_and(is_terminal)
    }

    fn is_running(&self) -> bool {
        self.state() == Some(TaskState::TaskRunning)
    }
}

/// The scene as it plays.
pub struct Scene {
    clients: Vec<Client>,
    events: mpsc::Receiver<(usize, Event)>,
    wanted: Vec<&'static Wanted>,
    tasks: BTreeMap<&'static str, TaskInfo>,
    pub outcomes: BTreeMap<&'static str, Outcome>,
    agents: BTreeMap<String, String>,
    registered: BTreeSet<String>,
    nodes: usize,
    messages: Vec<String>,
    side_by_side: bool,
    gave_up: bool,
    problems: Vec<String>,
}

/// What has to be true, and whether it is.
pub struct Check {
    pub what: String,
    pub good: bool,
    pub seen: String,
}

/// The end of the scene.
pub struct Report {
    pub checks: Vec<Check>,
    pub seconds: f64,
    pub stats: Stats,
    pub json: Value,
}

impl Report {
    pub fn failed(&self) -> usize {
        self.checks.iter().filter(|check| !check.good).count()
    }
}

impl Scene {
    /// Subscribes the tenants' frameworks; with `tock` they have tasks for that node too.
    pub async fn start(master: SocketAddr, images: &Path, nodes: usize, tock: bool) -> Result<Self> {
        let (sender, events) = mpsc::channel(256);
        let mut clients = Vec::new();
        for (tenant, name) in TENANTS.into_iter().enumerate() {
            let (client, mut received) = Client::subscribe(master, info(name, 0.0)).await?;
            clients.push(client);
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(event) = received.recv().await {
                    if sender.send((tenant, event)).await.is_err() {
                        return;
                    }
                }
            });
        }
        let wanted: Vec<_> = WANTED.iter().chain(ON_TOCK.iter().filter(|_| tock)).collect();
        let tasks = wanted.iter().map(|wanted| {
            let uri = images.join(wanted.image).display().to_string();
            let args: Vec<String> = wanted.args.iter().map(|arg| arg.to_string()).collect();
            let granted = Scalars::from_amounts(wanted.amounts.iter().copied());
            Ok((wanted.id, task(wanted.id, &uri, &args, &["TENANT=demo".into()], &granted)?))
        });
        Ok(Self {
            clients,
            events,
            tasks: tasks.collect::<Result<_>>()?,
            outcomes: wanted.iter().map(|wanted| (wanted.id, Outcome::default())).collect(),
            wanted,
            agents: BTreeMap::new(),
            registered: BTreeSet::new(),
            nodes,
            messages: Vec::new(),
            side_by_side: false,
            gave_up: false,
            problems: Vec::new(),
        })
    }

    /// The next event of any tenant.
    pub async fn next_event(&mut self) -> Option<(usize, Event)> {
        self.events.recv().await
    }

    pub fn is_over(&self) -> bool {
        self.outcomes.values().all(Outcome::is_over) && self.registered.len() >= self.nodes || self.gave_up
    }

    pub fn give_up(&mut self) {
        self.gave_up = true;
        self.problems.push("not through in time".into());
    }

    /// Acts on an event as the tenant's scheduler; gives lines to show.
    pub async fn handle(&mut self, event: Option<(usize, Event)>) -> Result<Vec<String>> {
        let (tenant, event) = event.context("the master ended the subscriptions")?;
        let mut lines = Vec::new();
        if let Some(error) = event.error {
            self.problems.push(format!("{}: {}", TENANTS[tenant], error.message));
        }
        for offer in event.offers.into_iter().flat_map(|offers| offers.offers) {
            lines.extend(self.offer(tenant, &offer).await?);
        }
        if let Some(update) = event.update {
            self.clients[tenant].acknowledge(&update.status).await?;
            lines.extend(self.status(tenant, update.status));
        }
        if let Some(message) = event.message {
            let text = String::from_utf8_lossy(&message.data).into_owned();
            lines
                .push(format!("{} gets a message of {}: {text}", TENANTS[tenant], message.executor_id.value));
            self.messages.push(text);
        }
        Ok(lines)
    }

    async fn offer(&mut self, tenant: usize, offer: &v1::Offer) -> Result<Option<String>> {
        let board = offer.attributes.iter().find(|attribute| attribute.name == "board");
        let board = board.and_then(|attribute| attribute.text.as_ref()).map_or("", |text| &text.value);
        self.agents.insert(offer.agent_id.value.clone(), board.to_owned());
        let mut left = offered(offer)?;
        let mut launches = Vec::new();
        for wanted in self.wanted.iter().filter(|wanted| wanted.tenant == tenant && wanted.board == board) {
            let needs = Scalars::from_amounts(wanted.amounts.iter().copied());
            let Some(outcome) = self.outcomes.get_mut(wanted.id) else { continue };
            if outcome.launched || !left.contains(&needs) {
                continue;
            }
            outcome.launched = true;
            left.subtract(&needs);
            let mut task = self.tasks[wanted.id].clone();
            task.agent_id = offer.agent_id.clone();
            launches.push(task);
        }
        if launches.is_empty() {
            // Others wait for this one; if this tenant still has a task for it, it wants it back soon.
            let mut own =
                self.wanted.iter().filter(|wanted| wanted.tenant == tenant && wanted.board == board);
            let done = own.all(|wanted| self.outcomes[wanted.id].launched);
            self.clients[tenant].decline(std::slice::from_ref(offer), if done { 60.0 } else { 0.2 }).await?;
            return Ok(None);
        }
        let names: Vec<&str> = launches.iter().map(|task| task.name.as_str()).collect();
        let line = format!("{} launches {} on {board}", TENANTS[tenant], names.join(", "));
        self.clients[tenant].launch(offer, launches).await?;
        Ok(Some(line))
    }

    fn status(&mut self, tenant: usize, status: TaskStatus) -> Option<String> {
        let (id, outcome) = self.outcomes.iter_mut().find(|(id, _)| **id == status.task_id.value)?;
        let uuid = status.uuid.clone().unwrap_or_default();
        if !outcome.uuids.insert(uuid) {
            outcome.repeated += 1;
            return None;
        }
        let state = status.state();
        if state == TaskState::TaskRunning {
            outcome.running_since = Some(Instant::now());
        }
        outcome.terminals += u64::from(is_terminal(state));
        outcome.agent = status.agent_id.as_ref().map(|agent| agent.value.clone());
        let mut line = format!("{}'s {id}: {}", TENANTS[tenant], state.as_str_name());
        if status.reason.is_some() {
            line += &format!(" {}", status.reason().as_str_name());
        }
        if let Some(message) = status.message.as_deref().filter(|message| !message.is_empty()) {
            line += &format!(" ({message})");
        }
        outcome.statuses.push(status);
        let running =
            |id: &str| self.outcomes[id].is_running().then(|| self.outcomes[id].agent.clone()).flatten();
        self.side_by_side |= running("blink").is_some() && running("blink") == running("spin");
        Some(line)
    }

    /// Looks at the gateway's report; kills what is endless when its time has come.
    pub async fn look(&mut self, view: &Value) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for node in view["nodes"].as_array().into_iter().flatten() {
            if let (Some(agent), true) = (node["agent_id"].as_str(), node["state"] == "registered")
                && self.registered.insert(agent.to_owned())
            {
                lines.push(format!(
                    "node {} ({}) is agent {agent}",
                    node["node"].as_str().unwrap_or("?"),
                    node["board"].as_str().unwrap_or("?")
                ));
            }
            for task in node["tasks"].as_array().into_iter().flatten() {
                let outcome = task["task_id"].as_str().and_then(|id| self.outcomes.get_mut(id));
                if let (Some(outcome), Some(used), Some(granted)) =
                    (outcome, task["cpu_ms"].as_u64(), task["cpu_granted_ms"].as_u64())
                    && granted > 0
                {
                    outcome.cpu = Some((used, granted));
                }
            }
        }
        for wanted in self.wanted.iter().filter(|wanted| wanted.endless) {
            let Some(spin) = self.outcomes.get_mut(wanted.id) else { continue };
            let ripe = spin.running_since.is_some_and(|since| since.elapsed() >= SPIN_FOR);
            if ripe && !spin.killed && spin.cpu.is_some_and(|(_, granted)| granted > 400) {
                spin.killed = true;
                self.clients[wanted.tenant].kill(wanted.id).await?;
                lines.push(format!("{} kills {}", TENANTS[wanted.tenant], wanted.id));
            }
        }
        Ok(lines)
    }

    /// What was proved.
    pub fn report(
        &self,
        nodes: &[Snapshot],
        stats: Stats,
        conditions: Conditions,
        elapsed: Duration,
    ) -> Report {
        let mut checks = Vec::new();
        let mut check = |what: &str, good: bool, seen: String| {
            checks.push(Check { what: what.to_owned(), good, seen });
        };
        check(
            "every node is an agent of its own",
            self.registered.len() == self.nodes,
            format!("{} of {} nodes registered", self.registered.len(), self.nodes),
        );
        let last = |id: &str| self.outcomes[id].statuses.last();
        let seen = |id: &str| {
            let states = self.outcomes[id].statuses.iter().map(|status| status.state().as_str_name());
            states.collect::<Vec<_>>().join(" > ")
        };
        let is = |id: &str, state: TaskState| last(id).is_some_and(|status| status.state() == state);
        let lights = nodes.get(2).map_or(0, |node| node.led_changes);
        check(
            "blink drives an LED and finishes",
            is("blink", TaskState::TaskFinished) && lights == 16,
            format!("{}, {lights} changes of the LED", seen("blink")),
        );
        let average = self.messages.iter().find(|text| text.starts_with("avg="));
        check(
            "sense sends its average as a framework message",
            is("sense", TaskState::TaskFinished) && average.is_some_and(|text| text.starts_with("avg=21.")),
            format!("{}, {}", seen("sense"), average.map_or("no message", String::as_str)),
        );
        let held = |id: &str| {
            let (used, granted) = self.outcomes[id].cpu.unwrap_or((0, 0));
            let share = if granted > 0 { used as f64 / granted as f64 } else { 0.0 };
            let good = is(id, TaskState::TaskKilled) && (0.5..=1.01).contains(&share);
            (good, format!("{}, used {used} ms of {granted} ms granted", seen(id)))
        };
        let (good, how) = held("spin");
        check("spin is held to its CPU share, then killed on request", good, how);
        let memory = last("hog").is_some_and(|status| {
            status.reason() == Reason::ContainerLimitationMemory && status.source() == Source::Agent
        });
        check(
            "hog alone fails, for memory",
            is("hog", TaskState::TaskFailed) && memory,
            last("hog").map_or_else(
                || "nothing".into(),
                |status| format!("{} {}", status.state().as_str_name(), status.reason().as_str_name()),
            ),
        );
        check("fault traps and fails", is("fault", TaskState::TaskFailed), seen("fault"));
        check("hello runs on the battery node", is("hello", TaskState::TaskFinished), seen("hello"));
        check(
            "two tenants' tasks run side by side on one node",
            self.side_by_side,
            format!(
                "blink and spin: {}",
                if self.side_by_side { "both RUNNING on one agent" } else { "never" }
            ),
        );
        if self.outcomes.contains_key("tock-wasm") {
            let (wasm, native) = ("tock-wasm", "tock-native");
            check(
                "on Tock, the same source runs as wasm and as a process",
                is(wasm, TaskState::TaskFinished) && is(native, TaskState::TaskFinished),
                format!("{}; {}", seen(wasm), seen(native)),
            );
            let (good, how) = held("tock-spin");
            check("on Tock, the kernel holds a process to its CPU share", good, how);
            check(
                "on Tock, a process that stores to null fails alone",
                is("tock-null", TaskState::TaskFailed),
                seen("tock-null"),
            );
        }
        let lossy = conditions.loss_permille == 0 || stats.lost > 0;
        let terminals = self.outcomes.values().all(|outcome| outcome.terminals == 1);
        let repeated: u64 = self.outcomes.values().map(|outcome| outcome.repeated).sum();
        check(
            "no update was lost or doubled, over a radio that loses frames",
            lossy && terminals && self.in_order(),
            format!(
                "{} of {} frames lost, {} delayed, {} doubled; each task ended once; {repeated} updates came again",
                stats.lost, stats.frames, stats.delayed, stats.duplicated
            ),
        );
        for problem in &self.problems {
            check("nothing unexpected", false, problem.clone());
        }
        let failed = checks.iter().filter(|check| !check.good).count();
        let json = json!({
            "passed": checks.len() - failed, "failed": failed, "seconds": elapsed.as_secs_f64(),
            "checks": checks.iter().map(|check| json!({ "what": check.what, "good": check.good, "seen": check.seen }))
                .collect::<Vec<_>>(),
            "radio": { "frames": stats.frames, "bytes": stats.bytes, "delivered": stats.delivered, "lost": stats.lost,
                "delayed": stats.delayed, "duplicated": stats.duplicated },
            "nodes": nodes.iter().enumerate().map(|(at, node)| json!({ "number": at,
                "frames_out": node.traffic.frames_out, "bytes_out": node.traffic.bytes_out,
                "frames_in": node.traffic.frames_in, "bytes_in": node.traffic.bytes_in })).collect::<Vec<_>>(),
            "tasks": self.outcomes.iter().map(|(id, outcome)| json!({ "id": id, "agent": outcome.agent,
                "states": outcome.statuses.iter().map(|status| status.state().as_str_name()).collect::<Vec<_>>(),
                "cpu_ms": outcome.cpu.map(|cpu| cpu.0), "cpu_granted_ms": outcome.cpu.map(|cpu| cpu.1) }))
                .collect::<Vec<_>>(),
        });
        Report { checks, seconds: elapsed.as_secs_f64(), stats, json }
    }

    /// Every task started before it ran, ran before it ended, and nothing came after its end.
    fn in_order(&self) -> bool {
        self.outcomes.values().all(|outcome| {
            let states: Vec<TaskState> = outcome.statuses.iter().map(TaskStatus::state).collect();
            let (last, before) = match states.split_last() {
                Some(split) => split,
                None => return false,
            };
            is_terminal(*last)
                && states.first() == Some(&TaskState::TaskStarting)
                && !before.iter().any(|state| is_terminal(*state))
        })
    }
}
