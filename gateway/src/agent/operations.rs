//! Operations on an agent's resources: reservations are kept, what a node cannot do is refused with an operation
//! status, and every status is sent again until it is acknowledged (src/slave/slave.cpp, `applyOperation`;
//! src/status_update_manager).
//!
//! A master takes RESERVE, UNRESERVE, CREATE and DESTROY as done when it sends them. So a refusal is followed by a new
//! registration, which tells it what there really is.

use super::reservations::Reserved;
use super::task::{RESEND_MAX_MS, RESEND_MS};
use super::{Agent, Agents, Output, bytes_of, info};
use crate::bridge::NodeId;
use crate::store::{Table, Write};
use mesos_proto::internal;
use mesos_proto::mesos::offer::operation::Type;
use mesos_proto::mesos::{self, OperationState, OperationStatus};
use mesos_proto::reservations::popped;
use prost::Message;

/// Operations of one agent whose statuses are not acknowledged.
const OPERATIONS_MAX: usize = 256;

/// An operation that has ended and whose status waits for its acknowledgement.
pub(super) struct Operation {
    /// An encoded `Operation`, as on disk.
    pub record: Vec<u8>,
    pub resend_ms: u64,
    pub pause_ms: u64,
}

impl Operation {
    pub fn new(record: Vec<u8>, now_ms: u64) -> Self {
        Self { record, resend_ms: now_ms, pause_ms: RESEND_MS }
    }
}

impl Agent {
    /// What a master is told of them.
    pub(super) fn operations_known(&self) -> Vec<mesos::Operation> {
        self.operations.values().filter_map(|held| mesos::Operation::decode(&*held.record).ok()).collect()
    }
}

impl Agents {
    pub(super) fn apply_operation(
        &mut self,
        id: NodeId,
        message: internal::ApplyOperationMessage,
        now_ms: u64,
    ) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let Some(slave_id) = agent.record.slave_id.clone().map(|value| mesos::SlaveId { value }) else {
            return;
        };
        let uuid = message.operation_uuid.value.clone();
        if uuid.len() != 16 || agent.operations.contains_key(&uuid) {
            return; // no name to answer under, or known already
        }
        let done = if agent.operations.len() >= OPERATIONS_MAX {
            Err(format!("{OPERATIONS_MAX} operations are not acknowledged"))
        } else {
            self.convert(id, &message.operation_info)
        };
        let refused = done.is_err();
        let (state, why) = match done {
            Ok(()) => (OperationState::OperationFinished, None),
            Err(why) => {
                tracing::warn!(node = %id, why, "operation refused");
                self.counters.operations_refused += 1;
                (OperationState::OperationFailed, Some(why))
            }
        };
        let status = OperationStatus {
            operation_id: message.operation_info.id.clone(),
            state: state as i32,
            message: why,
            uuid: Some(mesos::Uuid { value: self.new_uuid() }),
            slave_id: Some(slave_id.clone()),
            ..Default::default()
        };
        let operation = mesos::Operation {
            framework_id: message.framework_id,
            slave_id: Some(slave_id),
            info: message.operation_info,
            latest_status: status.clone(),
            statuses: vec![status],
            uuid: mesos::Uuid { value: uuid.clone() },
        };
        let record = operation.encode_to_vec();
        let key = [&id.0[..], &uuid].concat();
        self.outputs.push_back(Output::Write(Write::Put(Table::Operation, key, record.clone())));
        if let Some(agent) = self.nodes.get_mut(&id) {
            agent.operations.insert(uuid.clone(), Operation::new(record, now_ms));
        }
        self.send_operation(id, &uuid, now_ms);
        if refused {
            self.start_registration(id, now_ms);
        }
    }

    fn convert(&mut self, id: NodeId, operation: &mesos::offer::Operation) -> Result<(), String> {
        let kind = Type::try_from(operation.r#type.unwrap_or_default()).unwrap_or(Type::Unknown);
        let (from, to) = match (kind, &operation.reserve, &operation.unreserve) {
            (Type::Reserve, Some(reserve), _) => {
                let from = if reserve.source.is_empty() {
                    popped(&reserve.resources)
                } else {
                    reserve.source.clone()
                };
                (from, reserve.resources.clone())
            }
            (Type::Unreserve, _, Some(unreserve)) => {
                (unreserve.resources.clone(), popped(&unreserve.resources))
            }
            (Type::Create | Type::Destroy | Type::GrowVolume | Type::ShrinkVolume, ..) => {
                return Err("a node has no persistent volumes".into());
            }
            (kind, ..) => return Err(format!("a node does not know {}", kind.as_str_name())),
        };
        if from.iter().chain(&to).any(|resource| resource.provider_id.is_some() || resource.disk.is_some()) {
            return Err("a node has no resource providers and no volumes".into());
        }
        let Some(agent) = self.nodes.get_mut(&id) else { return Err("no such agent".into()) };
        agent.reserved.convert(&from, &to)?;
        self.save_reserved(id);
        Ok(())
    }

    /// The whole list at once, from a master that knows no operation feedback.
    pub(super) fn checkpoint_resources(
        &mut self,
        id: NodeId,
        message: &internal::CheckpointResourcesMessage,
    ) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        agent.reserved = Reserved::of(&message.resources);
        self.save_reserved(id);
    }

    pub(super) fn save_reserved(&mut self, id: NodeId) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let resources: Vec<Vec<u8>> =
            agent.reserved.to_resources().iter().map(|resource| resource.encode_to_vec()).collect();
        let key = id.0.to_vec();
        let write = match resources.is_empty() {
            true => Write::Delete(Table::Reserved, key),
            false => Write::Put(Table::Reserved, key, bytes_of(&resources)),
        };
        self.outputs.push_back(Output::Write(write));
    }

    /// Lets go of reservations that the node is too small for since it came back with less.
    pub(super) fn fit_reservations(&mut self, id: NodeId) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let total = info::slave_info(&self.config, id, &agent.record.register.inventory, None).resources;
        if agent.reserved.fit(&total) {
            tracing::warn!(node = %id, "the node has become too small for its reservations; some are given up");
            self.save_reserved(id);
        }
    }

    fn send_operation(&mut self, id: NodeId, uuid: &[u8], now_ms: u64) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        if !agent.is_registered() {
            return;
        }
        let Some(held) = agent.operations.get_mut(uuid) else { return };
        let Ok(operation) = mesos::Operation::decode(&*held.record) else { return };
        held.resend_ms = now_ms + held.pause_ms;
        held.pause_ms = (held.pause_ms * 2).min(RESEND_MAX_MS);
        let message = internal::UpdateOperationStatusMessage {
            framework_id: operation.framework_id,
            slave_id: operation.slave_id,
            status: operation.latest_status.clone(),
            latest_status: Some(operation.latest_status),
            operation_uuid: Some(operation.uuid),
        };
        self.send(id, &message);
    }

    pub(super) fn operations_due(&mut self, id: NodeId, now_ms: u64) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let due = agent.operations.iter().filter(|(_, held)| held.resend_ms <= now_ms);
        let due: Vec<Vec<u8>> = due.map(|(uuid, _)| uuid.clone()).collect();
        due.iter().for_each(|uuid| self.send_operation(id, uuid, now_ms));
    }

    /// After a registration all statuses go out again.
    pub(super) fn resume_operations(&mut self, id: NodeId, now_ms: u64) {
        if let Some(agent) = self.nodes.get_mut(&id) {
            for held in agent.operations.values_mut() {
                (held.resend_ms, held.pause_ms) = (now_ms, RESEND_MS);
            }
        }
        self.operations_due(id, now_ms);
    }

    pub(super) fn operation_acknowledged(
        &mut self,
        id: NodeId,
        message: &internal::AcknowledgeOperationStatusMessage,
    ) {
        let Some(agent) = self.nodes.get_mut(&id) else { return };
        let uuid = &message.operation_uuid.value;
        let Some(held) = agent.operations.get(uuid) else { return };
        let status = mesos::Operation::decode(&*held.record).ok().and_then(|held| held.latest_status.uuid);
        if status.as_ref() != Some(&message.status_uuid) {
            return;
        }
        agent.operations.remove(uuid);
        let key = [&id.0[..], uuid].concat();
        self.outputs.push_back(Output::Write(Write::Delete(Table::Operation, key)));
        self.drained(id);
    }

    /// Operations that somebody believes in. The master's own question names what never arrived here; a framework's
    /// asks for the state of what it knows.
    pub(super) fn reconcile_operations(
        &mut self,
        id: NodeId,
        message: &internal::ReconcileOperationsMessage,
    ) {
        let Some(agent) = self.nodes.get(&id) else { return };
        let slave_id = agent.record.slave_id.clone().map(|value| mesos::SlaveId { value });
        let mut answers = Vec::new();
        for asked in message.operations.iter().take(OPERATIONS_MAX) {
            let known = asked
                .operation_uuid
                .as_ref()
                .and_then(|uuid| agent.operations.get(&uuid.value))
                .and_then(|held| mesos::Operation::decode(&*held.record).ok());
            let by_framework = message.framework_id.is_some();
            let status = match known {
                Some(operation) if by_framework => OperationStatus { uuid: None, ..operation.latest_status },
                Some(_) => continue, // its status is on the way
                None => OperationStatus {
                    operation_id: asked.operation_id.clone().filter(|_| by_framework),
                    state: match by_framework {
                        true => OperationState::OperationUnknown,
                        false => OperationState::OperationDropped,
                    } as i32,
                    slave_id: slave_id.clone(),
                    ..Default::default()
                },
            };
            answers.push(internal::UpdateOperationStatusMessage {
                framework_id: message.framework_id.clone(),
                slave_id: slave_id.clone(),
                status,
                latest_status: None,
                operation_uuid: asked.operation_uuid.clone(),
            });
        }
        // A master aborts on an answer without agent id.
        if slave_id.is_some() {
            answers.iter().for_each(|answer| self.send(id, answer));
        }
    }
}
