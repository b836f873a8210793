//! `/state`, and what it says of the master itself; `/flags`.

use super::form::{message, seconds};
use crate::MESOS_VERSION;
use crate::core::MasterCore;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl MasterCore {
    pub(super) fn state(&self) -> Value {
        let pid = format!("master@{}", self.config.address);
        let info = self.master_info();
        let capabilities: Vec<_> = info.capabilities.iter().map(|c| c.r#type().as_str_name()).collect();
        let active = self.agents.values().filter(|agent| agent.active()).count();
        let mut state = json!({
            "version": MESOS_VERSION,
            "id": self.config.id,
            "pid": pid,
            "hostname": self.config.hostname,
            "capabilities": capabilities,
            "start_time": seconds(self.started_ms),
            "elected_time": seconds(self.started_ms),
            "activated_slaves": active,
            "deactivated_slaves": self.agents.len() - active,
            "unreachable_slaves": self.unreachable.len(),
            "leader": pid,
            "leader_info": {
                "id": self.config.id,
                "pid": pid,
                "port": self.config.address.port(),
                "hostname": self.config.hostname,
            },
            "cluster": self.config.cluster,
            "flags": self.flags(),
            "orphan_tasks": [],
        });
        super::form::maybe(&mut state, "domain", info.domain.as_ref().map(message));
        if let Some(state) = state.as_object_mut() {
            for part in [crate::build::version(), self.slaves(None), self.frameworks_document(None)] {
                if let Value::Object(part) = part {
                    state.extend(part);
                }
            }
        }
        state
    }

    /// The settings that have a flag of Mesos' master, and this master's own.
    pub(crate) fn flags(&self) -> BTreeMap<&'static str, String> {
        let secs = |ms| format!("{}secs", seconds(ms));
        BTreeMap::from([
            ("agent_ping_timeout", secs(self.config.ping_interval_ms)),
            ("max_agent_ping_timeouts", self.config.max_missed_pings.to_string()),
            ("agent_reregister_timeout", secs(self.config.agent_reregister_timeout_ms)),
            ("allocation_interval", secs(self.config.allocation_ms)),
            ("allocation_policy", self.allocator.policy_name().to_owned()),
            ("authenticate_agents", self.config.authenticate_agents.to_string()),
            ("ip", self.config.address.ip().to_string()),
            ("port", self.config.address.port().to_string()),
            ("hostname", self.config.hostname.clone()),
            ("cluster", self.config.cluster.clone().unwrap_or_default()),
        ])
    }
}
