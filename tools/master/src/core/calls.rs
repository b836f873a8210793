//! Schedulers' calls: who may make which, and where they go (src/master/http.cpp `scheduler`).

use super::frameworks::Arrival;
use super::{MasterCore, counted, validation};
use crate::state::Link;
use mesos_proto::mesos::FrameworkInfo;
use mesos_proto::recast;
use mesos_proto::v1::scheduler::{Call, call};

/// What a call over HTTP is refused with: a status and a text.
type Refusal = (u16, String);

fn bad(why: impl Into<String>) -> Refusal {
    (400, why.into())
}

impl MasterCore {
    /// Takes a call that came over HTTP.
    pub(super) fn call(&mut self, request: u64, stream: Option<String>, fresh: String, call: Call) {
        self.count("scheduler_calls");
        if let Err(why) = validation::call(&call) {
            self.count("scheduler_calls_refused");
            return self.reply(request, 400, &format!("Failed to validate scheduler::Call: {why}"));
        }
        let done = match call.r#type() {
            call::Type::Subscribe if stream.is_some() => {
                Err(bad("Subscribe calls should not include the 'Mesos-Stream-Id' header"))
            }
            call::Type::Subscribe => match self.subscribe_call(request, fresh, call) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            _ => self.caller(&call, stream.as_deref()).and_then(|framework| self.perform(&framework, call)),
        };
        match done {
            Ok(status) => self.reply(request, status, ""),
            Err((status, why)) => {
                self.count("scheduler_calls_refused");
                self.reply(request, status, &why);
            }
        }
    }

    fn subscribe_call(&mut self, request: u64, stream: String, call: Call) -> Result<(), Refusal> {
        let subscribe = call.subscribe.unwrap_or_default();
        let info = recast::<_, FrameworkInfo>(&subscribe.framework_info)
            .map_err(|_| bad("Failed to read 'framework_info'"))?;
        let arrival = Arrival::Http { request, stream };
        self.subscribe(arrival, info, subscribe.suppressed_roles, subscribe.offer_constraints);
        Ok(())
    }

    /// The framework that makes a call on a stream.
    fn caller(&self, call: &Call, stream: Option<&str>) -> Result<String, Refusal> {
        let id = call.framework_id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
        let framework = self.frameworks.get(id).ok_or_else(|| bad("Framework cannot be found"))?;
        let current = match framework.scheduler() {
            None => return Err((403, "Framework is not subscribed".into())),
            Some(Link::Driver(_)) => return Err((403, "Framework is not connected via HTTP".into())),
            Some(Link::Http(current)) => current,
        };
        match stream {
            None => Err(bad("All non-subscribe calls should include the 'Mesos-Stream-Id' header")),
            Some(stream) if stream != current => Err(bad(format!(
                "The stream ID '{stream}' included in this request didn't match the stream ID currently \
                 associated with framework ID {id}"
            ))),
            Some(_) => Ok(id.to_owned()),
        }
    }

    /// Does what a framework asks for: the HTTP status, or why not.
    pub(super) fn perform(&mut self, id: &str, call: Call) -> Result<u16, Refusal> {
        use call::Type;
        if let Some(counter) = counted::call(call.r#type()) {
            self.count(counter);
        }
        validation::call(&call).map_err(bad)?;
        match call.r#type() {
            Type::Teardown => self.remove_framework(id),
            Type::Accept => self.accept(id, call.accept.unwrap_or_default()),
            Type::Decline => self.decline(id, call.decline.unwrap_or_default()),
            Type::Revive => self.revive(id, &call.revive.unwrap_or_default().roles),
            Type::Suppress => self.suppress(id, &call.suppress.unwrap_or_default().roles),
            Type::Kill => self.kill(id, call.kill.unwrap_or_default()),
            Type::Shutdown => self.shutdown_executor(id, call.shutdown.unwrap_or_default()),
            Type::Acknowledge => self.acknowledge(id, call.acknowledge.unwrap_or_default()),
            Type::Reconcile => self.reconcile(id, call.reconcile.unwrap_or_default()),
            Type::Message => self.message_to_executor(id, call.message.unwrap_or_default()),
            Type::UpdateFramework => {
                self.update_framework(id, call.update_framework.unwrap_or_default()).map_err(bad)?;
                return Ok(200);
            }
            // No allocator of Mesos acts on it, nor does this one.
            Type::Request => {}
            Type::AcceptInverseOffers => {
                let answer = call.accept_inverse_offers.unwrap_or_default();
                self.answer_inverse(id, answer.inverse_offer_ids, true, answer.filters.as_ref());
            }
            Type::DeclineInverseOffers => {
                let answer = call.decline_inverse_offers.unwrap_or_default();
                self.answer_inverse(id, answer.inverse_offer_ids, false, answer.filters.as_ref());
            }
            Type::AcknowledgeOperationStatus => {
                self.acknowledge_operation(id, call.acknowledge_operation_status.unwrap_or_default());
            }
            Type::ReconcileOperations => {
                self.reconcile_operations(id, call.reconcile_operations.unwrap_or_default());
            }
            Type::Unknown | Type::Subscribe => return Err((501, "Unknown call".into())),
        }
        Ok(202)
    }
}
