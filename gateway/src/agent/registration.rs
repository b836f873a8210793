//! Registration with the master, and the pings that keep it.

use super::{Agents, Output, info};
use crate::bridge::{NodeId, ToNode};
use crate::store::{Table, Write};
use libprocess::Upid;
use mesos_proto::{internal, mesos};

/// Pause before a first attempt: up to this, so that many agents do not come at once (src/slave/constants.hpp).
const FIRST_PAUSE_MS: u64 = 1_000;
/// Upper bound of the pause after the first attempt; doubled after each.
const RETRY_PAUSE_MS: u64 = 2_000;
/// Upper bound of any pause.
const RETRY_PAUSE_MAX_MS: u64 = 60_000;
/// Without a ping for this long the master is looked for again (5 pings of 15 s).
const PING_TIMEOUT_MS: u64 = 75_000;
/// Longest such time that a master may ask for: a day.
const PING_TIMEOUT_MAX_MS: u64 = 86_400_000;

/// How an agent stands with the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    /// Nothing is tried: the node is away, or there is no master.
    Away,
    /// The next attempt is at `next_ms`.
    Trying { next_ms: u64, pause_ms: u64 },
    /// Registered; a ping is due before `ping_due_ms`.
    Registered { ping_due_ms: u64, timeout_ms: u64 },
}

impl Registration {
    pub fn next_ms(self) -> u64 {
        match self {
            Self::Away => u64::MAX,
            Self::Trying { next_ms, .. } => next_ms,
            Self::Registered { ping_due_ms, .. } => ping_due_ms,
        }
    }
}

impl Agents {
    /// Begins to register if the node is alive and there is a master.
    pub(super) fn start_registration(&mut self, id: NodeId, now_ms: u64) {
        let jitter = self.next_random() % FIRST_PAUSE_MS;
        // A handful of agents need no spreading: the pause grows with their number.
        let pause = jitter * (self.nodes.len() as u64).min(1_000) / 1_000;
        let has_master = self.master.is_some();
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        agent.registration = if agent.live && has_master {
            Registration::Trying { next_ms: now_ms + pause, pause_ms: RETRY_PAUSE_MS }
        } else {
            Registration::Away
        };
    }

    pub(super) fn start_registration_if_away(&mut self, id: NodeId, now_ms: u64) {
        if self.nodes.get(&id).is_some_and(|agent| agent.registration == Registration::Away) {
            self.start_registration(id, now_ms);
        }
    }

    pub(super) fn registration_due(&mut self, id: NodeId, now_ms: u64) {
        let random = self.next_random();
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        match agent.registration {
            Registration::Trying { next_ms, pause_ms } if next_ms <= now_ms => {
                if !agent.live {
                    agent.registration = Registration::Away;
                    return;
                }
                agent.registration = Registration::Trying {
                    next_ms: now_ms + 1 + random % pause_ms,
                    pause_ms: (pause_ms * 2).min(RETRY_PAUSE_MAX_MS),
                };
                self.send_registration(id);
            }
            Registration::Registered { ping_due_ms, .. } if ping_due_ms <= now_ms => {
                tracing::info!(node = %id, "no ping from the master: registering again");
                self.start_registration(id, now_ms);
            }
            _ => {}
        }
    }

    fn send_registration(&mut self, id: NodeId) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let record = &agent.record;
        let slave =
            info::slave_info(&self.config, id, &record.register.inventory, record.slave_id.as_deref());
        let version = Some(self.config.version.clone());
        if record.slave_id.is_none() {
            let message = internal::RegisterSlaveMessage {
                slave,
                version,
                agent_capabilities: info::capabilities(),
                ..Default::default()
            };
            return self.send(id, &message);
        }
        let message = internal::ReregisterSlaveMessage {
            slave,
            version,
            agent_capabilities: info::capabilities(),
            tasks: agent
                .tasks
                .values()
                .filter_map(|task| task.to_mesos(record.slave_id.as_deref()?))
                .collect(),
            frameworks: agent
                .frameworks
                .iter()
                .filter_map(|(framework, held)| super::task::framework_info(framework, held))
                .collect(),
            ..Default::default()
        };
        self.send(id, &message);
    }

    pub(super) fn registered(
        &mut self,
        id: NodeId,
        slave_id: String,
        connection: Option<internal::MasterSlaveConnection>,
        reconciliations: &[internal::ReconcileTasksMessage],
        now_ms: u64,
    ) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if !matches!(agent.registration, Registration::Trying { .. }) {
            return; // an answer to an attempt before the last one
        }
        if agent.record.slave_id.as_deref().is_some_and(|held| held != slave_id) {
            tracing::warn!(node = %id, slave_id, "the master knows this node by another agent id; ignored");
            return;
        }
        let seconds = connection.and_then(|connection| connection.total_ping_timeout_seconds);
        let timeout_ms = seconds
            .filter(|s| *s > 0.0)
            .map_or(PING_TIMEOUT_MS, |s| ((s * 1000.0) as u64).min(PING_TIMEOUT_MAX_MS));
        agent.registration = Registration::Registered { ping_due_ms: now_ms + timeout_ms, timeout_ms };
        let new = agent.record.slave_id.is_none();
        agent.record.slave_id = Some(slave_id.clone());
        tracing::info!(node = %id, actor = agent.record.actor, slave_id, "registered");
        if new {
            self.save_agent(id);
        }
        let update = internal::UpdateSlaveMessage {
            slave_id: mesos::SlaveId { value: slave_id },
            update_oversubscribed_resources: Some(false),
            ..Default::default()
        };
        self.send(id, &update);
        for reconciliation in reconciliations {
            self.reconcile(id, reconciliation, now_ms);
        }
        self.resume_streams(id, now_ms);
    }

    pub(super) fn pinged(
        &mut self,
        id: NodeId,
        from: Option<&Upid>,
        ping: internal::PingSlaveMessage,
        now_ms: u64,
    ) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if !agent.live {
            return; // the master has to learn that the node is gone
        }
        if let Registration::Registered { ping_due_ms, timeout_ms } = &mut agent.registration {
            *ping_due_ms = now_ms + *timeout_ms;
            if !ping.connected {
                tracing::info!(node = %id, "the master lost the connection: registering again");
                self.start_registration(id, now_ms);
            }
        }
        if let Some(observer) = from.cloned() {
            // To the sender, and even while not registered.
            self.send_to(id, observer, &internal::PongSlaveMessage {});
        }
    }

    /// The master wants this agent gone: its tasks end without updates and its id is given up. A node that registers
    /// again afterwards is a new agent.
    pub(super) fn shutdown(&mut self, id: NodeId, why: &str) {
        tracing::warn!(node = %id, why, "the master shut this agent down");
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        agent.registration = Registration::Away;
        agent.live = false;
        agent.record.slave_id = None;
        let tasks: Vec<_> = agent.tasks.keys().copied().collect();
        let frameworks: Vec<_> = std::mem::take(&mut agent.frameworks).into_keys().collect();
        agent.tasks.clear();
        for task in tasks {
            self.outputs.push_back(Output::ToNode(id, ToNode::Kill { task, grace_ms: 0 }));
            self.outputs.push_back(Output::ToNode(id, ToNode::Forget { task }));
            self.outputs.push_back(Output::Write(Write::Delete(Table::Task, super::task_key(id, task))));
        }
        for framework in frameworks {
            self.delete_framework(id, &framework);
        }
        self.save_agent(id);
    }
}
