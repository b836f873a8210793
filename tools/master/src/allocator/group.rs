//! Siblings, kept in the order of a policy.
//!
//! When one sibling's account changes it alone moves. When the cluster's total changes so does every share; the order is
//! then made anew, but not before somebody asks for it. It must never be asked for by anything but [`Group::in_order`].

use crate::policy::{Claim, Policy};
use mesos_proto::resources::Scalars;
use slab::Slab;

/// What all agents have, and how often that changed.
#[derive(Debug)]
pub(super) struct Total {
    amounts: Scalars,
    version: u64,
}

impl Default for Total {
    fn default() -> Self {
        // A new group, which has ordered nothing, is at version 0.
        Self { amounts: Scalars::default(), version: 1 }
    }
}

impl Total {
    /// Takes the place of an agent's `old` resources by `new` ones.
    pub fn replace(&mut self, old: &Scalars, new: &Scalars) {
        if old != new {
            self.amounts.subtract(old);
            self.amounts.add(new);
            self.version += 1;
        }
    }
}

/// What siblings are compared by.
#[derive(Clone, Copy)]
pub(super) struct Scale<'a> {
    pub policy: &'a dyn Policy,
    pub total: &'a Total,
}

/// What a sibling holds and how often it was given something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub allocated: Scalars,
    pub allocations: u64,
}

impl Account {
    pub fn hold(&mut self, quantities: &Scalars) {
        self.allocated.add(quantities);
        self.allocations += 1;
    }

    pub fn recover(&mut self, quantities: &Scalars) {
        self.allocated.subtract(quantities);
    }
}

/// One sibling.
#[derive(Clone, Debug)]
pub(super) struct Member<T> {
    pub what: T,
    pub account: Account,
    pub weight: f64,
    pub priority: i64,
    name: String,
    active: bool,
    share: f64,
}

impl<T> Member<T> {
    fn claim(&self) -> Claim<'_> {
        Claim {
            name: &self.name,
            share: self.share,
            weight: self.weight,
            priority: self.priority,
            allocations: self.account.allocations,
        }
    }
}

/// Siblings. Those that are not active have an account but no place in the order.
#[derive(Clone, Debug)]
pub(super) struct Group<T> {
    members: Slab<Member<T>>,
    /// The active ones; sorted if `version` is that of the total.
    order: Vec<usize>,
    version: u64,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { members: Slab::new(), order: Vec::new(), version: 0 }
    }
}

impl<T> Group<T> {
    /// Adds an inactive sibling without anything; its slot stays the same until it is removed.
    pub fn add(&mut self, name: String, what: T, weight: f64, priority: i64) -> usize {
        let account = Account::default();
        self.members.insert(Member { what, account, weight, priority, name, active: false, share: 0.0 })
    }

    pub fn remove(&mut self, slot: usize, scale: Scale<'_>) {
        self.set_active(slot, false, scale);
        self.members.remove(slot);
    }

    pub fn get(&self, slot: usize) -> &Member<T> {
        &self.members[slot]
    }

    /// The active siblings in the order of the last [`Group::in_order`].
    pub fn sorted(&self) -> impl Iterator<Item = &Member<T>> {
        self.order.iter().map(|slot| &self.members[*slot])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member<T>> {
        self.members.iter().map(|(_, member)| member)
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn any_active(&self) -> bool {
        !self.order.is_empty()
    }

    /// Gives a sibling a place in the order or takes it away; true if that changed anything.
    pub fn set_active(&mut self, slot: usize, active: bool, scale: Scale<'_>) -> bool {
        if self.members[slot].active == active {
            return false;
        }
        if active {
            self.insert(slot, scale);
        } else if let Some(at) = self.position(slot, scale) {
            self.order.remove(at);
        }
        self.members[slot].active = active;
        true
    }

    /// Changes a sibling and moves it to where it belongs.
    pub fn change(&mut self, slot: usize, scale: Scale<'_>, change: impl FnOnce(&mut Member<T>)) {
        let sorted = self.version == scale.total.version && self.members[slot].active;
        if let Some(at) = sorted.then(|| self.position(slot, scale)).flatten() {
            self.order.remove(at);
            change(&mut self.members[slot]);
            self.insert(slot, scale);
        } else {
            change(&mut self.members[slot]);
        }
    }

    /// The active siblings' slots, who is served first in front.
    pub fn in_order(&mut self, scale: Scale<'_>) -> &[usize] {
        if self.version != scale.total.version {
            self.version = scale.total.version;
            for slot in &self.order {
                let member = &mut self.members[*slot];
                member.share = scale.policy.share(&member.account.allocated, &scale.total.amounts);
            }
            let members = &self.members;
            self.order.sort_by(|a, b| scale.policy.compare(&members[*a].claim(), &members[*b].claim()));
        }
        &self.order
    }

    fn insert(&mut self, slot: usize, scale: Scale<'_>) {
        let member = &mut self.members[slot];
        member.share = scale.policy.share(&member.account.allocated, &scale.total.amounts);
        let claim = self.members[slot].claim();
        // Without meaning while the order is not sorted, and then without harm.
        let before = |other: &usize| scale.policy.compare(&self.members[*other].claim(), &claim).is_lt();
        let at = self.order.partition_point(before);
        self.order.insert(at, slot);
    }

    fn position(&self, slot: usize, scale: Scale<'_>) -> Option<usize> {
        let claim = self.members[slot].claim();
        let order = |other: &usize| scale.policy.compare(&self.members[*other].claim(), &claim);
        match self.order.binary_search_by(order) {
            Ok(at) if self.order[at] == slot => Some(at),
            // Not sorted, or two that the policy calls equal.
            _ => self.order.iter().position(|other| *other == slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Drf, StrictPriority};
    use proptest::prelude::*;

    /// As if everything had been sorted this moment.
    fn sorted_anew(group: &Group<()>, scale: Scale<'_>) -> Vec<usize> {
        let mut fresh = group.clone();
        fresh.version = 0;
        fresh.in_order(scale).to_vec()
    }

    proptest! {
        #[test]
        fn moving_one_is_as_good_as_sorting_all(
            strict in any::<bool>(),
            steps in proptest::collection::vec((0usize..12, 0u8..8, 1u32..4), 1..120),
        ) {
            let policy: &dyn Policy = if strict { &StrictPriority } else { &Drf };
            let mut total = Total::default();
            let amount = |amount: u32| Scalars::from_amounts([("cpus", f64::from(amount))]);
            total.replace(&Scalars::default(), &amount(100));
            let mut group = Group::default();
            let slots: Vec<_> = (0..12).map(|n| group.add(format!("{n}"), (), 1.0, 0)).collect();
            for (slot, what, size) in steps {
                let slot = slots[slot];
                let scale = Scale { policy, total: &total };
                let quantities = amount(size);
                match what {
                    0 => drop(group.set_active(slot, false, scale)),
                    1 => group.change(slot, scale, |member| member.account.recover(&quantities)),
                    2 => group.change(slot, scale, |member| member.weight = f64::from(size)),
                    3 => group.change(slot, scale, |member| member.priority = i64::from(size)),
                    4 if size == 1 => total.replace(&amount(1), &amount(2)),
                    4 | 5 => drop(group.set_active(slot, true, scale)),
                    _ => group.change(slot, scale, |member| member.account.hold(&quantities)),
                }
                // Asked for only now and then, so that changes meet an order that is out of date too.
                if size != 3 {
                    let scale = Scale { policy, total: &total };
                    let anew = sorted_anew(&group, scale);
                    prop_assert_eq!(group.in_order(scale), anew);
                }
            }
        }
    }
}
