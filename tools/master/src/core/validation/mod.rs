//! What is admissible (src/master/validation.cpp, src/common/validation.cpp). Pure: each function says what is wrong
//! with what it is shown, in the words that Mesos has for it as far as programs may look for them.

mod checks;
mod framework;
mod operation;
mod task;

pub(crate) use framework::valid_role;
pub(super) use framework::{failover_ms, framework_info, framework_update, preserve, roles_of, suppressed};
pub(super) use operation::operation;
pub(super) use task::{task, task_group};

use checks::disk_info;

use mesos_proto::v1::scheduler::{Call, call};

/// A call has what its type wants (`validation::scheduler::call::validate`).
pub(super) fn call(call: &Call) -> Result<(), String> {
    use call::Type;
    let expect = |there: bool, name: &str| match there {
        true => Ok(()),
        false => Err(format!("Expecting '{name}' to be present")),
    };
    expect(call.r#type.is_some(), "type")?;
    if call.r#type() == Type::Subscribe {
        expect(call.subscribe.is_some(), "subscribe")?;
        let inner = call.subscribe.as_ref().and_then(|subscribe| subscribe.framework_info.id.as_ref());
        return same_id(call, inner, "subscribe");
    }
    expect(call.framework_id.is_some(), "framework_id")?;
    match call.r#type() {
        Type::Teardown | Type::Revive | Type::Suppress | Type::Unknown | Type::Subscribe => Ok(()),
        Type::Accept => expect(call.accept.is_some(), "accept"),
        Type::Decline => expect(call.decline.is_some(), "decline"),
        Type::AcceptInverseOffers => expect(call.accept_inverse_offers.is_some(), "accept_inverse_offers"),
        Type::DeclineInverseOffers => expect(call.decline_inverse_offers.is_some(), "decline_inverse_offers"),
        Type::Kill => expect(call.kill.is_some(), "kill"),
        Type::Shutdown => expect(call.shutdown.is_some(), "shutdown"),
        Type::Acknowledge => {
            let Some(acknowledge) = &call.acknowledge else { return expect(false, "acknowledge") };
            uuid(&acknowledge.uuid)
        }
        Type::AcknowledgeOperationStatus => {
            let Some(acknowledge) = &call.acknowledge_operation_status else {
                return expect(false, "acknowledge_operation_status");
            };
            uuid(&acknowledge.uuid)?;
            expect(acknowledge.agent_id.is_some(), "agent_id")
        }
        Type::Reconcile => expect(call.reconcile.is_some(), "reconcile"),
        Type::ReconcileOperations => expect(call.reconcile_operations.is_some(), "reconcile_operations"),
        Type::Message => expect(call.message.is_some(), "message"),
        Type::Request => expect(call.request.is_some(), "request"),
        Type::UpdateFramework => {
            expect(call.update_framework.is_some(), "update_framework")?;
            let inner = call.update_framework.as_ref().and_then(|update| update.framework_info.id.as_ref());
            same_id(call, inner, "update_framework")
        }
    }
}

/// The two places for a framework's id agree; none and an empty one are the same.
fn same_id(call: &Call, inner: Option<&mesos_proto::v1::FrameworkId>, field: &str) -> Result<(), String> {
    let text = |id: Option<&mesos_proto::v1::FrameworkId>| id.map(|id| id.value.clone()).unwrap_or_default();
    match text(call.framework_id.as_ref()) == text(inner) {
        true => Ok(()),
        false => Err(format!("'framework_id' differs from '{field}.framework_info.id'")),
    }
}

fn uuid(bytes: &[u8]) -> Result<(), String> {
    match bytes.len() {
        16 => Ok(()),
        length => Err(format!("a UUID has 16 bytes and not {length}")),
    }
}
