//! Texts and figures in columns of a terminal: as wide as they are, never wider than there is room.

use unicode_truncate::{Alignment, UnicodeTruncateStr};

/// Longest text that is kept, characters. No terminal shows more of one.
const TEXT_MAX: usize = 512;

/// Whether a character does something else than to be seen: controls, and what turns, joins or hides others (Unicode,
/// category Cf and variation selectors).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A text from outside as it may be shown: what acts on a terminal is replaced, what is too long is cut.
pub fn harmless(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if acts(c) { '\u{fffd}' } else { c }).collect()
}

/// A text in so many columns at most; `…` says that there was more.
pub fn fit(text: &str, width: usize) -> String {
    let (whole, columns) = text.unicode_truncate(width);
    if whole.len() == text.len() {
        return text.to_owned();
    }
    match width {
        0 => String::new(),
        _ if columns == 0 => "…".into(),
        _ => format!("{}…", text.unicode_truncate(width - 1).0),
    }
}

/// A text in exactly so many columns, at the left.
pub fn left(text: &str, width: usize) -> String {
    fit(text, width).unicode_pad(width, Alignment::Left, false).into_owned()
}

/// The same at the right.
pub fn right(text: &str, width: usize) -> String {
    fit(text, width).unicode_pad(width, Alignment::Right, false).into_owned()
}

/// What is not known.
const UNKNOWN: &str = "-";

/// Thousandths of a core, in cores: four columns, if there are less than 10,000.
pub fn cores(permille: Option<u64>) -> String {
    match permille {
        None => UNKNOWN.into(),
        Some(permille @ 0..10_000) => format!("{}.{:02}", permille / 1000, permille % 1000 / 10),
        Some(permille @ 10_000..100_000) => format!("{}.{}", permille / 1000, permille % 1000 / 100),
        Some(permille @ ..100_000_000) => format!("{}", permille / 1000),
        Some(permille) => format!("{}k", permille / 1_000_000),
    }
}

/// Bytes in four columns; a unit is 1,024 of the one before, as boards have their memory.
pub fn bytes(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return UNKNOWN.into() };
    let mut amount = bytes as f64;
    for unit in ["B", "K", "M", "G", "T", "P"] {
        match amount {
            ..9.95 if unit != "B" && amount.fract() != 0.0 => return format!("{amount:.1}{unit}"),
            ..999.5 => return format!("{amount:.0}{unit}"),
            _ => amount /= 1024.0,
        }
    }
    format!("{amount:.0}E")
}

/// A time span in milliseconds, in four columns at most: 9s, 99m, 47h, 999d.
pub fn span(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..100 => format!("{s}s"),
        s @ 100..6_000 => format!("{}m", s / 60),
        s @ 6_000..172_800 => format!("{}h", s / 3600),
        s if s / 86_400 < 1_000 => format!("{}d", s / 86_400),
        s => format!("{}y", s / 31_557_600),
    }
}

/// How long ago a Unix time was at another one.
pub fn ago(now_ms: u64, then_ms: Option<u64>) -> String {
    then_ms.map_or(UNKNOWN.into(), |then| span(now_ms.saturating_sub(then)))
}

/// A percentage.
pub fn percent(percent: Option<u8>) -> String {
    percent.map_or(UNKNOWN.into(), |percent| format!("{percent}%"))
}

/// What may be drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// In a bar: used, granted, free, and used beyond what was granted.
    bar: [char; 4],
    /// Nothing but ASCII.
    ascii: bool,
}

impl Signs {
    pub const UNICODE: Self = Self { bar: ['█', '▒', '·', '!'], ascii: false };
    pub const ASCII: Self = Self { bar: ['#', '=', '.', '!'], ascii: true };

    /// A bar of so many columns: used, then granted, then the rest. Without a total, all of it is what is granted.
    pub fn bar(self, used: Option<u64>, granted: Option<u64>, total: Option<u64>, width: usize) -> String {
        let [full, half, free, over] = self.bar;
        let (used, granted) = (used.unwrap_or(0), granted.unwrap_or(0));
        let whole = total.unwrap_or(granted).max(granted).max(used);
        // What is there at all is seen: the last part of a column counts.
        let columns = |amount: u64| match whole {
            0 => 0,
            _ => (u128::from(amount) * width as u128).div_ceil(u128::from(whole)) as usize,
        };
        let (used_to, granted_to) = (columns(used), columns(granted));
        let sign = |at: usize| match at {
            at if at < used_to && at < granted_to => full,
            at if at < used_to => over,
            at if at < granted_to => half,
            _ => free,
        };
        (0..width).map(sign).collect()
    }

    /// What the signs of a bar are: used, granted, free, beyond.
    pub fn legend(self) -> [char; 4] {
        self.bar
    }

    /// A text in these signs; what they do not have is a question mark.
    pub fn text(self, text: String) -> String {
        match self.ascii && !text.is_ascii() {
            true => text.replace('…', "~").replace(|c: char| !c.is_ascii(), "?"),
            false => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ratatui::text::Span;

    #[test]
    fn figures_keep_to_their_columns() {
        let amounts = [0, 1, 999, 9_999, 131_072, 1_047_552, 16_777_216, 1 << 40, u64::MAX];
        let shown: Vec<String> = amounts.iter().map(|amount| bytes(Some(*amount))).collect();
        assert_eq!(shown, ["0B", "1B", "999B", "9.8K", "128K", "1.0M", "16M", "1T", "16E"]);
        assert_eq!(bytes(None), "-");
        let shown: Vec<String> =
            [0, 5, 999, 1_000, 12_345, 123_456, 1 << 40].iter().map(|amount| cores(Some(*amount))).collect();
        assert_eq!(shown, ["0.00", "0.00", "0.99", "1.00", "12.3", "123", "1099511k"]);
        assert_eq!([span(0), span(99_999), span(100_000), span(90_000_000)], ["0s", "99s", "1m", "25h"]);
        assert_eq!([ago(5_000, None), ago(5_000, Some(9_000)), ago(5_000, Some(1))], ["-", "0s", "4s"]);
    }

    #[test]
    fn a_bar_shows_used_granted_and_the_rest() {
        let bar = |used, granted, total| Signs::ASCII.bar(used, granted, total, 10);
        assert_eq!(bar(Some(25), Some(50), Some(100)), "###==.....");
        assert_eq!(bar(Some(1), Some(1000), Some(1000)), "#=========");
        assert_eq!(bar(None, Some(50), None), "==========");
        assert_eq!(bar(Some(100), Some(50), Some(100)), "#####!!!!!");
        assert_eq!(bar(None, None, None), "..........");
        assert_eq!(bar(Some(u64::MAX), Some(u64::MAX), Some(1)), "##########");
    }

    #[test]
    fn a_text_is_cut_where_it_says_so() {
        assert_eq!(
            [fit("abcdef", 6), fit("abcdef", 5), fit("abcdef", 1), fit("a", 0)],
            ["abcdef", "abcd…", "…", ""]
        );
        assert_eq!(fit("漢字漢字", 5), "漢字…");
        assert_eq!(fit("漢", 1), "…");
        assert_eq!([left("漢", 4), right("漢", 4)], ["漢  ", "  漢"]);
        assert_eq!(Signs::ASCII.text("a…漢".into()), "a~?");
    }

    proptest! {
        #[test]
        fn whatever_comes_keeps_to_its_columns(text in "\\PC{0,40}|.{0,40}", width in 0usize..30) {
            let shown = harmless(&text);
            prop_assert!(!shown.chars().any(acts));
            prop_assert!(Span::raw(fit(&shown, width)).width() <= width);
            prop_assert_eq!(Span::raw(left(&shown, width)).width(), width);
            prop_assert!(Signs::ASCII.text(left(&shown, width)).is_ascii());
        }
    }
}
