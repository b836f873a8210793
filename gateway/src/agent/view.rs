//! What operators see of the virtual agents.

use super::task::{Phase, Task, framework_info};
use super::{Agent, Agents, COMPLETED_MAX, Registration, TASK_STATES, info};
use crate::bridge::NodeId;
use libprocess::Upid;
use mesos_proto::mesos::{self, TaskState};
use mesos_proto::resources::Scalars;
use node_proto::{ImageHandle, Power, TaskHandle, Usage, Vitals};
use prost::Message;

/// One agent.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Its node.
    pub node: NodeId,
    /// Its actor's name.
    pub actor: String,
    /// Its id at the master, once it has one.
    pub slave_id: Option<String>,
    /// `registered`, `registering` or `away`.
    pub state: &'static str,
    /// The node's lease is live.
    pub live: bool,
    /// Newest supply.
    pub power: Power,
    /// What the node itself used, as it said last.
    pub vitals: Option<Vitals>,
    /// The board's name.
    pub board: String,
    /// What it offers.
    pub resources: Scalars,
    /// Starts of the node so far.
    pub boot: u32,
    /// Its tasks.
    pub tasks: Vec<TaskView>,
}

/// One task.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// Its id.
    pub task_id: String,
    /// Its framework.
    pub framework_id: String,
    /// Its newest state, as Mesos names it.
    pub state: &'static str,
    /// Newest report of its usage.
    pub usage: Option<Usage>,
    /// Granted share of the core, thousandths.
    pub cpu_permille: i64,
    /// Granted memory, bytes.
    pub mem_bytes: u32,
    /// Bytes of image and document.
    pub total_bytes: u32,
    /// Updates not acknowledged by the scheduler.
    pub updates_waiting: usize,
}

/// Which agent is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The actor of this number.
    Actor(u32),
    /// The one with this hostname.
    Host(String),
    /// The one that the master knows by this id.
    Id(String),
    /// The only one there is.
    Only,
}

/// A task that is over and acknowledged.
#[derive(Clone, Debug)]
pub struct Completed {
    /// Its framework's name.
    pub framework: mesos::FrameworkInfo,
    /// The task, with its last statuses.
    pub task: mesos::Task,
    /// The executor that it had, a command task's own included.
    pub executor_id: String,
    /// Its short name at the node.
    pub handle: TaskHandle,
    /// Last report of its usage.
    pub usage: Option<Usage>,
    /// Its image, if it came to that.
    pub image: Option<ImageHandle>,
}

/// One task in full.
#[derive(Clone, Debug)]
pub struct TaskSnapshot {
    /// The task, with its last statuses.
    pub task: mesos::Task,
    /// As it was launched.
    pub info: mesos::TaskInfo,
    /// Its executor, a command task's own included.
    pub executor_id: String,
    /// Not yet at the node.
    pub queued: bool,
    /// Over, but not acknowledged.
    pub ended: bool,
    /// Newest report of its usage.
    pub usage: Option<Usage>,
    /// Its image, once it is there.
    pub image: Option<ImageHandle>,
}

/// One agent in full.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its node.
    pub node: NodeId,
    /// Its actor.
    pub pid: Upid,
    /// As the master knows it.
    pub slave: mesos::SlaveInfo,
    /// The leading master.
    pub master: Option<Upid>,
    /// Registered with it.
    pub registered: bool,
    /// Unix time at which the gateway started, seconds.
    pub start_time: f64,
    /// Frameworks with tasks here.
    pub frameworks: Vec<mesos::FrameworkInfo>,
    /// Executors that frameworks named.
    pub executors: Vec<mesos::ExecutorInfo>,
    /// Tasks that are not over.
    pub tasks: Vec<TaskSnapshot>,
    /// The newest of those that are.
    pub completed: Vec<Completed>,
    /// Dynamic reservations.
    pub reserved: Vec<mesos::Resource>,
    /// Operations whose status is not acknowledged.
    pub operations: Vec<mesos::Operation>,
    /// It is being drained.
    pub draining: bool,
}

impl Snapshot {
    /// The agent's id; empty before the master gave one.
    pub fn slave_id(&self) -> &str {
        self.slave.id.as_ref().map_or("", |id| &id.value)
    }
}

/// Sums over all agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Virtual agents.
    pub agents: u64,
    /// Those registered with the master.
    pub registered: u64,
    /// Those whose node's lease is live.
    pub live: u64,
    /// Tasks by the number of their state; those that are over and acknowledged are in the counters.
    pub tasks: [u64; TASK_STATES],
    /// Updates that no scheduler has acknowledged.
    pub updates_waiting: u64,
}

impl Agent {
    /// Keeps what operators may still want to see of a task that is dropped.
    pub(super) fn remember(&mut self, handle: TaskHandle, done: Option<mesos::Task>, task: &Task) {
        let framework = task.framework_id();
        let info = self.frameworks.get(framework).and_then(|record| framework_info(framework, record));
        let (Some(mut done), Some(framework)) = (done, info) else { return };
        done.statuses = reported(task);
        (done.status_update_state, done.status_update_uuid) = (None, None);
        if self.completed.len() >= COMPLETED_MAX {
            self.completed.pop_front();
        }
        let executor_id = task.executor_id().to_owned();
        let (usage, image) = (task.usage, task.progress.image);
        self.completed.push_back(Completed { framework, task: done, executor_id, handle, usage, image });
    }
}

fn reported(task: &Task) -> Vec<mesos::TaskStatus> {
    task.reported.iter().filter_map(|bytes| mesos::TaskStatus::decode(bytes.as_slice()).ok()).collect()
}

impl Agents {
    fn whom(&self, who: &Who) -> Option<NodeId> {
        match who {
            Who::Actor(number) => self.by_actor.get(number).copied(),
            Who::Host(name) => {
                let by_domain =
                    name.strip_suffix(&self.config.domain).and_then(|name| name.strip_suffix('.'));
                let eui64 = self.config.offers.node_of(name).or(by_domain)?;
                let id =
                    NodeId(u64::from_str_radix(eui64, 16).ok().filter(|_| eui64.len() == 16)?.to_be_bytes());
                self.nodes.contains_key(&id).then_some(id)
            }
            Who::Id(slave_id) => {
                let mut nodes = self.nodes.iter();
                let found = nodes.find(|(_, agent)| agent.record.slave_id.as_ref() == Some(slave_id));
                found.map(|(id, _)| *id)
            }
            Who::Only if self.nodes.len() == 1 => self.nodes.keys().next().copied(),
            Who::Only => None,
        }
    }

    /// One agent in full.
    pub fn snapshot(&self, who: &Who) -> Option<Snapshot> {
        let id = self.whom(who)?;
        let agent = self.nodes.get(&id)?;
        let slave_id = agent.record.slave_id.as_deref();
        let tasks = agent.tasks.values().filter_map(|task| {
            let mut stated = task.to_mesos(slave_id.unwrap_or_default(), agent)?;
            stated.statuses = reported(task);
            Some(TaskSnapshot {
                task: stated,
                info: task.info()?,
                executor_id: task.executor_id().to_owned(),
                queued: task.progress.phase == Phase::Fetching,
                ended: task.has_ended(),
                usage: task.usage,
                image: task.progress.image,
            })
        });
        Some(Snapshot {
            node: id,
            pid: Upid::new(agent.actor(), self.advertised),
            slave: info::slave_info(&self.config, id, &agent.record.register.inventory, slave_id),
            master: self.master.clone(),
            registered: agent.is_registered(),
            start_time: self.config.epoch_ms as f64 / 1000.0,
            frameworks: agent
                .frameworks
                .iter()
                .filter_map(|(framework, held)| framework_info(framework, held))
                .collect(),
            executors: agent.executor_infos(),
            tasks: tasks.collect(),
            completed: agent.completed.iter().cloned().collect(),
            reserved: agent.reserved.to_resources(),
            operations: agent.operations_known(),
            draining: agent.record.drain.is_some(),
        })
    }

    /// Sums over all agents.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for agent in self.nodes.values() {
            totals.agents += 1;
            totals.registered += u64::from(matches!(agent.registration, Registration::Registered { .. }));
            totals.live += u64::from(agent.live);
            for task in agent.tasks.values().filter(|task| !task.has_ended()) {
                if let Some(count) = totals.tasks.get_mut(task.progress.state as usize) {
                    *count += 1;
                }
            }
            totals.updates_waiting +=
                agent.tasks.values().map(|task| task.progress.updates.len() as u64).sum::<u64>();
        }
        totals
    }

    /// The log of a task of one agent, from `offset`: where the bytes really begin, the bytes, and where it ends.
    pub fn log_of(
        &self,
        who: &Who,
        framework: &str,
        task_id: &str,
        offset: u64,
    ) -> Option<(u64, Vec<u8>, u64)> {
        let agent = self.nodes.get(&self.whom(who)?)?;
        let mut rings = agent.logs.iter().filter(|ring| ring.key.0 == framework && ring.key.1 == task_id);
        let Some(ring) = rings.next_back() else { return Some((0, Vec::new(), 0)) };
        let end = ring.offset + ring.bytes.len() as u64;
        let start = offset.clamp(ring.offset, end);
        let skip = (start - ring.offset) as usize;
        Some((start, ring.bytes.iter().skip(skip).copied().collect(), end))
    }

    /// All nodes.
    pub fn node_ids(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// One agent.
    pub fn view(&self, id: NodeId) -> Option<AgentView> {
        use Registration::{Away, Registered, Trying};
        let agent = self.nodes.get(&id)?;
        let record = &agent.record;
        let slave = info::slave_info(&self.config, id, &record.register.inventory, None);
        Some(AgentView {
            node: id,
            actor: agent.actor(),
            slave_id: record.slave_id.clone(),
            state: match agent.registration {
                Away => "away",
                Trying { .. } => "registering",
                Registered { .. } => "registered",
            },
            live: agent.live,
            power: agent.power,
            vitals: agent.vitals,
            board: record.register.inventory.board.as_str().to_owned(),
            resources: Scalars::of(&slave.resources),
            boot: record.register.boot,
            tasks: agent
                .tasks
                .values()
                .map(|task| {
                    let granted = Scalars::of(&task.info().map(|info| info.resources).unwrap_or_default());
                    TaskView {
                        task_id: task.task_id().to_owned(),
                        framework_id: task.framework_id().to_owned(),
                        state: TaskState::try_from(task.progress.state)
                            .map_or("?", |state| state.as_str_name()),
                        usage: task.usage,
                        cpu_permille: granted.milli("cpus"),
                        mem_bytes: info::bytes_of_milli_mb(granted.milli("mem")),
                        total_bytes: task.progress.image_len + u32::from(task.progress.document_len),
                        updates_waiting: task.progress.updates.len(),
                    }
                })
                .collect(),
        })
    }

    /// A task's log from `offset`: where the bytes really begin, and the bytes. The newest task of that id is meant.
    pub fn log(&self, task_id: &str, offset: u64) -> Option<(u64, Vec<u8>)> {
        let rings = self.nodes.values().flat_map(|agent| &agent.logs);
        let ring = rings.filter(|ring| ring.key.1 == task_id).last()?;
        let start = offset.max(ring.offset);
        let skip = usize::try_from(start - ring.offset).unwrap_or(usize::MAX).min(ring.bytes.len());
        Some((start, ring.bytes.iter().skip(skip).copied().collect()))
    }
}
