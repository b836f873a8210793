//! Who gets the next resources: allocation policies as pure orders of siblings.
//!
//! Roles form a tree ("eng/dev" is below "eng"). The allocator goes down it and asks the policy at each level who of
//! the siblings comes first; the frameworks of one role are siblings too. A policy sees what siblings hold, their
//! weights and priorities. It never sees agents, offers, filters or time: the allocator applies those itself.
//!
//! A third policy is a type that implements [`Policy`], and a line in [`by_name`]. Sharing by memory alone, say, is
//! [`Drf`]'s order with another [`Policy::share`]; first come, first served is an order that compares nothing but
//! [`Claim::allocations`] and [`Claim::name`]. Nothing else has to change, as the allocator keeps siblings in the
//! policy's order whatever it is.

use mesos_proto::resources::Scalars;
use std::cmp::Ordering;

/// What a policy knows of one of several siblings.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The last part of the role's path, `.` for the frameworks of the parent itself, or a framework's id. Siblings
    /// differ in it, so it breaks the last tie.
    pub name: &'a str,
    /// What it holds, offered or used, with all that is below it: a part of the cluster as [`Policy::share`] says.
    pub share: f64,
    /// Its weight, above 0; 1 unless configured.
    pub weight: f64,
    /// Its priority or else that of the role above it; 0 unless configured, higher is more important.
    pub priority: i64,
    /// How often it was given something.
    pub allocations: u64,
}

/// An order of siblings.
pub trait Policy: Send + Sync {
    /// The name for configuration and `/state`.
    fn name(&self) -> &'static str;

    /// What it means to hold `allocated` of `total`; larger is more. Must not be NaN.
    fn share(&self, allocated: &Scalars, total: &Scalars) -> f64 {
        dominant_share(allocated, total)
    }

    /// Compares two siblings: `Less` is served first. The order must be total, without equals among siblings, and a
    /// function of its arguments alone.
    fn compare(&self, a: &Claim<'_>, b: &Claim<'_>) -> Ordering;
}

/// The largest part that somebody has of any resource, between 0 and 1 (Ghodsi et al., NSDI 2011, section 4). What the
/// cluster does not have does not count.
pub fn dominant_share(allocated: &Scalars, total: &Scalars) -> f64 {
    let of = |(name, amount): (&str, i64)| match total.milli(name) {
        0 => 0.0,
        all => amount as f64 / all as f64,
    };
    allocated.iter().map(of).fold(0.0, f64::max)
}

/// Dominant resource fairness with weights: the lowest dominant share over the weight first, then who was given
/// something less often, then by name (src/master/allocator/mesos/sorter/drf).
#[derive(Clone, Copy, Debug, Default)]
pub struct Drf;

impl Policy for Drf {
    fn name(&self) -> &'static str {
        "drf"
    }

    fn compare(&self, a: &Claim<'_>, b: &Claim<'_>) -> Ordering {
        (a.share / a.weight)
            .total_cmp(&(b.share / b.weight))
            .then_with(|| a.allocations.cmp(&b.allocations))
            .then_with(|| a.name.cmp(b.name))
    }
}

/// The highest priority first whatever it holds already; dominant resource fairness among equals.
///
/// A priority counts among siblings and is what a role's children start from: a role cannot get before another
/// department by giving its own children a higher one.
#[derive(Clone, Copy, Debug, Default)]
pub struct StrictPriority;

impl Policy for StrictPriority {
    fn name(&self) -> &'static str {
        "priority"
    }

    fn compare(&self, a: &Claim<'_>, b: &Claim<'_>) -> Ordering {
        b.priority.cmp(&a.priority).then_with(|| Drf.compare(a, b))
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
