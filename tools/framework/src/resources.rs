//! What offers hold and tasks need, to be added, taken away and compared as Mesos does it: scalars in thousandths, ranges
//! and sets, each by name and by what it is reserved for (src/common/resources.cpp). The arithmetic is
//! [`mesos_proto::pool`]'s.

use crate::v1::{Offer, Resource};
use mesos_proto::mesos::resource::ReservationInfo;
use mesos_proto::mesos::resource::reservation_info::Type as Reserved;
use mesos_proto::pool::{Pool, UNRESERVED};
use mesos_proto::{mesos, recast, reservations, text};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Add, AddAssign, RangeInclusive, Sub, SubAssign};
use std::str::FromStr;

/// Resources that can be added, taken away and compared. What role they are allocated to is no part of them: it is the
/// offer's, and stated again where they are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(Pool);

/// Text or a list that is no resources; says which entry is wrong and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("resources: {0}")]
pub struct ResourcesError(String);

impl Resources {
    /// Reads a list, with reservations in either of Mesos' formats.
    pub fn of(list: &[Resource]) -> Result<Self, ResourcesError> {
        let list: Result<Vec<mesos::Resource>, _> = list.iter().map(recast).collect();
        Self::of_v0(&list.map_err(|error| ResourcesError(error.to_string()))?)
    }

    fn of_v0(list: &[mesos::Resource]) -> Result<Self, ResourcesError> {
        Pool::of(list).map(Self).map_err(ResourcesError)
    }

    /// What an offer holds.
    pub fn offered(offer: &Offer) -> Result<Self, ResourcesError> {
        Self::of(&offer.resources)
    }

    fn list_v0(&self) -> Vec<mesos::Resource> {
        self.0.to_resources(None, true)
    }

    /// As a list, for a task; the master allocates it to the role of the offer.
    pub fn to_list(&self) -> Vec<Resource> {
        // Both are the same bytes, so that none is left out.
        self.list_v0().iter().filter_map(|resource| recast(resource).ok()).collect()
    }

    /// As a list that is allocated to a role: for offers of several roles at once.
    pub fn allocated_to(&self, role: &str) -> Vec<Resource> {
        self.0.to_resources(Some(role), true).iter().filter_map(|resource| recast(resource).ok()).collect()
    }

    /// True if there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if all of `other` is here, under the same reservations; a persistent volume as a whole or not at all.
    pub fn contains(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// How much of a scalar there is, reserved or not.
    pub fn amount(&self, name: &str) -> f64 {
        self.0.quantities().get(name)
    }

    /// Cores.
    pub fn cpus(&self) -> f64 {
        self.amount("cpus")
    }

    /// Memory, MB.
    pub fn mem(&self) -> f64 {
        self.amount("mem")
    }

    /// Disk, MB.
    pub fn disk(&self) -> f64 {
        self.amount("disk")
    }

    /// What there is of ranges, reserved or not, such as `ports`.
    pub fn ranges(&self, name: &str) -> Vec<RangeInclusive<u64>> {
        let list = self.list_v0().into_iter().filter(|resource| resource.name == name);
        let ranges = list.filter_map(|resource| resource.ranges).flat_map(|ranges| ranges.range);
        ranges.map(|range| range.begin..=range.end).collect()
    }

    /// What there is of a set, reserved or not.
    pub fn items(&self, name: &str) -> BTreeSet<String> {
        let list = self.list_v0().into_iter().filter(|resource| resource.name == name);
        list.filter_map(|resource| resource.set).flat_map(|set| set.item).collect()
    }

    fn only(&self, wanted: impl Fn(&mesos::Resource) -> bool) -> Self {
        let list: Vec<_> = self.list_v0().into_iter().filter(|resource| wanted(resource)).collect();
        // A part of a pool is a pool.
        Self(Pool::of(&list).unwrap_or_default())
    }

    /// What is reserved for nobody.
    pub fn unreserved(&self) -> Self {
        self.only(|resource| reservations::role(resource) == UNRESERVED)
    }

    /// What is reserved for this very role.
    pub fn reserved_for(&self, role: &str) -> Self {
        self.only(|resource| reservations::role(resource) == role)
    }

    /// What a role may use: the unreserved part, its own reservations and those of the roles above it.
    pub fn usable_by(&self, role: &str) -> Self {
        Self(self.0.usable_by(role))
    }

    /// The same resources with one more reservation, for this role and by this principal: what RESERVE takes.
    pub fn reserved_as(&self, role: &str, principal: Option<&str>) -> Self {
        let reservation = ReservationInfo {
            role: Some(role.to_owned()),
            principal: principal.map(str::to_owned),
            r#type: Some(Reserved::Dynamic as i32),
            ..Default::default()
        };
        let mut list = self.list_v0();
        list.iter_mut().for_each(|resource| resource.reservations.push(reservation.clone()));
        Self(Pool::of(&list).unwrap_or_default())
    }

    /// The same amounts out of what a role may use of this, whatever they are reserved for: its reservations before what
    /// is free for all. None if there is not enough. Disks with a volume or a source of their own, and what is revocable or
    /// shared, are not looked at.
    pub fn find(&self, wanted: &Self, role: &str) -> Option<Self> {
        let plain =
            |held: &mesos::Resource| held.disk.is_none() && held.revocable.is_none() && held.shared.is_none();
        let mut held: Vec<_> = self.usable_by(role).list_v0().into_iter().filter(plain).collect();
        // The innermost role first, then those above it, then nobody's.
        held.sort_by_key(|resource| match reservations::role(resource) {
            UNRESERVED => usize::MAX,
            reserved => usize::MAX - reserved.len(),
        });
        let mut found = Pool::default();
        let mut missing = stripped(&wanted.list_v0())?;
        for held in held {
            let have = stripped(std::slice::from_ref(&held))?;
            let mut left = missing.clone();
            left.subtract(&have);
            let mut taken = missing.clone();
            taken.subtract(&left);
            let form =
                |taken: mesos::Resource| mesos::Resource { reservations: held.reservations.clone(), ..taken };
            let taken: Vec<_> = taken.to_resources(None, true).into_iter().map(form).collect();
            found.add(&Pool::of(&taken).ok()?);
            missing = left;
        }
        missing.is_empty().then_some(Self(found))
    }

    /// Finds and takes away.
    pub fn take(&mut self, wanted: &Self, role: &str) -> Option<Self> {
        let found = self.find(wanted, role)?;
        *self -= &found;
        Some(found)
    }
}

/// Amounts alone, without what they are reserved for.
fn stripped(list: &[mesos::Resource]) -> Option<Pool> {
    let bare = |resource: &mesos::Resource| mesos::Resource {
        name: resource.name.clone(),
        r#type: resource.r#type,
        scalar: resource.scalar,
        ranges: resource.ranges.clone(),
        set: resource.set.clone(),
        ..Default::default()
    };
    let mut sum = Pool::default();
    for resource in list {
        sum.add(&Pool::of(&[bare(resource)]).ok()?);
    }
    Some(sum)
}

impl AddAssign<&Resources> for Resources {
    /// Ranges and items that are there already stay there once.
    fn add_assign(&mut self, other: &Resources) {
        self.0.add(&other.0);
    }
}

impl SubAssign<&Resources> for Resources {
    /// Takes away what is there.
    fn sub_assign(&mut self, other: &Resources) {
        self.0.subtract(&other.0);
    }
}

impl Add<&Resources> for Resources {
    type Output = Resources;

    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

impl Sub<&Resources> for Resources {
    type Output = Resources;

    fn sub(mut self, other: &Resources) -> Resources {
        self -= other;
        self
    }
}

impl FromStr for Resources {
    type Err = ResourcesError;

    /// `cpus:0.5;mem(ops):32;ports:[1-5,8-8];pins:{a,b}`
    fn from_str(text: &str) -> Result<Self, ResourcesError> {
        Self::of_v0(&text::resources(text).map_err(ResourcesError)?)
    }
}

impl fmt::Display for Resources {
    /// As it is parsed; what that cannot say, such as who reserved something, as Mesos logs it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<_> = self.list_v0().iter().map(text::write).collect();
        f.write_str(&entries.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Resources {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_counted() {
        let all = read("cpus:0.5; mem:32;ports:[1-5,8-9];pins(ops):{a,b};cpus(ops):0.25;zero:0");
        assert_eq!((all.cpus(), all.mem(), all.disk()), (0.75, 32.0, 0.0));
        assert_eq!(all.ranges("ports"), [1..=5, 8..=9]);
        assert_eq!(all.items("pins").len(), 2);
        assert_eq!(all.unreserved(), read("cpus:0.5;mem:32;ports:[1-5,8-9]"));
        assert_eq!(all.reserved_for("ops"), read("cpus(ops):0.25;pins(ops):{a,b}"));
        assert_eq!(all.usable_by("dev"), all.unreserved());
        assert_eq!(all.to_string().parse(), Ok(all.clone()));
        assert_eq!(Resources::of(&all.to_list()), Ok(all.clone()));
        let allocated = all.allocated_to("ops");
        assert!(allocated.iter().all(|held| held.allocation_info.as_ref().unwrap().role() == "ops"));
        assert_eq!(Resources::of(&allocated), Ok(all));
        assert!("cpus:x".parse::<Resources>().unwrap_err().to_string().contains("'cpus:x'"));
    }

    #[test]
    fn a_thousand_thousandths_are_one() {
        let mut sum = Resources::default();
        (0..1000).for_each(|_| sum += &read("cpus:0.001"));
        assert_eq!(sum, read("cpus:1"));
        assert_eq!(sum.clone() - &read("cpus:0.7;mem:1"), read("cpus:0.3"));
        assert!(!sum.contains(&read("cpus:1.001")));
    }

    #[test]
    fn amounts_are_found_among_reservations_before_what_is_free_for_all() {
        let mut held = read("cpus:1;cpus(a):0.5;cpus(a/b):0.25;cpus(c):8;ports:[1-4];ports(a):[6-9]");
        assert_eq!(held.find(&read("cpus:0.6"), "a/b"), Some(read("cpus(a/b):0.25;cpus(a):0.35")));
        assert_eq!(held.find(&read("ports:[3-7]"), "a"), None, "5 is nobody's");
        assert_eq!(held.find(&read("ports:[3-4,6-7]"), "a"), Some(read("ports:[3-4];ports(a):[6-7]")));
        assert_eq!(held.find(&read("cpus:2"), "a/b"), None);
        let taken = held.take(&read("cpus:1.75"), "a/b").unwrap();
        assert_eq!(taken, read("cpus(a/b):0.25;cpus(a):0.5;cpus:1"));
        assert_eq!(held.cpus(), 8.0);
    }

    #[test]
    fn a_reservation_keeps_who_made_it_and_text_does_not_hide_that() {
        let reserved = read("cpus:1").reserved_as("ops", Some("me"));
        assert_eq!(reserved.to_string(), "cpus(reservations: [(DYNAMIC,ops,me)]):1");
        assert!(!reserved.contains(&read("cpus(ops):1")) && !reserved.contains(&read("cpus:1")));
        assert!(reserved.to_string().parse::<Resources>().is_err());
        assert_eq!(reserved.find(&read("cpus:1"), "ops"), Some(reserved.clone()));
        assert_eq!(Resources::of(&reserved.to_list()), Ok(reserved));
    }

    /// Names of their own for each kind, as Mesos has them, under several roles.
    fn any_resources() -> impl Strategy<Value = Resources> {
        let role = || prop::sample::select(vec!["", "(ops)", "(ops/night)"]);
        let scalar = (prop::sample::select(vec!["cpus", "mem"]), role(), 0i64..1_000_000_000)
            .prop_map(|(name, role, milli)| format!("{name}{role}:{}", milli as f64 / 1000.0));
        let range = (role(), 0u64..60, 0u64..9)
            .prop_map(|(role, begin, more)| format!("ports{role}:[{begin}-{}]", begin + more));
        let set = (role(), prop::collection::btree_set("[a-d]", 0..4)).prop_map(|(role, items)| {
            format!("pins{role}:{{{}}}", items.into_iter().collect::<Vec<_>>().join(","))
        });
        let entry = prop_oneof![scalar, range, set];
        prop::collection::vec(entry, 0..8).prop_map(|entries| {
            let mut sum = Resources::default();
            entries.iter().for_each(|entry| sum += &entry.parse().unwrap());
            sum
        })
    }

    /// Of ranges and items there is one each: what both have is there once in their sum.
    fn scalars(resources: &Resources) -> Resources {
        resources.only(|resource| resource.scalar.is_some())
    }

    proptest! {
        #[test]
        fn adding_and_taking_away_changes_nothing(a in any_resources(), b in any_resources()) {
            let sum = a.clone() + &b;
            prop_assert_eq!(scalars(&(sum.clone() - &b)), scalars(&a));
            prop_assert_eq!(sum.clone(), b.clone() + &a);
            prop_assert!(sum.contains(&a) && sum.contains(&b));
            // What is not there twice comes back whole.
            let own = a.clone() - &b;
            let b_only = b.clone() - &a;
            let (own_sum, b_rest) = (own.clone() + &b_only, b_only);
            prop_assert_eq!(own_sum - &b_rest, own);
        }

        #[test]
        fn containing_is_an_order(a in any_resources(), b in any_resources(), c in any_resources()) {
            prop_assert!(a.contains(&a) && a.contains(&Resources::default()));
            prop_assert!((a.clone() + &c).contains(&a), "more contains all that less does");
            if a.contains(&b) {
                prop_assert!((a.clone() + &c).contains(&b));
                prop_assert_eq!(a.clone() - &b + &b, a.clone());
                prop_assert!(a.find(&b, "ops/night").is_some());
            }
            if a.contains(&b) && b.contains(&a) {
                prop_assert_eq!(a, b);
            }
        }

        #[test]
        fn text_and_lists_say_the_same(a in any_resources()) {
            prop_assert_eq!(a.to_string().parse(), Ok(a.clone()));
            prop_assert_eq!(Resources::of(&a.to_list()), Ok(a));
        }

        #[test]
        fn what_is_found_is_there_and_is_what_was_wanted(a in any_resources(), b in any_resources()) {
            let wanted = b.unreserved();
            if let Some(found) = a.find(&wanted, "ops") {
                prop_assert!(a.contains(&found));
                prop_assert_eq!(stripped(&found.list_v0()), stripped(&wanted.list_v0()));
            } else {
                prop_assert!(!a.unreserved().contains(&wanted));
            }
        }
    }
}
