//! Who gets the next resources: allocation policies as pure orders over claims.
//! A policy sees shares, weights and priorities; it never sees agents, offers or time.

use mesos_proto::resources::Scalars;
use std::cmp::Ordering;

/// What a policy knows of a role, or of a framework within a role.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The role's name or the framework's id: breaks the last tie.
    pub name: &'a str,
    /// What it holds, offered or used.
    pub allocated: &'a Scalars,
    /// Its weight; 1 unless configured.
    pub weight: f64,
    /// Its priority; 0 unless configured, higher goes first.
    pub priority: i64,
    /// How often it was given something.
    pub allocations: u64,
}

/// An order of claims: `Less` is served first. It must be total and must not change while claims do not.
pub trait Policy: Send + Sync {
    /// The name for configuration and `/state`.
    fn name(&self) -> &'static str;
    /// Compares two claims on a cluster that has `total`.
    fn compare(&self, a: &Claim<'_>, b: &Claim<'_>, total: &Scalars) -> Ordering;
}

/// The dominant share over the weight (Ghodsi et al., NSDI 2011; src/master/allocator/mesos/sorter/drf).
pub fn share(claim: &Claim<'_>, total: &Scalars) -> f64 {
    let of = |(name, amount): (&str, i64)| match total.milli(name) {
        0 => 0.0,
        all => amount as f64 / all as f64,
    };
    let dominant = claim.allocated.iter().map(of).fold(0.0, f64::max);
    dominant / if claim.weight > 0.0 { claim.weight } else { 1.0 }
}

/// Dominant resource fairness with weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drf;

impl Policy for Drf {
    fn name(&self) -> &'static str {
        "drf"
    }

    fn compare(&self, a: &Claim<'_>, b: &Claim<'_>, total: &Scalars) -> Ordering {
        share(a, total)
            .total_cmp(&share(b, total))
            .then_with(|| a.allocations.cmp(&b.allocations))
            .then_with(|| a.name.cmp(b.name))
    }
}

/// The highest priority first whatever it holds already; dominant resource fairness among equals.
#[derive(Clone, Copy, Debug, Default)]
pub struct StrictPriority;

impl Policy for StrictPriority {
    fn name(&self) -> &'static str {
        "priority"
    }

    fn compare(&self, a: &Claim<'_>, b: &Claim<'_>, total: &Scalars) -> Ordering {
        b.priority.cmp(&a.priority).then_with(|| Drf.compare(a, b, total))
    }
}

/// The policy of a name, or none.
pub fn by_name(name: &str) -> Option<Box<dyn Policy>> {
    match name {
        "drf" => Some(Box::new(Drf)),
        "priority" => Some(Box::new(StrictPriority)),
        _ => None,
    }
}
