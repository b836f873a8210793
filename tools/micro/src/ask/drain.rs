//! `micro drain`: empties an agent before its node is taken away, by the operator API that any Mesos master has.

use super::{MasterAt, Server};
use crate::exit::Trouble;
use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at an agent that is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// Longest grace, seconds: a year.
const GRACE_MAX_S: u64 = 365 * 86_400;

#[derive(clap::Args)]
#[command(after_help = "\
The master offers the agent to nobody any more and has its tasks killed, each with the grace it asked for, at most --grace. It
is drained when the end of the last one is acknowledged; a node that sleeps hears of it when it wakes. --undo makes it an
agent like any other again.")]
pub struct DrainArgs {
    /// The agent's id, its hostname, or its node's EUI-64
    agent: String,
    /// The longest time that a task gets to end, seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(..=GRACE_MAX_S))]
    grace: Option<u64>,
    /// For good: it is not taken in again, and its tasks are gone
    #[arg(long)]
    gone: bool,
    /// End draining: it is offered again
    #[arg(long, conflicts_with_all = ["grace", "gone", "wait"])]
    undo: bool,
    /// Come back when nothing runs on it any more
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after so many seconds; draining goes on
    #[arg(long, default_value_t = 600, value_name = "S", requires = "wait")]
    timeout: u64,
    #[command(flatten)]
    at: MasterAt,
    /// For machines: the agent as the master has it then
    #[arg(long)]
    json: bool,
}

/// Whether an agent is the one that is meant.
fn is_meant(agent: &Value, name: &str) -> bool {
    let eui64 = &agent["attributes"]["eui64"];
    agent["id"] == name
        || agent["hostname"] == name
        || eui64.as_str().is_some_and(|eui64| eui64.eq_ignore_ascii_case(name))
}

fn find(server: &Server, name: &str) -> Result<Option<Value>> {
    let document = server.document("/slaves")?;
    let mut agents = document["slaves"].as_array().into_iter().flatten();
    Ok(agents.rfind(|agent| is_meant(agent, name)).cloned())
}

fn is_drained(agent: &Value) -> bool {
    agent["drain_info"]["state"] == "DRAINED"
}

fn call(args: &DrainArgs, id: &str) -> Value {
    let agent_id = json!({ "value": id });
    if args.undo {
        return json!({ "type": "REACTIVATE_AGENT", "reactivate_agent": { "agent_id": agent_id } });
    }
    let mut drain = json!({ "agent_id": agent_id, "mark_gone": args.gone });
    if let Some(seconds) = args.grace {
        drain["max_grace_period"] = json!({ "nanoseconds": seconds * 1_000_000_000 });
    }
    json!({ "type": "DRAIN_AGENT", "drain_agent": drain })
}

pub fn drain(args: &DrainArgs) -> Result<ExitCode> {
    let server = args.at.server()?;
    let none = || {
        let why = "`curl MASTER/slaves` lists agents, `micro nodes` nodes with theirs";
        Trouble::Unknown(format!("the master at {} has no agent '{}'; {why}", args.at.master, args.agent))
    };
    let agent = find(&server, &args.agent)?.ok_or_else(none)?;
    let id = agent["id"].as_str().unwrap_or_default().to_owned();
    let call = call(args, &id);
    if server.ask(Method::POST, "/api/v1", Some(&call))?.is_none() {
        bail!("the master at {} has no operator API (POST /api/v1)", args.at.master);
    }
    let mut after = find(&server, &id)?;
    let begun = Instant::now();
    while args.wait && after.as_ref().is_some_and(|agent| !is_drained(agent)) {
        if begun.elapsed() >= Duration::from_secs(args.timeout) {
            let why = "a task has not ended (its node sleeps or is away), or its framework is gone and takes no note of it";
            bail!("{id} is still being drained after {} s: {why}; `micro tasks` lists them", args.timeout);
        }
        std::thread::sleep(PAUSE);
        after = find(&server, &id)?;
    }
    if args.json {
        println!("{:#}", after.unwrap_or(Value::Null));
        return Ok(ExitCode::SUCCESS);
    }
    let state = match &after {
        _ if args.undo => "is offered again",
        None => "is gone",
        Some(agent) if is_drained(agent) => "is drained: nothing runs on it",
        Some(_) => "is being drained",
    };
    println!("{id} {state}");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_meant_by_any_of_its_names() {
        let agent =
            json!({ "id": "m-S1", "hostname": "0a.micro", "attributes": { "eui64": "020000000000000a" } });
        for name in ["m-S1", "0a.micro", "020000000000000A"] {
            assert!(is_meant(&agent, name), "{name}");
        }
        assert!(!is_meant(&agent, "0a"));
    }
}
