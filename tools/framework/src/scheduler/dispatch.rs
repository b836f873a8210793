//! Which callback an event is for.

use super::Scheduler;
use super::driver::{Acknowledge, log};
use super::handle::Handle;
use crate::calls;
use crate::v1::scheduler::{Call, Event};

/// One event, one callback.
pub(super) async fn dispatch<S: Scheduler>(
    scheduler: &mut S,
    handle: &Handle,
    acknowledge: Acknowledge,
    event: Event,
) {
    if let Some(offers) = event.offers {
        let ids = offers.offers.iter().map(|offer| offer.id.clone()).collect();
        if !log("resource_offers", scheduler.resource_offers(handle, offers.offers).await) {
            // Those that were used before the error are none any more: the master passes over them.
            confirm(handle, Some(calls::decline(ids, None))).await;
        }
    } else if let Some(rescind) = event.rescind {
        log("offer_rescinded", scheduler.offer_rescinded(handle, rescind.offer_id).await);
    } else if let Some(offers) = event.inverse_offers {
        log("inverse_offers", scheduler.inverse_offers(handle, offers.inverse_offers).await);
    } else if let Some(rescind) = event.rescind_inverse_offer {
        let done = scheduler.inverse_offer_rescinded(handle, rescind.inverse_offer_id).await;
        log("inverse_offer_rescinded", done);
    } else if let Some(update) = event.update {
        let call = calls::acknowledge(&update.status);
        let taken = log("status_update", scheduler.status_update(handle, update.status).await);
        confirm(handle, call.filter(|_| taken && acknowledge == Acknowledge::Automatic)).await;
    } else if let Some(update) = event.update_operation_status {
        let call = calls::acknowledge_operation(&update.status);
        let taken = log("operation_status", scheduler.operation_status(handle, update.status).await);
        confirm(handle, call.filter(|_| taken && acknowledge == Acknowledge::Automatic)).await;
    } else if let Some(message) = event.message {
        let (agent, executor) = (message.agent_id, message.executor_id);
        let done = scheduler.framework_message(handle, agent, executor, message.data).await;
        log("framework_message", done);
    } else if let Some(failure) = event.failure {
        match (failure.executor_id, failure.agent_id) {
            (Some(executor), agent) => {
                let done = scheduler.executor_lost(handle, agent, executor, failure.status).await;
                log("executor_lost", done);
            }
            (None, Some(agent)) => {
                log("agent_lost", scheduler.agent_lost(handle, agent).await);
            }
            (None, None) => {}
        }
    }
}

async fn confirm(handle: &Handle, call: Option<Call>) {
    let Some(call) = call else { return };
    if let Err(error) = handle.call(call).await {
        tracing::warn!(%error, "an event is not answered; it is told again, or void with the subscription");
    }
}
