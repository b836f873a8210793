//! What an operation makes of which resources (src/common/resources_utils.cpp, `getResourceConversions`). Pure.

use mesos_proto::mesos::offer::{Operation, operation::Type};
use mesos_proto::mesos::{Resource, value};
use mesos_proto::pool::Pool;
use mesos_proto::reservations::{self, is_dynamic, popped, upgrade};
use mesos_proto::resources::milli;

/// Resources that are turned into others of the same amount.
#[derive(Debug, PartialEq)]
pub(super) struct Conversion {
    pub from: Pool,
    pub to: Pool,
}

impl Conversion {
    /// The error says what is wrong with the operation's resources. LAUNCH and LAUNCH_GROUP convert nothing.
    pub fn of(operation: &Operation) -> Result<Self, String> {
        let (from, to) = match operation.r#type() {
            Type::Reserve => {
                let reserve = operation.reserve.clone().unwrap_or_default();
                (popped(&reserve.resources), reserve.resources)
            }
            Type::Unreserve => {
                let resources = operation.unreserve.clone().unwrap_or_default().resources;
                let without = popped(&resources);
                (resources, without)
            }
            Type::Create => {
                let volumes = operation.create.clone().unwrap_or_default().volumes;
                (volumes.iter().map(without_volume).collect(), volumes)
            }
            Type::Destroy => {
                let volumes = operation.destroy.clone().unwrap_or_default().volumes;
                let disks = volumes.iter().map(without_volume).collect();
                (volumes, disks)
            }
            Type::GrowVolume => {
                let grow = operation.grow_volume.clone().unwrap_or_default();
                let sum = amount(&grow.volume) + amount(&grow.addition);
                let grown = with_amount(&grow.volume, sum);
                (vec![grow.volume, grow.addition], vec![grown])
            }
            Type::ShrinkVolume => {
                let shrink = operation.shrink_volume.clone().unwrap_or_default();
                let freed = milli(shrink.subtract.value);
                let shrunk = with_amount(&shrink.volume, amount(&shrink.volume) - freed);
                let disk = with_amount(&without_volume(&shrink.volume), freed);
                (vec![shrink.volume], vec![shrunk, disk])
            }
            other => return Err(format!("{} converts no resources", other.as_str_name())),
        };
        Ok(Self { from: Pool::of(&from)?, to: Pool::of(&to)? })
    }
}

/// An agent's resources, of which it has kept some as reservations and volumes (`applyCheckpointedResources`).
pub(super) fn with_checkpointed(mut total: Pool, kept: &[Resource]) -> Result<Pool, String> {
    for resource in kept {
        let mut resource = resource.clone();
        upgrade(&mut resource);
        let mut bare = without_volume(&resource);
        while is_dynamic(&bare) {
            bare.reservations.pop();
        }
        let (from, to) = (Pool::of(&[bare])?, Pool::of(&[resource])?);
        total.convert(&from, &to).map_err(|why| format!("checkpointed resources do not apply: {why}"))?;
    }
    Ok(total)
}

/// A volume's disk with nothing on it.
pub(super) fn without_volume(volume: &Resource) -> Resource {
    let mut disk = volume.disk.clone();
    if let Some(disk) = &mut disk {
        disk.persistence = None;
        disk.volume = None;
    }
    Resource { disk: disk.filter(|disk| disk.source.is_some()), shared: None, ..volume.clone() }
}

fn amount(resource: &Resource) -> i64 {
    resource.scalar.map_or(0, |scalar| milli(scalar.value))
}

fn with_amount(resource: &Resource, milli: i64) -> Resource {
    Resource { scalar: Some(value::Scalar { value: milli as f64 / 1000.0 }), ..resource.clone() }
}

/// All resources that an operation names.
pub(super) fn resources_mut(operation: &mut Operation) -> Vec<&mut Resource> {
    let mut all: Vec<&mut Resource> = Vec::new();
    all.extend(operation.reserve.iter_mut().flat_map(|o| o.source.iter_mut().chain(&mut o.resources)));
    all.extend(operation.unreserve.iter_mut().flat_map(|o| &mut o.resources));
    all.extend(operation.create.iter_mut().flat_map(|o| &mut o.volumes));
    all.extend(operation.destroy.iter_mut().flat_map(|o| &mut o.volumes));
    all.extend(operation.grow_volume.iter_mut().flat_map(|o| [&mut o.volume, &mut o.addition]));
    all.extend(operation.shrink_volume.iter_mut().map(|o| &mut o.volume));
    all.extend(operation.create_disk.iter_mut().map(|o| &mut o.source));
    all.extend(operation.destroy_disk.iter_mut().map(|o| &mut o.source));
    all.extend(operation.launch.iter_mut().flat_map(|o| &mut o.task_infos).flat_map(task_resources_mut));
    if let Some(group) = &mut operation.launch_group {
        all.extend(&mut group.executor.resources);
        all.extend(group.task_group.tasks.iter_mut().flat_map(task_resources_mut));
    }
    all
}

fn task_resources_mut(task: &mut mesos_proto::mesos::TaskInfo) -> impl Iterator<Item = &mut Resource> {
    task.resources.iter_mut().chain(task.executor.iter_mut().flat_map(|executor| &mut executor.resources))
}

/// Puts resources as an agent is told of them: in its format, allocated to `role` if it knows several.
pub(super) fn for_agent(resources: Vec<&mut Resource>, role: Option<&str>, refined: bool) {
    for resource in resources {
        reservations::allocate(resource, role);
        if !refined {
            reservations::downgrade(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::mesos::offer::operation;
    use mesos_proto::mesos::resource::{DiskInfo, ReservationInfo, disk_info::Persistence};
    use mesos_proto::resources::scalar;

    fn disk(megabytes: f64) -> Resource {
        let reservation = ReservationInfo { role: Some("ops".into()), ..Default::default() };
        Resource { reservations: vec![reservation], ..scalar("disk", megabytes) }
    }

    fn volume(megabytes: f64) -> Resource {
        let persistence = Some(Persistence { id: "v".into(), ..Default::default() });
        Resource { disk: Some(DiskInfo { persistence, ..Default::default() }), ..disk(megabytes) }
    }

    #[test]
    fn every_conversion_keeps_the_amount() {
        let operation = |kind: Type| Operation { r#type: Some(kind as i32), ..Default::default() };
        let operations = [
            Operation {
                reserve: Some(operation::Reserve { resources: vec![disk(4.0)], source: vec![] }),
                ..operation(Type::Reserve)
            },
            Operation {
                unreserve: Some(operation::Unreserve { resources: vec![disk(4.0)] }),
                ..operation(Type::Unreserve)
            },
            Operation {
                create: Some(operation::Create { volumes: vec![volume(4.0)] }),
                ..operation(Type::Create)
            },
            Operation {
                destroy: Some(operation::Destroy { volumes: vec![volume(4.0)] }),
                ..operation(Type::Destroy)
            },
            Operation {
                grow_volume: Some(operation::GrowVolume { volume: volume(3.0), addition: disk(1.0) }),
                ..operation(Type::GrowVolume)
            },
            Operation {
                shrink_volume: Some(operation::ShrinkVolume {
                    volume: volume(4.0),
                    subtract: value::Scalar { value: 1.5 },
                }),
                ..operation(Type::ShrinkVolume)
            },
        ];
        for operation in operations {
            let conversion = Conversion::of(&operation).unwrap();
            assert_ne!(conversion.from, conversion.to);
            for pool in [&conversion.from, &conversion.to] {
                assert_eq!(pool.quantities().milli("disk"), 4000, "{operation:?}");
            }
        }
        assert!(Conversion::of(&operation(Type::Launch)).is_err());
    }
}
