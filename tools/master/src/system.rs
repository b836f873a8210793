//! The machine, as libprocess tells of it (3rdparty/libprocess/src/system.hpp). What cannot be read is left out.

use serde_json::{Map, Value};

/// `system/...` of `/metrics/snapshot`.
pub(crate) fn metrics() -> impl Iterator<Item = (&'static str, f64)> {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut loads = loads.split_whitespace().map_while(|load| load.parse::<f64>().ok());
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| kilobytes(&memory, name).map(|kilobytes| kilobytes * 1024.0);
    let cpus = std::thread::available_parallelism().ok().map(|cpus| cpus.get() as f64);
    let all = [
        ("system/load_1min", loads.next()),
        ("system/load_5min", loads.next()),
        ("system/load_15min", loads.next()),
        ("system/cpus_total", cpus),
        ("system/mem_total_bytes", bytes("MemTotal")),
        ("system/mem_free_bytes", bytes("MemFree")),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// `/system/stats.json`: the same under older names.
pub(crate) fn stats() -> Value {
    let shown = metrics().map(|(name, value)| {
        let name = name.trim_start_matches("system/");
        (if name.starts_with("load") { format!("avg_{name}") } else { name.to_owned() }, value.into())
    });
    Value::Object(shown.collect::<Map<_, _>>())
}

/// A line such as `MemFree:  1234 kB`.
fn kilobytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_by_its_name() {
        let text = "MemTotal:       16314 kB\nMemFree:   12 kB\nMemAvailable: x kB\n";
        assert_eq!(kilobytes(text, "MemTotal"), Some(16_314.0));
        assert_eq!(kilobytes(text, "MemFree"), Some(12.0));
        assert_eq!(kilobytes(text, "Mem"), None);
        assert_eq!(kilobytes(text, "MemAvailable"), None);
    }
}
