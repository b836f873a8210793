//! The columns of all tables.

use super::column::{Column, Ink};
use super::data::{Cpu, Event, Mem, Node, Task, Tenant};
use super::text::{ago, bytes, cores, percent, span};
use ratatui::style::{Color, Style};

/// A battery below this is low, percent.
const BATTERY_LOW: u8 = 20;

type Cell = (String, Style);

fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Style::new())
}

pub fn cpu_bar(cpu: Cpu, ink: Ink, width: usize) -> String {
    ink.signs.bar(cpu.used_permille, cpu.granted_permille, cpu.total_permille, width)
}

pub fn mem_bar(mem: Mem, ink: Ink, width: usize) -> String {
    ink.signs.bar(mem.used_bytes, mem.granted_bytes, mem.total_bytes, width)
}

/// Used against granted; of what there is, if that is told.
pub fn cpu_figures(cpu: Cpu) -> String {
    let figures = format!("{}/{}", cores(cpu.used_permille), cores(cpu.granted_permille));
    match cpu.total_permille {
        Some(_) => format!("{figures}/{}", cores(cpu.total_permille)),
        None => figures,
    }
}

pub fn mem_figures(mem: Mem) -> String {
    let figures = format!("{}/{}", bytes(mem.used_bytes), bytes(mem.granted_bytes));
    match mem.total_bytes {
        Some(_) => format!("{figures}/{}", bytes(mem.total_bytes)),
        None => figures,
    }
}

/// Red where more is used than was granted.
fn use_style(used: Option<u64>, granted: Option<u64>) -> Style {
    match (used, granted) {
        (Some(used), Some(granted)) if used > granted => Style::new().fg(Color::Red),
        _ => Style::new(),
    }
}

fn cpu_cell(cpu: Cpu) -> Cell {
    (cpu_figures(cpu), use_style(cpu.used_permille, cpu.granted_permille))
}

fn mem_cell(mem: Mem) -> Cell {
    (mem_figures(mem), use_style(mem.used_bytes, mem.granted_bytes))
}

/// How a state is coloured; its word says the same.
pub fn state_style(word: &str) -> Style {
    match word {
        "live" | "running" => Style::new().fg(Color::Green),
        "silent" | "failed" | "lost" | "error" | "dropped" | "gone" => Style::new().fg(Color::Red).bold(),
        "draining" | "registering" | "staging" | "starting" | "killing" => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

/// Mains, or the charge; a low one has a mark.
pub fn power(node: &Node) -> Cell {
    match (node.power.source.as_str(), node.power.percent) {
        ("battery", Some(charge @ 0..BATTERY_LOW)) => {
            (format!("{charge}%!"), Style::new().fg(Color::Red).bold())
        }
        ("battery", charge) => plain(percent(charge)),
        (other, _) => plain(other),
    }
}

/// How long the battery lasts.
pub fn life(node: &Node) -> String {
    match node.life_days {
        Some(days) if days.is_finite() && days >= 0.0 => span((days * 86.4e6) as u64),
        _ => "-".into(),
    }
}

/// Commands that wait, and for how long the oldest has.
pub fn mailbox(node: &Node, now_ms: u64) -> String {
    match node.mailbox.commands {
        0 => "0".into(),
        some => format!("{some} {}", ago(now_ms, node.mailbox.oldest_ms)),
    }
}

/// One column, written shortly.
const fn column<T>(
    title: &'static str,
    width: (usize, usize),
    rank: u8,
    right: bool,
    cell: fn(&T, Ink, usize) -> Cell,
) -> Column<T> {
    Column { title, width, rank, right, cell }
}

pub const TENANTS: [Column<Tenant>; 7] = [
    column("tenant (role)", (14, 40), 0, false, |tenant, _, _| plain(tenant.role.clone())),
    column("frameworks", (10, 10), 4, true, |tenant, _, _| plain(tenant.frameworks.to_string())),
    column("tasks", (5, 7), 3, true, |tenant, _, _| plain(tenant.tasks.to_string())),
    column("cpu", (8, 30), 5, false, |tenant, ink, width| plain(cpu_bar(tenant.cpu, ink, width))),
    column("used/granted", (12, 12), 1, true, |tenant, _, _| cpu_cell(tenant.cpu)),
    column("memory", (8, 30), 6, false, |tenant, ink, width| plain(mem_bar(tenant.mem, ink, width))),
    column("used/granted", (12, 12), 2, true, |tenant, _, _| mem_cell(tenant.mem)),
];

pub const NODES: [Column<Node>; 14] = [
    column("node", (16, 16), 0, false, |node, _, _| plain(node.node.clone())),
    column("state", (8, 11), 1, false, |node, _, _| (node.word().to_owned(), state_style(node.word()))),
    column("board", (10, 24), 12, false, |node, _, _| plain(node.board.clone())),
    column("cpu", (8, 20), 10, false, |node, ink, width| plain(cpu_bar(node.cpu, ink, width))),
    column("cpu use/gr/all", (14, 14), 2, true, |node, _, _| cpu_cell(node.cpu)),
    column("memory", (8, 20), 11, false, |node, ink, width| plain(mem_bar(node.mem, ink, width))),
    column("mem use/gr/all", (14, 14), 3, true, |node, _, _| mem_cell(node.mem)),
    column("tasks", (5, 5), 5, true, |node, _, _| plain(node.tasks.to_string())),
    column("power", (5, 5), 4, true, |node, _, _| power(node)),
    column("life", (4, 4), 9, true, |node, _, _| plain(life(node))),
    column("seen", (4, 4), 6, true, |node, ink, _| plain(ago(ink.now_ms, node.heard_ms))),
    column("link", (4, 4), 7, true, |node, _, _| plain(percent(node.link.quality_percent))),
    column("mailbox", (7, 9), 8, true, |node, ink, _| plain(mailbox(node, ink.now_ms))),
    column("hostname", (16, 40), 13, false, |node, _, _| plain(node.hostname.clone())),
];

pub const TASKS: [Column<Task>; 9] = [
    column("task", (18, 48), 0, false, |task, _, _| plain(task.task_id.clone())),
    column("role", (8, 20), 5, false, |task, _, _| plain(task.role.clone())),
    column("state", (9, 9), 1, false, |task, _, _| {
        let word = task.word();
        let style = state_style(&word);
        (word, style)
    }),
    column("cpu", (8, 20), 7, false, |task, ink, width| plain(cpu_bar(task.cpu, ink, width))),
    column("used/granted", (12, 12), 2, true, |task, _, _| cpu_cell(task.cpu)),
    column("memory", (8, 20), 8, false, |task, ink, width| plain(mem_bar(task.mem, ink, width))),
    column("used/granted", (12, 12), 3, true, |task, _, _| mem_cell(task.mem)),
    column("since", (5, 5), 4, true, |task, ink, _| plain(ago(ink.now_ms, task.since_ms))),
    column("image", (9, 9), 6, true, |task, _, _| {
        plain(match task.total_bytes {
            Some(_) => format!("{}/{}", bytes(task.received_bytes), bytes(task.total_bytes)),
            None => bytes(task.received_bytes),
        })
    }),
];

pub const EVENTS: [Column<Event>; 4] = [
    column("ago", (4, 4), 0, true, |event, ink, _| plain(ago(ink.now_ms, Some(event.at_ms)))),
    column("severity", (8, 8), 2, false, |event, _, _| {
        let style = match event.severity.as_str() {
            "error" => Style::new().fg(Color::Red).bold(),
            "warning" => Style::new().fg(Color::Yellow),
            _ => Style::new(),
        };
        (event.severity.clone(), style)
    }),
    column("kind", (8, 8), 3, false, |event, _, _| plain(event.kind.clone())),
    column("what happened", (20, 400), 1, false, |event, _, _| plain(event.text.clone())),
];
