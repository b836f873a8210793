//! `/roles` and `/weights`.

use crate::core::MasterCore;
use crate::sums::ByRole;
use mesos_proto::pool::Pool;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct RoleSums<'a> {
    frameworks: Vec<&'a String>,
    allocated: Pool,
    offered: Pool,
    reserved: Pool,
}

/// Scalars by name, as Mesos shows quantities: what is not there is not shown.
fn quantities(pool: &Pool) -> Value {
    let sums = pool.quantities();
    sums.iter()
        .map(|(name, milli)| (name.to_owned(), (milli as f64 / 1000.0).into()))
        .collect::<Map<_, _>>()
        .into()
}

impl MasterCore {
    pub(super) fn roles(&self) -> Value {
        let mut roles = BTreeMap::<String, RoleSums<'_>>::new();
        let known: BTreeSet<&String> = self.allocator.weights().keys().collect();
        for role in known {
            roles.entry(role.clone()).or_default();
        }
        for (id, framework) in &self.frameworks {
            for role in &framework.roles {
                roles.entry(role.clone()).or_default().frameworks.push(id);
            }
        }
        let add = |roles: &mut BTreeMap<String, RoleSums<'_>>, all: ByRole<'_>, offered: bool| {
            for (role, pool) in all {
                let sums = roles.entry(role.to_owned()).or_default();
                if offered { &mut sums.offered } else { &mut sums.allocated }.add(&pool);
            }
        };
        for agent in self.agents.values() {
            add(&mut roles, self.used_of(agent), false);
            add(&mut roles, self.offered(&agent.offers), true);
            for role in agent.total.reserved_roles() {
                let own = agent.total.reserved_for(&role);
                roles.entry(role).or_default().reserved.add(&own);
            }
        }
        let shown = roles.into_iter().map(|(name, sums)| {
            let mut held = sums.allocated.clone();
            held.add(&sums.offered);
            let weight = self.allocator.weights().get(&name).copied().unwrap_or(1.0);
            // There are no quotas here: nothing is guaranteed, nothing limited. What Mesos counts as consumed is what
            // is in use, and what is reserved and not in use.
            let mut idle = sums.reserved.clone();
            idle.subtract(&sums.allocated.reserved_for(&name));
            let mut consumed = sums.allocated.clone();
            consumed.add(&idle);
            json!({
                "name": name, "weight": weight, "frameworks": sums.frameworks,
                "resources": quantities(&held), "allocated": quantities(&sums.allocated),
                "offered": quantities(&sums.offered), "reserved": quantities(&sums.reserved),
                "quota": {
                    "role": name, "guarantee": {}, "limit": {}, "consumed": quantities(&consumed),
                },
            })
        });
        json!({ "roles": shown.collect::<Vec<_>>() })
    }

    pub(super) fn weights(&self) -> Value {
        let weights = self.allocator.weights().iter();
        weights.map(|(role, weight)| json!({ "weight": weight, "role": role })).collect()
    }
}
