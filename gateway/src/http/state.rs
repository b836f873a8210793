//! `/state` and what else a real agent tells of itself (src/slave/http.cpp, src/common/http.cpp), and `/nodes`, the
//! gateway's own.

use super::MESOS_VERSION;
use crate::agent::{Agents, Snapshot, TaskSnapshot};
use crate::energy;
use crate::session::Sessions;
use mesos_proto::mesos::{self, Attribute, Resource, TaskState, executor_info};
use mesos_proto::pool::{Pool, UNRESERVED};
use mesos_proto::resources::Scalars;
use node_proto::Power;
use serde_json::{Map, Value, json};

/// Where a task's sandbox is, as `/state` says and `/files` understands it. Unique over all agents of a gateway,
/// because the web UI asks for files without saying whose.
pub(super) fn directory(slave_id: &str, framework: &str, executor: &str) -> String {
    let container = crate::agent::container_id(slave_id, framework, executor);
    format!("/slaves/{slave_id}/frameworks/{framework}/executors/{executor}/runs/{container}")
}

fn resources(list: &[Resource]) -> Value {
    Pool::of(list).unwrap_or_default().to_json(None).into()
}

pub(crate) fn attributes(list: &[Attribute]) -> Map<String, Value> {
    let mut map: Map<String, Value> = Map::new();
    for attribute in list {
        let value = if let Some(scalar) = attribute.scalar {
            json!(scalar.value)
        } else if let Some(text) = &attribute.text {
            json!(text.value)
        } else if let Some(ranges) = &attribute.ranges {
            let ranges: Vec<String> = ranges.range.iter().map(|r| format!("{}-{}", r.begin, r.end)).collect();
            json!(format!("[{}]", ranges.join(", ")))
        } else {
            let items = attribute.set.as_ref().map(|set| set.item.join(", ")).unwrap_or_default();
            json!(format!("{{{items}}}"))
        };
        match map.get_mut(&attribute.name) {
            // Of two with one name a real agent shows the first; here both are of use.
            Some(Value::String(held)) => {
                held.push(',');
                held.push_str(value.as_str().unwrap_or_default());
            }
            _ => drop(map.insert(attribute.name.clone(), value)),
        }
    }
    map
}

fn labels(labels: &Option<mesos::Labels>) -> Value {
    let list = labels.iter().flat_map(|labels| &labels.labels);
    list.map(|label| json!({ "key": label.key, "value": label.value })).collect()
}

fn state_name(state: i32) -> &'static str {
    TaskState::try_from(state).map_or("TASK_UNKNOWN", |state| state.as_str_name())
}

fn role(resources: &[Resource]) -> &str {
    resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.as_deref()).unwrap_or("*")
}

fn network_infos(status: &mesos::ContainerStatus) -> Value {
    let network = |info: &mesos::NetworkInfo| {
        let addresses = info.ip_addresses.iter().map(|address| {
            let protocol = match address.protocol {
                Some(2) => "IPv6",
                _ => "IPv4",
            };
            json!({ "protocol": protocol, "ip_address": address.ip_address })
        });
        json!({ "ip_addresses": addresses.collect::<Vec<_>>(), "name": info.name })
    };
    status.network_infos.iter().map(network).collect()
}

pub(super) fn status(status: &mesos::TaskStatus) -> Value {
    let mut shown = json!({ "state": state_name(status.state), "timestamp": status.timestamp });
    let Some(map) = shown.as_object_mut() else { return shown };
    if let Some(healthy) = status.healthy {
        map.insert("healthy".into(), healthy.into());
    }
    if let Some(container) = &status.container_status {
        let id = container.container_id.as_ref().map(|id| id.value.as_str());
        map.insert(
            "container_status".into(),
            json!({ "container_id": { "value": id }, "network_infos": network_infos(container) }),
        );
    }
    shown
}

pub(super) fn task(task: &mesos::Task) -> Value {
    let executor = task.executor_id.as_ref().map_or("", |id| &id.value);
    let mut shown = json!({
        "id": task.task_id.value, "name": task.name, "framework_id": task.framework_id.value,
        "executor_id": executor, "slave_id": task.slave_id.value, "state": state_name(task.state),
        "resources": resources(&task.resources), "role": role(&task.resources),
        "statuses": task.statuses.iter().map(status).collect::<Vec<_>>(),
    });
    let Some(map) = shown.as_object_mut() else { return shown };
    if task.labels.is_some() {
        map.insert("labels".into(), labels(&task.labels));
    }
    if !task.limits.is_empty() {
        let limits: Map<_, _> =
            task.limits.iter().map(|(name, limit)| (name.clone(), limit.value.into())).collect();
        map.insert("limits".into(), limits.into());
    }
    for (name, value) in [
        ("discovery", task.discovery.as_ref().and_then(|it| mesos_proto::json::to_json(it).ok())),
        ("health_check", task.health_check.as_ref().and_then(|it| mesos_proto::json::to_json(it).ok())),
    ] {
        if let Some(value) = value {
            map.insert(name.into(), value);
        }
    }
    shown
}

/// One executor with its tasks, a command task's own included.
pub(super) struct Executor<'a> {
    pub framework: &'a str,
    pub id: &'a str,
    pub info: Option<&'a mesos::ExecutorInfo>,
    pub tasks: Vec<&'a TaskSnapshot>,
    pub completed: Vec<&'a mesos::Task>,
}

impl Executor<'_> {
    pub fn allocated(&self) -> Vec<Resource> {
        let own = self.info.into_iter().flat_map(|info| info.resources.iter().cloned());
        let live = self.tasks.iter().filter(|task| !task.ended);
        own.chain(live.flat_map(|task| task.task.resources.iter().cloned())).collect()
    }

    pub fn name(&self) -> String {
        let named = self.info.and_then(|info| info.name.clone()).filter(|name| !name.is_empty());
        named.unwrap_or_else(|| format!("Command Executor (Task: {})", self.id))
    }

    fn json(&self, slave_id: &str) -> Value {
        let kind = self.info.and_then(|info| info.r#type);
        let kind = kind.and_then(|kind| executor_info::Type::try_from(kind).ok());
        let live = self.tasks.iter().filter(|task| !task.queued);
        let queued = self.tasks.iter().filter(|task| task.queued);
        let mut shown = json!({
            "id": self.id, "name": self.name(), "source": self.id,
            "container": crate::agent::container_id(slave_id, self.framework, self.id),
            "directory": directory(slave_id, self.framework, self.id),
            "resources": resources(&self.allocated()), "role": role(&self.allocated()),
            "tasks": live.map(|held| task(&held.task)).collect::<Vec<_>>(),
            "queued_tasks": queued.map(|held| task(&held.task)).collect::<Vec<_>>(),
            "completed_tasks": self.completed.iter().map(|held| task(held)).collect::<Vec<_>>(),
        });
        if let (Some(kind), Some(map)) = (kind, shown.as_object_mut()) {
            map.insert("type".into(), kind.as_str_name().into());
        }
        shown
    }
}

/// All executors of an agent that have a task to show.
pub(super) fn executors(snapshot: &Snapshot) -> Vec<Executor<'_>> {
    let mut found: Vec<Executor<'_>> = Vec::new();
    let at = |found: &mut Vec<Executor<'_>>, framework: &str, id: &str| {
        found.iter().position(|executor| executor.framework == framework && executor.id == id)
    };
    for task in &snapshot.tasks {
        let framework = task.task.framework_id.value.as_str();
        match at(&mut found, framework, &task.executor_id) {
            Some(at) => found[at].tasks.push(task),
            None => {
                let info = snapshot.executors.iter().find(|info| {
                    info.executor_id.value == task.executor_id
                        && info.framework_id.as_ref().is_some_and(|id| id.value == framework)
                });
                let (id, tasks) = (task.executor_id.as_str(), vec![task]);
                found.push(Executor { framework, id, info, tasks, completed: Vec::new() });
            }
        }
    }
    for done in &snapshot.completed {
        let framework = done.task.framework_id.value.as_str();
        match at(&mut found, framework, &done.executor_id) {
            Some(at) => found[at].completed.push(&done.task),
            None => {
                let (id, completed) = (done.executor_id.as_str(), vec![&done.task]);
                found.push(Executor { framework, id, info: None, tasks: Vec::new(), completed });
            }
        }
    }
    found
}

fn framework(info: &mesos::FrameworkInfo, executors: &[Executor<'_>], slave_id: &str) -> Value {
    let id = info.id.as_ref().map_or("", |id| &id.value);
    let mine = || executors.iter().filter(|executor| executor.framework == id);
    json!({
        "id": id, "name": info.name, "user": info.user, "failover_timeout": info.failover_timeout(),
        "checkpoint": info.checkpoint(), "hostname": info.hostname(), "principal": info.principal,
        "roles": info.roles, "role": info.role(),
        "executors": mine().filter(|executor| !executor.tasks.is_empty()).map(|executor| executor.json(slave_id))
            .collect::<Vec<_>>(),
        "completed_executors": mine().filter(|executor| executor.tasks.is_empty())
            .map(|executor| executor.json(slave_id)).collect::<Vec<_>>(),
    })
}

/// Settings as a real agent's flags have them, as far as there is something behind them.
pub(super) fn flags(snapshot: &Snapshot) -> Value {
    json!({
        "port": snapshot.pid.addr.port().to_string(), "hostname": snapshot.slave.hostname,
        "master": snapshot.master.as_ref().map(|master| master.addr.to_string()),
        "isolation": "wasm,tock", "checkpoint": "true", "work_dir": "/",
        "executor_shutdown_grace_period": "5secs", "registration_backoff_factor": "1secs",
    })
}

/// `/state`.
pub(super) fn state(snapshot: &Snapshot) -> Value {
    let (slave, slave_id) = (&snapshot.slave, snapshot.slave_id());
    let executors = executors(snapshot);
    // What is reserved at run time is taken out of what is for everyone.
    let mut total = Pool::of(&slave.resources).unwrap_or_default();
    let reserved = Pool::of(&snapshot.reserved).unwrap_or_default();
    for (name, milli) in reserved.quantities().iter() {
        let amount = Scalars::from_amounts([(name, milli as f64 / 1000.0)]).to_resources(None);
        total.subtract(&Pool::of(&amount).unwrap_or_default());
    }
    total.add(&reserved);
    let roles: Map<String, Value> = total
        .reserved_roles()
        .into_iter()
        .map(|role| (role.clone(), total.to_json(Some(&role)).into()))
        .collect();
    let live: Vec<&mesos::FrameworkInfo> = snapshot.frameworks.iter().collect();
    let mut over: Vec<&mesos::FrameworkInfo> = Vec::new();
    for done in &snapshot.completed {
        if live.iter().chain(&over).all(|known| known.id != done.framework.id) {
            over.push(&done.framework);
        }
    }
    let used: Vec<Resource> = executors.iter().flat_map(Executor::allocated).collect();
    json!({
        "id": slave_id, "pid": snapshot.pid.to_string(), "hostname": slave.hostname,
        "version": MESOS_VERSION, "build_date": "", "build_time": 0, "build_user": "",
        "start_time": snapshot.start_time, "capabilities": capabilities(),
        "resources": total.to_json(None), "reserved_resources": roles,
        "unreserved_resources": total.to_json(Some(UNRESERVED)), "used_resources": resources(&used),
        "attributes": attributes(&slave.attributes), "flags": flags(snapshot),
        "master_hostname": snapshot.master.as_ref().map(|master| master.addr.ip().to_string()),
        "log_dir": null, "draining": snapshot.draining,
        "frameworks": live.iter().map(|info| framework(info, &executors, slave_id)).collect::<Vec<_>>(),
        "completed_frameworks": over.iter().map(|info| framework(info, &executors, slave_id))
            .collect::<Vec<_>>(),
    })
}

fn capabilities() -> Vec<&'static str> {
    use mesos::slave_info::capability::Type;
    let stated = crate::agent::capabilities();
    let kinds = stated.iter().filter_map(|held| Type::try_from(held.r#type?).ok());
    kinds.map(|kind| kind.as_str_name()).collect()
}

fn usage(executor: &Executor<'_>) -> Value {
    let granted = Scalars::of(&executor.allocated());
    let used = || executor.tasks.iter().filter_map(|task| task.usage);
    let sum = |figure: fn(&node_proto::Usage) -> u32| used().map(|one| u64::from(figure(&one))).sum::<u64>();
    let (cpu_ms, mem_bytes) = (sum(|one| one.cpu_ms), sum(|one| one.mem_bytes));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    json!({
        "timestamp": now.map_or(0.0, |since| since.as_secs_f64()), "cpus_limit": granted.get("cpus"),
        "cpus_user_time_secs": cpu_ms as f64 / 1000.0, "cpus_system_time_secs": 0.0,
        "mem_limit_bytes": (granted.milli("mem") as f64 * 1048.576) as u64,
        "mem_rss_bytes": mem_bytes, "mem_total_bytes": mem_bytes,
        "mem_max_usage_in_bytes": sum(|one| one.mem_peak_bytes),
        "net_rx_bytes": sum(|one| one.received),
        "net_tx_bytes": sum(|one| one.radio_bytes.saturating_sub(one.received)),
    })
}

/// `/monitor/statistics`.
pub(super) fn statistics(snapshot: &Snapshot) -> Value {
    let executors = executors(snapshot);
    let running = executors.iter().filter(|executor| executor.tasks.iter().any(|task| !task.ended));
    running
        .map(|executor| {
            json!({ "executor_id": executor.id, "executor_name": executor.name(),
                "framework_id": executor.framework, "source": executor.id, "statistics": usage(executor) })
        })
        .collect()
}

/// `/containers`.
pub(super) fn containers(snapshot: &Snapshot) -> Value {
    let executors = executors(snapshot);
    let running = executors.iter().filter(|executor| executor.tasks.iter().any(|task| !task.ended));
    running
        .map(|executor| {
            let id = crate::agent::container_id(snapshot.slave_id(), executor.framework, executor.id);
            let newest = executor.tasks.iter().flat_map(|task| &task.task.statuses).next_back();
            let networks = newest.and_then(|status| status.container_status.as_ref()).map(network_infos);
            json!({ "container_id": id, "executor_id": executor.id, "executor_name": executor.name(),
                "framework_id": executor.framework, "source": executor.id, "statistics": usage(executor),
                "status": { "container_id": { "value": id }, "network_infos": networks } })
        })
        .collect()
}

fn power(power: Power) -> Value {
    match power {
        Power::Mains => json!("mains"),
        Power::Battery(percent) => json!({ "battery_percent": percent }),
    }
}

pub(crate) fn charge(used: &node_proto::Vitals, battery_mah: f64) -> Value {
    let chip = energy::NRF52840;
    let charge = chip.charge(used);
    json!({
        "chip": chip.name, "uptime_s": used.uptime_s, "frames_out": used.frames_out, "frames_in": used.frames_in,
        "listened_ms": used.listened_ms, "cpu_ms": used.cpu_ms, "mah": charge.total_mah(),
        "transmit_mah": charge.transmit_mah, "listen_mah": charge.listen_mah, "cpu_mah": charge.cpu_mah,
        "sleep_mah": charge.sleep_mah, "battery_mah": battery_mah,
        "life_days": chip.life_days(used, battery_mah),
    })
}

/// `/nodes`: the gateway's own list, in pages.
pub(crate) fn nodes(
    (agents, sessions): (&Agents, &Sessions),
    battery_mah: f64,
    now_ms: u64,
    offset: usize,
    limit: usize,
) -> Value {
    let ids = agents.node_ids();
    let total = ids.len();
    let nodes = ids.into_iter().skip(offset).take(limit).filter_map(|id| {
        let agent = agents.view(id)?;
        let session = sessions.view(id, now_ms)?;
        let tasks: Vec<Value> = agent
            .tasks
            .iter()
            .map(|task| {
                let usage = task.usage.unwrap_or_default();
                json!({
                    "task_id": task.task_id, "framework_id": task.framework_id, "state": task.state,
                    "cpus": task.cpu_permille as f64 / 1000.0, "cpu_ms": usage.cpu_ms,
                    "cpu_granted_ms": usage.granted_ms, "mem_bytes": usage.mem_bytes,
                    "mem_peak_bytes": usage.mem_peak_bytes, "messages": usage.messages,
                    "log_bytes": usage.log_bytes, "radio_bytes": usage.radio_bytes,
                    "mem_granted_bytes": task.mem_bytes, "received_bytes": usage.received,
                    "total_bytes": task.total_bytes, "updates_waiting": task.updates_waiting,
                })
            })
            .collect();
        Some(json!({
            "node": id.to_string(), "board": agent.board, "actor": agent.actor, "agent_id": agent.slave_id,
            "state": agent.state, "live": agent.live, "power": power(agent.power), "boot": agent.boot,
            "resources": agent.resources.iter().map(|(name, milli)| (name.to_owned(), json!(milli as f64 / 1000.0)))
                .collect::<Map<_, _>>(),
            "address": session.peer.map(|peer| peer.to_string()), "heard_ms_ago": session.heard_ms_ago,
            "mailbox": session.mailbox, "mailbox_age_ms": session.mailbox_age_ms,
            "next_poll_s": session.next_s, "lease_ms_left": session.lease_ms_left, "energy": agent.vitals.as_ref().map(|used| charge(used, battery_mah)),
            "datagrams_in": session.traffic.datagrams_in, "bytes_in": session.traffic.bytes_in,
            "datagrams_out": session.traffic.datagrams_out, "bytes_out": session.traffic.bytes_out,
            "tasks": tasks,
        }))
    });
    json!({ "nodes": nodes.collect::<Vec<_>>(), "total": total, "offset": offset })
}
