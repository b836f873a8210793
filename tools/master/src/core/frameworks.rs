//! Frameworks: subscription, failover, update, removal (src/master/master.cpp `subscribe`, `updateFramework`,
//! `removeFramework`).

use super::wishes::Wishes;
use super::{Completed, MasterCore, Output, valid_id, validation};
use crate::limits::{MAX_COMPLETED_FRAMEWORKS, MAX_COMPLETED_WITH_TASKS, MAX_FRAMEWORKS, MAX_ROLES};
use crate::state::{Framework, Link};
use libprocess::Upid;
use mesos_proto::internal::{ShutdownFrameworkMessage, UpdateFrameworkMessage};
use mesos_proto::mesos::{FrameworkId, FrameworkInfo, MasterInfo, TaskState, task_status};
use mesos_proto::pool::UNRESERVED;
use mesos_proto::recast;
use mesos_proto::v1::scheduler::{OfferConstraints, call};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where a subscription comes from.
pub(super) enum Arrival {
    /// A call over HTTP, to be answered with a new stream.
    Http { request: u64, stream: String },
    /// An actor. With `force` it takes the place of another.
    Driver { pid: Upid, force: bool },
}

impl MasterCore {
    pub(super) fn subscribe(
        &mut self,
        arrival: Arrival,
        mut info: FrameworkInfo,
        suppressed: Vec<String>,
        constraints: Option<OfferConstraints>,
    ) {
        let (link, force) = match arrival {
            Arrival::Http { request, stream } => {
                self.outputs.push(Output::Subscribed { request, stream: stream.clone() });
                (Link::Http(stream), true)
            }
            Arrival::Driver { pid, force } => (Link::Driver(pid), force),
        };
        let given = info.id.as_ref().map(|id| id.value.clone()).filter(|id| !id.is_empty());
        self.count(match given {
            None => "messages_register_framework",
            Some(_) => "messages_reregister_framework",
        });
        if let Link::Driver(pid) = &link
            && let Err(why) = self.driver_principal(pid, &mut info)
        {
            return self.refuse_framework(&link, &info, &why);
        }
        let wishes = match self.may_subscribe(given.as_deref(), &info) {
            Ok(()) => Wishes::read(&info, suppressed, constraints.as_ref()),
            Err(why) => Err(why),
        };
        let wishes = match wishes {
            Ok(wishes) => wishes,
            Err(why) => return self.refuse_framework(&link, &info, &why),
        };
        if let Link::Driver(pid) = &link
            && let Some(known) = self.by_driver.get(pid).cloned()
            && self.frameworks.get(&known).is_some_and(|framework| framework.connected)
        {
            match &given {
                None => return self.say_registered(&known, true),
                Some(id) if *id != known => {
                    tracing::warn!(framework = known, %pid, "already connected; another cannot be from there");
                    return self.count("subscriptions_refused");
                }
                Some(_) => {}
            }
        }
        let id = given.unwrap_or_else(|| self.new_framework_id());
        info.id = Some(FrameworkId { value: id.clone() });
        let known = match self.frameworks.get(&id) {
            None => None,
            Some(framework) => {
                validation::preserve(&framework.info, &mut info);
                if let Err(why) = validation::framework_update(&framework.info, &info) {
                    return self.refuse_framework(&link, &info, &why);
                }
                if !framework.recovered() && !force && framework.link.as_ref() != Some(&link) {
                    return self.refuse_framework(&link, &info, "Framework failed over");
                }
                Some(!framework.recovered())
            }
        };
        self.admit_framework(&id, info, wishes, link, known, force);
    }

    /// `known`: none if the framework is new, else whether it has been here since this master started.
    fn admit_framework(
        &mut self,
        id: &str,
        info: FrameworkInfo,
        wishes: Wishes,
        link: Link,
        known: Option<bool>,
        force: bool,
    ) {
        match known {
            None => {
                self.insert_framework(id, info);
                self.keep_framework(id);
            }
            // An actor that says again that it is here has to hear which of its offers are none any more.
            Some(_) => {
                self.rescind_framework(id, !force);
                self.change_framework(id, info);
            }
        }
        if let Some(framework) = self.frameworks.get_mut(id) {
            match known {
                None => framework.registered_ms = self.now_ms,
                Some(_) => framework.reregistered_ms = Some(self.now_ms),
            }
        }
        self.connect(id, link.clone());
        self.tell_allocator(id, wishes);
        // What it refused before it went away says nothing about now.
        self.allocator.set_framework_active(id, false);
        self.allocator.set_framework_active(id, true);
        tracing::info!(framework = id, failover = known.is_some(), "framework subscribed");
        self.count("subscriptions");
        self.say_registered(id, force || known != Some(true));
        if let Link::Http(stream) = link {
            self.heartbeat_later(stream);
        }
        if known.is_some() {
            self.watch_framework_updated(id);
            self.tell_agents(id);
        } else {
            self.watch_framework_added(id);
        }
        self.dirty.extend(self.agents.keys().cloned());
    }

    fn refuse_framework(&mut self, link: &Link, info: &FrameworkInfo, why: &str) {
        tracing::warn!(framework = info.name, why, "subscription refused");
        self.count("subscriptions_refused");
        self.dismiss(link, why);
    }

    /// A driver that has proved to be somebody is that one (`validateFrameworkAuthentication`).
    fn driver_principal(&self, pid: &Upid, info: &mut FrameworkInfo) -> Result<(), String> {
        let Some(proved) = self.authenticated.get(pid) else { return Ok(()) };
        match &info.principal {
            Some(said) if said != proved => {
                Err(format!("Framework principal '{said}' does not match authenticated principal '{proved}'"))
            }
            _ => {
                info.principal = Some(proved.clone());
                Ok(())
            }
        }
    }

    fn may_subscribe(&self, id: Option<&str>, info: &FrameworkInfo) -> Result<(), String> {
        validation::framework_info(info)?;
        if id.is_some_and(|id| self.completed.iter().any(|done| done.id == id)) {
            return Err("Framework has been removed".into());
        }
        if id.is_none_or(|id| !self.frameworks.contains_key(id)) && self.frameworks.len() >= MAX_FRAMEWORKS {
            return Err("too many frameworks; tear one down first".into());
        }
        Ok(())
    }

    pub(super) fn update_framework(&mut self, id: &str, update: call::UpdateFramework) -> Result<(), String> {
        let info: FrameworkInfo = recast(&update.framework_info)
            .map_err(|error| format!("Supplied FrameworkInfo is not valid: {error}"))?;
        validation::framework_info(&info)
            .map_err(|why| format!("Supplied FrameworkInfo is not valid: {why}"))?;
        let Some(framework) = self.frameworks.get(id) else { return Err("Framework cannot be found".into()) };
        validation::framework_update(&framework.info, &info)
            .map_err(|why| format!("FrameworkInfo update is not valid: {why}"))?;
        let wishes = Wishes::read(&info, update.suppressed_roles, update.offer_constraints.as_ref())
            .map_err(|why| format!("'UpdateFramework' call is not valid: {why}"))?;
        let changed = framework.info != info;
        self.change_framework(id, info);
        self.tell_allocator(id, wishes);
        if changed {
            self.watch_framework_updated(id);
            self.tell_agents(id);
        }
        self.dirty.extend(self.agents.keys().cloned());
        Ok(())
    }

    /// Takes what a framework says of itself now. Offers for roles that it has no more are withdrawn.
    fn change_framework(&mut self, id: &str, info: FrameworkInfo) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let changed = framework.info != info;
        framework.roles = validation::roles_of(&info);
        framework.info = info;
        let roles = framework.roles.clone();
        let stale =
            |offer: &&String| self.offers.get(*offer).is_some_and(|offer| !roles.contains(&offer.role));
        let stale: Vec<_> = framework.offers.iter().filter(stale).cloned().collect();
        stale.iter().for_each(|offer| self.rescind(offer, true));
        if changed {
            self.keep_framework(id);
        }
    }

    /// A framework that an agent reports; it may come back.
    pub(super) fn recover_framework(&mut self, id: &str, info: &FrameworkInfo) {
        let known = self.frameworks.contains_key(id) || self.completed.iter().any(|done| done.id == id);
        if known
            || !valid_id(id)
            || self.frameworks.len() >= MAX_FRAMEWORKS
            || validation::roles_of(info).len() > MAX_ROLES
        {
            return;
        }
        tracing::info!(framework = id, name = info.name, "framework recovered from an agent");
        self.insert_framework(id, info.clone());
        self.keep_framework(id);
        self.tell_allocator(id, Wishes::default());
        self.await_failover(id);
        self.watch_framework_added(id);
    }

    pub(super) fn insert_framework(&mut self, id: &str, info: FrameworkInfo) {
        let framework = Framework {
            roles: validation::roles_of(&info),
            info,
            link: None,
            connected: false,
            active: false,
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

    /// Agents that run something of a framework learn that it changed, and send again what is not acknowledged.
    fn tell_agents(&mut self, id: &str) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let message = UpdateFrameworkMessage {
            framework_id: FrameworkId { value: id.to_owned() },
            pid: Some(framework.pid()),
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
            let Some(mut killed) = self.remove_task(id, &task) else { continue };
            let mut status = self.master_status(
                &task,
                TaskState::TaskKilled,
                Some(&killed.slave_id.value),
                "Framework was removed",
            );
            status.reason = Some(task_status::Reason::FrameworkRemoved as i32);
            self.count_end(TaskState::TaskKilled, &status);
            killed.state = status.state;
            killed.statuses.push(status);
            if let Some(framework) = self.frameworks.get_mut(id) {
                framework.complete(killed);
            }
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
        self.disown_operations(id);
        self.forget_inverse_framework(id);
        if let Some(link) = framework.link {
            self.forget_link(&link, id);
            if let Link::Http(stream) = link {
                self.outputs.push(Output::Close { stream });
            }
        }
        tracing::info!(framework = id, "framework removed");
        self.count("frameworks_removed");
        self.watch_framework_removed(&framework.info);
        let done = Completed {
            id: id.to_owned(),
            info: framework.info,
            registered_ms: framework.registered_ms,
            unregistered_ms: framework.unregistered_ms,
            tasks: framework.completed,
        };
        self.keep_completed(&done);
        self.completed.push_back(done);
        let older = self.completed.len().checked_sub(MAX_COMPLETED_WITH_TASKS + 1);
        if let Some(older) = older.and_then(|at| self.completed.get_mut(at)) {
            older.tasks = VecDeque::new();
        }
        if self.completed.len() > MAX_COMPLETED_FRAMEWORKS
            && let Some(oldest) = self.completed.pop_front()
        {
            self.forget_completed(&oldest.id);
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
        use mesos_proto::mesos::master_info::{Capability, capability::Type};
        let capability = |kind: Type| Capability { r#type: Some(kind as i32) };
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
            capabilities: vec![capability(Type::AgentUpdate), capability(Type::AgentDraining)],
            ..Default::default()
        }
    }
}
