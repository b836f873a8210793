//! Frameworks: subscription, failover, removal (src/master/master.cpp `subscribe`,
//! `removeFramework`).

use super::{Completed, MasterCore, Output, Timer, valid_id};
use crate::allocator::Abilities;
use crate::limits::{MAX_COMPLETED_FRAMEWORKS, MAX_DURATION_MS, MAX_FRAMEWORKS, MAX_ROLES};
use crate::state::Framework;
use mesos_proto::internal::{ShutdownFrameworkMessage, UpdateFrameworkMessage};
use mesos_proto::mesos::{FrameworkId, FrameworkInfo, MasterInfo, framework_info};
use mesos_proto::pool::UNRESERVED;
use mesos_proto::recast;
use mesos_proto::resources::{Scalars, milli};
use mesos_proto::v1::scheduler::{Event, call, event};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

impl MasterCore {
    pub(super) fn subscribe(
        &mut self,
        request: u64,
        stream: String,
        mut info: FrameworkInfo,
        suppressed: Vec<String>,
    ) {
        self.outputs.push(Output::Subscribed { request, stream: stream.clone() });
        let given = info.id.as_ref().map(|id| id.value.clone()).filter(|id| !id.is_empty());
        if let Err(why) = self.may_subscribe(given.as_deref(), &info, &suppressed) {
            tracing::warn!(framework = info.name, why, "subscription refused");
            self.count("subscriptions_refused");
            return self.end_stream(stream, &why);
        }
        let id = given.unwrap_or_else(|| self.new_framework_id());
        info.id = Some(FrameworkId { value: id.clone() });
        let roles = roles_of(&info);
        let known = self.frameworks.contains_key(&id);
        if known {
            // Another instance takes over, or the same one comes back.
            let old = self.frameworks.get_mut(&id).and_then(|framework| framework.stream.take());
            if let Some(old) = old {
                self.by_stream.remove(&old);
                self.end_stream(old, "Framework failed over");
            }
            self.rescind_framework(&id, false);
        } else {
            self.insert_framework(&id, info.clone());
        }
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.info = info.clone();
            framework.roles.clone_from(&roles);
            framework.stream = Some(stream.clone());
            framework.failover_ms = None;
            if known {
                framework.reregistered_ms = Some(self.now_ms);
            } else {
                framework.registered_ms = self.now_ms;
            }
        }
        self.by_stream.insert(stream.clone(), id.clone());
        self.tell_allocator(&id, &suppressed);
        // What it refused before it went away says nothing about now.
        self.allocator.set_framework_active(&id, false);
        self.allocator.set_framework_active(&id, true);
        tracing::info!(framework = id, name = info.name, failover = known, "framework subscribed");
        self.count("subscriptions");
        let subscribed = event::Subscribed {
            framework_id: mesos_proto::v1::FrameworkId { value: id.clone() },
            heartbeat_interval_seconds: Some(self.config.heartbeat_ms as f64 / 1000.0),
            master_info: recast(&self.master_info()).ok(),
        };
        let event = Event {
            r#type: Some(event::Type::Subscribed as i32),
            subscribed: Some(subscribed),
            ..Default::default()
        };
        self.event(&id, event);
        self.timers.insert((self.now_ms + self.config.heartbeat_ms.max(1), Timer::Heartbeat(stream)));
        if known {
            self.watch_framework_updated(&id);
            self.tell_agents(&id);
        } else {
            self.watch_framework_added(&id);
        }
        self.dirty.extend(self.agents.keys().cloned());
    }

    fn may_subscribe(
        &self,
        id: Option<&str>,
        info: &FrameworkInfo,
        suppressed: &[String],
    ) -> Result<(), String> {
        let roles = roles_of(info);
        if let Some(role) = roles.iter().find(|role| !valid_role(role)) {
            return Err(format!("'{role}' is not a valid role"));
        }
        if roles.len() > MAX_ROLES {
            return Err(format!("more than {MAX_ROLES} roles"));
        }
        if let Some(role) = suppressed.iter().find(|role| !roles.contains(*role)) {
            return Err(format!("suppressed role '{role}' is not one of the framework's"));
        }
        if !info.failover_timeout().is_finite() || info.failover_timeout() < 0.0 {
            return Err(format!("invalid failover timeout {}", info.failover_timeout()));
        }
        if let Some(id) = id {
            if !valid_id(id) {
                return Err("invalid framework id".into());
            }
            if self.completed.iter().any(|done| done.id == id) {
                return Err("Framework has been removed".into());
            }
            if self.frameworks.contains_key(id) {
                return Ok(());
            }
        }
        if self.frameworks.len() >= MAX_FRAMEWORKS {
            return Err("too many frameworks".into());
        }
        Ok(())
    }

    pub(super) fn update_framework(&mut self, id: &str, update: call::UpdateFramework) -> Result<(), String> {
        let mut info: FrameworkInfo = recast(&update.framework_info)
            .map_err(|error| format!("Failed to read 'framework_info': {error}"))?;
        if info.id.as_ref().is_some_and(|given| given.value != id) {
            return Err("'framework_id' differs from 'update_framework.framework_info.id'".into());
        }
        info.id = Some(FrameworkId { value: id.to_owned() });
        self.may_subscribe(Some(id), &info, &update.suppressed_roles)?;
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.roles = roles_of(&info);
            framework.info = info;
        }
        self.tell_allocator(id, &update.suppressed_roles);
        self.watch_framework_updated(id);
        self.tell_agents(id);
        self.dirty.extend(self.agents.keys().cloned());
        Ok(())
    }

    /// A framework that an agent reports; it may come back.
    pub(super) fn recover_framework(&mut self, id: &str, info: &FrameworkInfo) {
        let known = self.frameworks.contains_key(id) || self.completed.iter().any(|done| done.id == id);
        if known
            || !valid_id(id)
            || self.frameworks.len() >= MAX_FRAMEWORKS
            || roles_of(info).len() > MAX_ROLES
        {
            return;
        }
        tracing::info!(framework = id, name = info.name, "framework recovered from an agent");
        self.insert_framework(id, info.clone());
        self.tell_allocator(id, &[]);
        self.await_failover(id);
        self.watch_framework_added(id);
    }

    fn insert_framework(&mut self, id: &str, info: FrameworkInfo) {
        let framework = Framework {
            roles: roles_of(&info),
            info,
            stream: None,
            registered_ms: self.now_ms,
            reregistered_ms: None,
            unregistered_ms: 0,
            failover_ms: None,
            tasks: BTreeMap::new(),
            completed: VecDeque::new(),
            unreachable: BTreeMap::new(),
            offers: BTreeSet::new(),
        };
        self.frameworks.insert(id.to_owned(), framework);
    }

    fn tell_allocator(&mut self, id: &str, suppressed: &[String]) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let abilities = Abilities {
            multi_role: framework.has(framework_info::capability::Type::MultiRole),
            gpus: framework.has(framework_info::capability::Type::GpuResources),
            ..Abilities::default()
        };
        let mut least = BTreeMap::new();
        for (role, filters) in &framework.info.offer_filters {
            let Some(alternatives) = &filters.min_allocatable_resources else { continue };
            let alternatives: Vec<_> = alternatives
                .quantities
                .iter()
                .map(|all| {
                    Scalars::from_amounts(all.quantities.iter().map(|(name, v)| (name.as_str(), v.value)))
                })
                .collect();
            least.insert(role.clone(), alternatives);
        }
        let suppressed = suppressed.iter().cloned().collect();
        self.allocator.add_framework(id, framework.roles.clone(), suppressed, abilities, least);
    }

    /// Agents that run something of a framework learn that it changed, and send again what is not acknowledged.
    fn tell_agents(&mut self, id: &str) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let message = UpdateFrameworkMessage {
            framework_id: FrameworkId { value: id.to_owned() },
            pid: Some(super::tasks::HTTP_SCHEDULER_PID.into()),
            framework_info: Some(framework.info.clone()),
        };
        for pid in self.agents_of(id) {
            self.send(&pid, &message);
        }
    }

    fn agents_of(&self, id: &str) -> Vec<libprocess::Upid> {
        let Some(framework) = self.frameworks.get(id) else { return Vec::new() };
        let mut ids: BTreeSet<&str> =
            framework.tasks.values().map(|record| record.task.slave_id.value.as_str()).collect();
        let executors = self.agents.iter().filter(|(_, agent)| agent.executors.keys().any(|(f, _)| f == id));
        ids.extend(executors.map(|(id, _)| id.as_str()));
        let connected = |id: &str| self.agents.get(id).filter(|agent| agent.connected);
        ids.into_iter().filter_map(|id| connected(id).map(|agent| agent.pid.clone())).collect()
    }

    pub(super) fn heartbeat(&mut self, stream: String) {
        if !self.by_stream.contains_key(&stream) {
            return;
        }
        let event = Event { r#type: Some(event::Type::Heartbeat as i32), ..Default::default() };
        self.outputs.push(Output::Event { stream: stream.clone(), event: Box::new(event) });
        self.timers.insert((self.now_ms + self.config.heartbeat_ms.max(1), Timer::Heartbeat(stream)));
    }

    pub(super) fn stream_closed(&mut self, stream: &str) {
        let Some(id) = self.by_stream.remove(stream) else { return };
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        framework.stream = None;
        tracing::info!(framework = id, "framework disconnected");
        self.allocator.set_framework_active(&id, false);
        self.rescind_framework(&id, false);
        self.await_failover(&id);
    }

    fn await_failover(&mut self, id: &str) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let seconds = framework.info.failover_timeout();
        let timeout = if seconds.is_finite() { (seconds.max(0.0) * 1000.0) as u64 } else { 0 };
        let due = self.now_ms + timeout.min(MAX_DURATION_MS);
        framework.failover_ms = Some(due);
        self.timers.insert((due, Timer::Failover(id.to_owned())));
    }

    fn end_stream(&mut self, stream: String, why: &str) {
        let event = Event {
            r#type: Some(event::Type::Error as i32),
            error: Some(event::Error { message: why.to_owned() }),
            ..Default::default()
        };
        self.outputs.push(Output::Event { stream: stream.clone(), event: Box::new(event) });
        self.outputs.push(Output::Close { stream });
    }

    /// Ends a framework: its tasks are killed without updates, its id does not come back.
    pub(crate) fn remove_framework(&mut self, id: &str) {
        let agents = self.agents_of(id);
        self.rescind_framework(id, false);
        let message = ShutdownFrameworkMessage { framework_id: FrameworkId { value: id.to_owned() } };
        for pid in agents {
            self.send(&pid, &message);
        }
        let tasks: Vec<_> = self
            .frameworks
            .get(id)
            .into_iter()
            .flat_map(|framework| framework.tasks.keys().cloned())
            .collect();
        for task in tasks {
            self.remove_task(id, &task);
        }
        let executors: Vec<_> = self
            .agents
            .iter()
            .flat_map(|(agent, record)| record.executors.keys().map(move |key| (agent.clone(), key.clone())))
            .filter(|(_, (framework, _))| framework == id)
            .collect();
        for (agent, key) in executors {
            self.drop_executor(&agent, &key);
        }
        let Some(mut framework) = self.frameworks.remove(id) else { return };
        framework.unregistered_ms = self.now_ms;
        self.allocator.remove_framework(id);
        if let Some(stream) = framework.stream {
            self.by_stream.remove(&stream);
            self.outputs.push(Output::Close { stream });
        }
        tracing::info!(framework = id, "framework removed");
        self.count("frameworks_removed");
        self.watch_framework_removed(&framework.info);
        self.completed.push_back(Completed {
            id: id.to_owned(),
            name: framework.info.name,
            user: framework.info.user,
            registered_ms: framework.registered_ms,
            unregistered_ms: framework.unregistered_ms,
        });
        if self.completed.len() > MAX_COMPLETED_FRAMEWORKS {
            self.completed.pop_front();
        }
    }

    /// The role that resources are allocated to, or the framework's first.
    pub(super) fn role_of(&self, framework: &str, resources: &[mesos_proto::mesos::Resource]) -> String {
        let allocated = resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.clone());
        allocated
            .or_else(|| self.frameworks.get(framework)?.roles.first().cloned())
            .unwrap_or_else(|| UNRESERVED.into())
    }

    /// This master, as peers are told.
    pub fn master_info(&self) -> MasterInfo {
        let address = self.config.address;
        MasterInfo {
            id: self.config.id.clone(),
            // In memory in network order, whatever the machine (include/mesos/mesos.proto, `MasterInfo.ip`).
            ip: u32::from_ne_bytes(address.ip().octets()),
            port: u32::from(address.port()),
            pid: Some(format!("master@{address}")),
            hostname: Some(self.config.hostname.clone()),
            version: Some(crate::MESOS_VERSION.into()),
            address: Some(mesos_proto::mesos::Address {
                hostname: Some(self.config.hostname.clone()),
                ip: Some(address.ip().to_string()),
                port: i32::from(address.port()),
            }),
            ..Default::default()
        }
    }
}

/// A framework's roles: `roles` if it can have several, else `role`.
fn roles_of(info: &FrameworkInfo) -> BTreeSet<String> {
    let multi = framework_info::capability::Type::MultiRole as i32;
    if info.capabilities.iter().any(|capability| capability.r#type == Some(multi)) {
        info.roles.iter().cloned().collect()
    } else {
        BTreeSet::from([info.role().to_owned()])
    }
}

/// src/common/roles.cpp, `validate`.
fn valid_role(role: &str) -> bool {
    role == UNRESERVED
        || role.len() <= crate::limits::MAX_ID
            && role.split('/').all(|part| {
                !part.is_empty()
                    && part != "."
                    && part != ".."
                    && part != UNRESERVED
                    && !part.starts_with('-')
                    && !part.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\')
            })
}

/// An amount of seconds as a filter takes it: 5 s for what is negative or no number, at most a year.
pub(super) fn refuse_ms(seconds: Option<f64>, least_ms: u64) -> u64 {
    let seconds = seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(crate::limits::DEFAULT_REFUSE_SECONDS);
    let wanted = u64::try_from(milli(seconds.min(MAX_DURATION_MS as f64 / 1000.0))).unwrap_or(0);
    wanted.clamp(least_ms, MAX_DURATION_MS)
}
