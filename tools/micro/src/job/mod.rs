//! Jobs of the embedded master from the command line. With `--wait` a job that failed or was killed ends the command with
//! [`ENDED_BADLY`].

mod describe;
mod text;

use crate::ask::{MasterAt, Server, encoded};
use crate::exit::{ENDED_BADLY, Trouble};
use anyhow::{Context, Result};
use http::Method;
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at a job that is waited for.
const LOOK: Duration = Duration::from_millis(200);
/// How long a master that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Jobs asked for at a time.
const PAGE: usize = 500;

#[derive(clap::Subcommand)]
pub enum JobCommand {
    /// Submit a job
    Run(Box<RunArgs>),
    /// List jobs, the newest first
    List(ListArgs),
    /// Show one job: its instances, what became of earlier ones, why it waits
    Show(OneArgs),
    /// Run a periodic job now
    Start(OneArgs),
    /// End a job, and with --purge forget it
    Kill(KillArgs),
}

/// Which master, and as whom.
#[derive(clap::Args)]
struct Place {
    #[command(flatten)]
    at: MasterAt,
    /// For machines: the master's answer
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    described: describe::Described,
    /// Come back when it has ended
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub struct ListArgs {
    /// Of this state only: pending, placing, running, waiting, killing, finished, failed or killed
    #[arg(long)]
    state: Option<String>,
    /// With this in their id or name
    #[arg(long, value_name = "TEXT")]
    find: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub struct OneArgs {
    /// The job
    id: String,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub struct KillArgs {
    /// The job
    id: String,
    /// Forget it as soon as it has ended
    #[arg(long)]
    purge: bool,
    #[command(flatten)]
    place: Place,
}

pub fn job(command: JobCommand) -> Result<ExitCode> {
    match command {
        JobCommand::Run(args) => run(&args),
        JobCommand::List(args) => list(&args),
        JobCommand::Show(args) => one(&args, Method::GET, "", text::whole),
        JobCommand::Start(args) => one(&args, Method::POST, "/run", |job| text::line(job) + "\n"),
        JobCommand::Kill(args) => kill(&args),
    }
}

fn run(args: &RunArgs) -> Result<ExitCode> {
    let job = args.described.document()?;
    if args.wait && !job["schedule"].is_null() {
        return Err(Trouble::Senseless("--wait: a periodic job does not end".into()).into());
    }
    let server = args.place.at.server()?;
    let accepted = server.ask(Method::POST, "/jobs", Some(&job))?.with_context(no_jobs)?;
    let id = accepted["id"].as_str().context("the master's answer names no job")?.to_owned();
    if !args.wait {
        match args.place.json {
            true => println!("{accepted:#}"),
            false => println!("{id}"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{id}: submitted; it goes on if this command is interrupted (micro job kill {id})");
    let mut said = String::new();
    let mut silent: Option<Instant> = None;
    loop {
        let job = match known(&server, Method::GET, &id, "") {
            Ok(job) => job,
            Err(error) => {
                // A master that is started again knows the job still.
                let away = matches!(error.downcast_ref(), Some(Trouble::Unreachable(_)));
                let since = *silent.get_or_insert_with(Instant::now);
                if !away || since.elapsed() > PATIENCE {
                    return Err(error);
                }
                std::thread::sleep(LOOK);
                continue;
            }
        };
        silent = None;
        let line = text::progress(&job);
        if line != said {
            eprintln!("{id}: {line}");
            said = line;
        }
        if !job["ended_ms"].is_null() {
            if args.place.json {
                println!("{job:#}");
            }
            let well = job["state"] == "finished";
            return Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(ENDED_BADLY) });
        }
        std::thread::sleep(LOOK);
    }
}

fn list(args: &ListArgs) -> Result<ExitCode> {
    let mut query = format!("/jobs?limit={PAGE}");
    for (name, value) in [("state", &args.state), ("q", &args.find)] {
        if let Some(value) = value {
            query += &format!("&{name}={}", encoded(value));
        }
    }
    let server = args.place.at.server()?;
    let mut document = server.document(&query)?;
    while let Some(jobs) = document["jobs"].as_array_mut() {
        let so_far = jobs.len();
        let page = server.document(&format!("{query}&offset={so_far}"))?;
        match page["jobs"].as_array().filter(|page| !page.is_empty()) {
            Some(page) => jobs.extend(page.iter().cloned()),
            None => break,
        }
    }
    match args.place.json {
        true => println!("{:#}", document["jobs"]),
        false => print!("{}", text::table(document["jobs"].as_array().map_or(&[][..], Vec::as_slice))),
    }
    Ok(ExitCode::SUCCESS)
}

fn one(args: &OneArgs, method: Method, behind: &str, say: impl Fn(&Value) -> String) -> Result<ExitCode> {
    let job = known(&args.place.at.server()?, method, &args.id, behind)?;
    match args.place.json {
        true => println!("{job:#}"),
        false => print!("{}", say(&job)),
    }
    Ok(ExitCode::SUCCESS)
}

fn kill(args: &KillArgs) -> Result<ExitCode> {
    let purge = if args.purge { "?purge=true" } else { "" };
    let job = known(&args.place.at.server()?, Method::DELETE, &args.id, purge)?;
    match args.place.json {
        true => println!("{job:#}"),
        false => println!("{}: {}", args.id, text::progress(&job)),
    }
    Ok(ExitCode::SUCCESS)
}

fn no_jobs() -> String {
    "the master has no jobs: is it the embedded one? (micro master)".into()
}

/// What the master answers about one job.
fn known(server: &Server, method: Method, id: &str, behind: &str) -> Result<Value> {
    let answer = server.ask(method, &format!("/jobs/{}{behind}", encoded(id)), None)?;
    Ok(answer.ok_or_else(|| Trouble::Unknown(format!("no job '{id}'; `micro job list` lists them")))?)
}
