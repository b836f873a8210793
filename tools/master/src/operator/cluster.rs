//! What the cluster looks like in the operator API's messages: agents, frameworks, executors, tasks, roles. Reads the
//! core, never changes it.

use super::{Outcome, answer};
use crate::core::{Completed, MasterCore};
use crate::state::{Agent, Framework, is_terminal};
use crate::sums::{ByRole, Executors, used_by};
use mesos_proto::mesos;
use mesos_proto::pool::{Pool, UNRESERVED};
use mesos_proto::recast;
use mesos_proto::v1::master::Response;
use mesos_proto::v1::master::call::Type as Asked;
use mesos_proto::v1::master::response::{
    self, GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks, Type, get_agents, get_executors,
    get_frameworks,
};
use mesos_proto::v1::{self, AgentId, FrameworkId, OfferId, Resource, Role, Task, TimeInfo};
use std::collections::BTreeMap;

impl MasterCore {
    pub(super) fn cluster(&self, asked: Asked) -> Outcome {
        let of = |kind: Type| Response { r#type: Some(kind as i32), ..Default::default() };
        answer(match asked {
            Asked::GetAgents => Response { get_agents: Some(self.get_agents()), ..of(Type::GetAgents) },
            Asked::GetFrameworks => {
                Response { get_frameworks: Some(self.get_frameworks()), ..of(Type::GetFrameworks) }
            }
            Asked::GetExecutors => {
                Response { get_executors: Some(self.get_executors()), ..of(Type::GetExecutors) }
            }
            Asked::GetTasks => Response { get_tasks: Some(self.get_tasks()), ..of(Type::GetTasks) },
            Asked::GetRoles => Response { get_roles: Some(self.get_roles()), ..of(Type::GetRoles) },
            Asked::GetOperations => {
                Response { get_operations: Some(self.get_operations()), ..of(Type::GetOperations) }
            }
            _ => Response { get_state: Some(self.get_state()), ..of(Type::GetState) },
        })
    }

    fn get_operations(&self) -> response::GetOperations {
        let all = self.agents.values().flat_map(|agent| agent.operations.values());
        response::GetOperations { operations: all.filter_map(|operation| recast(operation).ok()).collect() }
    }

    /// Everything at once, as a new subscriber gets it too.
    pub(super) fn get_state(&self) -> GetState {
        GetState {
            get_tasks: Some(self.get_tasks()),
            get_executors: Some(self.get_executors()),
            get_frameworks: Some(self.get_frameworks()),
            get_agents: Some(self.get_agents()),
        }
    }

    fn get_agents(&self) -> GetAgents {
        let agents = self.agents.iter().filter_map(|(id, agent)| self.agent_message(id, agent)).collect();
        let recovered = self.recovered.values().filter_map(|record| agent_info(&record.info)).collect();
        GetAgents { agents, recovered_agents: recovered }
    }

    /// An agent as subscribers and `GET_AGENTS` show it; none if it does not cast, which does not happen.
    pub(super) fn agent_message(&self, id: &str, agent: &Agent) -> Option<get_agents::Agent> {
        let mut agent_info = agent_info(&agent.info)?;
        agent_info.id = Some(AgentId { value: id.to_owned() });
        agent_info.resources = shown(&agent.total, None);
        let drain = self.drains.get(id);
        let capability = |kind: &i32| v1::agent_info::Capability { r#type: Some(*kind) };
        Some(get_agents::Agent {
            agent_info,
            active: agent.active(),
            version: agent.version.clone(),
            pid: Some(agent.pid.to_string()),
            registered_time: time(agent.registered_ms),
            reregistered_time: agent.reregistered_ms.and_then(time),
            total_resources: shown(&agent.total, None),
            allocated_resources: shown_by_role(&self.used_of(agent)),
            offered_resources: shown_by_role(&self.offered(&agent.offers)),
            capabilities: agent.capabilities.iter().map(capability).collect(),
            deactivated: Some(drain.is_some()),
            drain_info: drain.and_then(|drain| recast(drain.info.as_ref()?).ok()),
            estimated_drain_start_time: drain
                .filter(|drain| drain.info.is_some())
                .and_then(|drain| time(drain.since_ms)),
        })
    }

    fn get_frameworks(&self) -> GetFrameworks {
        let executors = self.executors();
        let nothing = Executors::new();
        let message = |(id, own): (&String, &Framework)| {
            self.framework_message(id, own, executors.get(id.as_str()).unwrap_or(&nothing))
        };
        GetFrameworks {
            frameworks: self.frameworks.iter().filter_map(message).collect(),
            completed_frameworks: self.completed.iter().filter_map(completed).collect(),
        }
    }

    /// A framework as subscribers and `GET_FRAMEWORKS` show it; none if it does not cast, which does not happen.
    pub(super) fn framework_message(
        &self,
        id: &str,
        framework: &Framework,
        executors: &Executors<'_>,
    ) -> Option<get_frameworks::Framework> {
        let offers = framework.offers.iter().filter_map(|offer| self.offer_message(id, offer)).collect();
        Some(get_frameworks::Framework {
            framework_info: recast(&framework.info).ok()?,
            active: framework.active,
            connected: framework.connected,
            registered_time: time(framework.registered_ms),
            reregistered_time: framework.reregistered_ms.and_then(time),
            unregistered_time: None,
            offers,
            allocated_resources: shown_by_role(&used_by(framework, executors)),
            offered_resources: shown_by_role(&self.offered(&framework.offers)),
            recovered: framework.recovered(),
        })
    }

    fn offer_message(&self, framework: &str, id: &str) -> Option<v1::Offer> {
        let record = self.offers.get(id)?;
        let agent = self.agents.get(&record.agent)?;
        Some(v1::Offer {
            id: OfferId { value: id.to_owned() },
            framework_id: FrameworkId { value: framework.to_owned() },
            agent_id: AgentId { value: record.agent.clone() },
            hostname: agent.info.hostname.clone(),
            resources: shown(&record.resources, Some(&record.role)),
            attributes: agent.info.attributes.iter().filter_map(|a| recast(a).ok()).collect(),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some(record.role.clone()) }),
            ..Default::default()
        })
    }

    fn get_executors(&self) -> GetExecutors {
        let all = self
            .agents
            .iter()
            .flat_map(|(id, agent)| agent.executors.values().map(move |executor| (id, executor)));
        let message = |(agent, executor): (&String, &crate::state::Executor)| {
            Some(get_executors::Executor {
                executor_info: recast(&executor.info).ok()?,
                agent_id: AgentId { value: agent.clone() },
            })
        };
        GetExecutors { executors: all.filter_map(message).collect() }
    }

    fn get_tasks(&self) -> GetTasks {
        let mut all = GetTasks::default();
        for framework in self.frameworks.values() {
            for record in framework.tasks.values() {
                let list =
                    if is_terminal(record.task.state()) { &mut all.completed_tasks } else { &mut all.tasks };
                list.extend(task_message(&record.task));
            }
            all.unreachable_tasks.extend(framework.unreachable.values().filter_map(task_message));
            all.completed_tasks.extend(framework.completed.iter().filter_map(task_message));
        }
        let over = self.completed.iter().flat_map(|done| &done.tasks);
        all.completed_tasks.extend(over.filter_map(task_message));
        all
    }

    fn get_roles(&self) -> response::GetRoles {
        let mut roles: BTreeMap<&str, (Vec<FrameworkId>, Pool)> = BTreeMap::new();
        for role in self.allocator.weights().keys() {
            roles.entry(role).or_default();
        }
        for (id, framework) in &self.frameworks {
            for role in &framework.roles {
                roles.entry(role).or_default().0.push(FrameworkId { value: id.clone() });
            }
        }
        for agent in self.agents.values() {
            for (role, pool) in self.used_of(agent).into_iter().chain(self.offered(&agent.offers)) {
                roles.entry(role).or_default().1.add(&pool);
            }
        }
        let weight = |role: &str| self.allocator.weights().get(role).copied().unwrap_or(1.0);
        let roles = roles.into_iter().map(|(name, (frameworks, pool))| Role {
            name: name.to_owned(),
            weight: weight(name),
            frameworks,
            resources: shown(&pool, None),
        });
        response::GetRoles { roles: roles.collect() }
    }
}

fn time(ms: u64) -> Option<TimeInfo> {
    let nanoseconds = i64::try_from(ms).ok()?.checked_mul(1_000_000)?;
    Some(TimeInfo { nanoseconds })
}

fn shown_by_role(all: &ByRole<'_>) -> Vec<Resource> {
    all.iter().flat_map(|(role, pool)| shown(pool, Some(role))).collect()
}

/// Resources as endpoints show them: the role in the old field as well as the reservation in the new one
/// (src/common/resources_utils.cpp, `convertResourceFormat` to ENDPOINT).
fn shown(pool: &Pool, allocated_to: Option<&str>) -> Vec<Resource> {
    let cast = pool.to_resources(allocated_to, true).into_iter().filter_map(|resource| {
        let mut resource: Resource = recast(&resource).ok()?;
        let reserved = resource.reservations.last().and_then(|reservation| reservation.role.clone());
        resource.role = Some(reserved.unwrap_or_else(|| UNRESERVED.into()));
        Some(resource)
    });
    cast.collect()
}

/// A task as the v1 API has it.
pub(super) fn task_message(task: &mesos::Task) -> Option<Task> {
    recast(task).ok()
}

fn completed(done: &Completed) -> Option<get_frameworks::Framework> {
    Some(get_frameworks::Framework {
        framework_info: recast(&done.info).ok()?,
        registered_time: time(done.registered_ms),
        unregistered_time: time(done.unregistered_ms),
        ..Default::default()
    })
}

fn agent_info(info: &mesos::SlaveInfo) -> Option<v1::AgentInfo> {
    let mut info = info.clone();
    // The v1 API has no such field.
    info.checkpoint = None;
    recast(&info).ok()
}
