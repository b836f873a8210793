//! What Mesos' metrics call what arrives (src/master/metrics.cpp): a message of agents and drivers by its name, a call
//! of schedulers by its type. Counted before anything is looked at; the same thing said in either API counts as one
//! kind.

use mesos_proto::v1::scheduler::call::Type;

/// The counter of a message to `mesos.internal`; none if it is counted as the call that it is made into, or is unknown.
pub(super) fn message(name: &str) -> Option<&'static str> {
    Some(match name {
        "AuthenticateMessage" => "messages_authenticate",
        "DeactivateFrameworkMessage" => "messages_deactivate_framework",
        "ExecutorToFrameworkMessage" => "messages_executor_to_framework",
        "ExitedExecutorMessage" => "messages_exited_executor",
        "RegisterSlaveMessage" => "messages_register_slave",
        "ReregisterSlaveMessage" => "messages_reregister_slave",
        "StatusUpdateMessage" => "messages_status_update",
        "UnregisterSlaveMessage" => "messages_unregister_slave",
        "UpdateOperationStatusMessage" => "messages_operation_status_update",
        "UpdateSlaveMessage" => "messages_update_slave",
        _ => return None,
    })
}

/// The counter of a call, in the words of the driver's messages that it replaced; none if it has none in Mesos.
pub(super) fn call(kind: Type) -> Option<&'static str> {
    Some(match kind {
        Type::Teardown => "messages_unregister_framework",
        Type::Accept => "messages_launch_tasks",
        Type::Decline => "messages_decline_offers",
        Type::Revive => "messages_revive_offers",
        Type::Suppress => "messages_suppress_offers",
        Type::Kill => "messages_kill_task",
        Type::Acknowledge => "messages_status_update_acknowledgement",
        Type::AcknowledgeOperationStatus => "messages_operation_status_update_acknowledgement",
        Type::Reconcile => "messages_reconcile_tasks",
        Type::ReconcileOperations => "messages_reconcile_operations",
        Type::Message => "messages_framework_to_executor",
        Type::Request => "messages_resource_request",
        _ => return None,
    })
}
