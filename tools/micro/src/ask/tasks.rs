//! `micro tasks` and `micro logs`.

use super::server::encoded;
use super::text::{plain, table, text};
use super::{GatewayAt, MasterAt, Server};
use crate::exit::Trouble;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks at a log that is followed.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub struct TasksArgs {
    #[command(flatten)]
    at: MasterAt,
    /// For machines
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct LogsArgs {
    /// The task
    task: String,
    /// Go on until interrupted
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    at: GatewayAt,
    /// For machines: a line of JSON for each piece, with its offset
    #[arg(long)]
    json: bool,
}

/// All tasks that a master knows.
pub fn known_tasks(master: &Server) -> Result<Vec<Value>> {
    let mut document = master.document("/tasks?limit=100000")?;
    match document["tasks"].take() {
        Value::Array(tasks) => Ok(tasks),
        _ => bail!("the master answers without tasks"),
    }
}

pub fn tasks(args: &TasksArgs) -> Result<ExitCode> {
    let tasks = known_tasks(&args.at.server()?)?;
    if args.json {
        println!("{:#}", Value::Array(tasks));
        return Ok(ExitCode::SUCCESS);
    }
    let row =
        |task: &Value| ["id", "state", "slave_id", "framework_id"].map(|field| plain(text(task, field)));
    table(["TASK", "STATE", "AGENT", "FRAMEWORK"], &tasks.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

pub fn logs(args: &LogsArgs) -> Result<ExitCode> {
    let server = args.at.server()?;
    let mut offset = 0;
    let mut seen = false;
    loop {
        let path = format!("/logs?task={}&offset={offset}", encoded(&args.task));
        match server.get(&path)? {
            None if !args.follow && !seen => {
                let why = "has logged nothing here; `micro tasks` lists what the master knows";
                return Err(Trouble::Unknown(format!("task '{}' {why}", args.task)).into());
            }
            None => {}
            Some(log) => {
                seen = true;
                let length = log["length"].as_u64().unwrap_or(0);
                let begin = log["offset"].as_u64().unwrap_or(offset);
                let data = log["data"].as_str().unwrap_or_default();
                offset = begin + length;
                match args.json {
                    true if length > 0 => println!("{}", json!({ "offset": begin, "data": data })),
                    true => {}
                    false => print!("{data}"),
                }
                std::io::stdout().flush()?;
            }
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(PAUSE);
    }
}
