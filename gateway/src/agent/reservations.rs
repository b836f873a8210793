//! What of an agent's resources is reserved at run time: the list that a real agent checkpoints.
//!
//! Kept as thousandths per kind of resource, where a kind is everything a resource says but its amount and its
//! allocation. A node has no file system for tasks, so there are no persistent volumes in it.

use mesos_proto::mesos::{Resource, value};
use mesos_proto::resources::milli;
use prost::Message;
use std::collections::BTreeMap;

/// Kinds of reservation that one agent may have.
const KINDS_MAX: usize = 64;

/// Amounts reserved, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reserved(BTreeMap<Vec<u8>, i64>);

/// True if the resource is reserved at run time and not by the operator's command line.
fn is_dynamic(resource: &Resource) -> bool {
    !resource.reservations.is_empty() || resource.reservation.is_some()
}

fn kind(resource: &Resource) -> Vec<u8> {
    Resource { scalar: None, allocation_info: None, ..resource.clone() }.encode_to_vec()
}

fn amount(resource: &Resource) -> i64 {
    resource.scalar.map_or(0, |scalar| milli(scalar.value))
}

impl Reserved {
    /// From a list; what is not reserved or has no amount is left out.
    pub fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let mut reserved = Self::default();
        resources.into_iter().for_each(|resource| reserved.add(resource));
        reserved
    }

    fn add(&mut self, resource: &Resource) {
        let amount = amount(resource);
        if is_dynamic(resource) && amount > 0 {
            let sum = self.0.entry(kind(resource)).or_default();
            *sum = sum.saturating_add(amount);
        }
    }

    fn subtract(&mut self, resource: &Resource) {
        let kind = kind(resource);
        if let Some(left) = self.0.get_mut(&kind) {
            *left -= amount(resource);
            if *left <= 0 {
                self.0.remove(&kind);
            }
        }
    }

    /// Turns `from` into `to`, all or nothing: an error if something reserved in `from` is not here.
    pub fn convert(&mut self, from: &[Resource], to: &[Resource]) -> Result<(), String> {
        let mut after = self.clone();
        if let Some(unknown) = from.iter().find(|resource| !self.contains(resource)) {
            return Err(format!("{} {} is not reserved so", unknown.name, amount(unknown) as f64 / 1000.0));
        }
        from.iter().for_each(|resource| after.subtract(resource));
        to.iter().for_each(|resource| after.add(resource));
        if after.0.len() > KINDS_MAX {
            return Err(format!("a node takes {KINDS_MAX} kinds of reservation"));
        }
        *self = after;
        Ok(())
    }

    /// True if that much is reserved so, or it is not of a reserved kind.
    pub fn contains(&self, resource: &Resource) -> bool {
        !is_dynamic(resource) || self.0.get(&kind(resource)).is_some_and(|held| *held >= amount(resource))
    }

    /// As Mesos' resources.
    pub fn to_resources(&self) -> Vec<Resource> {
        let resource = |(kind, amount): (&Vec<u8>, &i64)| {
            let resource = Resource::decode(kind.as_slice()).ok()?;
            Some(Resource { scalar: Some(value::Scalar { value: *amount as f64 / 1000.0 }), ..resource })
        };
        self.0.iter().filter_map(resource).collect()
    }

    /// Lets go of what is more than `total` has: a master aborts on reservations that do not apply. True if
    /// something was let go of.
    pub fn fit(&mut self, total: &[Resource]) -> bool {
        let has = mesos_proto::resources::Scalars::of(total);
        let mut used: BTreeMap<String, i64> = BTreeMap::new();
        let before = self.0.len();
        self.0.retain(|kind, amount| {
            let Ok(resource) = Resource::decode(kind.as_slice()) else { return false };
            let used = used.entry(resource.name.clone()).or_default();
            *used = used.saturating_add(*amount);
            *used <= has.milli(&resource.name)
        });
        before != self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::mesos::resource::{AllocationInfo, ReservationInfo, reservation_info};
    use mesos_proto::reservations::popped;
    use mesos_proto::resources::scalar;
    use proptest::prelude::*;

    fn reserved(name: &str, amount: f64, roles: &[&str]) -> Resource {
        let reservation = |role: &&str| ReservationInfo {
            role: Some(role.to_string()),
            r#type: Some(reservation_info::Type::Dynamic as i32),
            ..Default::default()
        };
        Resource {
            allocation_info: Some(AllocationInfo { role: Some("a".into()) }),
            reservations: roles.iter().map(reservation).collect(),
            ..scalar(name, amount)
        }
    }

    #[test]
    fn a_refinement_consumes_what_it_refines() {
        let mut book = Reserved::default();
        let outer = [reserved("cpus", 0.5, &["a"])];
        book.convert(&popped(&outer), &outer).unwrap();
        let inner = [reserved("cpus", 0.2, &["a", "a/b"])];
        book.convert(&popped(&inner), &inner).unwrap();
        assert!(book.contains(&reserved("cpus", 0.3, &["a"])) && book.contains(&inner[0]));
        assert!(!book.contains(&reserved("cpus", 0.301, &["a"])));
        assert!(book.convert(&[reserved("cpus", 0.4, &["a"])], &[]).is_err());
        book.convert(&inner, &popped(&inner)).unwrap();
        assert!(book.contains(&outer[0]));
        assert!(book.to_resources().iter().all(|resource| resource.allocation_info.is_none()));
        assert!(book.fit(&[scalar("cpus", 0.4)]) && book.to_resources().is_empty());
    }

    proptest! {
        /// Reserving and unreserving in any order that is possible leaves nothing.
        #[test]
        fn what_is_reserved_can_be_unreserved(steps in proptest::collection::vec((0u8..3, 1u32..500), 0..20)) {
            let mut book = Reserved::default();
            let step = |(role, milli): &(u8, u32)| {
                [reserved("mem", f64::from(*milli) / 1000.0, &[["a", "b", "c"][usize::from(*role)]])]
            };
            for one in &steps {
                book.convert(&popped(&step(one)), &step(one)).unwrap();
            }
            for one in steps.iter().rev() {
                book.convert(&step(one), &popped(&step(one))).unwrap();
            }
            prop_assert_eq!(book, Reserved::default());
        }
    }
}
