//! `micro nodes`, `micro node ID` and `micro images`.

use super::text::{ago, bytes, clock, plain, share, table, text};
use super::{GatewayAt, Server};
use crate::exit::Trouble;
use anyhow::Result;
use lowpan::Eui64;
use serde_json::Value;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct NodesArgs {
    #[command(flatten)]
    at: GatewayAt,
    /// For machines
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct ImagesArgs {
    #[command(flatten)]
    at: GatewayAt,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// What a node runs on; of a battery, its charge and how long a whole one would last.
fn power(percent: &Value, life_days: &Value) -> String {
    match (percent.as_u64(), life_days.as_f64()) {
        (None, _) => "mains".to_owned(),
        (Some(percent), Some(days)) => format!("{percent}%, {days:.0} days"),
        (Some(percent), None) => format!("{percent}%"),
    }
}

/// A list that the server gives a page at a time, as one.
pub(super) fn whole(server: &Server, path: &str, list: &str) -> Result<Value> {
    let with = if path.contains('?') { '&' } else { '?' };
    let mut document = server.document(path)?;
    let total = document["total"].as_u64().unwrap_or(0);
    while let Some(so_far) = document[list].as_array_mut() {
        let offset = so_far.len();
        if offset as u64 >= total {
            break;
        }
        let page = server.document(&format!("{path}{with}offset={offset}"))?;
        match page[list].as_array().filter(|page| !page.is_empty()) {
            Some(page) => so_far.extend(page.iter().cloned()),
            None => break, // some went away meanwhile
        }
    }
    Ok(document)
}

pub fn nodes(args: &NodesArgs) -> Result<ExitCode> {
    let document = whole(&args.at.server()?, "/nodes", "nodes")?;
    if args.json {
        println!("{document:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let row = |node: &Value| {
        let heard =
            node["heard_ms_ago"].as_u64().map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
        let resources = node["resources"].as_object().into_iter().flatten();
        let resources: Vec<String> = resources.map(|(name, amount)| format!("{name}:{amount}")).collect();
        [
            text(node, "node").to_owned(),
            plain(text(node, "board")),
            text(node, "state").to_owned(),
            (node["live"] == true).to_string(),
            heard,
            power(&node["power"]["battery_percent"], &node["energy"]["life_days"]),
            resources.join(" "),
            text(node, "agent_id").to_owned(),
        ]
    };
    let rows: Vec<_> = document["nodes"].as_array().into_iter().flatten().map(row).collect();
    table(["NODE", "BOARD", "STATE", "LIVE", "HEARD", "POWER", "RESOURCES", "AGENT"], &rows);
    Ok(ExitCode::SUCCESS)
}

pub fn node(at: &GatewayAt, node: Eui64, json: bool) -> Result<ExitCode> {
    let known = at.server()?.get(&format!("/view/node/{node}"))?;
    let none = || Trouble::Unknown(format!("{} knows no node {node}; `micro nodes` lists them", at.gateway));
    let document = known.ok_or_else(none)?;
    if json {
        println!("{document:#}");
    } else {
        show(&document);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(document: &Value) {
    let (node, now) = (&document["node"], &document["at"]);
    let line = |name: &str, text: String| println!("{name:<12}{text}");
    line("node", text(node, "node").to_owned());
    line("board", plain(text(node, "board")));
    line("agent", format!("{} ({})", text(node, "agent_id"), text(node, "hostname")));
    let lease = if node["live"] == true { "lease live" } else { "lease lapsed" };
    let draining = if node["draining"] == true { ", draining" } else { "" };
    line("state", format!("{}, {lease}{draining}", text(node, "state")));
    let next = node["next_poll_s"].as_u64().map_or(String::new(), |s| format!(", polls within {s} s"));
    line("heard", format!("{} ago{next}", ago(now, &node["heard_ms"])));
    line("power", power(&node["power"]["percent"], &node["life_days"]));
    let link = &node["link"];
    let quality =
        link["quality_percent"].as_u64().map_or("not known yet".into(), |percent| format!("{percent}%"));
    line("link", format!("{quality}, {} sent again", link["resent"].as_u64().unwrap_or(0)));
    let waiting = node["mailbox"]["commands"].as_u64().unwrap_or(0);
    let since = match waiting {
        0 => String::new(),
        _ => format!(", the oldest for {}", ago(now, &node["mailbox"]["oldest_ms"])),
    };
    line("mailbox", format!("{waiting}{since}"));
    let attributes = document["attributes"].as_object().into_iter().flatten();
    let attributes: Vec<String> =
        attributes.map(|(name, value)| format!("{name}={}", value_of(value))).collect();
    line("attributes", plain(&attributes.join(" ")));
    println!();
    let resources = document["resources"].as_array().into_iter().flatten().map(|resource| {
        let granted = resource["granted"].as_object().into_iter().flatten();
        let granted: Vec<String> = granted.map(|(role, amount)| format!("{role}:{amount}")).collect();
        [text(resource, "name").to_owned(), resource["total"].to_string(), plain(&granted.join(" "))]
    });
    table(["RESOURCE", "TOTAL", "GRANTED BY ROLE"], &resources.collect::<Vec<_>>());
    let tasks = ["tasks", "completed"].map(|list| document[list].as_array().into_iter().flatten());
    let rows: Vec<_> = tasks.into_iter().flatten().map(task_row).collect();
    if !rows.is_empty() {
        println!();
        table(["TASK", "STATE", "ROLE", "CPU", "GRANTED", "MEMORY", "GRANTED", "RECEIVED"], &rows);
    }
}

fn task_row(task: &Value) -> [String; 8] {
    [
        plain(text(task, "task_id")),
        text(task, "state").to_owned(),
        plain(text(task, "role")),
        share(&task["cpu"]["used_permille"]),
        share(&task["cpu"]["granted_permille"]),
        bytes(&task["mem"]["used_bytes"]),
        bytes(&task["mem"]["granted_bytes"]),
        format!("{} of {}", bytes(&task["received_bytes"]), bytes(&task["total_bytes"])),
    ]
}

fn value_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(several) => several.iter().map(value_of).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

pub fn images(args: &ImagesArgs) -> Result<ExitCode> {
    let document = whole(&args.at.server()?, "/view/images", "images")?;
    if args.json {
        println!("{document:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let row = |image: &Value| {
        let digest: String = text(image, "digest").chars().take(16).collect();
        [
            digest,
            bytes(&image["bytes"]),
            text(image, "kind").to_owned(),
            plain(text(image, "publisher")),
            image["tasks"].to_string(),
            clock(&image["last_used_ms"]),
            plain(text(image, "uri")),
        ]
    };
    let rows: Vec<_> = document["images"].as_array().into_iter().flatten().map(row).collect();
    table(["SHA-256", "SIZE", "KIND", "PUBLISHER", "TASKS", "LAST USED", "FROM"], &rows);
    println!("{} of {}", bytes(&document["bytes"]), bytes(&document["limit_bytes"]));
    Ok(ExitCode::SUCCESS)
}
