//! `micro events`: what happened, as a gateway or master kept it, and what happens.

use super::Server;
use super::server::encoded;
use super::text::{clock, plain, text};
use crate::token::TokenArgs;
use anyhow::Result;
use serde_json::Value;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Before a lost stream is asked for again.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub struct EventsArgs {
    /// The gateway
    #[arg(long, env = "MICRO_GATEWAY", default_value = "127.0.0.1:5051", value_name = "ADDR")]
    gateway: SocketAddr,
    /// The embedded master's events instead
    #[arg(long, value_name = "ADDR")]
    master: Option<SocketAddr>,
    #[command(flatten)]
    token: TokenArgs,
    /// Go on until interrupted; reconnects by itself
    #[arg(short, long)]
    follow: bool,
    /// Events from this number on
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// The newest so many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u64,
    /// Of this kind only: node, task, master, security, image; of a master agent, framework, task, job
    #[arg(long)]
    kind: Option<String>,
    /// Of this node only
    #[arg(long, value_name = "EUI64")]
    node: Option<String>,
    /// For machines: a line of JSON for each event
    #[arg(long)]
    json: bool,
}

impl EventsArgs {
    fn path(&self, since: Option<u64>) -> String {
        let mut path = format!("/view/events?limit={}", self.limit);
        let filters = [("kind", &self.kind), ("node", &self.node)];
        for (name, value) in filters.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            path += &format!("&{name}={}", encoded(value));
        }
        if let Some(since) = since {
            path += &format!("&since={since}");
        }
        path
    }

    fn print(&self, event: &Value) -> Result<()> {
        match self.json {
            true => println!("{event}"),
            false => println!(
                "{}  {:<8} {:<8} {:<16}  {}",
                clock(&event["at_ms"]),
                text(event, "kind"),
                text(event, "severity"),
                text(event, "node"),
                plain(text(event, "text"))
            ),
        }
        Ok(std::io::stdout().flush()?)
    }
}

pub fn events(args: &EventsArgs) -> Result<ExitCode> {
    let server = match args.master {
        Some(master) => Server::master(master, &args.token)?,
        None => Server::gateway(args.gateway, &args.token)?,
    };
    let document = server.document(&args.path(args.since))?;
    for event in document["events"].as_array().into_iter().flatten() {
        args.print(event)?;
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut next = document["next"].as_u64();
    loop {
        if let Err(error) = follow(args, &server, &mut next) {
            tracing::warn!("{error:#}");
        }
        std::thread::sleep(PAUSE);
    }
}

/// Prints what a stream brings until it is lost; `next` is the number to go on with.
fn follow(args: &EventsArgs, server: &Server, next: &mut Option<u64>) -> Result<()> {
    for sent in server.follow(&args.path(*next))?.into_iter().flatten() {
        let sent = sent?;
        if sent.event != "event" {
            continue;
        }
        let event = sent.data;
        if let Some(number) = event["seq"].as_u64() {
            *next = Some(number + 1);
        }
        args.print(&event)?;
    }
    Ok(())
}
