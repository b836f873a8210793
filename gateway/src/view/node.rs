//! `/view/node/EUI64`: one node in full.

use super::history::{percent, permille};
use super::parts::{Node, Task, Tenant, Tenants};
use super::{Looked, TENANTS_MAX};
use crate::bridge::NodeId;
use crate::http::{attributes, charge};
use mesos_proto::mesos::Resource;
use mesos_proto::pool::Pool;
use page::Refusal;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One resource of a node, and what each role was granted of it.
#[derive(Debug, Serialize)]
struct Held {
    name: String,
    total: Value,
    granted: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct NodeView {
    node: Node,
    attributes: Map<String, Value>,
    resources: Vec<Held>,
    tenants: Vec<Tenant>,
    tasks: Vec<Task>,
    completed: Vec<Task>,
    energy: Option<Value>,
    vitals: Option<Value>,
    history: History,
}

#[derive(Debug, Serialize)]
struct History {
    points: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Point {
    /// Unix time, seconds.
    at: u32,
    battery_percent: Option<u8>,
    quality_percent: Option<u8>,
    frames_in: u16,
    frames_out: u16,
    cpu_permille: Option<u16>,
    mem_bytes: u32,
}

pub(super) fn node(looked: &mut Looked<'_>, id: NodeId) -> Result<NodeView, Refusal> {
    let unknown = || Refusal::not_found(format!("no node {id} here; /view/fleet lists them"));
    let agent = looked.agents.glance(id).ok_or_else(unknown)?;
    let node = looked.node(agent).ok_or_else(unknown)?;
    let mut tenants = Tenants::default();
    agent.tasks().for_each(|task| tenants.add(task));
    let points = looked.seen.history.look(id, agent.vitals(), looked.now_s());
    let history = points.iter().map(|point| Point {
        at: point.at_s,
        battery_percent: percent(point.battery),
        quality_percent: percent(point.quality),
        frames_in: point.frames_in,
        frames_out: point.frames_out,
        cpu_permille: permille(point.cpu_permille),
        mem_bytes: point.mem_bytes,
    });
    let history = History { points: history.collect() };
    let slave = agent.slave();
    let mut offered = slave.resources.clone();
    offered.extend(agent.reserved());
    let granted = agent
        .tasks()
        .filter(|task| !task.has_ended())
        .filter_map(|task| Some((task.role().to_owned(), task.info()?.resources)));
    let granted: Vec<(String, Vec<Resource>)> = granted.collect();
    let vitals = agent.vitals();
    Ok(NodeView {
        node,
        attributes: attributes(&slave.attributes),
        resources: resources(&slave.resources, &granted),
        tenants: tenants.list(TENANTS_MAX),
        tasks: agent.tasks().map(|task| looked.task(agent, task)).collect(),
        completed: agent
            .completed()
            .rev()
            .map(|done| Task::completed(id, done, done.image.and_then(|image| looked.images.kind(image))))
            .collect(),
        energy: vitals.map(|used| charge(used, looked.battery_mah)),
        vitals: vitals.map(|used| {
            json!({
                "uptime_s": used.uptime_s, "frames_out": used.frames_out, "bytes_out": used.bytes_out,
                "frames_in": used.frames_in, "bytes_in": used.bytes_in, "listened_ms": used.listened_ms,
                "cpu_ms": used.cpu_ms,
            })
        }),
        history,
    })
}

fn resources(total: &[Resource], granted: &[(String, Vec<Resource>)]) -> Vec<Held> {
    let mut by_role: BTreeMap<&str, Pool> = BTreeMap::new();
    for (role, held) in granted {
        by_role.entry(role).or_default().add(&Pool::of(held).unwrap_or_default());
    }
    let by_role: Vec<(&str, Map<String, Value>)> =
        by_role.into_iter().map(|(role, held)| (role, held.to_json(None))).collect();
    let held = |(name, total): (String, Value)| {
        let granted =
            by_role.iter().filter_map(|(role, held)| Some(((*role).to_owned(), held.get(&name)?.clone())));
        Held { granted: granted.collect(), name, total }
    };
    Pool::of(total).unwrap_or_default().to_json(None).into_iter().map(held).collect()
}
