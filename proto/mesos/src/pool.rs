//! A pool of resources: scalars in thousandths, ranges, and sets, each by name and the form it has: what it is
//! reserved for and by whom, what kind of disk it is. Sums and differences are exact. Nothing here knows agents or
//! offers.

use crate::mesos::{Resource, value};
use crate::reservations::{self, is_dynamic, is_volume};
use crate::resources::{Scalars, milli, scalar, validate};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Resources in one list, and ranges or items in one resource.
pub const MAX_RESOURCES: usize = 1024;
/// The role of what is reserved for nobody.
pub const UNRESERVED: &str = "*";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    /// The role it is reserved for.
    reserved: String,
    /// All that tells it from others of its name but its value and its allocation: an encoded `Resource` in the
    /// newer format; empty for most.
    form: Vec<u8>,
}

impl Key {
    fn of(resource: &Resource) -> Self {
        let mut form = Resource {
            name: String::new(),
            r#type: 0,
            scalar: None,
            ranges: None,
            set: None,
            allocation_info: None,
            ..resource.clone()
        };
        reservations::upgrade(&mut form);
        // The required fields are encoded even if empty.
        let plain = form == Resource::default();
        let form = if plain { Vec::new() } else { form.encode_to_vec() };
        Self { name: resource.name.clone(), reserved: reservations::role(resource).to_owned(), form }
    }

    /// A resource of this form without a value.
    fn resource(&self) -> Resource {
        // What was encoded here decodes.
        let form = Resource::decode(self.form.as_slice()).unwrap_or_default();
        Resource { name: self.name.clone(), ..form }
    }
}

/// Resources that can be added, taken away and compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    scalars: BTreeMap<Key, i64>,
    /// Sorted, disjoint, not adjacent; both ends inclusive.
    ranges: BTreeMap<Key, Vec<(u64, u64)>>,
    sets: BTreeMap<Key, BTreeSet<String>>,
}

/// True if a role may use what is reserved for `reserved`: everybody if that is nobody, else the role itself and the
/// roles below it (src/common/resources.cpp, `isAllocatableTo`).
pub fn may_use(role: &str, reserved: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    reserved == UNRESERVED || role.strip_prefix(reserved).is_some_and(below)
}

impl Pool {
    /// Reads a list of resources. The error says which one is wrong and why.
    pub fn of(resources: &[Resource]) -> Result<Self, String> {
        if resources.len() > MAX_RESOURCES {
            return Err(format!("more than {MAX_RESOURCES} resources"));
        }
        validate(resources)?;
        let mut pool = Self::default();
        for resource in resources {
            let key = Key::of(resource);
            if let Some(scalar) = resource.scalar {
                let sum = pool.scalars.entry(key).or_default();
                *sum = sum.saturating_add(milli(scalar.value));
            } else if let Some(ranges) = &resource.ranges {
                if ranges.range.len() > MAX_RESOURCES {
                    return Err(format!("{}: more than {MAX_RESOURCES} ranges", resource.name));
                }
                if let Some(range) = ranges.range.iter().find(|range| range.begin > range.end) {
                    return Err(format!("{}: {}-{} is no range", resource.name, range.begin, range.end));
                }
                let ranges: Vec<_> = ranges.range.iter().map(|range| (range.begin, range.end)).collect();
                let known = pool.ranges.entry(key).or_default();
                let before: u128 = known.iter().chain(&ranges).map(|(a, b)| u128::from(b - a) + 1).sum();
                *known = union(known, &ranges);
                let after: u128 = known.iter().map(|(a, b)| u128::from(b - a) + 1).sum();
                if before != after {
                    return Err(format!("{}: overlapping ranges", resource.name));
                }
            } else if let Some(set) = &resource.set {
                if set.item.len() > MAX_RESOURCES {
                    return Err(format!("{}: more than {MAX_RESOURCES} items", resource.name));
                }
                let known = pool.sets.entry(key).or_default();
                for item in &set.item {
                    if !known.insert(item.clone()) {
                        return Err(format!("{}: {item} is there twice", resource.name));
                    }
                }
            }
        }
        pool.tidy();
        Ok(pool)
    }

    /// True if there is nothing.
    pub fn is_empty(&self) -> bool {
        self.scalars.is_empty() && self.ranges.is_empty() && self.sets.is_empty()
    }

    /// True if all of `other` is here. A persistent volume is here as a whole or not at all.
    pub fn contains(&self, other: &Self) -> bool {
        let enough = |key: &Key, have: i64, wanted: i64| {
            have == wanted || have > wanted && (key.form.is_empty() || !is_volume(&key.resource()))
        };
        other
            .scalars
            .iter()
            .all(|(key, amount)| enough(key, self.scalars.get(key).copied().unwrap_or(0), *amount))
            && other.ranges.iter().all(|(key, wanted)| {
                let have = self.ranges.get(key).map_or(&[][..], Vec::as_slice);
                wanted.iter().all(|(a, b)| have.iter().any(|(from, to)| from <= a && b <= to))
            })
            && other
                .sets
                .iter()
                .all(|(key, wanted)| self.sets.get(key).is_some_and(|have| wanted.is_subset(have)))
    }

    /// True if a range or an item is in both: added up, it would be there once.
    pub fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: &[(u64, u64)], b: &[(u64, u64)]| {
            a.iter().any(|(from, to)| b.iter().any(|(begin, end)| from <= end && begin <= to))
        };
        self.ranges.iter().any(|(key, ranges)| other.ranges.get(key).is_some_and(|more| meet(ranges, more)))
            || self
                .sets
                .iter()
                .any(|(key, set)| other.sets.get(key).is_some_and(|more| !set.is_disjoint(more)))
    }

    /// Adds. A range or item that is there already stays there once.
    pub fn add(&mut self, other: &Self) {
        for (key, amount) in &other.scalars {
            // Most keys are there already: no new strings for those.
            match self.scalars.get_mut(key) {
                Some(sum) => *sum = sum.saturating_add(*amount),
                None => drop(self.scalars.insert(key.clone(), *amount)),
            }
        }
        for (key, more) in &other.ranges {
            let known = self.ranges.entry(key.clone()).or_default();
            *known = union(known, more);
        }
        for (key, more) in &other.sets {
            self.sets.entry(key.clone()).or_default().extend(more.iter().cloned());
        }
    }

    /// Takes away what is there of `other`.
    pub fn subtract(&mut self, other: &Self) {
        for (key, amount) in &other.scalars {
            if let Some(left) = self.scalars.get_mut(key) {
                *left = (*left - amount).max(0);
            }
        }
        for (key, less) in &other.ranges {
            if let Some(left) = self.ranges.get_mut(key) {
                *left = difference(left, less);
            }
        }
        for (key, less) in &other.sets {
            if let Some(left) = self.sets.get_mut(key) {
                left.retain(|item| !less.contains(item));
            }
        }
        self.tidy();
    }

    /// What a role may use: the unreserved part, its own reservations and those of the roles above it.
    pub fn usable_by(&self, role: &str) -> Self {
        self.only(|key| may_use(role, &key.reserved))
    }

    /// What is reserved for this role alone; with [`UNRESERVED`], for nobody.
    pub fn reserved_for(&self, role: &str) -> Self {
        self.only(|key| key.reserved == role)
    }

    /// What the older format can say: without reservations within reservations.
    pub fn unrefined(&self) -> Self {
        self.only(|key| key.form.is_empty() || key.resource().reservations.len() < 2)
    }

    /// What an agent keeps on disk of this: what is reserved at run time, and persistent volumes.
    pub fn checkpointed(&self) -> Self {
        self.only(|key| {
            !key.form.is_empty() && {
                let resource = key.resource();
                is_dynamic(&resource) || is_volume(&resource)
            }
        })
    }

    fn only(&self, wanted: impl Fn(&Key) -> bool) -> Self {
        let mut pool = self.clone();
        pool.scalars.retain(|key, _| wanted(key));
        pool.ranges.retain(|key, _| wanted(key));
        pool.sets.retain(|key, _| wanted(key));
        pool
    }

    /// Turns `from` into `to`. The error says what is missing; then nothing has changed.
    pub fn convert(&mut self, from: &Self, to: &Self) -> Result<(), String> {
        if !self.contains(from) {
            return Err(format!("{self} does not contain {from}"));
        }
        self.subtract(from);
        self.add(to);
        Ok(())
    }

    /// The scalars, reserved or not, by name: what shares are computed from.
    pub fn quantities(&self) -> Scalars {
        Scalars::from_amounts(
            self.scalars.iter().map(|(key, amount)| (key.name.as_str(), *amount as f64 / 1000.0)),
        )
    }

    /// As a list of resources, allocated to `role` if there is one; in the newer format if `refined`.
    pub fn to_resources(&self, role: Option<&str>, refined: bool) -> Vec<Resource> {
        let finish = |key: &Key, value: Resource| {
            let form = key.resource();
            let mut resource = Resource {
                r#type: value.r#type,
                scalar: value.scalar,
                ranges: value.ranges,
                set: value.set,
                ..form
            };
            reservations::allocate(&mut resource, role);
            if !refined {
                reservations::downgrade(&mut resource);
            }
            resource
        };
        let scalars = self.scalars.iter().map(|(key, v)| finish(key, scalar("", *v as f64 / 1000.0)));
        let ranges = self.ranges.iter().map(|(key, v)| {
            let range = v.iter().map(|&(begin, end)| value::Range { begin, end }).collect();
            let ranges = Some(value::Ranges { range });
            finish(key, Resource { r#type: value::Type::Ranges as i32, ranges, ..Default::default() })
        });
        let sets = self.sets.iter().map(|(key, v)| {
            let set = Some(value::Set { item: v.iter().cloned().collect() });
            finish(key, Resource { r#type: value::Type::Set as i32, set, ..Default::default() })
        });
        scalars.chain(ranges).chain(sets).collect()
    }

    /// Names and values as `/state` shows them: numbers, `[1-5, 7-7]`, `{a, b}`. Without `reserved`, everything;
    /// with it, only what is reserved for that role.
    pub fn to_json(&self, reserved: Option<&str>) -> serde_json::Map<String, serde_json::Value> {
        // A consumer of /state expects these four to be there always.
        let mut json = serde_json::Map::new();
        for name in ["cpus", "mem", "disk", "gpus"] {
            json.insert(name.into(), 0.0.into());
        }
        let shown = |key: &&Key| reserved.is_none_or(|role| role == key.reserved);
        for key in self.scalars.keys().filter(shown) {
            let same = |(other, _): &(&Key, &i64)| other.name == key.name && shown(other);
            let sum: i64 = self.scalars.iter().filter(same).map(|(_, amount)| amount).sum();
            json.insert(key.name.clone(), (sum as f64 / 1000.0).into());
        }
        let mut ranges = BTreeMap::<&String, Vec<(u64, u64)>>::new();
        for (key, more) in self.ranges.iter().filter(|(key, _)| shown(key)) {
            let known = ranges.entry(&key.name).or_default();
            *known = union(known, more);
        }
        let mut sets = BTreeMap::<&String, BTreeSet<String>>::new();
        for (key, more) in self.sets.iter().filter(|(key, _)| shown(key)) {
            sets.entry(&key.name).or_default().extend(more.iter().cloned());
        }
        json.extend(ranges.into_iter().map(|(name, ranges)| (name.clone(), ranges_text(&ranges).into())));
        json.extend(sets.into_iter().map(|(name, set)| (name.clone(), set_text(&set).into())));
        json
    }

    /// The roles something is reserved for.
    pub fn reserved_roles(&self) -> BTreeSet<String> {
        let keys = self.scalars.keys().chain(self.ranges.keys()).chain(self.sets.keys());
        keys.filter(|key| key.reserved != UNRESERVED).map(|key| key.reserved.clone()).collect()
    }

    fn tidy(&mut self) {
        self.scalars.retain(|_, amount| *amount > 0);
        self.ranges.retain(|_, ranges| !ranges.is_empty());
        self.sets.retain(|_, set| !set.is_empty());
    }
}

fn ranges_text(ranges: &[(u64, u64)]) -> String {
    let parts: Vec<_> = ranges.iter().map(|(begin, end)| format!("{begin}-{end}")).collect();
    format!("[{}]", parts.join(", "))
}

fn set_text(set: &BTreeSet<String>) -> String {
    format!("{{{}}}", set.iter().cloned().collect::<Vec<_>>().join(", "))
}

impl fmt::Display for Pool {
    /// Much like Mesos' text form: `cpus:0.5; ports:[1-5]`, behind the name a reservation as in `cpus(role)` and a
    /// volume as in `disk(role)[id]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |key: &Key| {
            let volume = (!key.form.is_empty()).then(|| key.resource().disk).flatten();
            let volume = volume.and_then(|disk| disk.persistence).map(|volume| format!("[{}]", volume.id));
            match key.reserved.as_str() {
                UNRESERVED => key.name.clone(),
                role => format!("{}({role}){}", key.name, volume.unwrap_or_default()),
            }
        };
        let mut parts = Vec::new();
        parts.extend(self.scalars.iter().map(|(key, v)| format!("{}:{}", name(key), *v as f64 / 1000.0)));
        parts.extend(self.ranges.iter().map(|(key, v)| format!("{}:{}", name(key), ranges_text(v))));
        parts.extend(self.sets.iter().map(|(key, v)| format!("{}:{}", name(key), set_text(v))));
        f.write_str(&parts.join("; "))
    }
}

fn union(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: Vec<_> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
    for (begin, end) in all {
        match merged.last_mut() {
            Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => merged.push((begin, end)),
        }
    }
    merged
}

fn difference(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = a.to_vec();
    for &(from, to) in b {
        let mut next = Vec::with_capacity(left.len() + 1);
        for (begin, end) in left {
            if to < begin || end < from {
                next.push((begin, end));
                continue;
            }
            // `from > begin` and `to < end` keep the ends from wrapping.
            if from > begin {
                next.push((begin, from - 1));
            }
            if to < end {
                next.push((to + 1, end));
            }
        }
        left = next;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesos::resource;
    use proptest::prelude::*;

    fn ports(ranges: &[(u64, u64)]) -> Resource {
        let range = ranges.iter().map(|&(begin, end)| value::Range { begin, end }).collect();
        Resource {
            name: "ports".into(),
            r#type: value::Type::Ranges as i32,
            ranges: Some(value::Ranges { range }),
            ..Default::default()
        }
    }

    #[test]
    fn ranges_split_and_join() {
        let mut pool = Pool::of(&[ports(&[(1, 10)])]).unwrap();
        let part = Pool::of(&[ports(&[(4, 5)])]).unwrap();
        pool.subtract(&part);
        assert_eq!(pool.to_string(), "ports:[1-3, 6-10]");
        assert!(!pool.overlaps(&part) && part.overlaps(&part));
        assert!(!pool.contains(&part));
        pool.add(&part);
        assert_eq!(pool.to_string(), "ports:[1-10]");
    }

    #[test]
    fn what_overlaps_or_runs_backwards_is_refused() {
        assert!(Pool::of(&[ports(&[(1, 5), (5, 9)])]).unwrap_err().contains("overlapping"));
        assert!(Pool::of(&[ports(&[(5, 1)])]).unwrap_err().contains("no range"));
        assert!(Pool::of(&[ports(&[(0, u64::MAX)])]).is_ok());
    }

    #[test]
    fn a_reservation_is_for_its_role_only() {
        let mine = Resource { role: Some("ops".into()), ..scalar("cpus", 1.0) };
        let pool = Pool::of(&[mine, scalar("cpus", 2.0)]).unwrap();
        assert_eq!(pool.usable_by("dev").to_string(), "cpus:2");
        assert_eq!(pool.usable_by("ops").to_string(), "cpus:2; cpus(ops):1");
        assert_eq!(pool.quantities().milli("cpus"), 3000);
        assert_eq!(Pool::of(&pool.to_resources(Some("ops"), true)).unwrap(), pool);
        assert_eq!(Pool::of(&pool.to_resources(None, false)).unwrap(), pool);
        assert_eq!(pool.usable_by("ops/night").to_string(), "cpus:2; cpus(ops):1");
        assert_eq!(pool.usable_by("opsy").to_string(), "cpus:2");
    }

    fn reserved(amount: f64, roles: &[&str], principal: &str) -> Resource {
        let reservation = |role: &&str| resource::ReservationInfo {
            role: Some((*role).into()),
            r#type: Some(resource::reservation_info::Type::Dynamic as i32),
            principal: Some(principal.into()),
            ..Default::default()
        };
        Resource { reservations: roles.iter().map(reservation).collect(), ..scalar("cpus", amount) }
    }

    #[test]
    fn reservations_of_different_principals_are_not_the_same() {
        let mine = Pool::of(&[reserved(1.0, &["ops"], "me")]).unwrap();
        let yours = Pool::of(&[reserved(1.0, &["ops"], "you")]).unwrap();
        assert!(!mine.contains(&yours));
        let mut all = mine.clone();
        all.add(&yours);
        let refined = Pool::of(&[reserved(1.0, &["ops", "ops/night"], "me")]).unwrap();
        all.convert(&mine, &refined).unwrap();
        assert_eq!(all.unrefined(), yours);
        assert_eq!(all.checkpointed(), all);
        assert!(all.convert(&mine, &refined).unwrap_err().contains("does not contain"));
        assert_eq!(Pool::of(&all.to_resources(None, true)).unwrap(), all);
        assert_eq!(all.reserved_roles(), BTreeSet::from(["ops".into(), "ops/night".into()]));
    }

    #[test]
    fn a_volume_is_used_as_a_whole() {
        use crate::mesos::resource::{DiskInfo, disk_info::Persistence};
        let volume = |amount| {
            let persistence = Some(Persistence { id: "v".into(), ..Default::default() });
            let disk = Some(DiskInfo { persistence, ..Default::default() });
            Pool::of(&[Resource { disk, name: "disk".into(), ..reserved(amount, &["ops"], "me") }]).unwrap()
        };
        assert!(volume(4.0).contains(&volume(4.0)));
        assert!(!volume(4.0).contains(&volume(3.0)));
        assert!(volume(4.0).contains(&Pool::default()));
    }

    fn any_pool() -> impl Strategy<Value = Pool> {
        (0i64..9, 0i64..9, proptest::collection::vec((0u64..40, 0u64..6), 0..4)).prop_map(|(c, m, spans)| {
            let spans: Vec<_> = spans.into_iter().map(|(begin, n)| (begin, begin + n)).collect();
            Pool::of(&[scalar("cpus", c as f64 / 10.0), scalar("mem", m as f64), ports(&union(&[], &spans))])
                .unwrap()
        })
    }

    proptest! {
        #[test]
        fn taking_away_a_part_and_adding_it_again_changes_nothing(a in any_pool(), b in any_pool()) {
            if a.contains(&b) {
                let mut left = a.clone();
                left.subtract(&b);
                prop_assert!(a.contains(&left));
                left.add(&b);
                prop_assert_eq!(left, a);
            }
        }

        #[test]
        fn what_is_taken_away_is_gone(a in any_pool(), b in any_pool()) {
            let mut left = a.clone();
            left.subtract(&b);
            // A scalar may be there several times over; a range is there or not.
            let nothing_of_b = left.ranges.values().flatten().all(|l| {
                b.ranges.values().flatten().all(|r| l.1 < r.0 || r.1 < l.0)
            });
            prop_assert!(nothing_of_b);
            left.subtract(&a);
            prop_assert!(left.is_empty());
        }
    }
}
