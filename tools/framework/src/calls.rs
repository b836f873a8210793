//! The calls of the scheduler API as messages, without a framework id; nothing here sends them.

use crate::v1::offer::Operation;
use crate::v1::scheduler::{Call, OfferConstraints, call};
use crate::v1::{
    AgentId, DurationInfo, ExecutorId, Filters, FrameworkInfo, KillPolicy, OfferId, OperationStatus, Request,
    TaskId, TaskStatus,
};
use std::time::Duration;

fn of(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Default::default() }
}

/// For how long what is not used is not offered again; the master's 5 s if nothing is said.
fn filters(refuse: Option<Duration>) -> Option<Filters> {
    refuse.map(|refuse| Filters { refuse_seconds: Some(refuse.as_secs_f64()) })
}

pub(crate) fn subscribe(
    info: FrameworkInfo,
    suppressed_roles: Vec<String>,
    offer_constraints: Option<OfferConstraints>,
) -> Call {
    let framework_id = info.id.clone();
    let subscribe = call::Subscribe { framework_info: info, suppressed_roles, offer_constraints };
    Call { framework_id, subscribe: Some(subscribe), ..of(call::Type::Subscribe) }
}

pub(crate) fn accept(offer_ids: Vec<OfferId>, operations: Vec<Operation>, refuse: Option<Duration>) -> Call {
    let accept = call::Accept { offer_ids, operations, filters: filters(refuse) };
    Call { accept: Some(accept), ..of(call::Type::Accept) }
}

pub(crate) fn decline(offer_ids: Vec<OfferId>, refuse: Option<Duration>) -> Call {
    let decline = call::Decline { offer_ids, filters: filters(refuse) };
    Call { decline: Some(decline), ..of(call::Type::Decline) }
}

pub(crate) fn accept_inverse_offers(inverse_offer_ids: Vec<OfferId>) -> Call {
    let accept = call::AcceptInverseOffers { inverse_offer_ids, filters: None };
    Call { accept_inverse_offers: Some(accept), ..of(call::Type::AcceptInverseOffers) }
}

pub(crate) fn decline_inverse_offers(inverse_offer_ids: Vec<OfferId>, refuse: Option<Duration>) -> Call {
    let decline = call::DeclineInverseOffers { inverse_offer_ids, filters: filters(refuse) };
    Call { decline_inverse_offers: Some(decline), ..of(call::Type::DeclineInverseOffers) }
}

pub(crate) fn kill(task_id: TaskId, agent_id: Option<AgentId>, grace: Option<Duration>) -> Call {
    let nanoseconds = |grace: Duration| i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
    let kill_policy = grace
        .map(|grace| KillPolicy { grace_period: Some(DurationInfo { nanoseconds: nanoseconds(grace) }) });
    Call { kill: Some(call::Kill { task_id, agent_id, kill_policy }), ..of(call::Type::Kill) }
}

pub(crate) fn shutdown(executor_id: ExecutorId, agent_id: AgentId) -> Call {
    Call { shutdown: Some(call::Shutdown { executor_id, agent_id }), ..of(call::Type::Shutdown) }
}

/// None for a status that asks for no acknowledgement.
pub(crate) fn acknowledge(status: &TaskStatus) -> Option<Call> {
    let uuid = status.uuid.clone().filter(|uuid| !uuid.is_empty())?;
    let agent_id = status.agent_id.clone()?;
    let acknowledge = call::Acknowledge { agent_id, task_id: status.task_id.clone(), uuid };
    Some(Call { acknowledge: Some(acknowledge), ..of(call::Type::Acknowledge) })
}

/// None for a status that asks for no acknowledgement.
pub(crate) fn acknowledge_operation(status: &OperationStatus) -> Option<Call> {
    let uuid = status.uuid.as_ref().map(|uuid| uuid.value.clone()).filter(|uuid| !uuid.is_empty())?;
    let acknowledge = call::AcknowledgeOperationStatus {
        agent_id: status.agent_id.clone(),
        resource_provider_id: status.resource_provider_id.clone(),
        uuid,
        operation_id: status.operation_id.clone()?,
    };
    let kind = call::Type::AcknowledgeOperationStatus;
    Some(Call { acknowledge_operation_status: Some(acknowledge), ..of(kind) })
}

pub(crate) fn reconcile(tasks: Vec<call::reconcile::Task>) -> Call {
    Call { reconcile: Some(call::Reconcile { tasks }), ..of(call::Type::Reconcile) }
}

pub(crate) fn reconcile_operations(operations: Vec<call::reconcile_operations::Operation>) -> Call {
    let reconcile = call::ReconcileOperations { operations };
    Call { reconcile_operations: Some(reconcile), ..of(call::Type::ReconcileOperations) }
}

pub(crate) fn message(agent_id: AgentId, executor_id: ExecutorId, data: Vec<u8>) -> Call {
    Call { message: Some(call::Message { agent_id, executor_id, data }), ..of(call::Type::Message) }
}

pub(crate) fn revive(roles: Vec<String>) -> Call {
    Call { revive: Some(call::Revive { roles }), ..of(call::Type::Revive) }
}

pub(crate) fn suppress(roles: Vec<String>) -> Call {
    Call { suppress: Some(call::Suppress { roles }), ..of(call::Type::Suppress) }
}

pub(crate) fn request(requests: Vec<Request>) -> Call {
    Call { request: Some(call::Request { requests }), ..of(call::Type::Request) }
}

pub(crate) fn update_framework(
    framework_info: FrameworkInfo,
    suppressed_roles: Vec<String>,
    offer_constraints: Option<OfferConstraints>,
) -> Call {
    let update = call::UpdateFramework { framework_info, suppressed_roles, offer_constraints };
    Call { update_framework: Some(update), ..of(call::Type::UpdateFramework) }
}

pub(crate) fn teardown() -> Call {
    of(call::Type::Teardown)
}
