//! Operations on resources (`validation::operation`, `validation::resource`). Resources are in the newer format.

use crate::core::conversion::without_volume;
use crate::core::valid_id;
use crate::state::Agent;
use mesos_proto::mesos::offer::{Operation, operation::Type};
use mesos_proto::mesos::resource::disk_info::source;
use mesos_proto::mesos::{FrameworkInfo, Resource, framework_info, slave_info, volume};
use mesos_proto::pool::{Pool, UNRESERVED};
use mesos_proto::reservations::{is_dynamic, is_volume, role};
use std::collections::BTreeSet;

/// An operation of a framework on an agent of whose resources some are allocated to `allocated`. What the framework
/// does not have is not found here but when it is taken.
pub(crate) fn operation(
    operation: &Operation,
    framework: &FrameworkInfo,
    roles: &BTreeSet<String>,
    agent: &Agent,
    allocated: &str,
) -> Result<(), String> {
    let principal = framework.principal.as_deref();
    match operation.r#type() {
        Type::Reserve => {
            let reserve = operation.reserve.as_ref().ok_or("Expecting 'reserve' to be present")?;
            if !reserve.source.is_empty() {
                return Err("Reservation updates are not yet implemented for the scheduler API.".into());
            }
            listed(&reserve.resources)?;
            for resource in &reserve.resources {
                reservation(resource, agent)?;
                let made_by = resource.reservations.last().and_then(|made| made.principal.as_deref());
                if principal.is_some() && principal != made_by {
                    return Err(format!(
                        "A reserve operation was attempted by principal '{}', but the principal of a \
                         reservation in it is '{}'",
                        principal.unwrap_or_default(),
                        made_by.unwrap_or_default()
                    ));
                }
                let wanted = role(resource);
                if wanted != allocated {
                    return Err(format!(
                        "A reserve operation was attempted for a resource with role '{wanted}', but the \
                         resource was allocated to role '{allocated}'"
                    ));
                }
                if !roles.contains(wanted) {
                    return Err(format!(
                        "A reserve operation was attempted for a resource with role '{wanted}', but the \
                         framework can only reserve resources with its own roles"
                    ));
                }
            }
            Ok(())
        }
        Type::Unreserve => {
            let unreserve = operation.unreserve.as_ref().ok_or("Expecting 'unreserve' to be present")?;
            listed(&unreserve.resources)?;
            match unreserve.resources.iter().find(|resource| !is_dynamic(resource) || is_volume(resource)) {
                Some(volume) if is_volume(volume) => {
                    Err("A dynamically reserved persistent volume cannot be \
                                                          unreserved directly. Please destroy the persistent \
                                                          volume first then unreserve the resource"
                        .into())
                }
                Some(resource) => Err(format!("Resource {} is not dynamically reserved", resource.name)),
                None => Ok(()),
            }
        }
        Type::Create => {
            let create = operation.create.as_ref().ok_or("Expecting 'create' to be present")?;
            listed(&create.volumes)?;
            let kept = agent.total.checkpointed().to_resources(None, true);
            unique_volumes(kept.iter().chain(&create.volumes))?;
            for volume in &create.volumes {
                persistent(volume)?;
                reservation_fits(volume, agent)?;
                let shares = framework_info::capability::Type::SharedResources as i32;
                let can = framework.capabilities.iter().any(|can| can.r#type == Some(shares));
                if volume.shared.is_some() && !can {
                    return Err(
                        "Create volume operation for a shared volume has been attempted by a framework \
                                with no SHARED_RESOURCES capability"
                            .into(),
                    );
                }
                let made_by =
                    volume.disk.as_ref().and_then(|disk| disk.persistence.as_ref()?.principal.as_deref());
                if principal.is_some() && principal != made_by {
                    return Err(format!(
                        "Create volume operation attempted by principal '{}', but the principal of a volume in \
                         it is '{}'",
                        principal.unwrap_or_default(),
                        made_by.unwrap_or_default()
                    ));
                }
            }
            Ok(())
        }
        Type::Destroy => {
            let destroy = operation.destroy.as_ref().ok_or("Expecting 'destroy' to be present")?;
            listed(&destroy.volumes)?;
            destroy.volumes.iter().try_for_each(persistent)?;
            let volumes = Pool::of(&destroy.volumes)?;
            if !agent.total.checkpointed().contains(&volumes) {
                return Err("Persistent volumes not found".into());
            }
            Ok(())
        }
        Type::GrowVolume => {
            let grow = operation.grow_volume.as_ref().ok_or("Expecting 'grow_volume' to be present")?;
            resizable(&grow.volume, agent, "Grow")?;
            Pool::of(std::slice::from_ref(&grow.addition))
                .map_err(|why| format!("Invalid resource in the 'GrowVolume.addition' field: {why}"))?;
            if grow.addition.scalar.is_none_or(|scalar| scalar.value <= 0.0) {
                return Err("The size of 'GrowVolume.addition' field must be greater than zero".into());
            }
            let disk = Resource { scalar: None, ..without_volume(&grow.volume) };
            if disk != (Resource { scalar: None, ..grow.addition.clone() }) {
                return Err(
                    "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields"
                        .into(),
                );
            }
            Ok(())
        }
        Type::ShrinkVolume => {
            let shrink = operation.shrink_volume.as_ref().ok_or("Expecting 'shrink_volume' to be present")?;
            resizable(&shrink.volume, agent, "Shrink")?;
            let (size, less) =
                (shrink.volume.scalar.map_or(0.0, |scalar| scalar.value), shrink.subtract.value);
            if !less.is_finite() || mesos_proto::resources::milli(less) <= 0 {
                return Err("Value of 'ShrinkVolume.subtract' must be greater than zero".into());
            }
            if size <= less {
                return Err("Value of 'ShrinkVolume.subtract' must be smaller than the size of \
                            'ShrinkVolume.volume'"
                    .into());
            }
            let mount = source::Type::Mount as i32;
            let disk = shrink.volume.disk.as_ref().and_then(|disk| disk.source.as_ref());
            match disk.is_some_and(|source| source.r#type == mount) {
                true => Err("Shrinking a volume on a MOUNT disk is not supported".into()),
                false => Ok(()),
            }
        }
        // No agent of this master has resource providers: `admit` takes none.
        Type::CreateDisk | Type::DestroyDisk => {
            if !agent.has(slave_info::capability::Type::ResourceProvider) {
                return Err("Not supported: the agent does not have RESOURCE_PROVIDER capability".into());
            }
            let create = operation.create_disk.as_ref().map(|create| &create.source);
            let disk = create.or(operation.destroy_disk.as_ref().map(|destroy| &destroy.source));
            match disk.and_then(|disk| disk.provider_id.as_ref()) {
                Some(provider) => Err(format!("Resource provider {} is unknown", provider.value)),
                None => Err("'source' is not managed by a resource provider".into()),
            }
        }
        Type::Launch | Type::LaunchGroup | Type::Unknown => Err("not an operation on resources".into()),
    }
}

/// A list of resources is valid, and all of one provider (`resource::validate`, `validateSingleResourceProvider`).
fn listed(resources: &[Resource]) -> Result<(), String> {
    Pool::of(resources).map_err(|why| format!("Invalid resources: {why}"))?;
    let Some(first) = resources.first() else { return Err("Invalid resources: there are none".into()) };
    if resources.iter().any(|resource| resource.provider_id != first.provider_id) {
        return Err("Invalid resources: not all are of the same resource provider".into());
    }
    resources.iter().try_for_each(super::disk_info)
}

/// A reservation that is to be made, and on an agent that can keep it.
fn reservation(resource: &Resource, agent: &Agent) -> Result<(), String> {
    if !is_dynamic(resource) {
        return Err(format!("Resource {} is not dynamically reserved", resource.name));
    }
    if resource.revocable.is_some() {
        return Err(format!("Resource {} is revocable and cannot be reserved", resource.name));
    }
    for reservation in &resource.reservations {
        match reservation.role() {
            "" | UNRESERVED => return Err("Invalid ReservationInfo: it needs a role other than '*'".into()),
            role => super::valid_role(role)?,
        }
    }
    let nested = resource
        .reservations
        .windows(2)
        .all(|pair| pair[1].role().strip_prefix(pair[0].role()).is_some_and(|below| below.starts_with('/')));
    if !nested {
        return Err(
            "Invalid ReservationInfo: a refined reservation is for a role below the one it refines".into()
        );
    }
    reservation_fits(resource, agent)
}

fn reservation_fits(resource: &Resource, agent: &Agent) -> Result<(), String> {
    use slave_info::capability::Type::{HierarchicalRole, ReservationRefinement};
    if !agent.has(HierarchicalRole) && role(resource).contains('/') {
        return Err(format!(
            "Resource {} with reservation for hierarchical role '{}' cannot be reserved on an agent without \
             HIERARCHICAL_ROLE capability",
            resource.name,
            role(resource)
        ));
    }
    if !agent.has(ReservationRefinement) && resource.reservations.len() > 1 {
        return Err(format!(
            "Resource {} with reservation refinement cannot be reserved on an agent without \
             RESERVATION_REFINEMENT capability",
            resource.name
        ));
    }
    Ok(())
}

/// `validatePersistentVolume`.
fn persistent(resource: &Resource) -> Result<(), String> {
    let why = match &resource.disk {
        None => "the resource does not have DiskInfo",
        Some(disk) if disk.persistence.is_none() => "'persistence' is not set in DiskInfo",
        Some(disk) => match &disk.volume {
            None => "Expecting 'volume' to be set for persistent volume",
            Some(on) if on.mode() == volume::Mode::Ro => "Read-only persistent volume not supported",
            Some(_) => return Ok(()),
        },
    };
    Err(format!("Not a persistent volume: {why}"))
}

fn resizable(volume: &Resource, agent: &Agent, what: &str) -> Result<(), String> {
    Pool::of(std::slice::from_ref(volume))
        .map_err(|why| format!("Invalid resource in the '{what}Volume.volume' field: {why}"))?;
    if volume.provider_id.is_some() {
        return Err(format!("{what} of a volume from a resource provider is not supported"));
    }
    persistent(volume)
        .map_err(|why| format!("Invalid persistent volume in the '{what}Volume.volume' field: {why}"))?;
    if volume.shared.is_some() {
        return Err(format!("{what} of a shared persistent volume is not supported"));
    }
    if !agent.has(slave_info::capability::Type::ResizeVolume) {
        return Err("A volume cannot be resized on an agent without RESIZE_VOLUME capability".into());
    }
    Ok(())
}

/// No two volumes of a role have the same id (`validateUniquePersistenceID`).
pub(crate) fn unique_volumes<'a>(resources: impl Iterator<Item = &'a Resource>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for resource in resources {
        let persistence = resource.disk.as_ref().and_then(|disk| disk.persistence.as_ref());
        let Some(persistence) = persistence else { continue };
        if !valid_id(&persistence.id) {
            return Err("Invalid persistence ID for persistent volume".into());
        }
        if !seen.insert((role(resource).to_owned(), persistence.id.clone())) {
            return Err(format!("Persistence ID '{}' is not unique", persistence.id));
        }
    }
    Ok(())
}
