//! What an operator sees of the virtual agents.

use super::{Agents, info};
use crate::bridge::NodeId;
use mesos_proto::mesos::TaskState;
use mesos_proto::resources::Scalars;
use node_proto::{Power, Usage};

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

impl Agents {
    /// All nodes.
    pub fn node_ids(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// One agent.
    pub fn view(&self, id: NodeId) -> Option<AgentView> {
        use super::Registration::*;
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
