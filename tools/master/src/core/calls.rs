//! Schedulers' calls: who may make which, and where they go (src/master/http.cpp `scheduler`).

use super::MasterCore;
use mesos_proto::mesos::FrameworkInfo;
use mesos_proto::recast;
use mesos_proto::v1::scheduler::{Call, call};

impl MasterCore {
    pub(super) fn call(&mut self, request: u64, stream: Option<String>, fresh: String, call: Call) {
        use call::Type;
        self.count("scheduler_calls");
        let refused = |this: &mut Self, status, why: &str| {
            this.count("scheduler_calls_refused");
            this.reply(request, status, why);
        };
        if call.r#type() == Type::Subscribe {
            let Some(subscribe) = call.subscribe else {
                return refused(
                    self,
                    400,
                    "Failed to validate scheduler::Call: Expecting 'subscribe' to be present",
                );
            };
            if stream.is_some() {
                let why = "Subscribe calls should not include the 'Mesos-Stream-Id' header";
                return refused(self, 400, why);
            }
            let Ok(info) = recast::<_, FrameworkInfo>(&subscribe.framework_info) else {
                return refused(self, 400, "Failed to read 'framework_info'");
            };
            // No id and an empty one are the same.
            let outer = call.framework_id.map(|id| id.value).filter(|id| !id.is_empty());
            let inner = info.id.as_ref().map(|id| id.value.clone()).filter(|id| !id.is_empty());
            if outer != inner {
                let why = "Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'";
                return refused(self, 400, why);
            }
            return self.subscribe(request, fresh, info, subscribe.suppressed_roles);
        }
        let Some(id) = call.framework_id.as_ref().map(|id| id.value.clone()) else {
            let why = "Failed to validate scheduler::Call: Expecting 'framework_id' to be present";
            return refused(self, 400, why);
        };
        let Some(framework) = self.frameworks.get(&id) else {
            return refused(self, 400, "Framework cannot be found");
        };
        let Some(current) = &framework.stream else {
            return refused(self, 403, "Framework is not subscribed");
        };
        match stream {
            None => {
                let why = "All non-subscribe calls should include the 'Mesos-Stream-Id' header";
                return refused(self, 400, why);
            }
            Some(stream) if stream != *current => {
                let why = "The stream ID included in this request didn't match the stream ID currently associated \
                           with the framework";
                return refused(self, 400, why);
            }
            Some(_) => {}
        }
        let kind = call.r#type();
        let done = match kind {
            Type::Teardown => {
                self.remove_framework(&id);
                true
            }
            Type::Accept => call.accept.map(|accept| self.accept(&id, accept)).is_some(),
            Type::Decline => call.decline.map(|decline| self.decline(&id, decline)).is_some(),
            Type::Revive => {
                let roles = call.revive.map(|revive| revive.roles).unwrap_or_default();
                self.allocator.revive(&id, &roles);
                self.dirty.extend(self.agents.keys().cloned());
                true
            }
            Type::Suppress => {
                let roles = call.suppress.map(|suppress| suppress.roles).unwrap_or_default();
                self.allocator.suppress(&id, &roles);
                true
            }
            Type::Kill => call.kill.map(|kill| self.kill(&id, kill)).is_some(),
            Type::Shutdown => call.shutdown.map(|shutdown| self.shutdown_executor(&id, shutdown)).is_some(),
            Type::Acknowledge => call.acknowledge.map(|ack| self.acknowledge(&id, ack)).is_some(),
            Type::Reconcile => call.reconcile.map(|reconcile| self.reconcile(&id, reconcile)).is_some(),
            Type::Message => call.message.map(|message| self.message_to_executor(&id, message)).is_some(),
            Type::UpdateFramework => match call.update_framework {
                Some(update) => match self.update_framework(&id, update) {
                    Ok(()) => {
                        return self.reply(request, 200, "");
                    }
                    Err(why) => return refused(self, 400, &why),
                },
                None => false,
            },
            // Nothing here makes inverse offers or offer operations with feedback; requests were never acted upon.
            Type::Request
            | Type::AcceptInverseOffers
            | Type::DeclineInverseOffers
            | Type::AcknowledgeOperationStatus
            | Type::ReconcileOperations => true,
            Type::Unknown | Type::Subscribe => return refused(self, 501, "Unknown call"),
        };
        if done {
            self.reply(request, 202, "");
        } else {
            let why = format!(
                "Failed to validate scheduler::Call: nothing in the field for {}",
                kind.as_str_name()
            );
            refused(self, 400, &why);
        }
    }
}
