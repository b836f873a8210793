//! Questions to a running system: what a gateway knows of its nodes, what a master knows of tasks.

mod drain;
mod events;
mod node;
mod server;
mod tasks;
pub mod text;

pub use drain::{DrainArgs, drain};
pub use events::{EventsArgs, events};
pub use node::{ImagesArgs, NodesArgs, images, node, nodes};
pub use server::{Server, encoded};

use crate::token::TokenArgs;
pub use tasks::{LogsArgs, TasksArgs, known_tasks, logs, tasks};

use crate::exit::Trouble;
use anyhow::Result;
use std::net::SocketAddr;

/// Where a gateway answers operators.
#[derive(clap::Args, Clone, Debug)]
pub struct GatewayAt {
    /// The gateway
    #[arg(long, env = "MICRO_GATEWAY", default_value = "127.0.0.1:5051", value_name = "ADDR")]
    pub gateway: SocketAddr,
    #[command(flatten)]
    token: TokenArgs,
}

impl GatewayAt {
    /// A gateway from flags of another command: named there, or where it is looked for otherwise.
    pub fn named(gateway: Option<SocketAddr>, token: TokenArgs) -> Result<Self> {
        let named = std::env::var("MICRO_GATEWAY").ok().filter(|_| gateway.is_none());
        let senseless = |text| Trouble::Senseless(format!("MICRO_GATEWAY={text}: expected ADDRESS:PORT"));
        let named = named.map(|text| text.parse().map_err(|_| senseless(text))).transpose()?;
        let gateway = gateway.or(named).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 5051)));
        Ok(Self { gateway, token })
    }

    pub fn server(&self) -> Result<Server> {
        Server::gateway(self.gateway, &self.token)
    }
}

/// Where a master is.
#[derive(clap::Args, Clone, Debug)]
pub struct MasterAt {
    /// The master
    #[arg(long, env = "MICRO_MASTER", default_value = "127.0.0.1:5050", value_name = "ADDR")]
    pub master: SocketAddr,
    #[command(flatten)]
    token: TokenArgs,
}

impl MasterAt {
    pub fn server(&self) -> Result<Server> {
        Server::master(self.master, &self.token)
    }
}
