//! One task from the command line: a framework that launches it, follows it and ends.

use crate::ask::{self, MasterAt};
use crate::exit::{ENDED_BADLY, Trouble};
use anyhow::{Context, Result, bail};
use framework::v1::{self, FrameworkInfo, TaskInfo, TaskState};
use framework::{Client, Event, is_terminal};
use gateway::agent::CAPABILITY_LABEL;
use mesos_proto::{mesos, recast, resources::Scalars};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// How long the master keeps a detached framework whose process is gone, seconds.
const DETACHED_S: f64 = 7.0 * 24.0 * 3600.0;
/// How long the end of a killed task is waited for.
const KILL_PATIENCE: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub struct RunArgs {
    /// URI or path of a .wasm or .tbf image
    image: String,
    /// Share of the node's core
    #[arg(long, default_value_t = 0.1)]
    cpus: f64,
    /// Memory, MB
    #[arg(long, default_value_t = 0.016)]
    mem: f64,
    /// LEDs
    #[arg(long, default_value_t = 0.0)]
    leds: f64,
    /// Sensors
    #[arg(long, default_value_t = 0.0)]
    sensors: f64,
    /// KEY=VALUE for the task
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// What it may call, instead of the usual: log,message,sleep,time,sensor,led,kv
    #[arg(long, value_name = "NAMES")]
    capabilities: Option<String>,
    /// The task's id; made up if absent
    #[arg(long)]
    name: Option<String>,
    /// Come back when it runs
    #[arg(long)]
    detach: bool,
    /// For machines: a line of JSON for each status and message
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: MasterAt,
    /// Arguments for the task
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(clap::Args)]
pub struct KillArgs {
    /// The task
    task: String,
    #[command(flatten)]
    at: MasterAt,
    /// For machines: its last status as a line of JSON
    #[arg(long)]
    json: bool,
}

/// A framework of this command.
pub fn info(name: &str, failover_s: f64) -> FrameworkInfo {
    use v1::framework_info::capability::Type;
    let capabilities = [Type::MultiRole, Type::PartitionAware, Type::TaskKillingState];
    FrameworkInfo {
        user: std::env::var("USER").unwrap_or_else(|_| "micro".into()),
        name: name.to_owned(),
        roles: vec![name.to_owned()],
        failover_timeout: Some(failover_s),
        checkpoint: Some(true),
        capabilities: capabilities
            .map(|kind| v1::framework_info::Capability { r#type: Some(kind as i32) })
            .into(),
        ..Default::default()
    }
}

/// A command task.
pub fn task(id: &str, uri: &str, args: &[String], env: &[String], granted: &Scalars) -> Result<TaskInfo> {
    let variables = env.iter().map(|variable| {
        let (name, value) =
            variable.split_once('=').with_context(|| format!("--env {variable}: expected KEY=VALUE"))?;
        Ok(v1::environment::Variable { name: name.into(), value: Some(value.into()), r#type: None })
    });
    let variables = variables.collect::<Result<Vec<_>>>()?;
    let resources = granted.to_resources(None);
    Ok(TaskInfo {
        name: id.to_owned(),
        task_id: v1::TaskId { value: id.to_owned() },
        resources: resources.iter().map(recast).collect::<Result<_, _>>()?,
        command: Some(v1::CommandInfo {
            uris: vec![v1::command_info::Uri { value: uri.to_owned(), ..Default::default() }],
            shell: Some(false),
            arguments: args.to_vec(),
            environment: Some(v1::Environment { variables }).filter(|env| !env.variables.is_empty()),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// What an offer holds.
pub fn offered(offer: &v1::Offer) -> Result<Scalars> {
    let resources: Vec<mesos::Resource> = offer.resources.iter().map(recast).collect::<Result<_, _>>()?;
    Ok(Scalars::of(&resources))
}

fn describe(status: &v1::TaskStatus) -> String {
    let mut text = status.state().as_str_name().to_owned();
    if status.reason.is_some() {
        text += &format!(" ({})", status.reason().as_str_name());
    }
    if let Some(message) = status.message.as_deref().filter(|message| !message.is_empty()) {
        text += &format!(": {message}");
    }
    text
}

/// Tells of a status: people read it on standard error, machines on standard output.
fn tell(status: &v1::TaskStatus, json: bool) {
    let id = &status.task_id.value;
    if !json {
        return eprintln!("{id}: {}", describe(status));
    }
    let reason = status.reason.map(|_| status.reason().as_str_name());
    let agent = status.agent_id.as_ref().map(|agent| &agent.value);
    let state = status.state().as_str_name();
    println!(
        "{}",
        json!({ "task_id": id, "state": state, "reason": reason, "message": status.message, "agent_id": agent })
    );
}

pub async fn run(args: RunArgs) -> Result<ExitCode> {
    let uri = match args.image.contains("://") || args.image.starts_with("data:") {
        true => args.image.clone(),
        false => std::path::absolute(&args.image)?.display().to_string(),
    };
    let id = args.name.clone().unwrap_or_else(|| format!("task-{:08x}", rand::random::<u32>()));
    let amounts = [("cpus", args.cpus), ("mem", args.mem), ("leds", args.leds), ("sensors", args.sensors)];
    let wanted = Scalars::from_amounts(amounts);
    let mut task = task(&id, &uri, &args.args, &args.env, &wanted)?;
    if let Some(names) = args.capabilities {
        let label = v1::Label { key: CAPABILITY_LABEL.into(), value: Some(names) };
        task.labels = Some(v1::Labels { labels: vec![label] });
    }
    let mut task = Some(task);
    let failover_s = if args.detach { DETACHED_S } else { 0.0 };
    let (client, mut events) = Client::subscribe(args.at.master, info("micro", failover_s)).await?;
    eprintln!("{id}: waiting for an offer of {wanted}");
    loop {
        let event = tokio::select! {
            event = events.recv() => event.context("the master ended the subscription")?,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("{id}: killing it");
                client.kill(&id).await?;
                continue;
            }
        };
        match act(&client, event, &wanted, &mut task, args.json).await? {
            None => {}
            Some(status) => {
                tell(&status, args.json);
                let state = status.state();
                if args.detach && state == TaskState::TaskRunning {
                    if !args.json {
                        println!("{id}");
                    }
                    return Ok(ExitCode::SUCCESS);
                }
                if is_terminal(state) {
                    client.teardown().await?;
                    let well = state == TaskState::TaskFinished;
                    return Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(ENDED_BADLY) });
                }
            }
        }
    }
}

/// Answers an event; gives the status it brought, acknowledged.
async fn act(
    client: &Client,
    event: Event,
    wanted: &Scalars,
    task: &mut Option<TaskInfo>,
    json: bool,
) -> Result<Option<v1::TaskStatus>> {
    if let Some(error) = event.error {
        bail!("the master says: {}", error.message);
    }
    if let Some(message) = event.message {
        let text = String::from_utf8_lossy(&message.data);
        match json {
            true => println!("{}", json!({ "message": text })),
            false => println!("message: {text}"),
        }
    }
    for offer in event.offers.into_iter().flat_map(|offers| offers.offers) {
        match task.take_if(|_| offered(&offer).is_ok_and(|offered| offered.contains(wanted))) {
            Some(mut task) => {
                task.agent_id = offer.agent_id.clone();
                client.launch(&offer, vec![task]).await?;
                client.suppress().await?;
            }
            None => client.decline(&[offer], 1.0).await?,
        }
    }
    let Some(update) = event.update else { return Ok(None) };
    client.acknowledge(&update.status).await?;
    Ok(Some(update.status))
}

/// Takes over the framework that the task is of, kills it and waits for its end.
pub async fn kill(args: KillArgs) -> Result<ExitCode> {
    let master = args.at.master;
    let server = args.at.server()?;
    let tasks = tokio::task::spawn_blocking(move || ask::known_tasks(&server)).await??;
    let known = tasks.iter().find(|task| task["id"] == args.task.as_str());
    let none =
        || Trouble::Unknown(format!("the master knows no task '{}'; `micro tasks` lists them", args.task));
    let known = known.ok_or_else(none)?;
    let framework = known["framework_id"].as_str().context("a task without a framework")?;
    let mut info = info("micro", DETACHED_S);
    info.id = Some(v1::FrameworkId { value: framework.to_owned() });
    let (client, mut events) = Client::subscribe(master, info).await?;
    client.kill(&args.task).await?;
    let end = tokio::time::timeout(KILL_PATIENCE, async {
        loop {
            let event = events.recv().await.context("the master ended the subscription")?;
            let status = act(&client, event, &Scalars::default(), &mut None, args.json).await?;
            let status = status.filter(|status| status.task_id.value == args.task);
            if let Some(status) = status.filter(|status| is_terminal(status.state())) {
                return Ok::<_, anyhow::Error>(status);
            }
        }
    });
    let end = end.await.context("the task has not ended yet; it will when its node is heard")??;
    tell(&end, args.json);
    client.teardown().await?;
    Ok(ExitCode::SUCCESS)
}
