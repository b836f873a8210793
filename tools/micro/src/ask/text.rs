//! How figures read: amounts, ages and tables in columns as wide as what is in them.

use serde_json::Value;

/// A field's text, or a dash.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().filter(|text| !text.is_empty()).unwrap_or("-")
}

/// Thousandths of a core as a share of it.
pub fn share(permille: &Value) -> String {
    permille.as_f64().map_or("-".into(), |permille| format!("{:.2}", permille / 1000.0))
}

/// Bytes, with a unit.
pub fn bytes(value: &Value) -> String {
    match value.as_f64() {
        None => "-".into(),
        Some(bytes) if bytes < 10_000.0 => format!("{bytes} B"),
        Some(bytes) if bytes < 10_000_000.0 => format!("{:.1} kB", bytes / 1e3),
        Some(bytes) => format!("{:.1} MB", bytes / 1e6),
    }
}

/// A time span in milliseconds, in the unit that people would use.
pub fn span(ms: u64) -> String {
    match ms {
        0..120_000 => format!("{:.1} s", ms as f64 / 1e3),
        120_000..7_200_000 => format!("{:.0} min", ms as f64 / 60e3),
        7_200_000..172_800_000 => format!("{:.0} h", ms as f64 / 3.6e6),
        _ => format!("{:.0} days", ms as f64 / 86.4e6),
    }
}

/// How long ago something at a Unix time in milliseconds was, by the clock of whoever tells it.
pub fn ago(at: &Value, then: &Value) -> String {
    match (at.as_u64(), then.as_u64()) {
        (Some(at), Some(then)) => span(at.saturating_sub(then)),
        _ => "-".into(),
    }
}

/// A Unix time in milliseconds, in UTC to the second.
pub fn clock(ms: &Value) -> String {
    let time = ms.as_i64().and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or("-".into(), |time| time.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// What comes from nodes and tasks may hold anything: controls are shown, not obeyed.
pub fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// Prints a table; the last column is as long as it likes.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let widths: Vec<usize> = (0..N)
        .map(|at| rows.iter().map(|row| row[at].chars().count()).chain([head[at].len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let line: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", line.join("  ").trim_end());
    };
    line(&mut head.iter().copied());
    rows.iter().for_each(|row| line(&mut row.iter().map(String::as_str)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(clock(&Value::from(0)), "1970-01-01 00:00:00");
        assert_eq!(clock(&Value::from(951_827_696_000_u64)), "2000-02-29 12:34:56");
        assert_eq!(clock(&Value::from(1_795_271_085_123_u64)), "2026-11-21 14:24:45");
        assert_eq!((span(1_500), span(600_000)), ("1.5 s".into(), "10 min".into()));
        assert_eq!(bytes(&Value::from(16_777)), "16.8 kB");
        assert_eq!(share(&Value::Null), "-");
        assert_eq!(plain("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
