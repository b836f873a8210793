//! Jobs of the embedded master from the command line.
//!
//! Exit status: 0 it was done, 1 it could not be, 2 the command or the job makes no sense, 3 the job failed or was killed
//! (with `--wait`), 4 there is no such job.

mod describe;
mod text;

use crate::MasterAt;
use crate::token::TokenArgs;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// The command or the job makes no sense.
const USAGE: u8 = 2;
/// The job failed.
const FAILED: u8 = 3;
/// There is no such job.
const UNKNOWN: u8 = 4;
/// Between two looks at a job that is waited for.
const LOOK: Duration = Duration::from_millis(200);
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
    #[command(flatten)]
    token: TokenArgs,
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

/// The master refused.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
struct Refused {
    status: u16,
    why: String,
}

pub fn job(command: JobCommand) -> Result<ExitCode> {
    let done = match command {
        JobCommand::Run(args) => run(&args),
        JobCommand::List(args) => list(&args),
        JobCommand::Show(args) => one(&args, "GET", "", text::whole),
        JobCommand::Start(args) => one(&args, "POST", "/run", |job| text::line(job) + "\n"),
        JobCommand::Kill(args) => kill(&args),
    };
    done.or_else(|error| {
        let code = match error.downcast_ref::<Refused>().map(|refused| refused.status) {
            Some(400) => USAGE,
            Some(404) => UNKNOWN,
            _ if error.is::<describe::Senseless>() => USAGE,
            _ => return Err(error),
        };
        eprintln!("micro: {error:#}");
        Ok(ExitCode::from(code))
    })
}

fn run(args: &RunArgs) -> Result<ExitCode> {
    let job = args.described.document()?;
    if args.wait && !job["schedule"].is_null() {
        return Err(describe::Senseless("--wait: a periodic job does not end".into()).into());
    }
    let accepted = args.place.ask("POST", "/jobs", Some(&job))?;
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
    loop {
        let job = args.place.ask("GET", &path(&id), None)?;
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
            return Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) });
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
    let mut document = args.place.ask("GET", &query, None)?;
    while let Some(jobs) = document["jobs"].as_array_mut() {
        let so_far = jobs.len();
        let page = args.place.ask("GET", &format!("{query}&offset={so_far}"), None)?;
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

fn one(args: &OneArgs, method: &str, behind: &str, say: impl Fn(&Value) -> String) -> Result<ExitCode> {
    let job = args.place.ask(method, &format!("{}{behind}", path(&args.id)), None)?;
    match args.place.json {
        true => println!("{job:#}"),
        false => print!("{}", say(&job)),
    }
    Ok(ExitCode::SUCCESS)
}

fn kill(args: &KillArgs) -> Result<ExitCode> {
    let purge = if args.purge { "?purge=true" } else { "" };
    let job = args.place.ask("DELETE", &format!("{}{purge}", path(&args.id)), None)?;
    match args.place.json {
        true => println!("{job:#}"),
        false => println!("{}: {}", args.id, text::progress(&job)),
    }
    Ok(ExitCode::SUCCESS)
}

fn path(id: &str) -> String {
    format!("/jobs/{}", encoded(id))
}

/// As a part of a path or a query (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

impl Place {
    /// Asks the master; a refusal is an error in its words.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let server: SocketAddr = self.at.master;
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(15)))
            .http_status_as_error(false)
            .build();
        let mut request = http::Request::builder().method(method).uri(format!("http://{server}{path}"));
        if let Some(header) = self.token.header()? {
            request = request.header("Authorization", header);
        }
        let request = request
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .context("a request that cannot be made")?;
        let agent = ureq::Agent::new_with_config(config);
        let mut response = match agent.run(request) {
            Ok(response) => response,
            Err(error) => {
                bail!("{server}: {error}; does a master run there? (micro master, or --master ADDR)")
            }
        };
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().with_context(|| format!("{server}{path}"))?;
        let document: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status < 300 && !document.is_null() {
            return Ok(document);
        }
        let why = match (document["error"].as_str(), status) {
            (Some(why), 401) => format!("{server}: {why}; give --token-file FILE"),
            (Some(why), _) => why.to_owned(),
            (None, 404) => bail!("{server} has no jobs: is it the embedded master? (micro master)"),
            (None, _) => bail!("{server} answers {status}: {}", text.trim()),
        };
        Err(Refused { status, why }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_into_paths_whole() {
        assert_eq!(path("a.b-c_d"), "/jobs/a.b-c_d");
        assert_eq!(path("a/b ?ü"), "/jobs/a%2Fb%20%3F%C3%BC");
    }
}
