//! Jobs for people.

use crate::ask::text::text;
use serde_json::Value;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// In whole seconds, the two largest units.
fn length(ms: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(ms / 1000)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// `in 3m 20s`, `3m 20s ago`, or a dash.
fn when(at: &Value) -> String {
    let now = now_ms();
    match at.as_u64() {
        None => "-".into(),
        Some(at) if at > now => format!("in {}", length(at - now)),
        Some(at) => format!("{} ago", length(now - at)),
    }
}

/// How a task ended.
fn end(past: &Value) -> String {
    let mut line = text(past, "state").to_owned();
    if let Some(reason) = past["reason"].as_str() {
        let _ = write!(line, " ({reason})"); // a String takes everything
    }
    if let Some(message) = past["message"].as_str() {
        let _ = write!(line, ": {message}");
    }
    line
}

/// Where a job is, and why it is not further.
pub fn progress(job: &Value) -> String {
    let state = text(job, "state");
    let why = job["why"]["text"].as_str();
    match state {
        "running" => {
            let mut line = format!("running {}/{}", job["running"], job["wanted"]);
            if let Some(why) = why {
                let _ = write!(line, ", {} wait: {why}", job["waiting"]);
            }
            line
        }
        "placing" | "pending" => why.map_or(state.to_owned(), |why| format!("{state}: {why}")),
        "waiting" => match job["last"].is_null() {
            true => format!("waiting, next {}", when(&job["next_ms"])),
            false => format!("waiting, next {}; last {}", when(&job["next_ms"]), end(&job["last"])),
        },
        _ => match job["last"].is_null() {
            true => state.to_owned(),
            false => format!("{state}, last {}", end(&job["last"])),
        },
    }
}

/// One job on a line.
pub fn line(job: &Value) -> String {
    let running = format!("{}/{}", job["running"], job["wanted"]);
    format!(
        "{:<24} {:<9} {running:>9} {:>5} {:<14} {:<16} {}",
        text(job, "id"),
        text(job, "state"),
        job["priority"].to_string(),
        when(&job["next_ms"]),
        text(&job["last"], "state"),
        job["why"]["text"].as_str().unwrap_or("")
    )
    .trim_end()
    .to_owned()
}

/// All of them.
pub fn table(jobs: &[Value]) -> String {
    let mut table = format!(
        "{:<24} {:<9} {:>9} {:>5} {:<14} {:<16} WAITS BECAUSE\n",
        "JOB", "STATE", "RUNNING", "PRIO", "NEXT", "LAST"
    );
    for job in jobs {
        table += &line(job);
        table.push('\n');
    }
    table
}

/// Everything of one.
pub fn whole(job: &Value) -> String {
    let spec = &job["spec"];
    let mut page = String::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() && value != "-" {
            let _ = writeln!(page, "{name:<12} {value}"); // a String takes everything
        }
    };
    let pairs = |map: &Value| -> String {
        let pairs = map.as_object().into_iter().flatten().map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        });
        pairs.collect::<Vec<_>>().join(" ")
    };
    let list = |list: &Value| -> String {
        let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(" ")
    };
    put("job", text(job, "id").into());
    put("name", text(job, "name").into());
    put("state", progress(job));
    put("image", text(spec, "image").into());
    put("uris", list(&spec["uris"]));
    put("arguments", list(&spec["arguments"]));
    put("role", format!("{}, priority {}", text(job, "role"), job["priority"]));
    put("resources", pairs(&spec["resources"]));
    put("constraints", list(&spec["constraints"]));
    put("restart", pairs(&spec["restart"]));
    put("schedule", pairs(&spec["schedule"]));
    put("next", when(&job["next_ms"]));
    put("accepted", when(&job["created_ms"]));
    put("ended", when(&job["ended_ms"]));
    if job["periodic"] == true {
        put("runs", pairs(&job["runs"]));
    }
    let instances = job["instances"].as_array().filter(|list| !list.is_empty());
    if let Some(instances) = instances {
        page += "\nRUN  INSTANCE STATE        TASK                     NODE                     LAUNCHES FAILURES\n";
        for held in instances {
            let state = held["task_state"].as_str().filter(|_| held["state"] == "launched");
            let state = state.map_or(text(held, "state"), |state| state.trim_start_matches("TASK_"));
            let _ = writeln!(
                page,
                "{:<4} {:<8} {state:<12} {:<24} {:<24} {:<8} {}",
                held["run"].to_string(),
                held["instance"].to_string(),
                text(held, "task_id"),
                text(held, "hostname"),
                held["launches"].to_string(),
                held["failures"],
            );
        }
    }
    let past = job["history"]["tasks"].as_array().filter(|list| !list.is_empty());
    if let Some(past) = past {
        page += "\nENDED           TASK                     NODE                     HOW\n";
        for past in past {
            let (task, node) = (text(past, "task_id"), text(past, "hostname"));
            let _ = writeln!(page, "{:<15} {task:<24} {node:<24} {}", when(&past["ended_ms"]), end(past));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_is_told_in_a_line_and_on_a_page() {
        let last = json!({"state": "TASK_FAILED", "reason": "REASON_X", "message": "it broke", "task_id": "a.1",
            "hostname": "h", "ended_ms": 1});
        let job = json!({
            "id": "a", "state": "placing", "running": 0, "wanted": 2, "priority": 1, "last": last, "waiting": 2,
            "why": {"text": "of 3 nodes, 3 fail on=camera"}, "role": "*", "periodic": false,
            "spec": {"image": "/x", "resources": {"cpus": 0.1}, "constraints": ["on=camera"]},
            "instances": [{"run": 1, "instance": 0, "state": "placing", "launches": 1, "failures": 1}],
            "history": {"tasks": [last]},
        });
        assert_eq!(progress(&job), "placing: of 3 nodes, 3 fail on=camera");
        assert!(table(std::slice::from_ref(&job)).lines().nth(1).unwrap().ends_with("3 fail on=camera"));
        let page = whole(&job);
        for word in ["on=camera", "cpus=0.1", "TASK_FAILED (REASON_X): it broke", "a.1"] {
            assert!(page.contains(word), "{word}: {page}");
        }
        assert!(!page.contains("schedule"), "{page}");
    }
}
