//! What may be done with offers in one ACCEPT, in the order given: later operations may use what earlier ones made
//! (include/mesos/v1/mesos.proto, `Offer.Operation`).

use crate::v1::offer::Operation;
use crate::v1::offer::operation::{self, Type};
use crate::v1::resource::disk_info::source;
use crate::v1::value::Scalar;
use crate::v1::{ExecutorInfo, OperationId, Resource, TaskGroupInfo, TaskInfo};

fn of(kind: Type) -> Operation {
    Operation { r#type: Some(kind as i32), ..Default::default() }
}

/// Launches tasks, each by itself.
pub fn launch(tasks: Vec<TaskInfo>) -> Operation {
    Operation { launch: Some(operation::Launch { task_infos: tasks }), ..of(Type::Launch) }
}

/// Launches tasks that run under one executor, all or none of them.
pub fn launch_group(executor: ExecutorInfo, tasks: Vec<TaskInfo>) -> Operation {
    let task_group = TaskGroupInfo { tasks };
    let group = operation::LaunchGroup { executor, task_group };
    Operation { launch_group: Some(group), ..of(Type::LaunchGroup) }
}

/// Reserves resources, which state whom for in their reservations.
pub fn reserve(resources: Vec<Resource>) -> Operation {
    let reserve = operation::Reserve { resources, source: Vec::new() };
    Operation { reserve: Some(reserve), ..of(Type::Reserve) }
}

/// Gives reserved resources back to those that they were taken from.
pub fn unreserve(resources: Vec<Resource>) -> Operation {
    Operation { unreserve: Some(operation::Unreserve { resources }), ..of(Type::Unreserve) }
}

/// Makes persistent volumes.
pub fn create(volumes: Vec<Resource>) -> Operation {
    Operation { create: Some(operation::Create { volumes }), ..of(Type::Create) }
}

/// Removes persistent volumes and what is in them.
pub fn destroy(volumes: Vec<Resource>) -> Operation {
    Operation { destroy: Some(operation::Destroy { volumes }), ..of(Type::Destroy) }
}

/// Makes a persistent volume larger by `addition`.
pub fn grow_volume(volume: Resource, addition: Resource) -> Operation {
    Operation { grow_volume: Some(operation::GrowVolume { volume, addition }), ..of(Type::GrowVolume) }
}

/// Makes a persistent volume smaller by so many MB.
pub fn shrink_volume(volume: Resource, megabytes: f64) -> Operation {
    let subtract = Scalar { value: megabytes };
    Operation { shrink_volume: Some(operation::ShrinkVolume { volume, subtract }), ..of(Type::ShrinkVolume) }
}

/// Makes a disk of storage that is raw so far.
pub fn create_disk(source: Resource, target: source::Type, profile: Option<String>) -> Operation {
    let create = operation::CreateDisk { source, target_type: target as i32, target_profile: profile };
    Operation { create_disk: Some(create), ..of(Type::CreateDisk) }
}

/// Makes a disk raw storage again.
pub fn destroy_disk(source: Resource) -> Operation {
    Operation { destroy_disk: Some(operation::DestroyDisk { source }), ..of(Type::DestroyDisk) }
}

/// Names an operation, so that its fate is told to [`crate::Scheduler::operation_status`].
pub fn named(id: &str, operation: Operation) -> Operation {
    Operation { id: Some(OperationId { value: id.to_owned() }), ..operation }
}
