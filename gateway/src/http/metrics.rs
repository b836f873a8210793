//! Figures: as JSON with the names of a real agent, and as Prometheus' text. No figure is told by node: ten thousand of
//! them would be ten thousand series.

use crate::agent::{self, Snapshot, TASK_STATES, Totals};
use crate::session;
use mesos_proto::mesos::TaskState;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Everything that is counted, copied out of the driver.
pub(crate) struct Figures {
    pub totals: Totals,
    pub agents: agent::Counters,
    pub sessions: session::Counters,
    pub mailbox_age_ms: u64,
    pub coap: node_coap::Counters,
    pub refused: session::Refused,
    pub transport: libprocess::Counters,
    pub radio: Option<lowpan::Counters>,
    pub uptime_s: f64,
    pub commits: u64,
    pub writes: u64,
}

/// A figure: its name in JSON, whether it only ever grows, what it is, and its value.
type Figure = (String, bool, &'static str, f64);

/// States by the names that Mesos' metrics have for them.
const STATES: [(TaskState, &str); 10] = [
    (TaskState::TaskStaging, "staging"),
    (TaskState::TaskStarting, "starting"),
    (TaskState::TaskRunning, "running"),
    (TaskState::TaskKilling, "killing"),
    (TaskState::TaskFinished, "finished"),
    (TaskState::TaskKilled, "killed"),
    (TaskState::TaskFailed, "failed"),
    (TaskState::TaskLost, "lost"),
    (TaskState::TaskDropped, "dropped"),
    (TaskState::TaskGoneByOperator, "gone_by_operator"),
];

fn is_over(state: TaskState) -> bool {
    !matches!(
        state,
        TaskState::TaskStaging | TaskState::TaskStarting | TaskState::TaskRunning | TaskState::TaskKilling
    )
}

fn figures(all: &Figures) -> Vec<Figure> {
    let Figures { totals, agents, sessions, coap, refused, transport, .. } = all;
    let mut list: Vec<Figure> = Vec::new();
    let mut add = |name: &str, grows: bool, what: &'static str, value: u64| {
        list.push((name.to_owned(), grows, what, value as f64));
    };
    add("gateway/nodes", false, "nodes known", totals.agents);
    add("gateway/nodes_live", false, "nodes whose lease is live", totals.live);
    add("gateway/agents_registered", false, "agents registered with the master", totals.registered);
    add("gateway/updates_waiting", false, "status updates not acknowledged", totals.updates_waiting);
    add("gateway/mailbox_age_ms", false, "longest wait of a command for its node, ms", all.mailbox_age_ms);
    add("gateway/registrations", true, "registrations that a master answered", agents.registrations);
    add(
        "gateway/authentications_failed",
        true,
        "failed attempts to authenticate",
        agents.authentications_failed,
    );
    add("gateway/updates", true, "status updates made", agents.updates);
    add("gateway/updates_sent", true, "status updates sent, again or first", agents.updates_sent);
    add("gateway/commits", true, "transactions of the store", all.commits);
    add("gateway/writes", true, "records written", all.writes);
    add("gateway/master_malformed", true, "messages of peers that could not be read", agents.malformed);
    add("gateway/master_unknown", true, "messages of peers that no agent knows", agents.unknown);
    add("gateway/not_master", true, "orders from somebody who is not the master", agents.not_master);
    add("gateway/wrong_agent", true, "orders for another agent id", agents.wrong_agent);
    add("gateway/unknown_framework", true, "orders for unknown frameworks", agents.unknown_framework);
    add("gateway/messages_dropped", true, "framework messages dropped", agents.messages_dropped);
    add("gateway/tasks_ignored", true, "tasks not taken in, too many waiting", agents.tasks_ignored);
    add("gateway/operations_refused", true, "operations that a node cannot do", agents.operations_refused);
    add("gateway/unknown_peers", true, "messages from unknown radios", sessions.unknown_peers);
    add(
        "gateway/malformed",
        true,
        "messages of nodes that could not be read",
        sessions.malformed + coap.malformed,
    );
    add("gateway/repeated", true, "statuses, messages and logs that came again", sessions.repeated);
    add("gateway/mailbox_full", true, "commands that a mailbox had no room for", sessions.mailbox_full);
    add("oscore/unprotected", true, "requests without protection, dropped", refused.unprotected);
    add("oscore/unknown", true, "requests of unknown keys, dropped", refused.unknown);
    add("oscore/revoked", true, "requests of revoked keys, dropped", refused.revoked);
    add("oscore/replayed", true, "requests that were taken before, dropped", refused.replayed);
    add("oscore/forged", true, "messages that did not verify, dropped", refused.forged);
    add("oscore/challenged", true, "requests that were asked to prove that they are new", refused.challenged);
    add("coap/received", true, "datagrams received", coap.received);
    add("coap/sent", true, "datagrams sent", coap.sent);
    add("coap/retransmitted", true, "datagrams sent again", coap.retransmitted);
    add("coap/duplicates", true, "datagrams received again", coap.duplicates);
    add("coap/unmatched", true, "answers that nobody waited for", coap.unmatched);
    add("libprocess/received", true, "messages received", transport.received);
    add("libprocess/sent", true, "messages sent", transport.sent);
    add("libprocess/dropped", true, "messages that a peer did not take", transport.dropped);
    add("libprocess/refused", true, "requests refused", transport.refused);
    if let Some(radio) = all.radio {
        add("radio/frames_in", true, "frames received", radio.frames_in);
        add("radio/frames_out", true, "frames sent", radio.frames_out);
        add("radio/bytes_in", true, "bytes received", radio.bytes_in);
        add("radio/bytes_out", true, "bytes sent", radio.bytes_out);
        add("radio/malformed", true, "frames that could not be read", radio.malformed);
        add("radio/lapsed", true, "datagrams whose fragments did not all come", radio.lapsed);
    }
    for (state, name) in STATES {
        let count = if is_over(state) { agents.ended } else { totals.tasks }[state as usize];
        list.push((format!("slave/tasks_{name}"), is_over(state), "tasks in this state", count as f64));
    }
    list.push(("slave/uptime_secs".into(), false, "seconds since the start", all.uptime_s));
    list
}

/// `/metrics/snapshot` of the gateway: its own figures, and those of all agents together under an agent's names.
pub(crate) fn metrics(all: &Figures) -> Value {
    let map: Map<String, Value> =
        figures(all).into_iter().map(|(name, _, _, value)| (name, number(value))).collect();
    map.into()
}

fn number(value: f64) -> Value {
    if value.fract() == 0.0 { json!(value as u64) } else { json!(value) }
}

/// `/metrics` in Prometheus' text format, version 0.0.4.
pub(super) fn prometheus(all: &Figures) -> String {
    let mut text = String::new();
    for (name, grows, what, value) in figures(all) {
        let name = format!("micro_{}{}", name.replace('/', "_"), if grows { "_total" } else { "" });
        let kind = if grows { "counter" } else { "gauge" };
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    text
}

/// `/metrics/snapshot` of one agent, with a real agent's names.
pub(super) fn agent(snapshot: &Snapshot) -> Value {
    let mut tasks = [0u64; TASK_STATES];
    let live = snapshot.tasks.iter().map(|task| &task.task);
    for task in live.chain(snapshot.completed.iter().map(|done| &done.task)) {
        if let Some(count) = usize::try_from(task.state).ok().and_then(|state| tasks.get_mut(state)) {
            *count += 1;
        }
    }
    let mut map = Map::new();
    for (state, name) in STATES {
        map.insert(format!("slave/tasks_{name}"), json!(tasks[state as usize]));
    }
    let has = mesos_proto::resources::Scalars::of(&snapshot.slave.resources);
    let running = snapshot.tasks.iter().filter(|task| !task.ended);
    let mut used = mesos_proto::resources::Scalars::default();
    running.for_each(|task| used.add(&mesos_proto::resources::Scalars::of(&task.task.resources)));
    for name in ["cpus", "mem", "disk"] {
        map.insert(format!("slave/{name}_total"), json!(has.get(name)));
        map.insert(format!("slave/{name}_used"), json!(used.get(name)));
        let share = if has.milli(name) > 0 { used.get(name) / has.get(name) } else { 0.0 };
        map.insert(format!("slave/{name}_percent"), json!(share));
    }
    map.insert("slave/frameworks_active".into(), json!(snapshot.frameworks.len()));
    map.insert("slave/executors_running".into(), json!(super::state::executors(snapshot).len()));
    map.insert("slave/registered".into(), json!(u8::from(snapshot.registered)));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let uptime = now.map_or(0.0, |since| since.as_secs_f64() - snapshot.start_time);
    map.insert("slave/uptime_secs".into(), json!(uptime));
    map.into()
}
