//! Questions to a running system.

use crate::token::TokenArgs;
use crate::{GatewayAt, MasterAt};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Args)]
pub struct NodesArgs {
    #[command(flatten)]
    at: GatewayAt,
    #[command(flatten)]
    token: TokenArgs,
    /// For machines
    #[arg(long)]
    json: bool,
}

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
    #[command(flatten)]
    token: TokenArgs,
}

/// A JSON document over HTTP; `None` for 404. Any other refusal is an error in the server's words.
pub fn get(server: SocketAddr, token: &TokenArgs, path: &str) -> Result<Option<Value>> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .build();
    let mut request = ureq::Agent::new_with_config(config).get(format!("http://{server}{path}"));
    if let Some(header) = token.header()? {
        request = request.header("Authorization", header);
    }
    let mut response = match request.call() {
        Ok(response) => response,
        Err(error) => bail!("{server}: {error}; is it running there?"),
    };
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().with_context(|| format!("{server}{path}"))?;
    match status {
        404 => return Ok(None),
        401 => bail!("{server} asks for a token: give --token-file FILE, or set MICRO_TOKEN"),
        300.. => bail!("{server}{path} answers {status}: {}", text.trim()),
        _ => {}
    }
    Ok(Some(serde_json::from_str(&text).with_context(|| format!("{server}{path}: not JSON"))?))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("-")
}

/// What a node runs on; of a battery, its charge and how long a whole one would last.
fn power(node: &Value) -> String {
    let Some(percent) = node["power"]["battery_percent"].as_u64() else { return "mains".to_owned() };
    match node["energy"]["life_days"].as_f64() {
        Some(days) => format!("{percent}%, {days:.0} days"),
        None => format!("{percent}%"),
    }
}

pub fn nodes(args: &NodesArgs) -> Result<ExitCode> {
    let mut document = get(args.at.gateway, &args.token, "/nodes")?.context("this is no gateway")?;
    // A page at a time: a gateway may have many thousands.
    let total = document["total"].as_u64().unwrap_or(0);
    while let Some(list) = document["nodes"].as_array_mut() {
        let so_far = list.len();
        let page = match so_far as u64 >= total {
            true => break,
            false => get(args.at.gateway, &args.token, &format!("/nodes?offset={so_far}"))?,
        };
        match page.and_then(|page| page["nodes"].as_array().cloned()).filter(|page| !page.is_empty()) {
            Some(page) => list.extend(page),
            None => break, // nodes went away meanwhile
        }
    }
    if args.json {
        println!("{document:#}");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{:<17} {:<12} {:<11} {:<5} {:>7} {:<14} {:<44} AGENT",
        "NODE", "BOARD", "STATE", "LIVE", "HEARD", "POWER", "RESOURCES"
    );
    for node in document["nodes"].as_array().into_iter().flatten() {
        let heard =
            node["heard_ms_ago"].as_u64().map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
        let resources = node["resources"].as_object().into_iter().flatten();
        let resources: Vec<String> = resources.map(|(name, amount)| format!("{name}:{amount}")).collect();
        println!(
            "{:<17} {:<12} {:<11} {:<5} {heard:>7} {:<14} {:<44} {}",
            text(node, "node"),
            text(node, "board"),
            text(node, "state"),
            node["live"] == true,
            power(node),
            resources.join(" "),
            text(node, "agent_id"),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// All tasks that a master knows.
pub fn known_tasks(master: SocketAddr) -> Result<Vec<Value>> {
    let mut document =
        get(master, &TokenArgs::default(), "/tasks?limit=100000")?.context("this is no master")?;
    match document["tasks"].take() {
        Value::Array(tasks) => Ok(tasks),
        _ => bail!("{master} answers without tasks"),
    }
}

pub fn tasks(args: &TasksArgs) -> Result<ExitCode> {
    let tasks = known_tasks(args.at.master)?;
    if args.json {
        println!("{:#}", Value::Array(tasks));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<32} {:<16} {:<46} FRAMEWORK", "TASK", "STATE", "AGENT");
    for task in &tasks {
        let (id, state) = (text(task, "id"), text(task, "state"));
        println!("{id:<32} {state:<16} {:<46} {}", text(task, "slave_id"), text(task, "framework_id"));
    }
    Ok(ExitCode::SUCCESS)
}

pub fn logs(args: &LogsArgs) -> Result<ExitCode> {
    let mut offset = 0;
    let mut seen = false;
    loop {
        let path = format!("/logs?task={}&offset={offset}", args.task);
        match get(args.at.gateway, &args.token, &path)? {
            None if !args.follow && !seen => bail!("task '{}' has logged nothing here", args.task),
            None => {}
            Some(log) => {
                seen = true;
                let length = log["length"].as_u64().unwrap_or(0);
                offset = log["offset"].as_u64().unwrap_or(offset) + length;
                print!("{}", log["data"].as_str().unwrap_or_default());
                std::io::stdout().flush()?;
            }
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
