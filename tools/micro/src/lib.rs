//! The operator's command: a demo of everything, each part by itself, and questions to a running system.
//!
//! Exit statuses are in `exit`; `check` ends with 1 if the image would not run.

mod ask;
mod bench;
mod check;
mod demo;
mod exit;
mod gateway;
mod image;
mod job;
mod keys;
mod run;
mod serve;
mod sim;
mod task;
mod tock;
mod token;
mod top;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "micro", version, about = "Microcontrollers as agents of an Apache Mesos cluster", after_help = exit::HELP)]
struct Cli {
    /// How log lines look on standard error
    #[arg(long, global = true, env = "MICRO_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line, for machines
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole cluster on this machine: master, gateway, lossy radio, nodes, tasks of three tenants
    Demo(demo::Args),
    /// Print sizes on the air, latency and state size beside their budgets
    Bench(bench::Args),
    /// Run whole worlds in virtual time, one for each seed, and check what must hold
    Sim(sim::Args),
    /// Show a node (micro node EUI64), or run one as a process (--gateway or --air)
    Node(Box<serve::NodeArgs>),
    /// Run a node with a Tock kernel under QEMU
    Emulate(tock::EmulateArgs),
    /// Write what a node without files is told: its key, its gateway, its network
    Provision(tock::ProvisionCommand),
    /// Run a gateway
    Gateway(Box<gateway::GatewayArgs>),
    /// Run the embedded master
    Master(serve::MasterArgs),
    /// Run a simulated 802.15.4 medium
    Air(serve::AirArgs),
    /// Give a node a key, so that a gateway hears it
    Commission(keys::CommissionArgs),
    /// Take a node's key away
    Revoke(keys::RevokeArgs),
    /// List the nodes of a gateway
    Nodes(ask::NodesArgs),
    /// Watch nodes and tenants in the terminal: cpu and memory used against granted, batteries, links, mailboxes
    Top(top::TopArgs),
    /// List the tasks that a master knows
    Tasks(ask::TasksArgs),
    /// Run one task and wait for its end
    Run(run::RunArgs),
    /// Tell whether and where an image would run, and what it needs
    Check(check::CheckArgs),
    /// End a task
    Kill(run::KillArgs),
    /// Jobs of the embedded master: submit, list, show, end
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Build what a board runs, or native tasks for it
    Image(image::ImageArgs),
    /// Sign images, and check signatures
    Task(task::TaskArgs),
    /// Show what a task logged
    Logs(ask::LogsArgs),
    /// Show what happened, and go on with what happens
    Events(ask::EventsArgs),
    /// List the images that a gateway holds for its nodes
    Images(ask::ImagesArgs),
    /// Empty an agent before its node is taken away
    Drain(ask::DrainArgs),
    /// Print what makes a shell complete this command
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let args = match gateway::with_file(std::env::args_os().collect()) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("micro: {error:#}");
            return ExitCode::from(2);
        }
    };
    let cli = Cli::parse_from(args);
    let quiet = match &cli.command {
        Command::Demo(_) | Command::Bench(_) => "error",
        Command::Sim(_) => "off",
        Command::Top(args) if args.is_live() => "off", // it would be written over the screen
        _ => "info",
    };
    let serves =
        matches!(cli.command, Command::Node(_) | Command::Gateway(_) | Command::Master(_) | Command::Air(_));
    if !serves {
        // Whoever reads has seen enough, as in `micro nodes | head`.
        sigpipe::reset();
    }
    let level = start_log(quiet, cli.log_format);
    match work(cli.command, level) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("micro: {error:#}");
            exit::status(&error)
        }
    }
}

/// Starts logging, as much as MICRO_LOG says, or `quiet`; what is returned changes that.
fn start_log(quiet: &'static str, format: LogFormat) -> master::LogLevel {
    let filter = move || EnvFilter::try_from_env("MICRO_LOG").unwrap_or_else(|_| EnvFilter::new(quiet));
    let at = move |level| match level {
        0 => filter(),
        1 => EnvFilter::new("debug"),
        _ => EnvFilter::new("trace"),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // An error means that nothing logs any more.
    match format {
        LogFormat::Text => {
            let log = log.with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            master::LogLevel::new(move |level| drop(handle.reload(at(level))))
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            master::LogLevel::new(move |level| drop(handle.reload(at(level))))
        }
    }
}

fn work(command: Command, log: master::LogLevel) -> Result<ExitCode> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match command {
        Command::Demo(args) => runtime()?.block_on(demo::demo(args)),
        Command::Bench(args) => runtime()?.block_on(bench::bench(args)),
        Command::Sim(args) => sim::sim(args),
        Command::Node(args) => serve::node(*args),
        Command::Emulate(args) => tock::emulate(&args),
        Command::Provision(args) => tock::provision(&args),
        Command::Gateway(args) => runtime()?.block_on(gateway::gateway(*args)),
        Command::Master(args) => runtime()?.block_on(serve::master(args, log)),
        Command::Air(args) => runtime()?.block_on(serve::air(args)),
        Command::Commission(args) => keys::commission(&args),
        Command::Revoke(args) => keys::revoke(&args),
        Command::Nodes(args) => ask::nodes(&args),
        Command::Top(args) => top::top(&args),
        Command::Tasks(args) => ask::tasks(&args),
        Command::Logs(args) => ask::logs(&args),
        Command::Run(args) => runtime()?.block_on(run::run(args)),
        Command::Check(args) => check::check(&args),
        Command::Image(args) => image::image(&args),
        Command::Task(args) => task::task(args),
        Command::Events(args) => ask::events(&args),
        Command::Images(args) => ask::images(&args),
        Command::Drain(args) => ask::drain(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "micro", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Kill(args) => runtime()?.block_on(run::kill(args)),
        Command::Job(command) => job::job(command),
    }
}
