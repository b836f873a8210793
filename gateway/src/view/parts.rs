//! What several documents show: nodes, tasks, tenants, and sums of what was granted and used.

use super::Looked;
use crate::agent::{Glance, TaskGlance, Total};
use crate::bridge::NodeId;
use crate::energy;
use mesos_proto::mesos::{self, TaskState};
use node_proto::Power;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Processor time, thousandths of a core.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_permille: Option<u64>,
    pub granted_permille: u64,
    /// Unknown before the first two reports.
    pub used_permille: Option<u64>,
}

/// Memory, bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Mem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    pub granted_bytes: u64,
    pub used_bytes: Option<u64>,
}

/// What tasks were granted and used together. Unknown uses are left out of a sum that has known ones; a sum of nothing
/// is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub tasks: u64,
    unknown_cpu: u64,
    unknown_mem: u64,
    granted: (u64, u64),
    used: (u64, u64),
}

impl Sum {
    pub fn add(&mut self, task: TaskGlance<'_>) {
        if task.has_ended() {
            return;
        }
        let granted = task.granted();
        self.tasks += 1;
        self.granted.0 += u64::from(granted.cpu_permille);
        self.granted.1 += u64::from(granted.mem_bytes);
        match task.cpu_used_permille() {
            Some(used) => self.used.0 += u64::from(used),
            None => self.unknown_cpu += 1,
        }
        match task.usage() {
            Some(usage) => self.used.1 += u64::from(usage.mem_bytes),
            None => self.unknown_mem += 1,
        }
    }

    pub fn of<'a>(tasks: impl Iterator<Item = TaskGlance<'a>>) -> Self {
        let mut sum = Self::default();
        tasks.for_each(|task| sum.add(task));
        sum
    }

    pub fn plus(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.unknown_cpu += other.unknown_cpu;
        self.unknown_mem += other.unknown_mem;
        self.granted = (self.granted.0 + other.granted.0, self.granted.1 + other.granted.1);
        self.used = (self.used.0 + other.used.0, self.used.1 + other.used.1);
    }

    fn known(&self, unknown: u64, used: u64) -> Option<u64> {
        (unknown == 0 || unknown < self.tasks).then_some(used)
    }

    pub fn cpu(&self, total: Option<u64>) -> Cpu {
        let used_permille = self.known(self.unknown_cpu, self.used.0);
        Cpu { total_permille: total, granted_permille: self.granted.0, used_permille }
    }

    pub fn mem(&self, total: Option<u64>) -> Mem {
        Mem {
            total_bytes: total,
            granted_bytes: self.granted.1,
            used_bytes: self.known(self.unknown_mem, self.used.1),
        }
    }
}

/// What tenants have, by role.
#[derive(Default)]
pub(super) struct Tenants<'a>(BTreeMap<&'a str, (BTreeSet<&'a str>, Sum)>);

#[derive(Debug, Serialize)]
pub(super) struct Tenant {
    pub role: String,
    pub frameworks: usize,
    pub tasks: u64,
    pub cpu: Cpu,
    pub mem: Mem,
}

impl<'a> Tenants<'a> {
    pub fn add(&mut self, task: TaskGlance<'a>) {
        if !task.has_ended() {
            let (frameworks, sum) = self.0.entry(task.role()).or_default();
            frameworks.insert(task.framework_id());
            sum.add(task);
        }
    }

    /// The first so many.
    pub fn list(self, most: usize) -> Vec<Tenant> {
        let tenant = |(role, (frameworks, sum)): (&str, (BTreeSet<&str>, Sum))| Tenant {
            role: role.to_owned(),
            frameworks: frameworks.len(),
            tasks: sum.tasks,
            cpu: sum.cpu(None),
            mem: sum.mem(None),
        };
        self.0.into_iter().take(most).map(tenant).collect()
    }
}

/// What waits for a node.
#[derive(Debug, Serialize)]
pub(super) struct Mailbox {
    pub commands: usize,
    /// Unix time at which the oldest was put there.
    pub oldest_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Supply {
    pub source: &'static str,
    pub percent: Option<u8>,
}

impl Supply {
    fn of(power: Power) -> Self {
        match power {
            Power::Mains => Self { source: "mains", percent: None },
            Power::Battery(percent) => Self { source: "battery", percent: Some(percent) },
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct LinkShown {
    pub quality_percent: Option<u8>,
    pub uplink_lost_permille: Option<u16>,
    pub resent: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Node {
    pub node: String,
    pub hostname: String,
    pub board: String,
    pub agent_id: Option<String>,
    pub actor: String,
    pub state: &'static str,
    pub live: bool,
    pub draining: bool,
    /// Unix time at which it was heard last.
    pub heard_ms: Option<u64>,
    pub next_poll_s: u16,
    pub power: Supply,
    pub life_days: Option<f64>,
    pub cpu: Cpu,
    pub mem: Mem,
    pub mailbox: Mailbox,
    pub link: LinkShown,
    pub tasks: u64,
}

impl Looked<'_> {
    /// A moment of the gateway's clock in Unix time, milliseconds.
    pub(super) fn unix_ms(&self, moment_ms: u64) -> u64 {
        self.epoch_ms + moment_ms
    }

    pub(super) fn node(&self, agent: Glance<'_>) -> Option<Node> {
        let session = self.sessions.view(agent.node, self.now_ms)?;
        let Total { cpu_permille, mem_bytes } = agent.total();
        let sum = Sum::of(agent.tasks());
        let ago = |ms: u64| self.unix_ms(self.now_ms.saturating_sub(ms));
        let days = agent.vitals().and_then(|used| energy::NRF52840.life_days(used, self.battery_mah));
        Some(Node {
            node: agent.node.to_string(),
            hostname: agent.hostname(),
            board: agent.board().to_owned(),
            agent_id: agent.slave_id().map(str::to_owned),
            actor: agent.actor(),
            state: agent.state(),
            live: agent.live(),
            draining: agent.draining(),
            heard_ms: session.heard_ms_ago.map(ago),
            next_poll_s: session.next_s,
            power: Supply::of(agent.power()),
            // Of mains there is no end.
            life_days: days.filter(|_| matches!(agent.power(), Power::Battery(_))),
            cpu: sum.cpu(Some(cpu_permille.into())),
            mem: sum.mem(Some(mem_bytes.into())),
            mailbox: Mailbox {
                commands: session.mailbox,
                oldest_ms: (session.mailbox > 0).then(|| ago(session.mailbox_age_ms)),
            },
            link: LinkShown {
                quality_percent: session.link.quality_percent,
                uplink_lost_permille: session.link.lost_permille,
                resent: session.link.resent,
            },
            tasks: sum.tasks,
        })
    }

    pub(super) fn task(&self, agent: Glance<'_>, task: TaskGlance<'_>) -> Task {
        let (granted, usage) = (task.granted(), task.usage());
        let kind = task.image().and_then(|image| self.images.kind(image));
        Task {
            task_id: task.task_id().to_owned(),
            name: task.name().to_owned(),
            framework_id: task.framework_id().to_owned(),
            framework: agent.framework_name(task.framework_id()),
            role: task.role().to_owned(),
            node: agent.node.to_string(),
            state: task.state().as_str_name(),
            source_kind: kind,
            cpu: Cpu {
                total_permille: None,
                granted_permille: granted.cpu_permille.into(),
                used_permille: task.cpu_used_permille().map(u64::from),
            },
            mem: TaskMem {
                granted_bytes: granted.mem_bytes.into(),
                used_bytes: usage.map(|usage| usage.mem_bytes),
                peak_bytes: usage.map(|usage| usage.mem_peak_bytes),
            },
            received_bytes: usage.map(|usage| usage.received),
            total_bytes: Some(task.total_bytes()).filter(|bytes| *bytes > 0),
            updates_waiting: task.updates_waiting(),
            since_ms: task.since_ms().map(|at| self.unix_ms(at)),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct TaskMem {
    pub granted_bytes: u64,
    pub used_bytes: Option<u32>,
    pub peak_bytes: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct Task {
    pub task_id: String,
    pub name: String,
    pub framework_id: String,
    pub framework: Option<String>,
    pub role: String,
    pub node: String,
    pub state: &'static str,
    pub source_kind: Option<&'static str>,
    pub cpu: Cpu,
    pub mem: TaskMem,
    pub received_bytes: Option<u32>,
    pub total_bytes: Option<u32>,
    pub updates_waiting: usize,
    /// Unix time since when it has been in its state.
    pub since_ms: Option<u64>,
}

impl Task {
    /// One that is over and acknowledged: what is remembered of it.
    pub fn completed(node: NodeId, done: &crate::agent::Completed, kind: Option<&'static str>) -> Self {
        let task = &done.task;
        let amounts = mesos_proto::resources::Scalars::of(&task.resources);
        let last = task.statuses.last().and_then(|status| status.timestamp);
        let mut roles =
            task.resources.iter().filter_map(|held| held.allocation_info.as_ref()?.role.as_deref());
        Self {
            task_id: task.task_id.value.clone(),
            name: task.name.clone(),
            framework_id: task.framework_id.value.clone(),
            framework: Some(done.framework.name.clone()),
            role: roles.next().unwrap_or("*").to_owned(),
            node: node.to_string(),
            state: state_name(task.state),
            source_kind: kind,
            cpu: Cpu {
                total_permille: None,
                granted_permille: u64::try_from(amounts.milli("cpus")).unwrap_or(0),
                used_permille: None,
            },
            mem: TaskMem {
                granted_bytes: crate::agent::bytes_of_milli_mb(amounts.milli("mem")).into(),
                used_bytes: None,
                peak_bytes: done.usage.map(|usage| usage.mem_peak_bytes),
            },
            received_bytes: done.usage.map(|usage| usage.received),
            total_bytes: None,
            updates_waiting: 0,
            since_ms: last.map(|seconds| (seconds * 1000.0) as u64),
        }
    }
}

/// A state's name as Mesos has it.
pub(super) fn state_name(state: i32) -> &'static str {
    TaskState::try_from(state).map_or("TASK_UNKNOWN", |state| state.as_str_name())
}

/// A status as it came.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub state: &'static str,
    pub at_ms: Option<u64>,
    pub source: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    pub acknowledged: bool,
    pub healthy: Option<bool>,
}

impl Status {
    pub fn of(status: &mesos::TaskStatus, acknowledged: bool) -> Self {
        Self {
            state: state_name(status.state),
            at_ms: status.timestamp.map(|seconds| (seconds * 1000.0) as u64),
            source: status.source.is_some().then(|| status.source().as_str_name()),
            reason: status.reason.is_some().then(|| status.reason().as_str_name()),
            message: status.message.clone(),
            acknowledged,
            healthy: status.healthy,
        }
    }
}
