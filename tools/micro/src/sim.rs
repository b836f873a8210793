//! The deterministic simulation on the command line: many seeds, or one of them event by event.

use anyhow::{Result, bail};
use serde_json::json;
use sim::{Outcome, Run, Sabotage, Stats};
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// Seeds to run, the second one left out
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..100", conflicts_with = "seed")]
    seeds: Range<u64>,
    /// Run one seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Virtual minutes in which things break; then everything is mended and has to come right
    #[arg(long, default_value_t = 60, value_name = "M")]
    minutes: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Print every event of the one seed
    #[arg(long, requires = "seed", conflicts_with = "json")]
    trace: bool,
    /// Worlds at once; as many as there are cores if not given
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let read = || {
        let (first, end) = text.split_once("..")?;
        Some(first.parse().ok()?..end.parse().ok()?)
    };
    read().filter(|range: &Range<u64>| !range.is_empty()).ok_or_else(|| "expected two numbers: 0..100".into())
}

/// Seeds after which a log gets a line.
const LINE_SEEDS: u64 = 100;

/// What repeats a run, event by event.
fn replay(seed: u64, minutes: u64) -> String {
    format!("micro sim --seed {seed} --minutes {minutes} --trace")
}

fn told(outcome: &Outcome, minutes: u64) -> serde_json::Value {
    let violation = outcome.violation.as_ref().map(|violation| {
        json!({
            "invariant": violation.invariant,
            "at_ms": violation.at_ms,
            "detail": violation.detail,
            "replay": replay(outcome.seed, minutes),
        })
    });
    json!({ "seed": outcome.seed, "trace": format!("{:016x}", outcome.hash), "violation": violation })
}

fn print_failure(outcome: &Outcome, minutes: u64) {
    let Some(violation) = &outcome.violation else { return };
    let at = (violation.at_ms / 1000, violation.at_ms % 1000);
    println!("FAILED seed {} at {}.{:03} s: {}", outcome.seed, at.0, at.1, violation.invariant);
    println!("       {}", violation.detail);
    println!("       {}", replay(outcome.seed, minutes));
}

/// How far it is: for the eye, or now and then a line for a log.
fn progress(done: u64, count: u64, failed: usize) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{done} of {count} seeds, {failed} failed ");
        let _ = std::io::stderr().flush(); // it is only for the eye
    } else if done.is_multiple_of(LINE_SEEDS) && done < count {
        eprintln!("{done} of {count} seeds, {failed} failed");
    }
}

pub fn sim(args: Args) -> Result<ExitCode> {
    let range = args.seed.map_or(args.seeds, |seed| seed..seed + 1);
    if args.minutes == 0 {
        bail!("--minutes 0: there is nothing to simulate");
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let jobs = args.jobs.unwrap_or(cores);
    let begun = Instant::now();
    let (count, mut done) = (range.end - range.start, 0);
    let (mut stats, mut virtual_ms, mut failed) = (Stats::default(), 0, Vec::new());
    let mut take = |outcome: &Outcome| {
        done += 1;
        stats = stats.and(&outcome.stats);
        virtual_ms += outcome.virtual_ms;
        failed.extend(outcome.violation.is_some().then(|| outcome.clone()));
        if !args.json {
            // At once: a long run may be ended before it is done.
            print_failure(outcome, args.minutes);
            progress(done, count, failed.len());
        }
        true
    };
    let mut last = None;
    match args.trace {
        true => {
            let run = Run { seed: range.start, minutes: args.minutes, sabotage: Sabotage::None };
            let outcome = sim::run(run, Some(Box::new(|line| println!("{line}"))));
            take(&outcome);
            last = Some(outcome);
        }
        false => sim::run_all(range, args.minutes, Sabotage::None, jobs, |outcome| {
            let go_on = take(outcome);
            last = Some(outcome.clone());
            go_on
        }),
    }
    failed.sort_by_key(|outcome| outcome.seed);
    let hours = virtual_ms as f64 / 3_600_000.0;
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        let document = json!({
            "seeds": done,
            "minutes": args.minutes,
            "virtual_hours": hours,
            "seconds": seconds,
            "tasks": stats.tasks,
            "datagrams": stats.datagrams,
            "faults": stats.faults,
            "trace": last.filter(|_| count == 1).map(|outcome| format!("{:016x}", outcome.hash)),
            "failed": failed.iter().map(|outcome| told(outcome, args.minutes)).collect::<Vec<_>>(),
        });
        println!("{document:#}");
    } else {
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
        if let Some(outcome) = last.filter(|_| count == 1) {
            println!("seed {}: {} events, trace {:016x}", outcome.seed, outcome.events, outcome.hash);
        }
        println!(
            "{done} seeds, {} failed: {hours:.0} virtual hours in {seconds:.1} s; {} tasks, {} datagrams, {} faults, \
             {} crashes of nodes, {} of gateways, {} of masters",
            failed.len(),
            stats.tasks,
            stats.datagrams,
            stats.faults,
            stats.node_crashes,
            stats.gateway_crashes,
            stats.master_crashes
        );
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
