//! Schedulers that speak libprocess: the messages of the older driver API, which mean what calls and events mean
//! (src/sched/sched.cpp; src/master/master.cpp `receive`). An event that this API has no message for is not sent.
//!
//! A message counts only if it comes from the actor that the framework registered from.

use super::frameworks::Arrival;
use super::{MasterCore, decode};
use libprocess::Upid;
use mesos_proto::internal::*;
use mesos_proto::mesos::{ExecutorId, FrameworkId, FrameworkInfo, Offer, SlaveId, TaskStatus};
use mesos_proto::scheduler;
use mesos_proto::v1::scheduler::{Call, Event, call, event};
use mesos_proto::{recast, v1};
use prost::DecodeError;

/// How the master names what has no libprocess address.
pub(crate) const NOBODY: &str = "@0.0.0.0:0";

impl MasterCore {
    /// Takes a driver's message. None if it is not one.
    pub(super) fn driver_message(
        &mut self,
        from: &Upid,
        name: &str,
        body: &[u8],
    ) -> Option<Result<(), DecodeError>> {
        Some(match name {
            "RegisterFrameworkMessage" => decode(body).map(|m| self.register_driver(from, m)),
            "ReregisterFrameworkMessage" => decode(body).map(|m| self.reregister_driver(from, m)),
            "UnregisterFrameworkMessage" => decode::<UnregisterFrameworkMessage>(body)
                .map(|m| self.driver_call(from, &m.framework_id, call::Type::Teardown, |_| {})),
            "DeactivateFrameworkMessage" => decode(body).map(|m| self.deactivate_driver(from, &m)),
            "ResourceRequestMessage" => decode::<ResourceRequestMessage>(body).map(|m| {
                let requests = m.requests.iter().filter_map(|request| recast(request).ok()).collect();
                let request = Some(call::Request { requests });
                self.driver_call(from, &m.framework_id, call::Type::Request, |call| call.request = request);
            }),
            "LaunchTasksMessage" => decode(body).map(|m| self.driver_launches(from, m)),
            "ReviveOffersMessage" => decode::<ReviveOffersMessage>(body).map(|m| {
                let revive = Some(call::Revive { roles: m.roles });
                self.driver_call(from, &m.framework_id, call::Type::Revive, |call| call.revive = revive);
            }),
            "KillTaskMessage" => decode::<KillTaskMessage>(body).map(|m| {
                let task_id = v1::TaskId { value: m.task_id.value };
                let kill = Some(call::Kill { task_id, ..Default::default() });
                self.driver_call(from, &m.framework_id, call::Type::Kill, |call| call.kill = kill);
            }),
            "StatusUpdateAcknowledgementMessage" => {
                decode::<StatusUpdateAcknowledgementMessage>(body).map(|m| {
                    let acknowledge = Some(call::Acknowledge {
                        agent_id: v1::AgentId { value: m.slave_id.value },
                        task_id: v1::TaskId { value: m.task_id.value },
                        uuid: m.uuid,
                    });
                    self.driver_call(from, &m.framework_id, call::Type::Acknowledge, |call| {
                        call.acknowledge = acknowledge;
                    });
                })
            }
            "FrameworkToExecutorMessage" => decode::<FrameworkToExecutorMessage>(body).map(|m| {
                let message = Some(call::Message {
                    agent_id: v1::AgentId { value: m.slave_id.value },
                    executor_id: v1::ExecutorId { value: m.executor_id.value },
                    data: m.data,
                });
                self.driver_call(from, &m.framework_id, call::Type::Message, |call| call.message = message);
            }),
            "ReconcileTasksMessage" => decode::<ReconcileTasksMessage>(body).map(|m| {
                let task = |status: TaskStatus| call::reconcile::Task {
                    task_id: v1::TaskId { value: status.task_id.value },
                    agent_id: status.slave_id.map(|id| v1::AgentId { value: id.value }),
                };
                let reconcile = Some(call::Reconcile { tasks: m.statuses.into_iter().map(task).collect() });
                self.driver_call(from, &m.framework_id, call::Type::Reconcile, |c| c.reconcile = reconcile);
            }),
            _ => return None,
        })
    }

    /// Takes `mesos.scheduler.Call`, which newer drivers send for everything.
    pub(super) fn driver_calls(&mut self, from: &Upid, body: &[u8]) -> Result<(), DecodeError> {
        // SUBSCRIBE is numbered otherwise, all else has the bytes of the v1 API.
        let head: scheduler::Call = decode(body)?;
        if head.r#type() == call::Type::Subscribe {
            let Some(subscribe) = head.subscribe else {
                self.count("scheduler_calls_refused");
                return Ok(());
            };
            let outer = head.framework_id.map(|id| id.value).filter(|id| !id.is_empty());
            let inner = subscribe.framework_info.id.clone().map(|id| id.value).filter(|id| !id.is_empty());
            if outer != inner {
                self.count("scheduler_calls_refused");
                return Ok(());
            }
            let arrival = Arrival::Driver { pid: from.clone(), force: subscribe.force() };
            let (info, suppressed) = (subscribe.framework_info, subscribe.suppressed_roles);
            self.subscribe(arrival, info, suppressed, subscribe.offer_constraints);
            return Ok(());
        }
        let call: Call = decode(body)?;
        let id = FrameworkId { value: call.framework_id.clone().unwrap_or_default().value };
        if !self.is_scheduler(from, &id) {
            return Ok(());
        }
        if !self.frameworks.get(&id.value).is_some_and(|framework| framework.connected) {
            self.send(from, &FrameworkErrorMessage { message: "Framework disconnected".into() });
            return Ok(());
        }
        if matches!(call.r#type(), call::Type::AcknowledgeOperationStatus | call::Type::ReconcileOperations) {
            tracing::warn!(%from, "call that drivers do not have");
            self.count("scheduler_calls_refused");
            return Ok(());
        }
        self.take_driver_call(from, &id.value, call);
        Ok(())
    }

    /// True if an actor is a framework's scheduler.
    fn is_scheduler(&mut self, from: &Upid, id: &FrameworkId) -> bool {
        let known = self.by_driver.get(from).is_some_and(|known| *known == id.value);
        if !known {
            tracing::warn!(%from, framework = id.value, "message from nobody registered");
            self.count("messages_from_wrong_sender");
        }
        known
    }

    fn driver_call(&mut self, from: &Upid, id: &FrameworkId, kind: call::Type, fill: impl FnOnce(&mut Call)) {
        if !self.is_scheduler(from, id) {
            return;
        }
        let framework_id = Some(v1::FrameworkId { value: id.value.clone() });
        let mut call = Call { framework_id, r#type: Some(kind as i32), ..Default::default() };
        fill(&mut call);
        self.take_driver_call(from, &id.value, call);
    }

    fn take_driver_call(&mut self, from: &Upid, id: &str, call: Call) {
        self.count("scheduler_calls");
        let updates = call.r#type() == call::Type::UpdateFramework;
        if let Err((_, why)) = self.perform(id, call) {
            tracing::warn!(framework = id, why, "driver's call refused");
            self.count("scheduler_calls_refused");
            if updates {
                self.send(from, &FrameworkErrorMessage { message: why });
            }
        }
    }

    fn register_driver(&mut self, from: &Upid, message: RegisterFrameworkMessage) {
        if has_id(&message.framework) {
            let message = "Registering with 'id' already set".into();
            return self.send(from, &FrameworkErrorMessage { message });
        }
        let arrival = Arrival::Driver { pid: from.clone(), force: false };
        self.subscribe(arrival, message.framework, Vec::new(), None);
    }

    fn reregister_driver(&mut self, from: &Upid, message: ReregisterFrameworkMessage) {
        if !has_id(&message.framework) {
            let message = "Re-registering without an 'id'".into();
            return self.send(from, &FrameworkErrorMessage { message });
        }
        let arrival = Arrival::Driver { pid: from.clone(), force: message.failover };
        self.subscribe(arrival, message.framework, Vec::new(), None);
    }

    fn deactivate_driver(&mut self, from: &Upid, message: &DeactivateFrameworkMessage) {
        let id = &message.framework_id;
        if !self.is_scheduler(from, id) {
            return;
        }
        let Some(framework) = self.frameworks.get_mut(&id.value).filter(|framework| framework.active) else {
            return;
        };
        framework.active = false;
        self.allocator.set_framework_active(&id.value, false);
        self.rescind_framework(&id.value, true);
    }

    fn driver_launches(&mut self, from: &Upid, message: LaunchTasksMessage) {
        use v1::offer::operation::{Launch, Type};
        let offer_ids = message.offer_ids.into_iter().map(|id| v1::OfferId { value: id.value }).collect();
        let filters = recast(&message.filters).ok();
        if message.tasks.is_empty() {
            let decline = Some(call::Decline { offer_ids, filters });
            return self
                .driver_call(from, &message.framework_id, call::Type::Decline, |c| c.decline = decline);
        }
        let task_infos = message.tasks.iter().filter_map(|task| recast(task).ok()).collect();
        let launch = v1::offer::Operation {
            r#type: Some(Type::Launch as i32),
            launch: Some(Launch { task_infos }),
            ..Default::default()
        };
        let accept = Some(call::Accept { offer_ids, operations: vec![launch], filters });
        self.driver_call(from, &message.framework_id, call::Type::Accept, |call| call.accept = accept);
    }

    /// Tells a driver of an event.
    pub(super) fn tell_driver(&mut self, pid: &Upid, framework: &str, event: Event) {
        let framework_id = FrameworkId { value: framework.to_owned() };
        if let Some(event) = event.offers {
            let offers: Vec<Offer> = event.offers.iter().filter_map(|offer| recast(offer).ok()).collect();
            let pids = offers.iter().map(|offer| self.agent_pid(&offer.slave_id.value)).collect();
            self.send(pid, &ResourceOffersMessage { offers, pids });
        } else if let Some(event) = event.rescind {
            let offer_id = mesos_proto::mesos::OfferId { value: event.offer_id.value };
            self.send(pid, &RescindResourceOfferMessage { offer_id });
        } else if let Some(event) = event.update {
            let Ok(status) = recast::<_, TaskStatus>(&event.status) else { return };
            // Who gave it is who wants an acknowledgement.
            let giver = status.uuid.as_ref().and(status.slave_id.as_ref());
            let giver = giver.map_or(NOBODY.into(), |agent| self.agent_pid(&agent.value));
            let update = StatusUpdate {
                framework_id,
                executor_id: status.executor_id.clone(),
                slave_id: status.slave_id.clone(),
                timestamp: status.timestamp.unwrap_or(self.now_ms as f64 / 1000.0),
                uuid: status.uuid.clone(),
                latest_state: None,
                status,
            };
            self.send(pid, &StatusUpdateMessage { update, pid: Some(giver) });
        } else if let Some(event) = event.message {
            let message = ExecutorToFrameworkMessage {
                slave_id: SlaveId { value: event.agent_id.value },
                framework_id,
                executor_id: ExecutorId { value: event.executor_id.value },
                data: event.data,
            };
            self.send(pid, &message);
        } else if let Some(event) = event.failure {
            let slave_id = SlaveId { value: event.agent_id.clone().unwrap_or_default().value };
            match event.executor_id {
                Some(executor) => {
                    let executor_id = ExecutorId { value: executor.value };
                    let status = event.status.unwrap_or_default();
                    self.send(pid, &ExitedExecutorMessage { slave_id, framework_id, executor_id, status });
                }
                None => self.send(pid, &LostSlaveMessage { slave_id }),
            }
        } else if let Some(event) = event.error {
            self.send(pid, &FrameworkErrorMessage { message: event.message });
        } else if event.r#type() != event::Type::Heartbeat {
            self.count("events_without_driver_message");
        }
    }

    fn agent_pid(&self, id: &str) -> String {
        self.agents.get(id).map_or(NOBODY.into(), |agent| agent.pid.to_string())
    }
}

fn has_id(info: &FrameworkInfo) -> bool {
    info.id.as_ref().is_some_and(|id| !id.value.is_empty())
}
