//! What stands where, for terminals of any size.

use super::model::{Model, Screen};
use ratatui::layout::Rect;

/// Below so many lines, what is not a list is kept short.
const LOW: u16 = 14;
/// Lines about a node above its tasks.
const NODE_LINES: u16 = 6;

/// The parts of the screen, from above. A part without a line is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas {
    /// What is always there: the gateway, and sums.
    pub header: Rect,
    /// Tenants, or what is known of the node that is looked at.
    pub upper: Rect,
    /// The list that keys move in, below its line of titles.
    pub list: Rect,
    /// A node's events.
    pub lower: Rect,
    /// What keys do.
    pub footer: Rect,
}

pub fn areas(model: &Model) -> Areas {
    let (width, height) = model.size;
    let once = model.look.once;
    let header = if height >= LOW { 4 } else { 2 }.min(height);
    let footer = u16::from(!once && height > header + 3);
    let room = height - header - footer;
    let tenants = u16::try_from(model.tenants().len()).unwrap_or(u16::MAX);
    let (upper, lower) = match &model.screen {
        Screen::Nodes if tenants == 0 || height < LOW => (0, 0),
        Screen::Nodes if once => (tenants.saturating_add(1), 0),
        Screen::Nodes => (tenants.min((room / 4).max(1)) + 1, 0),
        Screen::Tenants(_) => (0, 0),
        Screen::Node(_) => {
            let upper = NODE_LINES.min(room / 2);
            (upper, (room - upper) / 2)
        }
    };
    let upper = upper.min(room);
    let list = room - upper - lower;
    let mut y = 0;
    let mut part = |height: u16| {
        let part = Rect { x: 0, y, width, height };
        y += height;
        part
    };
    Areas {
        header: part(header),
        upper: part(upper),
        list: part(list),
        lower: part(lower),
        footer: part(footer),
    }
}

/// Entries of the list that there is room for, its line of titles left out.
pub fn rows(model: &Model) -> usize {
    areas(model).list.height.saturating_sub(1).into()
}

/// Lines of a frame that shows all that there is.
pub fn whole(model: &Model) -> u16 {
    let nodes = model.fleet.document.as_ref().map_or(0, |fleet| fleet.nodes.len());
    let tenants = match model.tenants().len() {
        0 => 0,
        some => some + 1,
    };
    u16::try_from(4 + tenants + 1 + nodes).unwrap_or(u16::MAX).max(LOW)
}
