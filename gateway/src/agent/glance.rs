//! Looks at agents that cost little: what a fleet's page shows of thousands of them is read where it is.

use super::task::{Task, framework_info, is_terminal};
use super::{Agent, Agents, Config, Registration, info};
use crate::bridge::NodeId;
use mesos_proto::mesos::{self, TaskState};
use mesos_proto::resources::Scalars;
use node_proto::{ImageHandle, Inventory, Power, TaskHandle, Usage, Vitals};
use prost::Message;

/// What an agent offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Share of the core, thousandths.
    pub cpu_permille: u32,
    /// Memory, bytes.
    pub mem_bytes: u32,
}

impl Total {
    pub(super) fn of(config: &Config, id: NodeId, inventory: &Inventory) -> Self {
        let offered = Scalars::of(&info::slave_info(config, id, inventory, None).resources);
        Self {
            cpu_permille: u32::try_from(offered.milli("cpus")).unwrap_or(0),
            mem_bytes: info::bytes_of_milli_mb(offered.milli("mem")),
        }
    }
}

/// One agent.
#[derive(Clone, Copy)]
pub struct Glance<'a> {
    /// Its node.
    pub node: NodeId,
    agent: &'a Agent,
    config: &'a Config,
}

/// One task.
#[derive(Clone, Copy)]
pub struct TaskGlance<'a> {
    /// Its short name at the node.
    pub handle: TaskHandle,
    task: &'a Task,
}

impl Agents {
    /// Every agent, in no order.
    pub fn glances(&self) -> impl Iterator<Item = Glance<'_>> {
        self.nodes.iter().map(|(node, agent)| Glance { node: *node, agent, config: &self.config })
    }

    /// One agent.
    pub fn glance(&self, node: NodeId) -> Option<Glance<'_>> {
        Some(Glance { node, agent: self.nodes.get(&node)?, config: &self.config })
    }

    /// Whose images are launched.
    pub fn trust(&self) -> &crate::images::Trust {
        &self.config.trust
    }
}

impl<'a> Glance<'a> {
    /// The name of its actor.
    pub fn actor(&self) -> String {
        self.agent.actor()
    }

    /// Its id at the master, once it has one.
    pub fn slave_id(&self) -> Option<&'a str> {
        self.agent.record.slave_id.as_deref()
    }

    /// The hostname that the operator gave it; without one it has [`Glance::hostname`]'s usual form.
    pub fn own_hostname(&self) -> Option<String> {
        let offers = &self.config.offers;
        if offers.has_nodes() { offers.hostname(&self.node.to_string()) } else { None }
    }

    /// Its hostname.
    pub fn hostname(&self) -> String {
        self.own_hostname().unwrap_or_else(|| format!("{}.{}", self.node, self.config.domain))
    }

    /// Put after the EUI-64 of a node without a hostname of its own.
    pub fn domain(&self) -> &'a str {
        &self.config.domain
    }

    /// `registered`, `registering` or `away`.
    pub fn state(&self) -> &'static str {
        match self.agent.registration {
            Registration::Away => "away",
            Registration::Trying { .. } => "registering",
            Registration::Registered { .. } => "registered",
        }
    }

    /// The node's lease is live.
    pub fn live(&self) -> bool {
        self.agent.live
    }

    /// It is being drained.
    pub fn draining(&self) -> bool {
        self.agent.record.drain.is_some()
    }

    /// Newest supply.
    pub fn power(&self) -> Power {
        self.agent.power
    }

    /// The board's name.
    pub fn board(&self) -> &'a str {
        &self.agent.record.register.inventory.board
    }

    /// What it offers.
    pub fn total(&self) -> Total {
        self.agent.total
    }

    /// What the node itself used, as it said last.
    pub fn vitals(&self) -> Option<&'a Vitals> {
        self.agent.vitals.as_ref()
    }

    /// As the master knows it.
    pub fn slave(&self) -> mesos::SlaveInfo {
        info::slave_info(self.config, self.node, &self.agent.record.register.inventory, self.slave_id())
    }

    /// Dynamic reservations.
    pub fn reserved(&self) -> Vec<mesos::Resource> {
        self.agent.reserved.to_resources()
    }

    /// Its tasks, those included whose end is not acknowledged.
    pub fn tasks(&self) -> impl Iterator<Item = TaskGlance<'a>> + use<'a> {
        self.agent.tasks.iter().map(|(handle, task)| TaskGlance { handle: *handle, task })
    }

    /// The task of that id.
    pub fn task(&self, framework: &str, task_id: &str) -> Option<TaskGlance<'a>> {
        self.tasks().filter(|task| task.task.is(framework, task_id)).last()
    }

    /// Tasks that are over and acknowledged, the oldest first.
    pub fn completed(&self) -> impl DoubleEndedIterator<Item = &'a super::Completed> + use<'a> {
        self.agent.completed.iter()
    }

    /// The name of a framework with tasks here.
    pub fn framework_name(&self, framework: &str) -> Option<String> {
        Some(framework_info(framework, self.agent.frameworks.get(framework)?)?.name)
    }

    /// Where a task's log begins and ends, if it has any.
    pub fn log_bounds(&self, framework: &str, task_id: &str) -> Option<(u64, u64)> {
        let ring = self.agent.logs.iter().rfind(|ring| ring.key.0 == framework && ring.key.1 == task_id)?;
        Some((ring.offset, ring.offset + ring.bytes.len() as u64))
    }

    /// A task's log from `offset`: where the bytes really begin, and the bytes.
    pub fn log(&self, framework: &str, task_id: &str, offset: u64) -> Option<(u64, Vec<u8>)> {
        let ring = self.agent.logs.iter().rfind(|ring| ring.key.0 == framework && ring.key.1 == task_id)?;
        let end = ring.offset + ring.bytes.len() as u64;
        let start = offset.clamp(ring.offset, end);
        Some((start, ring.bytes.range((start - ring.offset) as usize..).copied().collect()))
    }
}

impl<'a> TaskGlance<'a> {
    /// Its id.
    pub fn task_id(&self) -> &'a str {
        self.task.task_id()
    }

    /// Its framework's id.
    pub fn framework_id(&self) -> &'a str {
        self.task.framework_id()
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.task.granted.name
    }

    /// The role that its resources are allocated to.
    pub fn role(&self) -> &'a str {
        &self.task.granted.role
    }

    /// Its newest state.
    pub fn state(&self) -> TaskState {
        self.task.state()
    }

    /// It is over, though that is not acknowledged.
    pub fn has_ended(&self) -> bool {
        self.task.has_ended() || is_terminal(self.state())
    }

    /// What it was granted.
    pub fn granted(&self) -> Total {
        Total { cpu_permille: self.task.granted.cpu_permille, mem_bytes: self.task.granted.mem_bytes }
    }

    /// What it used between its two newest reports, thousandths of the core.
    pub fn cpu_used_permille(&self) -> Option<u16> {
        self.task.cpu_used
    }

    /// Newest report of its usage.
    pub fn usage(&self) -> Option<Usage> {
        self.task.usage
    }

    /// Its image, once it is there.
    pub fn image(&self) -> Option<ImageHandle> {
        self.task.progress.image
    }

    /// Bytes of image and document.
    pub fn total_bytes(&self) -> u32 {
        self.task.progress.image_len + u32::from(self.task.progress.document_len)
    }

    /// Updates that no scheduler has acknowledged.
    pub fn updates_waiting(&self) -> usize {
        self.task.progress.updates.len()
    }

    /// Since when it has been in its state, on the clock that all calls are given; unknown if that was before the
    /// gateway's start.
    pub fn since_ms(&self) -> Option<u64> {
        self.task.since_ms
    }

    /// As it was launched.
    pub fn info(&self) -> Option<mesos::TaskInfo> {
        self.task.info()
    }

    /// Its statuses, the oldest first, those from before the gateway's start left out, and for each whether the scheduler
    /// has acknowledged it.
    pub fn statuses(&self) -> Vec<(mesos::TaskStatus, bool)> {
        let waiting = &self.task.progress.updates;
        let decoded =
            self.task.reported.iter().filter_map(|bytes| mesos::TaskStatus::decode(bytes.as_slice()).ok());
        let known = |status: &mesos::TaskStatus| {
            waiting.iter().all(|update| Some(update.uuid.as_slice()) != status.uuid.as_deref())
        };
        decoded.map(|status| (status.clone(), known(&status))).collect()
    }
}
