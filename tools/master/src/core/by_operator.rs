//! Operations that an operator asks for: done with what an agent has free, and with what offers hold of it, which are
//! withdrawn as far as they are in the way (src/master/http.cpp `Master::Http::_operation`).

use super::accept::Purse;
use super::conversion::{Conversion, resources_mut};
use super::{MasterCore, validation};
use mesos_proto::mesos::offer::Operation;
use mesos_proto::mesos::{FrameworkInfo, framework_info};
use mesos_proto::pool::{Pool, UNRESERVED};
use mesos_proto::reservations;

/// Why it is not done: the HTTP status, and what the operator reads.
type Refusal = (u16, String);

impl MasterCore {
    /// Does it, or changes nothing.
    pub(crate) fn operate_as_operator(&mut self, id: &str, mut operation: Operation) -> Result<(), Refusal> {
        let kind = operation.r#type().as_str_name();
        let mut role = UNRESERVED.to_owned();
        for resource in resources_mut(&mut operation) {
            reservations::upgrade(resource);
            reservations::allocate(resource, None);
            role = reservations::role(resource).to_owned();
        }
        let agent = self.agents.get(id).ok_or((400, "No agent found with specified ID".to_owned()))?;
        if !agent.connected {
            return Err((409, format!("{kind}: the agent is disconnected: try again when it is back")));
        }
        // An operator has no principal that could be another's, and may name any role.
        let shares = framework_info::capability::Type::SharedResources as i32;
        let anyone = FrameworkInfo {
            capabilities: vec![framework_info::Capability { r#type: Some(shares) }],
            ..Default::default()
        };
        let roles = [role.clone()].into();
        validation::operation(&operation, &anyone, &roles, agent, &role)
            .map_err(|why| (400, format!("Invalid {kind} operation on agent {id}: {why}")))?;
        let conversion = Conversion::of(&operation)
            .map_err(|why| (400, format!("Invalid {kind} operation on agent {id}: {why}")))?;
        let free = self.withdraw(id, &conversion.from).map_err(|why| (409, format!("{kind}: {why}")))?;
        let mut purse =
            Purse { agent: id.to_owned(), role, offered: free.clone(), left: free, resized: Pool::default() };
        // Nobody holds it; for as long as the operation is applied somebody has to.
        self.allocator.hold("", &purse.role, id, &conversion.from);
        let done = self.apply(None, &mut purse, &operation);
        let held = if done.is_ok() { &conversion.to } else { &conversion.from };
        self.allocator.recover("", &purse.role, id, held);
        self.dirty.insert(id.to_owned());
        done.map_err(|why| (409, format!("{kind}: {why}")))
    }

    /// Withdraws offers until the agent has `wanted` free; gives all that is free then. None is withdrawn in vain.
    fn withdraw(&mut self, id: &str, wanted: &Pool) -> Result<Pool, String> {
        let free = |core: &Self| {
            let mut free = core.agents.get(id).map(|agent| agent.total.clone()).unwrap_or_default();
            core.allocator.used(id).into_iter().for_each(|used| free.subtract(used));
            free
        };
        let offers = self.agents.get(id).map(|agent| agent.offers.clone()).unwrap_or_default();
        let mut within_reach = free(self);
        offers.iter().filter_map(|offer| self.offers.get(offer)).for_each(|o| within_reach.add(&o.resources));
        if !within_reach.contains(wanted) {
            return Err(format!("the agent has no {wanted} that no task uses; it has {within_reach}"));
        }
        for offer in offers {
            let mut missing = wanted.clone();
            missing.subtract(&free(self));
            let mut after = missing.clone();
            self.offers.get(&offer).into_iter().for_each(|offer| after.subtract(&offer.resources));
            if after != missing {
                self.rescind(&offer, true);
            }
        }
        Ok(free(self))
    }
}
