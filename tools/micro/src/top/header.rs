//! The first lines: which gateway, whether it answers, and sums over all nodes.

use super::column::Ink;
use super::data::Fleet;
use super::draw::Canvas;
use super::model::{Model, Screen};
use super::tables;
use super::text::{ago, bytes, cores, harmless, span};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// Columns of the bars.
const BAR: std::ops::RangeInclusive<usize> = 10..=40;

/// Draws them.
pub fn draw(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    let width = usize::from(area.width);
    let lost = match &model.screen {
        Screen::Node(page) => page.seen.lost_for(model.now_ms).or(model.fleet.lost_for(model.now_ms)),
        _ => model.fleet.lost_for(model.now_ms),
    };
    let ink = canvas.ink;
    let (state, style) = match lost {
        Some((ms, _)) => (format!("RECONNECTING for {}", span(ms)), Style::new().fg(Color::Red).bold()),
        None if model.fleet.document.is_none() => ("connecting".into(), Style::new()),
        None if model.look.once => (String::new(), Style::new()),
        None => ("live".into(), Style::new().fg(Color::Green)),
    };
    let time = clock(model.now_ms);
    let name = format!("micro top  {}  ", model.gateway);
    let gap = width.saturating_sub(name.len() + state.len() + time.len()).max(1);
    let first = Line::from(vec![
        Span::styled(name, Modifier::BOLD),
        Span::styled(state, ink.style(style)),
        Span::raw(" ".repeat(gap)),
        Span::raw(time),
    ]);
    let mut lines = vec![first];
    match (&model.fleet.document, lost) {
        (_, Some((_, why))) if area.height < 4 => lines.push(Line::raw(harmless(why))),
        (Some(fleet), lost) => lines.extend(sums(fleet, lost, width, ink)),
        (None, Some((_, why))) => lines.push(Line::raw(harmless(why))),
        (None, None) => {}
    }
    canvas.lines(area, lines);
}

fn clock(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(String::new, |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Three lines about the whole fleet.
fn sums(fleet: &Fleet, lost: Option<(u64, &str)>, width: usize, ink: Ink) -> [Line<'static>; 3] {
    let all = &fleet.summary;
    let mut nodes = format!("nodes {} live of {}", all.live, all.nodes);
    for (count, what) in [(all.away, "away"), (all.draining, "draining"), (all.battery_low, "low battery")] {
        if count > 0 {
            nodes += &format!(", {count} {what}");
        }
    }
    let running = |state: &str| all.tasks.get(state).copied().unwrap_or(0);
    nodes += &format!("   tasks {} running", running("running"));
    let coming = running("staging") + running("starting");
    for (count, what) in [(coming, "starting"), (running("killing"), "ending")] {
        if count > 0 {
            nodes += &format!(", {count} {what}");
        }
    }
    let mut mailbox = format!("   mailbox {}", all.mailbox.commands);
    if all.mailbox.commands > 0 {
        mailbox += &format!(", oldest {}", ago(ink.now_ms, all.mailbox.oldest_ms));
    }
    let first = match lost {
        Some((_, why)) => Line::raw(harmless(why)),
        None => Line::raw(nodes),
    };
    let bar = (width / 5).clamp(*BAR.start(), *BAR.end());
    let figures = |bar: String, amounts: [String; 3]| {
        let [used, granted, total] = amounts;
        format!("[{bar}] {used} used, {granted} granted of {total}")
    };
    let (cpu, mem) = (all.cpu, all.mem);
    let cpu = figures(
        tables::cpu_bar(cpu, ink, bar),
        [cpu.used_permille, cpu.granted_permille, cpu.total_permille].map(cores),
    );
    let mem = figures(
        tables::mem_bar(mem, ink, bar),
        [mem.used_bytes, mem.granted_bytes, mem.total_bytes].map(bytes),
    );
    [first, Line::raw(format!("cpu {cpu}{mailbox}")), Line::raw(format!("mem {mem}"))]
}
