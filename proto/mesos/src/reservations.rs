//! Reservations in Mesos' two formats: a role and at most one reservation beside the resource ("pre-refinement"), or
//! a stack of them in it, the innermost last ("post-refinement"). What comes from agents and frameworks is upgraded,
//! what goes to those that know the older one alone is downgraded (src/common/resources_utils.cpp).

use crate::mesos::resource::ReservationInfo;
use crate::mesos::resource::reservation_info::Type;
use crate::mesos::{Resource, resource};
use crate::pool::UNRESERVED;

/// Puts a resource into the newer format.
pub fn upgrade(resource: &mut Resource) {
    let role = resource.role.take().filter(|role| !role.is_empty() && role != UNRESERVED);
    let reservation = resource.reservation.take();
    if let (true, Some(role)) = (resource.reservations.is_empty(), role) {
        let kind = if reservation.is_some() { Type::Dynamic } else { Type::Static };
        resource.reservations.push(ReservationInfo {
            role: Some(role),
            r#type: Some(kind as i32),
            ..reservation.unwrap_or_default()
        });
    }
}

/// Puts a resource into the older format, unless it has a reservation within a reservation, which that cannot say.
pub fn downgrade(resource: &mut Resource) {
    match resource.reservations.as_slice() {
        [] => resource.role = Some(UNRESERVED.into()),
        [only] => {
            resource.role.clone_from(&only.role);
            let dynamic = only.r#type() == Type::Dynamic;
            let reservation = ReservationInfo { role: None, r#type: None, ..only.clone() };
            resource.reservation = dynamic.then_some(reservation);
            resource.reservations.clear();
        }
        _ => {}
    }
}

/// Puts a resource of the newer format into both at once, as far as the older one goes: what operators are shown
/// (`convertResourceFormat` to ENDPOINT).
pub fn show_both(resource: &mut Resource) {
    let stack = resource.reservations.clone();
    downgrade(resource);
    resource.reservations = stack;
}

/// The role that a resource is reserved for, in either format.
pub fn role(resource: &Resource) -> &str {
    let refined = resource.reservations.last().and_then(|reservation| reservation.role.as_deref());
    let role = refined.or(resource.role.as_deref()).unwrap_or(UNRESERVED);
    if role.is_empty() { UNRESERVED } else { role }
}

/// True if a resource was reserved at run time and not by an agent's command line, in either format.
pub fn is_dynamic(resource: &Resource) -> bool {
    match resource.reservations.last() {
        Some(innermost) => innermost.r#type() == Type::Dynamic,
        None => resource.reservation.is_some(),
    }
}

/// True if a resource is a persistent volume.
pub fn is_volume(resource: &Resource) -> bool {
    resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some())
}

/// The resources without their innermost reservation.
pub fn popped(resources: &[Resource]) -> Vec<Resource> {
    let pop = |resource: &Resource| {
        let mut resource = resource.clone();
        if resource.reservations.pop().is_none() {
            resource.reservation = None;
            resource.role = None;
        }
        resource
    };
    resources.iter().map(pop).collect()
}

/// States the role that a resource is allocated to, or none.
pub fn allocate(resource: &mut Resource, role: Option<&str>) {
    resource.allocation_info = role.map(|role| resource::AllocationInfo { role: Some(role.into()) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::scalar;

    #[test]
    fn both_formats_say_the_same() {
        let labelled = ReservationInfo { principal: Some("p".into()), ..Default::default() };
        let old = Resource { role: Some("ops".into()), reservation: Some(labelled), ..scalar("cpus", 1.0) };
        let mut new = old.clone();
        upgrade(&mut new);
        assert_eq!((role(&old), role(&new)), ("ops", "ops"));
        assert!(is_dynamic(&old) && is_dynamic(&new) && new.role.is_none() && new.reservation.is_none());
        assert_eq!(new.reservations[0].principal(), "p");
        let mut back = new.clone();
        downgrade(&mut back);
        assert_eq!(back, old);
        assert_eq!(role(&popped(&[new])[0]), UNRESERVED);

        let mut fixed = Resource { role: Some("ops".into()), ..scalar("cpus", 1.0) };
        upgrade(&mut fixed);
        assert!(!is_dynamic(&fixed) && role(&fixed) == "ops");
        let mut plain = Resource { role: Some(UNRESERVED.into()), ..scalar("cpus", 1.0) };
        upgrade(&mut plain);
        assert_eq!(plain, scalar("cpus", 1.0));
    }
}
