//! `/slaves`, and an agent as `/state` has it too.

use super::form::{attribute, full, maybe, seconds};
use crate::core::MasterCore;
use crate::state::Agent;
use crate::sums::{ByRole, total};
use mesos_proto::json::to_json;
use mesos_proto::mesos::slave_info;
use mesos_proto::pool::{Pool, UNRESERVED};
use serde_json::{Map, Value, json};

impl MasterCore {
    /// All agents, or one.
    pub(super) fn slaves(&self, only: Option<&str>) -> Value {
        let wanted = |id: &str| only.is_none_or(|only| only == id);
        let slaves = self.agents.iter().filter(|(id, _)| wanted(id));
        let slaves: Vec<_> = slaves.map(|(id, agent)| self.agent_in_full(id, agent)).collect();
        let recovered = self.recovered.iter().filter(|(id, _)| wanted(id));
        let recovered: Vec<_> = recovered
            .map(|(id, record)| json!({"id": {"value": id}, "hostname": record.info.hostname, "port": record.info.port()}))
            .collect();
        json!({ "slaves": slaves, "recovered_slaves": recovered })
    }

    fn agent_in_full(&self, id: &str, agent: &Agent) -> Value {
        let mut json = self.agent(id, agent);
        let reserved = agent.total.reserved_roles().into_iter().map(|role| {
            let own = full(&agent.total.reserved_for(&role), None);
            (role, Value::Array(own))
        });
        let by_role = |all: ByRole<'_>| -> Vec<Value> {
            all.iter().flat_map(|(role, pool)| full(pool, Some(role))).collect()
        };
        json["reserved_resources_full"] = Value::Object(reserved.collect());
        json["unreserved_resources_full"] = full(&agent.total.reserved_for(UNRESERVED), None).into();
        json["used_resources_full"] = by_role(self.used_of(agent)).into();
        json["offered_resources_full"] = by_role(self.offered(&agent.offers)).into();
        json
    }

    /// An agent without the full lists of its resources.
    pub(super) fn agent(&self, id: &str, agent: &Agent) -> Value {
        let reserved = agent.total.reserved_roles().into_iter();
        let reserved: Map<_, _> =
            reserved.map(|role| (role.clone(), agent.total.to_json(Some(&role)).into())).collect();
        let attributes = agent.info.attributes.iter();
        let attributes: Map<_, _> = attributes.map(|one| (one.name.clone(), attribute(one))).collect();
        let capabilities = agent.capabilities.iter();
        let capabilities: Vec<_> = capabilities
            .filter_map(|c| slave_info::capability::Type::try_from(*c).ok())
            .map(|c| c.as_str_name())
            .collect();
        let sum = |all: ByRole<'_>| total(&all).to_json(None);
        let mut json = json!({
            "id": id,
            "hostname": agent.info.hostname,
            "port": agent.info.port(),
            "pid": agent.pid.to_string(),
            "version": agent.version,
            "attributes": attributes,
            "resources": agent.total.to_json(None),
            "used_resources": sum(self.used_of(agent)),
            "offered_resources": sum(self.offered(&agent.offers)),
            "unreserved_resources": agent.total.to_json(Some(UNRESERVED)),
            "reserved_resources": reserved,
            "capabilities": capabilities,
            "registered_time": seconds(agent.registered_ms),
            "connected": agent.connected,
            "active": agent.active(),
            "deactivated": agent.deactivated,
        });
        if let Some(record) = self.drains.get(id)
            && let Some(info) = &record.info
        {
            maybe(&mut json, "drain_info", to_json(info).ok());
            json["estimated_drain_start_time_seconds"] = seconds(record.since_ms).into();
        }
        maybe(&mut json, "reregistered_time", agent.reregistered_ms.map(seconds));
        json
    }

    /// What all agents have, and what of it tasks and executors use.
    pub(super) fn cluster_sums(&self) -> (Pool, Pool) {
        let (mut all, mut used) = (Pool::default(), Pool::default());
        for agent in self.agents.values() {
            all.add(&agent.total);
            self.used_of(agent).values().for_each(|pool| used.add(pool));
        }
        (all, used)
    }
}
