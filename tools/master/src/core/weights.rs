//! Weights of roles, set while the master runs (src/master/weights_handler.cpp `_updateWeights`). Those that were set here
//! outlive a restart, and count for more than those of the command line.

use super::MasterCore;
use super::validation::valid_role;
use crate::limits::MAX_WEIGHTS;
use crate::operator::Refusal;
use crate::store::{Records, Table, Unreadable, of_kind, put};
use mesos_proto::v1::WeightInfo;

impl MasterCore {
    pub(super) fn recover_weights(&mut self, records: &Records) -> Result<(), Unreadable> {
        for (role, weight) in of_kind::<f64>(records, Table::Weight)? {
            self.allocator.set_weight(&role, weight).map_err(|_| Unreadable { table: Table::Weight })?;
        }
        Ok(())
    }

    /// Sets all of these weights, or none. What is offered is withdrawn if it might go elsewhere now.
    pub(crate) fn update_weights(&mut self, weights: Vec<WeightInfo>) -> Result<(), Refusal> {
        let intro = "Failed to validate update weights request JSON";
        let mut more = 0;
        for info in &weights {
            let role = info.role().trim();
            valid_role(role).map_err(|why| Refusal::bad(format!("{intro}: Invalid role '{role}': {why}")))?;
            let weight = info.weight;
            if !(weight.is_finite() && weight > 0.0) {
                let why = "Weights must be positive";
                return Err(Refusal::bad(format!(
                    "{intro} for role '{role}': Invalid weight '{weight}': {why}"
                )));
            }
            more += usize::from(!self.allocator.weights().contains_key(role));
        }
        if self.allocator.weights().len() + more > MAX_WEIGHTS {
            return Err(Refusal::bad(format!("More than {MAX_WEIGHTS} roles would have a weight")));
        }
        for info in &weights {
            let role = info.role().trim();
            self.allocator
                .set_weight(role, info.weight)
                .map_err(|error| Refusal::bad(format!("{intro}: {error}")))?;
            self.keep(put(Table::Weight, role, &info.weight.clone()));
        }
        let concerned = |role: &str| self.frameworks.values().any(|framework| framework.roles.contains(role));
        if weights.iter().any(|info| concerned(info.role().trim())) {
            let agents: Vec<_> = self.agents.keys().cloned().collect();
            agents.iter().for_each(|agent| self.rescind_agent(agent));
            self.dirty.extend(agents);
        }
        Ok(())
    }
}
