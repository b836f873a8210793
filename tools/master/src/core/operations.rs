//! Operations on agents' resources: reservations and volumes (src/master/master.cpp `_apply`, `updateOperationStatus`,
//! `acknowledgeOperationStatus`, `reconcileOperations`).
//!
//! They count as done when they are sent; an agent that cannot do one says so by a status, and by what it registers
//! with again. Agents that know no operations are told all that they are to keep instead. The uuid of an operation is
//! what master and agent know it by, its id is what its framework calls it.

use super::MasterCore;
use super::accept::Purse;
use super::conversion::{Conversion, for_agent, resources_mut};
use crate::limits::{MAX_OPERATIONS_PER_AGENT, MAX_STATUSES};
use crate::state::{Agent, Link};
use libprocess::Upid;
use mesos_proto::internal::*;
use mesos_proto::mesos::offer::{self, operation::Type};
use mesos_proto::mesos::slave_info::capability;
use mesos_proto::mesos::{
    FrameworkId, Operation, OperationId, OperationState, OperationStatus, SlaveId, Uuid,
};
use mesos_proto::recast;
use mesos_proto::v1::scheduler::{Event, call, event};
use std::collections::BTreeSet;

/// Whether an agent can say what becomes of an operation to the framework that asks for it.
pub(super) fn may_feed_back(operation: &offer::Operation, agent: &Agent) -> Result<(), String> {
    let wanted = [capability::Type::ResourceProvider, capability::Type::AgentOperationFeedback];
    match wanted.into_iter().find(|capability| !agent.has(*capability)) {
        Some(missing) if operation.id.is_some() => Err(format!(
            "Operation requested feedback, but the agent does not have the required {} capability",
            missing.as_str_name()
        )),
        _ => Ok(()),
    }
}

impl MasterCore {
    /// Applies a valid operation to what is in the purse, to the agent's total and to the agent itself. The error says
    /// what is missing; then nothing has changed.
    pub(super) fn apply(
        &mut self,
        framework: Option<&str>,
        purse: &mut Purse,
        operation: &offer::Operation,
    ) -> Result<(), String> {
        let conversion = Conversion::of(operation)?;
        let Some(agent) = self.agents.get_mut(&purse.agent) else { return Err("Agent removed".into()) };
        let informed = agent.has(capability::Type::ResourceProvider);
        if informed && agent.resource_version.is_none() {
            return Err("The agent has not said which version its resources have".into());
        }
        if informed && agent.operations.len() >= MAX_OPERATIONS_PER_AGENT {
            return Err(format!(
                "{MAX_OPERATIONS_PER_AGENT} operations on the agent are not acknowledged, which is the limit"
            ));
        }
        let Conversion { from, to } = &conversion;
        let mut total = agent.total.clone();
        total.convert(from, to)?;
        match operation.r#type() {
            Type::GrowVolume | Type::ShrinkVolume => {
                purse.left.convert(from, &Default::default())?;
                purse.resized.add(to);
            }
            _ => purse.left.convert(from, to)?,
        }
        agent.total = total.clone();
        let holder = framework.unwrap_or_default();
        self.allocator.recover(holder, &purse.role, &purse.agent, from);
        self.allocator.set_total(&purse.agent, total);
        self.allocator.hold(holder, &purse.role, &purse.agent, to);
        self.count("operations_applied");
        self.send_operation(framework, &purse.agent.clone(), operation);
        Ok(())
    }

    /// Tells an agent of an operation, or of all that it has to keep.
    fn send_operation(&mut self, framework: Option<&str>, id: &str, operation: &offer::Operation) {
        let uuid = self.new_uuid();
        let Some(agent) = self.agents.get_mut(id) else { return };
        let (pid, refined) = (agent.pid.clone(), agent.has(capability::Type::ReservationRefinement));
        let Some(version) =
            agent.resource_version.clone().filter(|_| agent.has(capability::Type::ResourceProvider))
        else {
            let resources = agent.total.checkpointed().to_resources(None, refined);
            return self.send(&pid, &CheckpointResourcesMessage { resources });
        };
        let framework_id = framework.map(|id| FrameworkId { value: id.to_owned() });
        let mut info = operation.clone();
        if !refined {
            for_agent(resources_mut(&mut info), None, false);
        }
        let status = OperationStatus {
            operation_id: operation.id.clone(),
            state: OperationState::OperationPending as i32,
            slave_id: Some(SlaveId { value: id.to_owned() }),
            ..Default::default()
        };
        let record = Operation {
            framework_id: framework_id.clone(),
            slave_id: status.slave_id.clone(),
            info: info.clone(),
            latest_status: status,
            statuses: Vec::new(),
            uuid: Uuid { value: uuid.clone() },
        };
        self.book_operation(id, record);
        let message = ApplyOperationMessage {
            framework_id,
            operation_info: info,
            operation_uuid: Uuid { value: uuid },
            resource_version_uuid: ResourceVersionUuid {
                resource_provider_id: None,
                uuid: Uuid { value: version },
            },
        };
        self.send(&pid, &message);
    }

    fn book_operation(&mut self, id: &str, record: Operation) {
        if let (Some(framework), Some(name)) = (&record.framework_id, &record.info.id) {
            let key = (framework.value.clone(), name.value.clone());
            self.by_operation.insert(key, (id.to_owned(), record.uuid.value.clone()));
        }
        if let Some(agent) = self.agents.get_mut(id) {
            agent.operations.insert(record.uuid.value.clone(), record);
        }
    }

    fn forget_operation(&mut self, id: &str, uuid: &[u8]) {
        let Some(record) = self.agents.get_mut(id).and_then(|agent| agent.operations.remove(uuid)) else {
            return;
        };
        self.something_ended(id);
        if let (Some(framework), Some(name)) = (record.framework_id, record.info.id) {
            let key = (framework.value, name.value);
            if self.by_operation.get(&key).is_some_and(|(_, known)| known == uuid) {
                self.by_operation.remove(&key);
            }
        }
    }

    /// An operation that is not done. Its framework hears why if it has given it an id.
    pub(super) fn drop_operation(&mut self, framework: &str, operation: &offer::Operation, why: &str) {
        tracing::warn!(framework, operation = operation.r#type().as_str_name(), why, "operation dropped");
        self.count("operations_dropped");
        if let Some(id) = &operation.id {
            let status = said(OperationState::OperationError, id, why, None);
            self.operation_event(framework, &status);
        }
    }

    /// Sends UPDATE_OPERATION_STATUS, which drivers do not have.
    fn operation_event(&mut self, framework: &str, status: &OperationStatus) {
        let scheduler = self.frameworks.get(framework).and_then(|framework| framework.scheduler());
        if !matches!(scheduler, Some(Link::Http(_))) {
            return self.count("operation_status_updates_undelivered");
        }
        let Ok(status) = recast(status) else { return };
        let event = Event {
            r#type: Some(event::Type::UpdateOperationStatus as i32),
            update_operation_status: Some(event::UpdateOperationStatus { status }),
            ..Default::default()
        };
        self.event(framework, event);
    }

    /// Takes what an agent says became of an operation.
    pub(super) fn operation_status(&mut self, from: &Upid, message: UpdateOperationStatusMessage) {
        let id = message.slave_id.map(|id| id.value).unwrap_or_default();
        if self.agents.get(&id).is_none_or(|agent| agent.pid != *from) {
            return self.count("invalid_operation_status_updates");
        }
        let framework = message.framework_id.map(|id| id.value);
        let mut status = message.status;
        let uuid = message.operation_uuid.map(|uuid| uuid.value);
        let record = uuid.as_ref().and_then(|uuid| self.agents.get_mut(&id)?.operations.get_mut(uuid));
        let Some(record) = record else {
            if uuid.is_some() {
                self.count("invalid_operation_status_updates");
            }
            // An answer to what the framework asked for, or about what an earlier master began.
            if let Some(framework) = framework {
                self.operation_event(&framework, &status);
            }
            return;
        };
        if let Some(name) = &record.info.id {
            status.operation_id = Some(name.clone());
        }
        if !is_terminal(record.latest_status.state()) {
            record.latest_status = message.latest_status.unwrap_or_else(|| status.clone());
        }
        if record.statuses.last() != Some(&status) {
            if record.statuses.len() >= MAX_STATUSES {
                record.statuses.remove(0);
            }
            record.statuses.push(status.clone());
        }
        let (ends, acknowledged) = (is_terminal(status.state()), status.uuid.clone());
        let owner = record.framework_id.as_ref().map(|id| id.value.clone());
        let (named, uuid) = (record.info.id.is_some(), record.uuid.clone());
        self.count("valid_operation_status_updates");
        match owner.filter(|_| named) {
            // The framework may still come: its agent asks again.
            Some(owner) if !self.completed.iter().any(|done| done.id == owner) => {
                self.operation_event(&owner, &status);
                if ends && acknowledged.is_none() {
                    self.forget_operation(&id, &uuid.value);
                }
            }
            _ => {
                if let Some(status_uuid) = acknowledged {
                    let operation_uuid = uuid.clone();
                    let message = AcknowledgeOperationStatusMessage {
                        status_uuid,
                        operation_uuid,
                        resource_provider_id: None,
                    };
                    self.send(from, &message);
                }
                if ends {
                    self.forget_operation(&id, &uuid.value);
                }
            }
        }
    }

    pub(super) fn acknowledge_operation(&mut self, framework: &str, ack: call::AcknowledgeOperationStatus) {
        let id = ack.agent_id.map(|id| id.value).unwrap_or_default();
        let key = (framework.to_owned(), ack.operation_id.value);
        let dropped = "invalid_operation_status_update_acknowledgements";
        let Some(agent) = self.agents.get(&id).filter(|agent| agent.connected) else {
            return self.count(dropped);
        };
        let feeds_back = agent.has(capability::Type::AgentOperationFeedback);
        let known = self.by_operation.get(&key).filter(|(there, _)| *there == id && feeds_back);
        let Some(record) = known.and_then(|(_, uuid)| agent.operations.get(uuid)) else {
            return self.count(dropped);
        };
        let is_it =
            |status: &&OperationStatus| status.uuid.as_ref().is_some_and(|uuid| uuid.value == ack.uuid);
        let Some(status) = record.statuses.iter().find(is_it) else { return self.count(dropped) };
        let (ends, operation_uuid, pid) =
            (is_terminal(status.state()), record.uuid.clone(), agent.pid.clone());
        if ends {
            self.forget_operation(&id, &operation_uuid.value);
        }
        let message = AcknowledgeOperationStatusMessage {
            status_uuid: Uuid { value: ack.uuid },
            operation_uuid,
            resource_provider_id: None,
        };
        self.count("valid_operation_status_update_acknowledgements");
        self.send(&pid, &message);
    }

    /// Answers with a status for each operation that is asked for, or for all of the framework's if none is.
    pub(super) fn reconcile_operations(&mut self, framework: &str, asked: call::ReconcileOperations) {
        let latest = |record: &Operation| {
            let status = record.statuses.last().unwrap_or(&record.latest_status);
            OperationStatus { uuid: None, ..status.clone() }
        };
        let mut answers = Vec::new();
        if asked.operations.is_empty() {
            let own = (framework.to_owned(), String::new())..;
            let own = self.by_operation.range(own).take_while(|((owner, _), _)| owner == framework);
            let own = own.filter_map(|(_, (agent, uuid))| self.agents.get(agent)?.operations.get(uuid));
            answers.extend(own.map(latest));
        }
        for operation in asked.operations {
            let id = OperationId { value: operation.operation_id.value };
            let known = self.by_operation.get(&(framework.to_owned(), id.value.clone()));
            let record = known.and_then(|(agent, uuid)| self.agents.get(agent)?.operations.get(uuid));
            answers.push(match (record, operation.agent_id.map(|id| id.value)) {
                (Some(record), _) => latest(record),
                (None, agent) => self.unknown_operation(&id, agent),
            });
        }
        answers.iter().for_each(|status| self.operation_event(framework, status));
    }

    fn unknown_operation(&self, id: &OperationId, agent: Option<String>) -> OperationStatus {
        use OperationState::*;
        let (state, why) = match &agent {
            None => (OperationUnknown, "Operation is unknown and no 'agent_id' was provided"),
            Some(agent) if self.agents.contains_key(agent) => (OperationUnknown, "Operation is unknown"),
            Some(agent) if self.recovered.contains_key(agent) => {
                (OperationRecovering, "Agent is recovered but has not re-registered")
            }
            Some(agent) if self.unreachable.contains(agent) => (OperationUnreachable, "Agent is unreachable"),
            Some(agent) if self.gone.contains(agent) => {
                (OperationGoneByOperator, "Agent marked gone by operator")
            }
            Some(_) => (OperationUnknown, "Both operation and agent are unknown"),
        };
        said(state, id, &format!("Reconciliation: {why}"), agent)
    }

    /// An agent's operations as it states them after it has registered: those it has more are taken over, those it
    /// lacks it is asked for.
    pub(super) fn agent_operations(&mut self, id: &str, message: UpdateSlaveMessage) {
        self.resource_version(id, message.resource_version_uuid);
        let Some(agent) = self.agents.get_mut(id) else { return };
        let stated = message.operations.unwrap_or_default().operations;
        let there: BTreeSet<&[u8]> = stated.iter().map(|operation| operation.uuid.value.as_slice()).collect();
        let missing = agent.operations.keys().filter(|uuid| !there.contains(uuid.as_slice()));
        let operations: Vec<_> = missing
            .map(|uuid| reconcile_operations_message::Operation {
                operation_uuid: Some(Uuid { value: uuid.clone() }),
                ..Default::default()
            })
            .collect();
        let pid = agent.pid.clone();
        let new =
            stated.into_iter().filter(|operation| !agent.operations.contains_key(&operation.uuid.value));
        let room = MAX_OPERATIONS_PER_AGENT.saturating_sub(agent.operations.len());
        let new: Vec<_> = new.take(room).collect();
        new.into_iter().for_each(|operation| self.book_operation(id, operation));
        if !operations.is_empty() {
            self.send(&pid, &ReconcileOperationsMessage { operations, framework_id: None });
        }
    }

    /// Takes the version that an agent states of its resources, if it does.
    pub(super) fn resource_version(&mut self, id: &str, version: Option<Uuid>) {
        if let (Some(agent), Some(version)) = (self.agents.get_mut(id), version) {
            agent.resource_version = Some(version.value);
        }
    }

    /// The operations on an agent that goes end with it; their frameworks hear of it.
    pub(super) fn lose_operations(&mut self, id: &str, state: OperationState, why: &str) {
        let lost: Vec<_> =
            self.agents.get(id).into_iter().flat_map(|agent| agent.operations.values().cloned()).collect();
        for record in lost {
            self.forget_operation(id, &record.uuid.value);
            if let (Some(framework), Some(name)) = (&record.framework_id, &record.info.id) {
                let status = said(state, name, why, Some(id.to_owned()));
                self.operation_event(&framework.value, &status);
            }
        }
    }

    /// A framework that ends leaves its operations to the master.
    pub(super) fn disown_operations(&mut self, framework: &str) {
        self.by_operation.retain(|(owner, _), _| owner != framework);
    }

    /// A UUID (version 4) that nobody who does not know the seed can tell.
    fn new_uuid(&mut self) -> Vec<u8> {
        self.next_uuid += 1;
        let seed = mesos_proto::cram::Credential {
            principal: String::new(),
            secret: self.config.seed.to_be_bytes().into(),
        };
        let text = mesos_proto::cram::answer(&seed, &[b"uuid", &self.next_uuid.to_be_bytes()[..]].concat());
        let digest = u128::from_str_radix(text.trim(), 16).unwrap_or(u128::from(self.next_uuid));
        uuid::Builder::from_random_bytes(digest.to_be_bytes()).into_uuid().as_bytes().to_vec()
    }
}

fn said(state: OperationState, id: &OperationId, why: &str, agent: Option<String>) -> OperationStatus {
    OperationStatus {
        operation_id: Some(id.clone()),
        state: state as i32,
        message: Some(why.to_owned()),
        slave_id: agent.map(|value| SlaveId { value }),
        ..Default::default()
    }
}

/// Whether an operation in this state is over (`protobuf::isTerminalState`).
pub(crate) fn is_terminal(state: OperationState) -> bool {
    use OperationState::*;
    match state {
        OperationFinished | OperationFailed | OperationError | OperationDropped | OperationGoneByOperator => {
            true
        }
        OperationPending | OperationUnreachable | OperationRecovering | OperationUnknown
        | OperationUnsupported => false,
    }
}
