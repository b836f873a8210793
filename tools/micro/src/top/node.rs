//! The screen of one node: what is known of it, its tasks, its newest events.

use super::draw::Canvas;
use super::layout::Areas;
use super::model::NodePage;
use super::tables;
use super::text::{ago, percent};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

/// Draws it.
pub fn draw(page: &NodePage, areas: &Areas, canvas: &mut Canvas<'_>) {
    let ink = canvas.ink;
    let title = |text: &str| Span::styled(format!("{text:<8}"), Modifier::BOLD);
    let Some(view) = &page.seen.document else {
        let said = if page.gone { "the gateway does not know it (any more)" } else { "asking the gateway" };
        return canvas.lines(areas.upper, vec![Line::raw(format!("node {}: {said}", page.node))]);
    };
    let node = &view.node;
    let (power, power_style) = tables::power(node);
    let mut state = vec![
        title("node"),
        Span::raw(format!("{}  ", node.node)),
        Span::styled(node.word().to_owned(), ink.style(tables::state_style(node.word()))),
    ];
    if page.gone {
        state.push(Span::raw("  GONE: the gateway does not know it any more"));
    }
    let or = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let next = node.next_poll_s.map_or_else(String::new, |s| format!(", polls within {s} s"));
    let link = format!(
        "{}, {} lost of its own, {} sent again",
        percent(node.link.quality_percent),
        node.link.uplink_lost_permille.map_or("-".into(), |lost| format!("{}.{}%", lost / 10, lost % 10)),
        node.link.resent.map_or("-".into(), |resent| resent.to_string()),
    );
    let bar = (usize::from(areas.upper.width) / 5).clamp(8, 30);
    let lines = vec![
        Line::from(state),
        Line::from(vec![
            title("agent"),
            Span::raw(format!("{}  {}  board {}", or(&node.agent_id), or(&node.hostname), or(&node.board))),
        ]),
        Line::from(vec![
            title("heard"),
            Span::raw(format!(
                "{} ago{next}   mailbox {}",
                ago(ink.now_ms, node.heard_ms),
                tables::mailbox(node, ink.now_ms)
            )),
        ]),
        Line::from(vec![
            title("power"),
            Span::styled(power, ink.style(power_style)),
            Span::raw(format!("   life {}   link {link}", tables::life(node))),
        ]),
        Line::from(vec![
            title("cpu"),
            Span::raw(format!(
                "[{}] {} used/granted/all",
                tables::cpu_bar(node.cpu, ink, bar),
                tables::cpu_figures(node.cpu)
            )),
        ]),
        Line::from(vec![
            title("mem"),
            Span::raw(format!(
                "[{}] {} used/granted/all",
                tables::mem_bar(node.mem, ink, bar),
                tables::mem_figures(node.mem)
            )),
        ]),
    ];
    canvas.lines(areas.upper, lines);
    let tasks: Vec<_> = page.tasks().cloned().collect();
    canvas.list(areas.list, &tables::TASKS, &tasks, 0, tasks.len(), Some(page.place));
    let events: Vec<_> = page.events.iter().take(areas.lower.height.into()).cloned().collect();
    canvas.list(areas.lower, &tables::EVENTS, &events, 0, events.len(), None);
}
