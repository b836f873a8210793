//! Offers accepted: their operations, one after the other, on what the offers hold (src/master/master.cpp `accept`,
//! `_accept`). What is left over counts as declined.

use super::conversion::resources_mut;
use super::{MasterCore, validation};
use crate::state::{Link, OfferRecord};
use mesos_proto::mesos::offer::{Operation, operation::Type};
use mesos_proto::mesos::{TaskInfo, TaskState, framework_info, task_status};
use mesos_proto::pool::Pool;
use mesos_proto::reservations;
use mesos_proto::v1::scheduler::call;
use mesos_proto::{recast, v1};
use std::collections::BTreeSet;

/// What an ACCEPT has to spend: the offers' resources, all of one agent and one role.
pub(super) struct Purse {
    pub agent: String,
    pub role: String,
    /// What the offers had.
    pub offered: Pool,
    /// What is not spent, operations done so far applied.
    pub left: Pool,
    /// Volumes that have become larger or smaller: not to be used before they are offered again.
    pub resized: Pool,
}

impl MasterCore {
    pub(super) fn accept(&mut self, framework: &str, accept: call::Accept) {
        let until = self.filter_until(accept.filters.as_ref());
        let operations: Vec<Operation> =
            accept.operations.iter().filter_map(|operation| recast(operation).ok()).collect();
        let mut purse = match self.open_purse(framework, &accept.offer_ids) {
            Ok(purse) => purse,
            Err((back, why)) => return self.offers_invalid(framework, back, &operations, &why),
        };
        for mut operation in operations {
            let kind = operation.r#type();
            let resources = resources_mut(&mut operation);
            let prepared = resources.into_iter().try_for_each(|resource| prepare(resource, &purse.role));
            let group = kind == Type::LaunchGroup;
            match (kind, prepared) {
                (Type::Unknown, _) => self.count("operations_dropped"),
                (Type::Launch | Type::LaunchGroup, prepared) => {
                    let reason = invalid_reason(group);
                    let id = format!("The `id` field cannot be set on {} operations", kind.as_str_name());
                    let why = prepared.err().or(operation.id.as_ref().map(|_| id));
                    if let Some(why) = why {
                        self.tasks_error(framework, tasks_of(&operation), reason, &why);
                    } else if group {
                        let group = operation.launch_group.unwrap_or_default();
                        self.launch_group(framework, &mut purse, group);
                    } else {
                        for task in operation.launch.unwrap_or_default().task_infos {
                            self.launch(framework, &mut purse, task);
                        }
                    }
                }
                (_, Err(why)) => {
                    let why = format!("Operation attempted with invalid resources: {why}");
                    self.drop_operation(framework, &operation, &why);
                }
                (_, Ok(())) => self.operate(framework, &mut purse, operation),
            }
        }
        // What operations have made of the offers is offered again at once; only what was left as it was is refused.
        let mut back = purse.left.clone();
        back.add(&purse.resized);
        let mut converted = back.clone();
        converted.subtract(&purse.offered);
        let mut declined = purse.left;
        declined.subtract(&converted);
        self.allocator.recover(framework, &purse.role, &purse.agent, &back);
        self.allocator.filter(framework, &purse.role, &purse.agent, declined, until);
        self.dirty.insert(purse.agent);
    }

    /// Takes the offers of an ACCEPT together, if all are the framework's, of one agent and one role
    /// (`validation::offer`). The error has the offers that were taken nevertheless.
    fn open_purse(
        &mut self,
        framework: &str,
        offers: &[v1::OfferId],
    ) -> Result<Purse, (Vec<OfferRecord>, String)> {
        let mut why = offers.is_empty().then(|| "No offers specified".to_owned());
        let mut seen = BTreeSet::new();
        let mut records: Vec<OfferRecord> = Vec::new();
        for offer in offers {
            let id = &offer.value;
            if !seen.insert(id) {
                why = Some(format!("Duplicate offer {id} in offer list"));
                continue;
            }
            match self.offers.get(id) {
                None => why = Some(format!("Offer {id} is no longer valid")),
                Some(record) if record.framework != framework => {
                    why = Some(format!(
                        "Offer {id} has invalid framework {} while framework {framework} is expected",
                        record.framework
                    ));
                }
                Some(_) => records.extend(self.take_offer(id)),
            }
        }
        if let Some(first) = records.first() {
            if records.iter().any(|record| record.agent != first.agent) {
                why = Some("Aggregated offers must belong to one single agent".into());
            } else if records.iter().any(|record| record.role != first.role) {
                why = Some("Aggregated offers must be allocated to the same role".into());
            }
        }
        let (None, Some(first)) = (&why, records.first()) else {
            self.count("offers_unknown");
            return Err((records, why.unwrap_or_default()));
        };
        let mut offered = Pool::default();
        records.iter().for_each(|record| offered.add(&record.resources));
        let (agent, role) = (first.agent.clone(), first.role.clone());
        Ok(Purse { agent, role, left: offered.clone(), offered, resized: Pool::default() })
    }

    /// Invalid offers are used up all the same, and nothing is done with them.
    fn offers_invalid(
        &mut self,
        framework: &str,
        back: Vec<OfferRecord>,
        operations: &[Operation],
        why: &str,
    ) {
        for record in back {
            self.allocator.recover(framework, &record.role, &record.agent, &record.resources);
            self.dirty.insert(record.agent);
        }
        let aware = framework_info::capability::Type::PartitionAware;
        let aware = self.frameworks.get(framework).is_some_and(|framework| framework.has(aware));
        let state = if aware { TaskState::TaskDropped } else { TaskState::TaskLost };
        for operation in operations {
            if !matches!(operation.r#type(), Type::Launch | Type::LaunchGroup) {
                let why = format!("Operation attempted with invalid offers: {why}");
                self.drop_operation(framework, operation, &why);
                continue;
            }
            let why = format!("Task launched with invalid offers: {why}");
            self.refuse_tasks(
                framework,
                tasks_of(operation),
                state,
                task_status::Reason::InvalidOffers,
                &why,
            );
        }
    }

    pub(super) fn tasks_error<'a>(
        &mut self,
        framework: &str,
        tasks: impl Iterator<Item = &'a TaskInfo>,
        reason: task_status::Reason,
        why: &str,
    ) {
        self.refuse_tasks(framework, tasks, TaskState::TaskError, reason, why);
    }

    fn refuse_tasks<'a>(
        &mut self,
        framework: &str,
        tasks: impl Iterator<Item = &'a TaskInfo>,
        state: TaskState,
        reason: task_status::Reason,
        why: &str,
    ) {
        for task in tasks {
            let agent = Some(task.slave_id.value.as_str());
            let mut status = self.master_status(&task.task_id.value, state, agent, why);
            status.reason = Some(reason as i32);
            self.count_end(state, &status);
            self.update_event(framework, &status);
        }
    }

    /// Does an operation on resources, if the framework may and has them.
    fn operate(&mut self, framework: &str, purse: &mut Purse, operation: Operation) {
        let (Some(owner), Some(agent)) = (self.frameworks.get(framework), self.agents.get(&purse.agent))
        else {
            return;
        };
        if operation.id.is_some() && matches!(owner.link, Some(Link::Driver(_))) {
            let why = "The 'id' field was set in an offer operation, but operation feedback is not supported for the \
                       SchedulerDriver API; please use the HTTP scheduler API for this feature";
            let link = owner.link.clone();
            if let Some(link) = link {
                self.dismiss(&link, why);
            }
            return self.count("operations_dropped");
        }
        let valid = super::operations::may_feed_back(&operation, agent)
            .and_then(|()| validation::operation(&operation, &owner.info, &owner.roles, agent, &purse.role));
        let done = valid.and_then(|()| self.apply(Some(framework), purse, &operation));
        if let Err(why) = done {
            self.drop_operation(framework, &operation, &why);
        }
    }
}

/// Why launches of either kind are refused.
pub(super) fn invalid_reason(group: bool) -> task_status::Reason {
    if group { task_status::Reason::TaskGroupInvalid } else { task_status::Reason::TaskInvalid }
}

/// The tasks that an operation launches.
fn tasks_of(operation: &Operation) -> impl Iterator<Item = &TaskInfo> {
    let launched = operation.launch.iter().flat_map(|launch| &launch.task_infos);
    launched.chain(operation.launch_group.iter().flat_map(|group| &group.task_group.tasks))
}

/// Puts a resource into the newer format, allocated to the offers' role (`validateAndUpgradeResources`,
/// `injectAllocationInfo`).
fn prepare(resource: &mut mesos_proto::mesos::Resource, role: &str) -> Result<(), String> {
    reservations::upgrade(resource);
    let said = resource.allocation_info.as_ref().and_then(|allocation| allocation.role.as_deref());
    match said {
        Some(other) if other != role => {
            Err(format!("{} is allocated to role '{other}', but the offers are to '{role}'", resource.name))
        }
        _ => {
            reservations::allocate(resource, Some(role));
            Ok(())
        }
    }
}
