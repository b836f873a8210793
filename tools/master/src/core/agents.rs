//! Agents register, register again and say goodbye (src/master/master.cpp, `registerSlave`, `reregisterSlave`). None is
//! told that it is registered before that is kept; none that is gone for ever is taken in.

use super::conversion::with_checkpointed;
use super::loss::Loss;
use super::{MasterCore, Output, Timer, valid_id};
use crate::allocator::Abilities;
use crate::allocator::constraints::Facts;
use crate::limits::MAX_AGENTS;
use crate::state::Agent;
use libprocess::Upid;
use mesos_proto::internal::{
    MasterSlaveConnection, RegisterSlaveMessage, ReregisterSlaveMessage, ShutdownMessage,
    SlaveRegisteredMessage, SlaveReregisteredMessage, UnregisterSlaveMessage, UpdateSlaveMessage,
};
use mesos_proto::mesos::{Resource, SlaveId, SlaveInfo, slave_info};
use mesos_proto::pool::Pool;
use std::collections::{BTreeMap, BTreeSet};

impl MasterCore {
    fn connection(&self) -> Option<MasterSlaveConnection> {
        let total = self.config.ping_interval_ms.saturating_mul(u64::from(self.config.max_missed_pings));
        Some(MasterSlaveConnection { total_ping_timeout_seconds: Some(total as f64 / 1000.0) })
    }

    pub(super) fn register_agent(&mut self, from: Upid, message: RegisterSlaveMessage) {
        if !self.may_register(&from) {
            return self.refuse_agent(&from, "not authenticated");
        }
        if self.is_down(&message.slave.hostname, &from) {
            return self.shut_down(&from, "Machine is `DOWN`");
        }
        let total =
            match acceptable(&message.slave, message.version.as_deref(), &message.checkpointed_resources) {
                Ok(total) => total,
                Err(why) => return self.refuse_agent(&from, &why),
            };
        if let Some(id) = self.by_pid.get(&from).cloned() {
            if self.agents.get(&id).is_some_and(|agent| agent.connected) {
                // The answer was lost: the same id again (M:6406).
                let answer =
                    SlaveRegisteredMessage { slave_id: SlaveId { value: id }, connection: self.connection() };
                return self.send(&from, &answer);
            }
            // A new agent where a lost one was.
            self.count("slave_removals/reason_registered");
            self.remove_agent(&id, Loss::Removed);
        }
        if self.too_many_agents() {
            return self.refuse_agent(&from, "too many agents");
        }
        self.supersede_recovered(&from);
        let id = self.new_agent_id();
        let capabilities = message.agent_capabilities;
        self.admit(id.clone(), from.clone(), message.slave, message.version, capabilities, total);
        self.resource_version(&id, message.resource_version_uuid);
        tracing::info!(agent = id, pid = %from, "agent registered");
        self.count("slave_registrations");
        let answer =
            SlaveRegisteredMessage { slave_id: SlaveId { value: id }, connection: self.connection() };
        self.send(&from, &answer);
    }

    /// Those that have not come back after a restart have their place.
    fn too_many_agents(&self) -> bool {
        self.agents.len() + self.recovered.len() >= MAX_AGENTS
    }

    fn refuse_agent(&mut self, from: &Upid, why: &str) {
        // Mesos only logs and lets the agent try again; so do we.
        tracing::warn!(pid = %from, why, "agent refused");
        self.count("slave_registrations_refused");
    }

    /// Refuses an agent that is not to try again.
    fn shut_down(&mut self, from: &Upid, why: &str) {
        self.refuse_agent(from, why);
        self.send(from, &ShutdownMessage { message: Some(why.to_owned()) });
    }

    fn admit(
        &mut self,
        id: String,
        pid: Upid,
        mut info: SlaveInfo,
        version: Option<String>,
        capabilities: Vec<slave_info::Capability>,
        total: Pool,
    ) {
        info.id = Some(SlaveId { value: id.clone() });
        let registered_ms = self.recovered.remove(&id).map_or(self.now_ms, |record| record.registered_ms);
        self.forget_unreachable(&id);
        let observer = self.next_observer;
        self.next_observer += 1;
        let agent = Agent {
            info,
            pid: pid.clone(),
            version: version.unwrap_or_default(),
            capabilities: capabilities.into_iter().filter_map(|c| c.r#type).collect(),
            total,
            observer,
            connected: true,
            disconnected_ms: 0,
            deactivated: false,
            registered_ms,
            reregistered_ms: None,
            missed: 0,
            awaiting_pong: false,
            removal_ms: None,
            tasks: BTreeSet::new(),
            executors: BTreeMap::new(),
            resource_version: None,
            operations: BTreeMap::new(),
            offers: BTreeSet::new(),
        };
        self.allocator.add_agent(&id, agent.total.clone(), abilities(&agent));
        self.allocator.describe_agent(&id, Facts::of(&agent.info));
        self.by_observer.insert(observer, id.clone());
        self.index(&id, &pid);
        self.timers.insert((self.now_ms + self.config.ping_interval_ms, Timer::Ping(observer)));
        self.agents.insert(id.clone(), agent);
        self.keep_agent(&id);
        self.watch_agent_added(&id);
        self.dirty.insert(id);
    }

    pub(super) fn index(&mut self, id: &str, pid: &Upid) {
        self.by_pid.insert(pid.clone(), id.to_owned());
        self.by_address.entry(pid.addr).or_default().insert(id.to_owned());
        self.outputs.push(Output::Link(pid.addr));
    }

    pub(super) fn unindex(&mut self, id: &str, pid: &Upid) {
        if self.by_pid.get(pid).is_some_and(|known| known == id) {
            self.by_pid.remove(pid);
        }
        if let Some(ids) = self.by_address.get_mut(&pid.addr) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_address.remove(&pid.addr);
            }
        }
    }

    pub(super) fn reregister_agent(&mut self, from: Upid, message: ReregisterSlaveMessage) {
        if !self.may_register(&from) {
            return self.refuse_agent(&from, "not authenticated");
        }
        let Some(id) = message.slave.id.clone().map(|id| id.value).filter(|id| valid_id(id)) else {
            return self.refuse_agent(&from, "re-registration without a valid id");
        };
        if self.gone.contains(&id) {
            return self.shut_down(&from, super::loss::MARKED_GONE);
        }
        if self.is_down(&message.slave.hostname, &from) {
            return self.shut_down(&from, "Machine is `DOWN`");
        }
        let total =
            match acceptable(&message.slave, message.version.as_deref(), &message.checkpointed_resources) {
                Ok(total) => total,
                Err(why) => return self.refuse_agent(&from, &why),
            };
        if let Some(other) = self.by_pid.get(&from).filter(|other| **other != id).cloned() {
            // One actor is one agent: the earlier one is gone.
            self.count("slave_removals/reason_registered");
            self.remove_agent(&other, Loss::Removed);
        }
        let reconciliations = match self.agents.get(&id) {
            Some(agent) => {
                if agent.pid.addr.ip() != from.addr.ip() || agent.info.hostname != message.slave.hostname {
                    // M:6809
                    let why = "Agent attempted to re-register with a different IP or hostname";
                    return self.shut_down(&from, why);
                }
                self.reconnect(&id, &from, &message, total)
            }
            None => {
                if !self.recovered.contains_key(&id) && self.too_many_agents() {
                    return self.refuse_agent(&from, "too many agents");
                }
                // What it brings is news, unless the master expected it.
                let why = if self.unreachable.contains(&id) {
                    Some("Unreachable agent re-registered")
                } else if self.recovered.contains_key(&id) {
                    None
                } else {
                    Some("Unknown agent re-registered")
                };
                self.admit(
                    id.clone(),
                    from.clone(),
                    message.slave.clone(),
                    message.version.clone(),
                    message.agent_capabilities.clone(),
                    total,
                );
                self.recover_from(&id, &message, why);
                // What it does not have it will not have again.
                for framework in self.frameworks.values_mut() {
                    framework.unreachable.retain(|_, task| task.slave_id.value != id);
                }
                Vec::new()
            }
        };
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.reregistered_ms = Some(self.now_ms);
        }
        self.resource_version(&id, message.resource_version_uuid.clone());
        tracing::info!(agent = id, pid = %from, tasks = message.tasks.len(), "agent re-registered");
        self.count("slave_reregistrations");
        let answer = SlaveReregisteredMessage {
            slave_id: SlaveId { value: id.clone() },
            reconciliations,
            connection: self.connection(),
        };
        self.send(&from, &answer);
        self.apply_drain(&id, true);
        self.after_reregistration(&id, &from, &message);
    }

    pub(super) fn unregister_agent(&mut self, from: &Upid, message: UnregisterSlaveMessage) {
        let id = message.slave_id.value;
        if self.agents.get(&id).is_some_and(|agent| agent.pid == *from) {
            tracing::info!(agent = id, "agent unregistered");
            self.count("slave_removals/reason_unregistered");
            self.remove_agent(&id, Loss::Removed);
        } else {
            self.count("messages_from_wrong_sender");
        }
    }

    pub(super) fn update_agent(&mut self, from: &Upid, message: UpdateSlaveMessage) {
        // There is nothing oversubscribed to offer on this kind of agent.
        let id = message.slave_id.value.clone();
        if self.agents.get(&id).is_none_or(|agent| agent.pid != *from) {
            return self.count("messages_from_wrong_sender");
        }
        self.agent_operations(&id, message);
        self.something_ended(&id);
    }
}

pub(super) fn abilities(agent: &Agent) -> Abilities {
    Abilities {
        multi_role: agent.has(slave_info::capability::Type::MultiRole),
        hierarchical_role: agent.has(slave_info::capability::Type::HierarchicalRole),
        gpus: agent.total.quantities().milli("gpus") > 0,
        ..Abilities::default()
    }
}

/// An agent's total if it may register (M:6358, `validation::master::message`).
fn acceptable(info: &SlaveInfo, version: Option<&str>, kept: &[Resource]) -> Result<Pool, String> {
    let major =
        version.and_then(|version| version.split('.').next()).and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 1) {
        return Err(format!("version {version:?} is not 1.0.0 or later"));
    }
    if info.hostname.is_empty() || info.hostname.len() > crate::limits::MAX_ID {
        return Err("no hostname, or too long a one".into());
    }
    if info.attributes.len() > mesos_proto::pool::MAX_RESOURCES {
        return Err("too many attributes".into());
    }
    with_checkpointed(Pool::of(&info.resources)?, kept)
}
