//! Columns of a table: which of them there is room for, and how wide each is.

use super::text::{Signs, left, right};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Between two columns.
const GAP: usize = 1;

/// What cells are made with.
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    pub signs: Signs,
    /// Whether there are colours at all. Nothing is said by a colour alone.
    pub color: bool,
    /// Unix time by the gateway's clock.
    pub now_ms: u64,
}

impl Ink {
    /// This style, if colours are wanted; otherwise as little of it as is none.
    pub fn style(self, style: Style) -> Style {
        match self.color {
            true => style,
            false => Style { fg: None, bg: None, ..style },
        }
    }
}

/// One column.
pub struct Column<T> {
    pub title: &'static str,
    /// Columns of the terminal that it needs, and the most that it makes use of.
    pub width: (usize, usize),
    /// Who goes first when there is no room: the highest.
    pub rank: u8,
    /// Figures stand at the right.
    pub right: bool,
    pub cell: fn(&T, Ink, usize) -> (String, Style),
}

/// The columns that fit into so much room, in their order, with their widths. The first by rank is there in any case.
pub fn choose<T>(columns: &[Column<T>], room: usize) -> Vec<(&Column<T>, usize)> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|at| columns[*at].rank);
    let mut left = room;
    let mut widths = vec![0; columns.len()];
    for (taken, at) in by_rank.iter().enumerate() {
        let needed = columns[*at].width.0 + if taken > 0 { GAP } else { 0 };
        if needed > left {
            if taken == 0 {
                widths[*at] = std::mem::take(&mut left);
            }
            break; // those behind are worth less
        }
        left -= needed;
        widths[*at] = columns[*at].width.0;
    }
    for at in by_rank {
        if widths[at] > 0 {
            let more = left.min(columns[at].width.1.saturating_sub(widths[at]));
            widths[at] += more;
            left -= more;
        }
    }
    columns.iter().zip(widths).filter(|(_, width)| *width > 0).collect()
}

/// The line of titles.
pub fn titles<T>(columns: &[(&Column<T>, usize)], ink: Ink) -> Line<'static> {
    line(columns, ink, |column, _| (column.title.to_owned(), Style::new()))
}

/// The line of one entry.
pub fn row<T>(columns: &[(&Column<T>, usize)], entry: &T, ink: Ink) -> Line<'static> {
    line(columns, ink, |column, width| (column.cell)(entry, ink, width))
}

fn line<T>(
    columns: &[(&Column<T>, usize)],
    ink: Ink,
    cell: impl Fn(&Column<T>, usize) -> (String, Style),
) -> Line<'static> {
    let mut spans = Vec::with_capacity(2 * columns.len());
    for (at, (column, width)) in columns.iter().enumerate() {
        if at > 0 {
            spans.push(Span::raw(" ".repeat(GAP)));
        }
        let (text, style) = cell(column, *width);
        let text = if column.right { right(&text, *width) } else { left(&text, *width) };
        spans.push(Span::styled(ink.signs.text(text), ink.style(style)));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> [Column<()>; 3] {
        let column = |title, width, rank| Column {
            title,
            width,
            rank,
            right: false,
            cell: |_: &(), _, _| (String::new(), Style::new()),
        };
        [column("b", (10, 10), 1), column("a", (5, 5), 0), column("c", (4, 9), 2)]
    }

    #[test]
    fn columns_go_by_rank_and_what_is_left_is_given_away() {
        let chosen = |room| {
            let columns = columns();
            choose(&columns, room).iter().map(|(column, width)| (column.title, *width)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(100), [("b", 10), ("a", 5), ("c", 9)]);
        assert_eq!(chosen(22), [("b", 10), ("a", 5), ("c", 5)]);
        assert_eq!(chosen(20), [("b", 10), ("a", 5)]);
        assert_eq!(chosen(15), [("a", 5)]);
        assert_eq!(chosen(3), [("a", 3)]);
        assert_eq!(chosen(0), []);
    }
}
