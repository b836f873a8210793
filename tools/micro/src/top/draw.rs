//! The screen, drawn from the model. The same model gives the same screen.

use super::column::{self, Column, Ink};
use super::data::Tenant;
use super::layout::{self, Areas};
use super::model::{Model, Place, Screen};
use super::question::word;
use super::{header, node, tables};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

/// Draws everything.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    // A terminal may be smaller than what it was said to be.
    let room = frame.area();
    paint(model, room, frame.buffer_mut());
}

/// The same into any buffer.
pub fn paint(model: &Model, room: Rect, buffer: &mut Buffer) {
    let areas = layout::areas(model);
    let ink = Ink { signs: model.look.signs, color: model.look.color, now_ms: model.gateway_ms() };
    let mut canvas = Canvas { room, buffer, ink };
    header::draw(model, areas.header, &mut canvas);
    if model.help {
        return help(areas, &mut canvas);
    }
    match &model.screen {
        Screen::Nodes => {
            tenants(model.tenants(), areas.upper, &mut canvas);
            nodes(model, areas.list, &mut canvas);
        }
        Screen::Tenants(place) => {
            canvas.list(
                areas.list,
                &tables::TENANTS,
                model.tenants(),
                0,
                model.tenants().len(),
                Some(*place),
            );
        }
        Screen::Node(page) => node::draw(page, &areas, &mut canvas),
    }
    footer(model, areas.footer, &mut canvas);
}

/// What is drawn on.
pub struct Canvas<'a> {
    room: Rect,
    buffer: &'a mut Buffer,
    pub ink: Ink,
}

impl Canvas<'_> {
    /// Lines from the top of an area on; what there is no room for is left out.
    pub fn lines(&mut self, area: Rect, lines: Vec<Line<'_>>) {
        let lines: Vec<Line<'_>> = lines.into_iter().map(|line| self.spelled(line)).collect();
        Paragraph::new(lines).render(area.intersection(self.room), self.buffer);
    }

    /// A line in the signs that there are.
    fn spelled<'l>(&self, line: Line<'l>) -> Line<'l> {
        let signs = self.ink.signs;
        let spans = line
            .spans
            .into_iter()
            .map(|span| Span::styled(signs.text(span.content.into_owned()), span.style));
        Line { spans: spans.collect(), ..Line::default() }.style(line.style)
    }

    /// A table: its titles, then the entries from `place.top` on. `entries` are those from `offset` on of `count`.
    pub fn list<T>(
        &mut self,
        area: Rect,
        columns: &[Column<T>],
        entries: &[T],
        offset: usize,
        count: usize,
        place: Option<Place>,
    ) {
        if area.height == 0 {
            return;
        }
        // What is selected has a mark too, for those who see no inverse video.
        let mark = usize::from(place.is_some());
        let chosen = column::choose(columns, usize::from(area.width).saturating_sub(mark));
        let mut titles = column::titles(&chosen, self.ink).style(Modifier::REVERSED);
        if mark > 0 {
            titles.spans.insert(0, Span::raw(" "));
        }
        let filled = usize::from(area.width).saturating_sub(titles.width());
        titles.spans.push(Span::raw(" ".repeat(filled)));
        let mut lines = vec![titles];
        let top = place.map_or(0, |place| place.top);
        for at in top..count.min(top + usize::from(area.height) - 1) {
            let entry = at.checked_sub(offset).and_then(|at| entries.get(at));
            let mut line = match entry {
                Some(entry) => column::row(&chosen, entry, self.ink),
                None => Line::raw("…"), // it is asked for
            };
            if let Some(place) = place {
                let selected = place.selected == at;
                line.spans.insert(0, Span::raw(if selected { ">" } else { " " }));
                if selected {
                    line = line.style(Modifier::BOLD);
                }
            }
            lines.push(line);
        }
        self.lines(area, lines);
    }
}

/// Those that use most, as far as there is room; the last line says how many there are more.
fn tenants(tenants: &[Tenant], area: Rect, canvas: &mut Canvas<'_>) {
    let rows = usize::from(area.height).saturating_sub(1);
    canvas.list(area, &tables::TENANTS, tenants, 0, tenants.len().min(rows), None);
    if rows > 0 && tenants.len() > rows {
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        let more = format!(
            "{:<width$}",
            format!("... {} more: t", tenants.len() - rows + 1),
            width = usize::from(area.width)
        );
        canvas.lines(last, vec![Line::raw(more)]);
    }
}

fn nodes(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    let Some(fleet) = &model.fleet.document else { return };
    let (place, count) = match model.look.once {
        true => (None, fleet.nodes.len()),
        false => (Some(model.nodes), fleet.matching),
    };
    let offset = if model.look.once { 0 } else { fleet.offset };
    canvas.list(area, &tables::NODES, &fleet.nodes, offset, count, place);
    if fleet.matching == 0 && area.height > 1 {
        let none = match model.question.said() {
            said if said.is_empty() => "no node yet: `micro commission` gives one its key".to_owned(),
            said => format!("no node matches {said}"),
        };
        canvas.lines(Rect { y: area.y + 1, height: 1, ..area }, vec![Line::raw(none)]);
    }
}

fn footer(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    if area.height == 0 {
        return;
    }
    let text = match (&model.screen, &model.typed) {
        (_, Some(typed)) => format!("/{typed}_   Enter: keep, Esc: everything again"),
        (Screen::Node(_), _) => "Esc: back   up, down: tasks   q: quit   ?: help".to_owned(),
        (Screen::Tenants(_), _) => "Esc: back   q: quit   ?: help".to_owned(),
        (Screen::Nodes, _) => {
            let count = model.matching();
            let first = if count == 0 { 0 } else { model.nodes.top + 1 };
            let last = count.min(model.nodes.top + layout::rows(model));
            let said = model.question.said();
            let said = if said.is_empty() { said } else { format!(" ({said})") };
            format!(
                "{first}-{last} of {count}{said} by {}   Enter: open  s: sort  /: find  f: state  ?: help  q: quit",
                word(model.question.order)
            )
        }
    };
    let text = format!("{text:<width$}", width = usize::from(area.width));
    canvas.lines(area, vec![Line::raw(text).style(Modifier::REVERSED)]);
}

const HELP: &str = "\
up down PgUp PgDn Home End   move (also k j b space g G)
Enter   a node: its tasks and events      Esc   back, or show all nodes again
/       find in EUI-64, hostname, board, agent      t   tenants
s S     sort by the next, the one before: node, battery, heard, tasks, quality
f       state: all, live, silent, registering, registered, away, draining
p       power: all, mains, battery        q, Ctrl-C   quit

use/gr/all   used, granted to tasks, and what there is; in bars:
             USED used, GRANTED granted, FREE free, OVER used beyond the grant
state        live: its lease holds; silent: it lapsed, the master thinks it lost
power        mains, or its charge (! below 20 %); life: how long that lasts
seen         heard so long ago; link: how well; mailbox: commands, oldest
Ages are by the gateway's clock, K and M are 1024s, cpu is in cores.
Any key goes on.";

fn help(areas: Areas, canvas: &mut Canvas<'_>) {
    let rest = Rect {
        y: areas.header.bottom(),
        height: canvas.room.bottom().saturating_sub(areas.header.bottom()),
        ..areas.header
    };
    let mut text = HELP.to_owned();
    for (name, sign) in ["USED", "GRANTED", "FREE", "OVER"].into_iter().zip(canvas.ink.signs.legend()) {
        text = text.replace(name, &sign.to_string());
    }
    canvas.lines(rest, text.lines().map(|line| Line::raw(line.to_owned())).collect());
}
