//! What the operator and the peers say about allocation.

use mesos_proto::resources::Scalars;
use std::collections::BTreeMap;

/// Weights, priorities and thresholds.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Weight by role; 1 if absent or not above 0.
    pub weights: BTreeMap<String, f64>,
    /// Priority by role; that of the role above it if absent, 0 at the top.
    pub priorities: BTreeMap<String, i64>,
    /// An agent's free part is offered if it has all of any of these (`--min_allocatable_resources`); always if
    /// there is none.
    pub min_allocatable: Vec<Scalars>,
}

impl Default for Rules {
    fn default() -> Self {
        let alternatives = [("cpus", 0.01), ("mem", 32.0)];
        Self {
            weights: BTreeMap::new(),
            priorities: BTreeMap::new(),
            min_allocatable: alternatives.map(|amount| Scalars::from_amounts([amount])).to_vec(),
        }
    }
}

/// What an agent's or framework's capabilities mean for allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Capability MULTI_ROLE.
    pub multi_role: bool,
    /// Capability HIERARCHICAL_ROLE of an agent: without it, it is not offered to roles with a `/`.
    pub hierarchical_role: bool,
    /// Capability RESERVATION_REFINEMENT of a framework: without it, it is not offered what is reserved within a
    /// reservation.
    pub refinement: bool,
    /// An agent has gpus; a framework can use them (GPU_RESOURCES).
    pub gpus: bool,
}

/// Why a weight or priority cannot be set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// Not a number above 0.
    #[error("weight {0} of role '{1}': give a number above 0")]
    Weight(f64, String),
    /// [`crate::limits::MAX_WEIGHTS`] roles have one.
    #[error("{0} roles have a weight or priority already, which is the limit: change one of those")]
    TooMany(usize),
}
