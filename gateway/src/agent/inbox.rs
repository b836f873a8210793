//! Messages for the actors: who may say what, and to which handler it goes.

use super::{Agents, Output, auth};
use crate::bridge::{NodeId, ToNode};
use libprocess::Message as WireMessage;
use mesos_proto::internal;
use prost::{DecodeError, Message, Name};

impl Agents {
    /// Takes a message for one of the actors. What cannot be read is dropped with a log line, as libprocess does.
    pub fn from_master(&mut self, message: &WireMessage, now_ms: u64) {
        let Some(id) = self.by_name(&message.to) else { return };
        let dispatched = match message.to.starts_with(auth::AUTHENTICATEE) {
            true => self.authentication(id, message, now_ms),
            false => self.dispatch(id, message, now_ms),
        };
        if let Err(error) = dispatched {
            self.counters.malformed += 1;
            tracing::warn!(actor = message.to, name = message.name, %error, "dropping a malformed message");
        }
        self.rearm(id);
    }

    fn dispatch(&mut self, id: NodeId, message: &WireMessage, now_ms: u64) -> Result<(), DecodeError> {
        use internal::*;
        let Some(name) = message.name.strip_prefix("mesos.internal.") else {
            self.counters.unknown += 1;
            return Ok(());
        };
        let body = message.body.clone();
        // These may come from others: observers ping, and a v0 scheduler speaks to its executors itself.
        match name {
            PingSlaveMessage::NAME => {
                self.pinged(id, message.from.as_ref(), PingSlaveMessage::decode(body)?, now_ms);
                return Ok(());
            }
            FrameworkToExecutorMessage::NAME => {
                self.framework_message(id, FrameworkToExecutorMessage::decode(body)?);
                return Ok(());
            }
            _ => {}
        }
        // All else is the master's to say (src/slave/slave.cpp checks it message by message).
        if message.from.is_none() || message.from != self.master {
            self.counters.not_master += 1;
            tracing::warn!(node = %id, name, from = ?message.from.as_ref().map(ToString::to_string),
                master = ?self.master.as_ref().map(ToString::to_string), "ignored: not from the master");
            return Ok(());
        }
        match name {
            SlaveRegisteredMessage::NAME => {
                let registered = SlaveRegisteredMessage::decode(body)?;
                self.registered(id, registered.slave_id.value, registered.connection, &[], now_ms);
            }
            SlaveReregisteredMessage::NAME => {
                let registered = SlaveReregisteredMessage::decode(body)?;
                let (slave_id, connection) = (registered.slave_id.value, registered.connection);
                self.registered(id, slave_id, connection, &registered.reconciliations, now_ms);
            }
            RunTaskMessage::NAME => self.run_task(id, RunTaskMessage::decode(body)?, now_ms),
            RunTaskGroupMessage::NAME => self.run_task_group(id, RunTaskGroupMessage::decode(body)?, now_ms),
            KillTaskMessage::NAME => self.kill_task(id, &KillTaskMessage::decode(body)?, now_ms),
            StatusUpdateAcknowledgementMessage::NAME => {
                self.acknowledged(id, &StatusUpdateAcknowledgementMessage::decode(body)?, now_ms);
            }
            ShutdownFrameworkMessage::NAME => {
                self.shutdown_framework(id, &ShutdownFrameworkMessage::decode(body)?.framework_id.value);
            }
            ShutdownExecutorMessage::NAME => {
                self.shutdown_executor(id, &ShutdownExecutorMessage::decode(body)?, now_ms);
            }
            UpdateFrameworkMessage::NAME => {
                self.update_framework(id, UpdateFrameworkMessage::decode(body)?, now_ms);
            }
            DrainSlaveMessage::NAME => self.drain(id, &DrainSlaveMessage::decode(body)?, now_ms),
            CheckpointResourcesMessage::NAME => {
                self.checkpoint_resources(id, &CheckpointResourcesMessage::decode(body)?);
            }
            ApplyOperationMessage::NAME => {
                self.apply_operation(id, ApplyOperationMessage::decode(body)?, now_ms);
            }
            AcknowledgeOperationStatusMessage::NAME => {
                self.operation_acknowledged(id, &AcknowledgeOperationStatusMessage::decode(body)?);
            }
            ReconcileOperationsMessage::NAME => {
                self.reconcile_operations(id, &ReconcileOperationsMessage::decode(body)?);
            }
            ShutdownMessage::NAME => {
                let why = ShutdownMessage::decode(body)?.message.unwrap_or_default();
                self.shutdown(id, &why);
            }
            other => {
                self.counters.unknown += 1;
                tracing::debug!(other, "no use for this message");
            }
        }
        Ok(())
    }

    /// For all tasks of an executor that run; a command task's executor has the task's id.
    fn framework_message(&mut self, id: NodeId, message: internal::FrameworkToExecutorMessage) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let tasks = agent.tasks_of(&message.framework_id.value, &message.executor_id.value);
        let too_long = message.data.len() > node_proto::limits::MESSAGE_LONG_MAX;
        if too_long || tasks.is_empty() {
            let bytes = message.data.len();
            tracing::warn!(node = %id, bytes, too_long, "framework message dropped: too long, or for nobody");
            self.counters.messages_dropped += 1;
            return;
        }
        for task in tasks {
            self.outputs.push_back(Output::ToNode(id, ToNode::Message { task, data: message.data.clone() }));
        }
    }

    fn update_framework(&mut self, id: NodeId, message: internal::UpdateFrameworkMessage, now_ms: u64) {
        let framework = message.framework_id.value;
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let Some(record) = agent.frameworks.get_mut(&framework) else { return };
        record.pid = message.pid;
        if let Some(info) = message.framework_info {
            record.info = info.encode_to_vec();
        }
        let record = record.clone();
        self.put_framework(id, &framework, &record);
        // The scheduler may be a new one that has seen nothing: heads of its streams go out again at once.
        self.resend_framework(id, &framework, now_ms);
    }
}
