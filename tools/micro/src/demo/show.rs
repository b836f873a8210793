//! What a person sees: a live table on a terminal, plain lines otherwise, one JSON document if asked.

use super::scene::{Report, Scene};
use agent_posix::Traffic;
use air::Stats;
use anyhow::Result;
use serde_json::Value;
use std::io::{IsTerminal, Write};

pub struct Show {
    json: bool,
    live: bool,
    drawn: usize,
}

impl Show {
    pub fn new(json: bool) -> Self {
        Self { json, live: !json && std::io::stdout().is_terminal(), drawn: 0 }
    }

    /// Takes the table off the screen.
    fn wipe(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        if !self.json {
            self.wipe();
            println!("{text}");
        }
    }

    /// The live table.
    pub fn table(&mut self, view: &Value, traffic: &[Traffic], scene: &Scene, stats: Stats) {
        if !self.live {
            return;
        }
        self.wipe();
        let mut lines = vec![format!(
            "\x1b[1m{:<14} {:<8} {:<14} {:>16} {:>17} {:>14} {:>13}\x1b[0m",
            "NODE", "TASK", "STATE", "CPU ms/granted", "MEM B/granted", "IMAGE", "FRAMES"
        )];
        for (at, node) in view["nodes"].as_array().into_iter().flatten().enumerate() {
            let frames = traffic.get(at).map_or(0, |traffic| traffic.frames_in + traffic.frames_out);
            let name = node["board"].as_str().unwrap_or("?");
            let tasks = node["tasks"].as_array().map_or(&[][..], Vec::as_slice);
            if tasks.is_empty() {
                lines.push(format!("{name:<14} {:<8} {:<14} {:>63}", "-", "", frames));
            }
            for task in tasks {
                let number = |field: &str| task[field].as_u64().unwrap_or(0);
                let (got, total) = (number("received_bytes"), number("total_bytes"));
                lines.push(format!(
                    "{name:<14} {:<8} {:<14} {:>16} {:>17} {:>14} {frames:>13}",
                    task["task_id"].as_str().unwrap_or("?"),
                    task["state"].as_str().unwrap_or("?").trim_start_matches("TASK_"),
                    format!("{}/{}", number("cpu_ms"), number("cpu_granted_ms")),
                    format!("{}/{}", number("mem_bytes"), number("mem_granted_bytes")),
                    bar(got, total),
                ));
            }
        }
        let over = scene.outcomes.values().filter(|outcome| {
            outcome.statuses.last().is_some_and(|status| framework::is_terminal(status.state()))
        });
        lines.push(format!(
            "air: {} frames, {} bytes, {} lost, {} delayed; {} of {} tasks ended",
            stats.frames,
            stats.bytes,
            stats.lost,
            stats.delayed,
            over.count(),
            scene.outcomes.len()
        ));
        println!("{}", lines.join("\n"));
        self.drawn = lines.len();
        let _ = std::io::stdout().flush(); // the next frame will show
    }

    /// The summary.
    pub fn finish(&mut self, report: &Report) -> Result<()> {
        self.wipe();
        if self.json {
            println!("{:#}", report.json);
            return Ok(());
        }
        println!();
        for check in &report.checks {
            let mark = if check.good { "ok    " } else { "FAILED" };
            println!("{mark} {}: {}", check.what, check.seen);
        }
        let failed = report.failed();
        println!(
            "\n{} passed, {failed} failed in {:.1} s; {} frames and {} bytes in the air",
            report.checks.len() - failed,
            report.seconds,
            report.stats.frames,
            report.stats.bytes
        );
        Ok(())
    }
}

fn bar(got: u64, total: u64) -> String {
    if total == 0 {
        return "-".into();
    }
    let filled = (got.min(total) * 8 / total) as usize;
    format!("{}{} {:>3}%", "#".repeat(filled), ".".repeat(8 - filled), got.min(total) * 100 / total)
}
