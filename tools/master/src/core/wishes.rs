//! What frameworks want of offers: roles suppressed and revived, constraints on agents, the least that is worth an offer
//! (src/master/master.cpp `suppress`, `revive`, `createAllocatorFrameworkOptions`).

use super::{MasterCore, validation};
use crate::allocator::Abilities;
use crate::allocator::constraints::{self, Groups};
use mesos_proto::mesos::{FrameworkInfo, framework_info};
use mesos_proto::resources::Scalars;
use mesos_proto::v1::scheduler::OfferConstraints;
use std::collections::{BTreeMap, BTreeSet};

/// What a framework wants of offers.
#[derive(Default)]
pub(super) struct Wishes {
    suppressed: BTreeSet<String>,
    constraints: BTreeMap<String, Groups>,
}

impl Wishes {
    /// The error says what is not valid, or for which role that the framework does not have.
    pub fn read(
        info: &FrameworkInfo,
        suppressed: Vec<String>,
        constraints: Option<&OfferConstraints>,
    ) -> Result<Self, String> {
        let roles = validation::roles_of(info);
        validation::suppressed(&roles, &suppressed)?;
        let constraints = constraints.map(constraints::read).transpose()?.unwrap_or_default();
        match constraints.keys().find(|role| !roles.contains(*role)) {
            Some(role) => Err(format!(
                "Offer constraints specify `role_constraints` for a role '{role}' not contained in the set of roles"
            )),
            None => Ok(Self { suppressed: suppressed.into_iter().collect(), constraints }),
        }
    }
}

impl MasterCore {
    pub(super) fn tell_allocator(&mut self, id: &str, wishes: Wishes) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let abilities = Abilities {
            multi_role: framework.has(framework_info::capability::Type::MultiRole),
            refinement: framework.has(framework_info::capability::Type::ReservationRefinement),
            gpus: framework.has(framework_info::capability::Type::GpuResources),
            ..Abilities::default()
        };
        let mut least = BTreeMap::new();
        for (role, filters) in &framework.info.offer_filters {
            let Some(alternatives) = &filters.min_allocatable_resources else { continue };
            let alternatives: Vec<_> = alternatives
                .quantities
                .iter()
                .map(|all| {
                    Scalars::from_amounts(all.quantities.iter().map(|(name, v)| (name.as_str(), v.value)))
                })
                .collect();
            least.insert(role.clone(), alternatives);
        }
        let suppressed = wishes.suppressed;
        self.allocator.add_framework(id, framework.roles.clone(), suppressed, abilities, least);
        self.allocator.constrain(id, wishes.constraints);
    }

    pub(super) fn revive(&mut self, id: &str, roles: &[String]) {
        if self.own_roles(id, roles) {
            self.allocator.revive(id, roles);
            self.dirty.extend(self.agents.keys().cloned());
        }
    }

    pub(super) fn suppress(&mut self, id: &str, roles: &[String]) {
        if self.own_roles(id, roles) {
            self.allocator.suppress(id, roles);
        }
    }

    /// True if all of these are roles of the framework; else the call is dropped, as Mesos drops it.
    fn own_roles(&mut self, id: &str, roles: &[String]) -> bool {
        let known = self.frameworks.get(id).map(|framework| &framework.roles);
        let alien = roles.iter().find(|role| !known.is_some_and(|known| known.contains(*role)));
        if let Some(role) = alien {
            let why = validation::valid_role(role).err().unwrap_or("not one of the framework's roles".into());
            tracing::warn!(framework = id, role, why, "call for a role dropped");
            self.count("scheduler_calls_dropped");
        }
        alien.is_none()
    }
}
