//! Jobs as documents, and why they wait. Only reads.

use super::job::{End, Job, Phase, Slot, Task};
use super::node::Node;
use super::place::SEEN_MS;
use mesos_proto::v1::TaskState;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Why a node will not do, beside constraints and resources.
const AWAY: &str = "planned maintenance";
const SIBLINGS: &str = "what other instances allow";

/// What is known besides the job.
pub(super) struct View<'a> {
    /// By role and agent.
    pub nodes: &'a BTreeMap<(String, String), Node>,
    pub now_ms: u64,
    pub connected: bool,
    /// For why a job waits, no more nodes than this are looked at.
    pub look: usize,
}

/// In one word: `pending`, `placing`, `running`, `waiting`, `killing`, `finished`, `failed` or `killed`.
pub(super) fn state(job: &Job) -> &'static str {
    if job.kept.ended_ms.is_some() {
        let last = job.kept.past_runs.back().map(|run| run.end);
        return match (job.kept.killed, last) {
            (true, _) | (_, Some(End::Killed)) => "killed",
            (_, Some(End::Finished)) => "finished",
            _ => "failed",
        };
    }
    if job.kept.killed {
        return "killing";
    }
    if job.tasks().next().is_some() {
        return "running";
    }
    match (job.due.is_empty(), job.looked) {
        (false, true) => "placing",
        (false, false) => "pending",
        (true, _) => "waiting",
    }
}

/// One line of the list.
pub(super) fn short(job: &Job, view: &View<'_>) -> Value {
    let (kept, spec) = (&job.kept, &job.kept.spec);
    let runs = job.tasks().filter(|(_, task)| task.state == TaskState::TaskRunning as i32).count();
    let backoff = job.backoffs.first().map(|(until, _)| *until);
    let waits = job.kept.ended_ms.is_none();
    let mut document = json!({
        "id": spec.id, "name": spec.name, "role": spec.role, "priority": spec.priority,
        "state": state(job), "wanted": spec.instances, "running": runs, "launched": job.tasks().count(),
        "waiting": job.due.len(), "created_ms": kept.created_ms, "ended_ms": kept.ended_ms,
        "next_ms": if waits { backoff.into_iter().chain(kept.next_ms).min() } else { None },
        "periodic": job.periodic(),
        "runs": kept.counts,
        "why": Value::Null,
        "last": kept.past_tasks.back(),
    });
    if job.looked && !job.due.is_empty() {
        document["why"] = why(job, view);
    } else if !job.due.is_empty() {
        let text = if view.connected {
            "no offer has been looked at yet"
        } else {
            "the master has not taken jobs in yet"
        };
        document["why"] = json!({ "text": text, "nodes": 0, "reasons": [] });
    }
    document
}

/// Everything of a job.
pub(super) fn whole(job: &Job, view: &View<'_>) -> Value {
    let mut document = short(job, view);
    let mut instances = Vec::new();
    for (number, run) in &job.runs {
        for (instance, slot) in (0u32..).zip(&run.slots) {
            let mut line = json!({
                "run": number, "instance": instance, "launches": slot.launches, "failures": slot.failures,
            });
            if let (Some(line), Value::Object(more)) = (line.as_object_mut(), phase(slot)) {
                line.extend(more);
            }
            instances.push(line);
        }
    }
    document["instances"] = instances.into();
    document["history"] = json!({ "tasks": job.kept.past_tasks, "runs": job.kept.past_runs });
    document["spec"] = json!(job.kept.spec);
    document
}

fn phase(slot: &Slot) -> Value {
    match &slot.phase {
        Phase::Due => json!({"state": "placing"}),
        Phase::Backoff { until_ms } => json!({"state": "waiting", "until_ms": until_ms}),
        Phase::Done(end) => json!({"state": end.name()}),
        Phase::Launched(task) => launched(task),
    }
}

fn launched(task: &Task) -> Value {
    let state = TaskState::try_from(task.state).map_or("TASK_UNKNOWN", |state| state.as_str_name());
    let mut line = Map::new();
    line.insert("state".into(), if task.unsure_ms.is_some() { "unreachable" } else { "launched" }.into());
    line.insert("task_state".into(), state.into());
    line.insert("task_id".into(), task.id.clone().into());
    line.insert("agent_id".into(), task.agent.clone().into());
    line.insert("hostname".into(), task.hostname.clone().into());
    line.insert("launched_ms".into(), task.launched_ms.into());
    line.insert("running_ms".into(), task.running_ms.into());
    line.insert("unreachable_ms".into(), task.unsure_ms.into());
    Value::Object(line)
}

/// Why no instance more is placed, by what was last seen of nodes.
fn why(job: &Job, view: &View<'_>) -> Value {
    let siblings = job.siblings();
    let role = &job.kept.spec.role;
    let seen = |(_, node): &(&(String, String), &Node)| node.seen_ms + SEEN_MS > view.now_ms;
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut most: BTreeMap<String, f64> = BTreeMap::new();
    let (mut nodes, mut fit) = (0, 0);
    let from = (role.clone(), String::new());
    let of_role = view.nodes.range(from..).take_while(|((held, _), _)| held == role);
    for (_, node) in of_role.filter(seen).take(view.look) {
        nodes += 1;
        let mut fails: Vec<String> = Vec::new();
        let constraints = job.kept.spec.constraints.iter();
        fails.extend(constraints.filter(|constraint| !constraint.allows(node)).map(ToString::to_string));
        if !node.stays(view.now_ms) {
            fails.push(AWAY.to_owned());
        }
        for (name, needed) in job.needs.iter() {
            let best = most.entry(name.to_owned()).or_default();
            *best = best.max(node.free.get(name));
            if node.free.milli(name) < needed {
                fails.push(name.to_owned());
            }
        }
        if fails.is_empty() && !job.admits(node, &siblings) {
            fails.push(SIBLINGS.to_owned());
        }
        fit += usize::from(fails.is_empty());
        for what in fails {
            *reasons.entry(what).or_default() += 1;
        }
    }
    let explain = |what: &str| match most.get(what) {
        Some(most) => format!("{what} (needs {}, at most {most} free)", job.needs.get(what)),
        None => what.to_owned(),
    };
    let text = if nodes == 0 {
        format!(
            "no node has been offered lately to role '{role}': is a gateway registered, and is anything free? (micro nodes)"
        )
    } else if fit > 0 {
        format!("{fit} of {nodes} nodes would do: their next offer is waited for")
    } else {
        let parts: Vec<String> =
            reasons.iter().map(|(what, nodes)| format!("{nodes} fail {}", explain(what))).collect();
        let which = if nodes < view.look { "of" } else { "of the first" };
        format!("{which} {nodes} nodes, {}", parts.join(", "))
    };
    let reasons: Vec<Value> = reasons
        .iter()
        .map(|(what, nodes)| match most.get(what) {
            Some(most) => json!({"what": what, "nodes": nodes, "needs": job.needs.get(what), "most": most}),
            None => json!({"what": what, "nodes": nodes}),
        })
        .collect();
    json!({"text": text, "nodes": nodes, "fit": fit, "reasons": reasons})
}
