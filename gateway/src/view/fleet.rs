//! `/view/fleet` and `/view/tasks`: sums over everything, and a page of what is looked for.
//!
//! One pass over all agents reads what the sums and the filter need where it is; only the page's own entries are made
//! into documents.

use super::parts::{Cpu, Mailbox, Mem, Node, Sum, Task, Tenant, Tenants};
use super::{LIST_DEFAULT, LIST_MAX, Looked, TENANTS_MAX};
use crate::agent::{Glance, TASK_STATES, TaskGlance};
use crate::bridge::NodeId;
use mesos_proto::mesos::TaskState;
use node_proto::Power;
use page::{Asked, Paging, Refusal};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A battery below this is low, percent.
const BATTERY_LOW: u8 = 20;

/// What nodes are sorted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Node,
    /// Emptiest first, mains last.
    Battery,
    /// Silent for longest first.
    Heard,
    /// Most first.
    Tasks,
    /// Worst first, unknown last.
    Quality,
}

/// A question about the fleet.
pub(super) struct FleetQuery {
    text: String,
    state: Option<&'static str>,
    battery: Option<bool>,
    role: Option<String>,
    order: Order,
    page: Paging,
}

impl FleetQuery {
    pub fn of(asked: &Asked) -> Result<Self, Refusal> {
        let query = &asked.query;
        let states = ["registered", "registering", "away", "live", "silent", "draining"];
        let orders = ["node", "battery", "heard", "tasks", "quality"];
        Ok(Self {
            text: query.text("q").unwrap_or_default().to_ascii_lowercase(),
            state: query.choice("state", &states)?,
            battery: query.choice("power", &["mains", "battery"])?.map(|power| power == "battery"),
            role: query.text("role").map(str::to_owned),
            order: match query.choice("sort", &orders)? {
                Some("battery") => Order::Battery,
                Some("heard") => Order::Heard,
                Some("tasks") => Order::Tasks,
                Some("quality") => Order::Quality,
                _ => Order::Node,
            },
            page: query.paging(LIST_DEFAULT, LIST_MAX)?,
        })
    }

    fn takes(&self, agent: Glance<'_>, words: &mut String) -> bool {
        let state = match self.state {
            None => true,
            Some("live") => agent.live(),
            Some("silent") => !agent.live(),
            Some("draining") => agent.draining(),
            Some(state) => agent.state() == state,
        };
        let supplied =
            self.battery.is_none_or(|battery| matches!(agent.power(), Power::Battery(_)) == battery);
        let tenant = |role: &String| agent.tasks().any(|task| !task.has_ended() && task.role() == role);
        state && supplied && self.role.as_ref().is_none_or(tenant) && self.finds(agent, words)
    }

    /// Whether the text is in the node's number, hostname, board or agent id. `words` is room to look in.
    fn finds(&self, agent: Glance<'_>, words: &mut String) -> bool {
        if self.text.is_empty() {
            return true;
        }
        words.clear();
        for byte in agent.node.0 {
            for digit in [byte >> 4, byte & 15] {
                words.extend(char::from_digit(digit.into(), 16));
            }
        }
        // Writing to a string cannot fail.
        let _ = match agent.own_hostname() {
            Some(name) => write!(words, " {name}"),
            None => write!(words, ".{}", agent.domain()),
        };
        let _ = write!(words, " {} {}", agent.board(), agent.slave_id().unwrap_or_default());
        words.make_ascii_lowercase();
        words.contains(&self.text)
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    nodes: usize,
    live: usize,
    registered: usize,
    away: usize,
    draining: usize,
    battery_low: usize,
    /// By state: those that are under way, and those that ended since the gateway's start.
    tasks: BTreeMap<String, u64>,
    cpu: Cpu,
    mem: Mem,
    mailbox: Mailbox,
}

#[derive(Debug, Serialize)]
pub(super) struct Fleet {
    total: usize,
    matching: usize,
    offset: usize,
    summary: Summary,
    tenants: Vec<Tenant>,
    nodes: Vec<Node>,
}

pub(super) fn fleet(looked: &Looked<'_>, query: &FleetQuery) -> Fleet {
    let mut words = String::new();
    let mut found: Vec<(u64, NodeId)> = Vec::new();
    let (mut all, mut tenants) = (Sum::default(), Tenants::default());
    let (mut cpu_total, mut mem_total) = (0, 0);
    let mut under_way = [0u64; TASK_STATES];
    let (commands, oldest) = looked.sessions.waiting();
    let oldest_ms = oldest.map(|at| looked.unix_ms(at));
    let mut summary = Summary {
        nodes: 0,
        live: 0,
        registered: 0,
        away: 0,
        draining: 0,
        battery_low: 0,
        tasks: BTreeMap::new(),
        cpu: Cpu::default(),
        mem: Mem::default(),
        mailbox: Mailbox { commands, oldest_ms },
    };
    for agent in looked.agents.glances() {
        let (sum, state) = (Sum::of(agent.tasks()), agent.state());
        all.plus(&sum);
        for task in agent.tasks() {
            tenants.add(task);
            if !task.has_ended() {
                under_way[task.state() as usize] += 1;
            }
        }
        cpu_total += u64::from(agent.total().cpu_permille);
        mem_total += u64::from(agent.total().mem_bytes);
        summary.nodes += 1;
        summary.live += usize::from(agent.live());
        summary.registered += usize::from(state == "registered");
        summary.away += usize::from(state == "away");
        summary.draining += usize::from(agent.draining());
        summary.battery_low +=
            usize::from(matches!(agent.power(), Power::Battery(percent) if percent < BATTERY_LOW));
        if query.takes(agent, &mut words) {
            let key = match query.order {
                Order::Node => 0,
                Order::Battery => match agent.power() {
                    Power::Battery(percent) => percent.into(),
                    Power::Mains => u64::MAX,
                },
                Order::Heard => looked.sessions.rank(agent.node).0.unwrap_or(0),
                Order::Tasks => u64::MAX - sum.tasks,
                Order::Quality => looked.sessions.rank(agent.node).1.map_or(u64::MAX, u64::from),
            };
            found.push((key, agent.node));
        }
    }
    summary.tasks = tasks_by_state(&under_way, &looked.agents.counters().ended);
    summary.cpu = all.cpu(Some(cpu_total));
    summary.mem = all.mem(Some(mem_total));
    let matching = found.len();
    let shown = query.page.cut(found).into_iter();
    let nodes = shown.filter_map(|(_, node)| looked.node(looked.agents.glance(node)?)).collect();
    Fleet {
        total: summary.nodes,
        matching,
        offset: query.page.offset,
        summary,
        tenants: tenants.list(TENANTS_MAX),
        nodes,
    }
}

/// `running` and so on: the four that are under way always, the others if there were any.
fn tasks_by_state(under_way: &[u64; TASK_STATES], ended: &[u64; TASK_STATES]) -> BTreeMap<String, u64> {
    let always =
        [TaskState::TaskStaging, TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskKilling];
    let mut by_name = BTreeMap::new();
    for (number, count) in under_way.iter().zip(ended).map(|(a, b)| a + b).enumerate() {
        let Ok(state) = TaskState::try_from(number as i32) else { continue };
        if count > 0 || always.contains(&state) {
            let name = state.as_str_name().trim_start_matches("TASK_").to_ascii_lowercase();
            by_name.insert(name, count);
        }
    }
    by_name
}

/// A question about tasks.
pub(super) struct TasksQuery {
    text: String,
    state: Option<String>,
    role: Option<String>,
    node: Option<NodeId>,
    page: Paging,
}

impl TasksQuery {
    pub fn of(asked: &Asked) -> Result<Self, Refusal> {
        let query = &asked.query;
        // `running` is as good as `TASK_RUNNING`.
        let state = |text: &str| format!("TASK_{}", text.to_ascii_uppercase().trim_start_matches("TASK_"));
        let state = query.text("state").map(state);
        if state.as_ref().is_some_and(|state| TaskState::from_str_name(state).is_none()) {
            return Err(Refusal::bad("state: expected a state of tasks, such as TASK_RUNNING"));
        }
        let node = query.text("node").map(|text| {
            NodeId::parse(text).ok_or_else(|| Refusal::bad("node: expected 16 hexadecimal digits"))
        });
        Ok(Self {
            text: query.text("q").unwrap_or_default().to_ascii_lowercase(),
            state,
            role: query.text("role").map(str::to_owned),
            node: node.transpose()?,
            page: query.paging(LIST_DEFAULT, LIST_MAX)?,
        })
    }

    fn takes(&self, agent: Glance<'_>, task: TaskGlance<'_>) -> bool {
        self.state.as_ref().is_none_or(|state| task.state().as_str_name() == state)
            && self.role.as_ref().is_none_or(|role| task.role() == role)
            && (self.text.is_empty()
                || page::finds(&self.text, &[task.task_id(), task.name(), task.framework_id(), task.role()])
                || page::finds(&self.text, &[&agent.node.to_string()]))
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Tasks {
    total: usize,
    matching: usize,
    offset: usize,
    tasks: Vec<Task>,
}

pub(super) fn tasks(looked: &Looked<'_>, query: &TasksQuery) -> Tasks {
    let mut found = Vec::new();
    let mut total = 0;
    let mut look = |agent: Glance<'_>| {
        for task in agent.tasks() {
            total += 1;
            if query.takes(agent, task) {
                found.push((agent.node, task.handle));
            }
        }
    };
    match query.node {
        Some(node) => looked.agents.glance(node).into_iter().for_each(&mut look),
        None => looked.agents.glances().for_each(&mut look),
    }
    let matching = found.len();
    let shown = query.page.cut(found).into_iter().filter_map(|(node, handle)| {
        let agent = looked.agents.glance(node)?;
        let task = agent.tasks().find(|task| task.handle == handle)?;
        Some(looked.task(agent, task))
    });
    Tasks { total, matching, offset: query.page.offset, tasks: shown.collect() }
}
