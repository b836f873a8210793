//! What operators see: `/state` and its parts as Mesos names them (src/master/http.cpp, src/common/http.cpp).
//! Reads the core, never changes it.

use crate::MESOS_VERSION;
use crate::core::{Completed, MasterCore};
use crate::state::{Agent, Framework, is_terminal};
use mesos_proto::mesos::{Attribute, ExecutorInfo, Labels, Task, TaskState, framework_info, slave_info};
use mesos_proto::pool::Pool;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A document about the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// `/state`
    State,
    /// `/state-summary`
    Summary,
    /// `/slaves`
    Slaves,
    /// `/frameworks`
    Frameworks,
    /// `/tasks`: at most `limit` from `offset`.
    Tasks {
        /// At most so many.
        limit: usize,
        /// After so many.
        offset: usize,
    },
    /// `/roles`
    Roles,
    /// `/metrics/snapshot`
    Metrics,
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

impl MasterCore {
    /// A document as JSON.
    pub fn view(&self, view: View) -> Value {
        match view {
            View::State => self.state(),
            View::Summary => self.summary(),
            View::Slaves => json!({
                "slaves": self.agents.iter().map(|(id, agent)| self.agent(id, agent)).collect::<Vec<_>>(),
                "recovered_slaves": [],
            }),
            View::Frameworks => json!({
                "frameworks": self.frameworks.iter().map(|(id, f)| self.framework(id, f)).collect::<Vec<_>>(),
                "completed_frameworks": self.completed.iter().map(completed).collect::<Vec<_>>(),
                "unregistered_frameworks": [],
            }),
            View::Tasks { limit, offset } => {
                let tasks = self.frameworks.values().flat_map(|framework| {
                    framework.tasks.values().map(|record| &record.task).chain(&framework.completed)
                });
                let tasks: Vec<_> = tasks.skip(offset).take(limit).map(task).collect();
                json!({ "tasks": tasks })
            }
            View::Roles => self.roles(),
            View::Metrics => self.metrics(),
        }
    }

    fn header(&self) -> Map<String, Value> {
        let address = self.config.address;
        let pid = format!("master@{address}");
        let header = json!({
            "version": MESOS_VERSION,
            "id": self.config.id,
            "pid": pid,
            "hostname": self.config.hostname,
            "start_time": seconds(self.started_ms),
            "elected_time": seconds(self.started_ms),
            "activated_slaves": self.agents.values().filter(|agent| agent.active()).count(),
            "deactivated_slaves": self.agents.values().filter(|agent| !agent.active()).count(),
            "unreachable_slaves": self.unreachable.len(),
            "leader": pid,
            "leader_info": {
                "id": self.config.id,
                "pid": pid,
                "port": address.port(),
                "hostname": self.config.hostname,
            },
            "cluster": self.config.cluster,
            "flags": self.flags(),
        });
        match header {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// The settings that have a flag of Mesos' master, and this master's own.
    pub(crate) fn flags(&self) -> BTreeMap<&'static str, String> {
        let secs = |ms| format!("{}secs", seconds(ms));
        BTreeMap::from([
            ("agent_ping_timeout", secs(self.config.ping_interval_ms)),
            ("max_agent_ping_timeouts", self.config.max_missed_pings.to_string()),
            ("agent_reregister_timeout", secs(crate::limits::AGENT_REREGISTER_TIMEOUT_MS)),
            ("allocation_interval", secs(self.config.allocation_ms)),
            ("allocation_policy", self.allocator.policy_name().to_owned()),
            ("authenticate_agents", self.config.authenticate_agents.to_string()),
            ("ip", self.config.address.ip().to_string()),
            ("port", self.config.address.port().to_string()),
            ("hostname", self.config.hostname.clone()),
            ("cluster", self.config.cluster.clone().unwrap_or_default()),
        ])
    }

    fn state(&self) -> Value {
        let mut state = self.header();
        for view in [View::Slaves, View::Frameworks] {
            if let Value::Object(part) = self.view(view) {
                state.extend(part);
            }
        }
        state.insert("orphan_tasks".into(), json!([]));
        Value::Object(state)
    }

    fn summary(&self) -> Value {
        let slaves: Vec<_> = self
            .agents
            .iter()
            .map(|(id, agent)| {
                let mut json = self.agent(id, agent);
                let frameworks: BTreeSet<_> = agent.tasks.iter().map(|(framework, _)| framework).collect();
                json["framework_ids"] = json!(frameworks);
                merge(json, tally(self.tasks_of(agent)))
            })
            .collect();
        let frameworks: Vec<_> = self
            .frameworks
            .iter()
            .map(|(id, framework)| {
                let agents: BTreeSet<_> =
                    framework.tasks.values().map(|record| &record.task.slave_id.value).collect();
                let mut json = self.framework(id, framework);
                if let Some(json) = json.as_object_mut() {
                    for long in ["tasks", "completed_tasks", "unreachable_tasks", "executors", "offers"] {
                        json.remove(long);
                    }
                }
                json["slave_ids"] = json!(agents);
                merge(json, tally(framework.tasks.values().map(|record| &record.task)))
            })
            .collect();
        json!({
            "hostname": self.config.hostname,
            "cluster": self.config.cluster,
            "slaves": slaves,
            "frameworks": frameworks,
        })
    }

    fn tasks_of<'a>(&'a self, agent: &'a Agent) -> impl Iterator<Item = &'a Task> {
        agent
            .tasks
            .iter()
            .filter_map(|(framework, task)| Some(&self.frameworks.get(framework)?.tasks.get(task)?.task))
    }

    fn agent(&self, id: &str, agent: &Agent) -> Value {
        let mut used = Pool::default();
        for (framework, task) in &agent.tasks {
            if let Some(record) = self.frameworks.get(framework).and_then(|f| f.tasks.get(task)) {
                used.add(&record.held);
            }
        }
        agent.executors.values().for_each(|executor| used.add(&executor.held));
        let mut offered = Pool::default();
        agent
            .offers
            .iter()
            .filter_map(|offer| self.offers.get(offer))
            .for_each(|offer| offered.add(&offer.resources));
        let reserved: BTreeMap<_, _> = agent
            .total
            .reserved_roles()
            .into_iter()
            .map(|role| (role.clone(), agent.total.to_json(Some(&role))))
            .collect();
        let attributes: Map<_, _> = agent
            .info
            .attributes
            .iter()
            .map(|attribute| (attribute.name.clone(), value(attribute)))
            .collect();
        let capabilities: Vec<_> = agent
            .capabilities
            .iter()
            .filter_map(|c| slave_info::capability::Type::try_from(*c).ok())
            .map(|c| c.as_str_name())
            .collect();
        json!({
            "id": id,
            "hostname": agent.info.hostname,
            "port": agent.info.port(),
            "pid": agent.pid.to_string(),
            "version": agent.version,
            "attributes": attributes,
            "resources": agent.total.to_json(None),
            "used_resources": used.to_json(None),
            "offered_resources": offered.to_json(None),
            "unreserved_resources": agent.total.to_json(Some(mesos_proto::pool::UNRESERVED)),
            "reserved_resources": reserved,
            "capabilities": capabilities,
            "registered_time": seconds(agent.registered_ms),
            "reregistered_time": agent.reregistered_ms.map(seconds),
            "connected": agent.connected,
            "active": agent.active(),
            "deactivated": false,
        })
    }

    fn framework(&self, id: &str, framework: &Framework) -> Value {
        let mut used = Pool::default();
        framework.tasks.values().for_each(|record| used.add(&record.held));
        let executors: Vec<Value> = self
            .agents
            .iter()
            .flat_map(|(agent, record)| record.executors.iter().map(move |entry| (agent, entry)))
            .filter(|(_, ((owner, _), _))| owner == id)
            .map(|(agent, (_, entry))| executor(agent, &entry.info, &entry.held))
            .collect();
        let mut offered = Pool::default();
        let offers: Vec<_> = framework
            .offers
            .iter()
            .filter_map(|offer| Some((offer, self.offers.get(offer)?)))
            .map(|(offer, record)| {
                offered.add(&record.resources);
                json!({
                    "id": offer, "framework_id": id, "slave_id": record.agent,
                    "allocation_info": {"role": record.role}, "resources": record.resources.to_json(None),
                })
            })
            .collect();
        let active: Vec<_> = framework
            .tasks
            .values()
            .map(|record| &record.task)
            .filter(|task| !is_terminal(task.state()))
            .map(task)
            .collect();
        let over: Vec<_> = framework
            .tasks
            .values()
            .map(|record| &record.task)
            .filter(|task| is_terminal(task.state()))
            .chain(&framework.completed)
            .map(task)
            .collect();
        let unreachable: Vec<_> = framework
            .unreachable
            .iter()
            .map(|(task, agent)| json!({"id": task, "slave_id": agent, "state": "TASK_UNREACHABLE"}))
            .collect();
        let capabilities: Vec<_> = framework
            .info
            .capabilities
            .iter()
            .filter_map(|c| framework_info::capability::Type::try_from(c.r#type?).ok())
            .map(|c| c.as_str_name())
            .collect();
        let info = &framework.info;
        json!({
            "id": id, "name": info.name, "user": info.user, "principal": info.principal,
            "hostname": info.hostname(), "webui_url": info.webui_url(),
            "role": framework.roles.first(), "roles": framework.roles,
            "capabilities": capabilities, "checkpoint": info.checkpoint(),
            "failover_timeout": info.failover_timeout(), "labels": labels(info.labels.as_ref()),
            "active": framework.active, "connected": framework.connected, "recovered": framework.recovered(),
            "registered_time": seconds(framework.registered_ms),
            "reregistered_time": framework.reregistered_ms.map(seconds),
            "unregistered_time": 0.0,
            "used_resources": used.to_json(None), "offered_resources": offered.to_json(None),
            "resources": used.to_json(None),
            "tasks": active, "completed_tasks": over, "unreachable_tasks": unreachable,
            "executors": executors, "offers": offers,
        })
    }

    fn roles(&self) -> Value {
        let mut roles: BTreeMap<&String, (Vec<&String>, Pool)> = BTreeMap::new();
        for (id, framework) in &self.frameworks {
            for role in &framework.roles {
                roles.entry(role).or_default().0.push(id);
            }
            for record in framework.tasks.values() {
                roles.entry(&record.role).or_default().1.add(&record.held);
            }
        }
        let roles: Vec<_> = roles
            .into_iter()
            .map(|(role, (frameworks, used))| {
                json!({"name": role, "frameworks": frameworks, "resources": used.to_json(None)})
            })
            .collect();
        json!({ "roles": roles })
    }

    fn metrics(&self) -> Value {
        let mut metrics = Map::new();
        let mut put = |name: &str, value: f64| metrics.insert(format!("master/{name}"), value.into());
        put("uptime_secs", seconds(self.now_ms.saturating_sub(self.started_ms)));
        put("elected", 1.0);
        let count = |n: usize| n as f64;
        let connected = self.agents.values().filter(|agent| agent.connected).count();
        put("slaves_connected", count(connected));
        put("slaves_active", count(connected));
        put("slaves_disconnected", count(self.agents.len() - connected));
        put("slaves_inactive", count(self.agents.len() - connected));
        put("slaves_unreachable", count(self.unreachable.len()));
        let subscribed = self.frameworks.values().filter(|framework| framework.connected).count();
        put("frameworks_connected", count(subscribed));
        put("frameworks_active", count(subscribed));
        put("frameworks_disconnected", count(self.frameworks.len() - subscribed));
        put("outstanding_offers", count(self.offers.len()));
        let tasks = self.frameworks.values().flat_map(|framework| framework.tasks.values());
        if let Value::Object(now) = tally(tasks.map(|record| &record.task)) {
            for state in ["STAGING", "STARTING", "RUNNING", "KILLING"] {
                let number = now.get(&format!("TASK_{state}")).and_then(Value::as_f64).unwrap_or(0.0);
                put(&format!("tasks_{}", state.to_lowercase()), number);
            }
        }
        let (mut total, mut used) = (Pool::default(), Pool::default());
        for (id, agent) in &self.agents {
            total.add(&agent.total);
            if let Some(more) = self.allocator.used(id) {
                used.add(more);
            }
        }
        let (total, used) = (total.quantities(), used.quantities());
        for name in ["cpus", "mem", "disk", "gpus"] {
            put(&format!("{name}_total"), total.get(name));
            put(&format!("{name}_used"), used.get(name));
            let share = if total.milli(name) > 0 { used.get(name) / total.get(name) } else { 0.0 };
            put(&format!("{name}_percent"), share);
        }
        for (name, number) in &self.counters {
            put(name, *number as f64);
        }
        Value::Object(metrics)
    }
}

fn merge(mut into: Value, from: Value) -> Value {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
    into
}

/// Tasks by state, all states present.
fn tally<'a>(tasks: impl Iterator<Item = &'a Task>) -> Value {
    let mut states = Map::new();
    for number in TaskState::TaskStarting as i32..=TaskState::TaskUnknown as i32 {
        if let Ok(state) = TaskState::try_from(number) {
            states.insert(state.as_str_name().into(), 0.into());
        }
    }
    for task in tasks {
        let name = task.state().as_str_name();
        let number = states.get(name).and_then(Value::as_u64).unwrap_or(0);
        states.insert(name.into(), (number + 1).into());
    }
    Value::Object(states)
}

fn completed(done: &Completed) -> Value {
    json!({
        "id": done.id, "name": done.name, "user": done.user, "active": false, "connected": false,
        "registered_time": seconds(done.registered_ms), "unregistered_time": seconds(done.unregistered_ms),
        "tasks": [], "completed_tasks": [], "executors": [], "offers": [],
    })
}

fn task(task: &Task) -> Value {
    let statuses: Vec<_> = task
        .statuses
        .iter()
        .map(|status| {
            let mut json = json!({"state": status.state().as_str_name(), "timestamp": status.timestamp});
            if let Some(message) = &status.message {
                json["message"] = message.clone().into();
            }
            if status.source.is_some() {
                json["source"] = status.source().as_str_name().into();
            }
            if status.reason.is_some() {
                json["reason"] = status.reason().as_str_name().into();
            }
            if let Some(healthy) = status.healthy {
                json["healthy"] = healthy.into();
            }
            json
        })
        .collect();
    let role = task.resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.clone());
    json!({
        "id": task.task_id.value, "name": task.name, "framework_id": task.framework_id.value,
        "executor_id": task.executor_id.as_ref().map_or("", |id| id.value.as_str()),
        "slave_id": task.slave_id.value, "state": task.state().as_str_name(),
        "resources": Pool::of(&task.resources).unwrap_or_default().to_json(None),
        "role": role.as_deref().unwrap_or(mesos_proto::pool::UNRESERVED),
        "statuses": statuses, "labels": labels(task.labels.as_ref()), "user": task.user,
    })
}

fn executor(agent: &str, info: &ExecutorInfo, held: &Pool) -> Value {
    json!({
        "executor_id": info.executor_id.value, "name": info.name(), "slave_id": agent,
        "framework_id": info.framework_id.as_ref().map(|id| id.value.as_str()),
        "resources": held.to_json(None),
    })
}

fn labels(labels: Option<&Labels>) -> Value {
    let labels = labels.map_or(&[][..], |labels| &labels.labels);
    labels
        .iter()
        .map(|label| match &label.value {
            Some(value) => json!({"key": label.key, "value": value}),
            None => json!({"key": label.key}),
        })
        .collect()
}

fn value(attribute: &Attribute) -> Value {
    if let Some(scalar) = &attribute.scalar {
        scalar.value.into()
    } else if let Some(text) = &attribute.text {
        text.value.clone().into()
    } else if let Some(ranges) = &attribute.ranges {
        let parts: Vec<_> = ranges.range.iter().map(|r| format!("{}-{}", r.begin, r.end)).collect();
        format!("[{}]", parts.join(", ")).into()
    } else {
        let items = attribute.set.as_ref().map(|set| set.item.join(", ")).unwrap_or_default();
        format!("{{{items}}}").into()
    }
}
