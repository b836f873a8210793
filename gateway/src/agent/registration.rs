//! Registration with the master, and the pings that keep it.

use super::{Agents, Auth, Notice, info};
use crate::agent::Output;
use crate::bridge::{NodeId, ToNode};
use crate::store::{Table, Write};
use libprocess::Upid;
use mesos_proto::{internal, mesos};

/// Pause before a first attempt: up to this, so that many agents do not come at once (src/slave/constants.hpp).
const FIRST_PAUSE_MS: u64 = 1_000;
/// First attempts a second of all agents together: a new master is not to be stampeded by one gateway.
const ATTEMPTS_PER_S: u64 = 2_500;
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
    /// Begins to register, and to authenticate, if the node is alive and there is a master.
    pub(super) fn start_registration(&mut self, id: NodeId, now_ms: u64) {
        // A handful of agents need no spreading: the longest pause grows with their number.
        let agents = self.nodes.len() as u64;
        let longest = (FIRST_PAUSE_MS * agents.min(1_000) / 1_000).max(agents * 1_000 / ATTEMPTS_PER_S);
        let pause = self.next_random() % longest.max(1);
        let has_master = self.master.is_some() && !self.retired;
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        agent.auth = Auth::Unproved;
        agent.registration = if agent.live && has_master && !agent.is_shut_down() {
            Registration::Trying { next_ms: now_ms + pause, pause_ms: longest.max(RETRY_PAUSE_MS) }
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
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        match agent.registration {
            Registration::Trying { next_ms, pause_ms } if next_ms <= now_ms => {
                if !agent.live {
                    agent.registration = Registration::Away;
                    return;
                }
                if !self.authenticated(id, now_ms) {
                    return;
                }
                let next_ms = now_ms + 1 + self.next_random() % pause_ms;
                if let Some(agent) = self.nodes.get_mut(&id) {
                    let pause_ms = (pause_ms * 2).min(RETRY_PAUSE_MAX_MS);
                    agent.registration = Registration::Trying { next_ms, pause_ms };
                }
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
        self.fit_reservations(id);
        let resource_version_uuid = Some(self.resource_version(id));
        let Some(agent) = self.nodes.get(&id) else { return };
        let record = &agent.record;
        let slave =
            info::slave_info(&self.config, id, &record.register.inventory, record.slave_id.as_deref());
        let version = Some(self.config.version.clone());
        let checkpointed_resources = agent.reserved.to_resources();
        let Some(slave_id) = &record.slave_id else {
            let message = internal::RegisterSlaveMessage {
                slave,
                version,
                checkpointed_resources,
                agent_capabilities: info::capabilities(),
                resource_version_uuid,
            };
            return self.send(id, &message);
        };
        let message = internal::ReregisterSlaveMessage {
            slave,
            version,
            checkpointed_resources,
            agent_capabilities: info::capabilities(),
            resource_version_uuid,
            tasks: agent.tasks.values().filter_map(|task| task.to_mesos(slave_id, agent)).collect(),
            executor_infos: agent.executor_infos(),
            frameworks: agent
                .frameworks
                .iter()
                .filter_map(|(framework, held)| super::task::framework_info(framework, held))
                .collect(),
            completed_frameworks: Vec::new(),
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
        if !matches!(agent.registration, Registration::Trying { .. }) || slave_id.is_empty() {
            return; // an answer to an attempt before the last one, or none
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
        self.counters.registrations += 1;
        let new = agent.record.slave_id.is_none();
        self.notices.add(Notice::Registered { node: id, slave_id: slave_id.clone(), new });
        agent.record.slave_id = Some(slave_id.clone());
        tracing::debug!(node = %id, actor = agent.record.actor, slave_id, "registered");
        if new {
            tracing::info!(node = %id, actor = agent.record.actor, slave_id, "the master took in a new agent");
            self.save_agent(id);
        }
        self.send_resources(id);
        for reconciliation in reconciliations {
            self.reconcile(id, reconciliation, now_ms);
        }
        self.resume_streams(id, now_ms);
        self.resume_operations(id, now_ms);
    }

    /// What a master with operation feedback needs after each registration before it believes what it knows of the
    /// agent's operations (src/slave/slave.cpp, `registered`, `reregistered`).
    pub(super) fn send_resources(&mut self, id: NodeId) {
        let version = self.resource_version(id);
        let Some(agent) = self.nodes.get(&id) else { return };
        let Some(slave_id) = &agent.record.slave_id else { return };
        let update = internal::UpdateSlaveMessage {
            slave_id: mesos::SlaveId { value: slave_id.clone() },
            update_oversubscribed_resources: Some(false),
            operations: Some(internal::update_slave_message::Operations {
                operations: agent.operations_known(),
            }),
            resource_version_uuid: Some(version),
            ..Default::default()
        };
        self.send(id, &update);
    }

    /// Changes with each start of the gateway, as a real agent's does.
    pub(super) fn resource_version(&self, id: NodeId) -> mesos::Uuid {
        let bytes = [id.0, self.run.to_be_bytes()].concat();
        mesos::Uuid { value: uuid::Builder::from_custom_bytes(to_16(&bytes)).into_uuid().as_bytes().to_vec() }
    }

    pub(super) fn pinged(
        &mut self,
        id: NodeId,
        from: Option<&Upid>,
        ping: internal::PingSlaveMessage,
        now_ms: u64,
    ) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if !agent.live || agent.is_shut_down() {
            return; // the master has to learn that the node is gone
        }
        if let Registration::Registered { ping_due_ms, timeout_ms } = &mut agent.registration {
            *ping_due_ms = now_ms + *timeout_ms;
            if !ping.connected {
                tracing::debug!(node = %id, "the master lost the connection: registering again");
                self.start_registration(id, now_ms);
            }
        }
        if let Some(observer) = from.cloned() {
            // To the sender, and even while not registered.
            self.send_to(id, observer, &internal::PongSlaveMessage {});
        }
    }

    /// The master wants this agent gone: its tasks end without updates and its id is given up. It stays away until
    /// its node starts anew, as a real agent's process stays down until somebody starts it; then it is a new agent.
    pub(super) fn shutdown(&mut self, id: NodeId, why: &str) {
        tracing::warn!(node = %id, why, "the master shut this agent down; it comes back when the node is restarted");
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        agent.registration = Registration::Away;
        agent.record.shut_down_at_boot = Some(agent.record.register.boot);
        self.give_up_identity(id);
    }

    /// Ends all tasks without updates and forgets the agent id.
    pub(super) fn give_up_identity(&mut self, id: NodeId) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        agent.record.slave_id = None;
        agent.record.drain = None;
        let frameworks: Vec<String> = agent.frameworks.keys().cloned().collect();
        let tasks: Vec<_> = agent.tasks.keys().copied().collect();
        for task in tasks {
            self.outputs.push_back(Output::ToNode(id, ToNode::Kill { task, grace_ms: 0 }));
            self.drop_task(id, task);
        }
        for framework in frameworks {
            self.forget_framework(id, &framework);
        }
        if let Some(agent) = self.nodes.get_mut(&id) {
            agent.reserved = Default::default();
            for uuid in std::mem::take(&mut agent.operations).into_keys() {
                let key = [&id.0[..], &uuid].concat();
                self.outputs.push_back(Output::Write(Write::Delete(Table::Operation, key)));
            }
        }
        self.save_reserved(id);
        self.save_agent(id);
    }
}

fn to_16(bytes: &[u8]) -> [u8; 16] {
    let mut array = [0; 16];
    array.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    array
}
