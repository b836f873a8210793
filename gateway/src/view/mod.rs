//! What operators see: the documents of `/view/`, made of the cores as they are, and what has to be remembered for them:
//! [`history::History`] for the plots, and the events.
//!
//! A document is made where the cores are, in the driver's step, as plain data; its JSON is made outside. `gateway/page`
//! decides who may ask, how often, and turns documents into streams.

pub(crate) mod events;
mod fleet;
pub(crate) mod history;
mod images;
mod node;
mod parts;
mod security;
mod series;
mod task;

use crate::agent::Agents;
use crate::bridge::NodeId;
use crate::driver::Query;
use crate::images::{Images, Trust};
use crate::session::{Refused, Sessions};
use events::Events;
use history::History;
use images::Publishers;
use page::events::EventsQuery;
use page::{Answer, Asked, Refusal};
use serde::Serialize;
use std::net::SocketAddrV4;
use tokio::sync::{mpsc, oneshot};

/// Entries of a list unless the asker says otherwise.
const LIST_DEFAULT: usize = 100;
/// Entries of a list at most.
const LIST_MAX: usize = 200;
/// Tenants shown.
const TENANTS_MAX: usize = 256;

/// What is remembered for operators, and not for anything else.
pub(crate) struct Seen {
    pub history: History,
    pub events: Events,
    /// What had been refused when it was last looked.
    pub refused: Refused,
}

impl Seen {
    /// Nothing yet, at this moment of Unix time.
    pub fn new(epoch_ms: u64) -> Self {
        Self { history: History::default(), events: Events::new(epoch_ms), refused: Refused::default() }
    }
}

/// The driver's state while somebody looks.
pub(crate) struct Looked<'a> {
    pub agents: &'a Agents,
    pub sessions: &'a Sessions,
    pub images: &'a Images,
    pub seen: &'a mut Seen,
    pub master: Option<SocketAddrV4>,
    /// On the gateway's clock.
    pub now_ms: u64,
    /// Unix time of moment 0 of that clock.
    pub epoch_ms: u64,
    pub battery_mah: f64,
}

impl Looked<'_> {
    fn now_s(&self) -> u32 {
        unix_s(self.epoch_ms + self.now_ms)
    }
}

/// Unix time in seconds, which is enough until 2106.
pub(crate) fn unix_s(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 1000).unwrap_or(u32::MAX)
}

/// A look at the driver's state, taken in its step: it must be short.
pub(crate) type Look = Box<dyn FnOnce(&mut Looked<'_>) + Send>;

/// The documents of a gateway.
#[derive(Clone)]
pub(crate) struct Views {
    queries: mpsc::Sender<Query>,
    publishers: Publishers,
}

impl Views {
    pub fn new(queries: mpsc::Sender<Query>, trust: Trust) -> Self {
        Self { queries, publishers: Publishers::new(trust) }
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Looked<'_>) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let stopping = || Refusal::busy("the gateway is stopping");
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |looked| drop(reply.send(look(looked)))); // nobody waits any more
        self.queries.send(Query::Look(look)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    async fn state<T: Serialize + Send + 'static>(
        &self,
        look: impl FnOnce(&mut Looked<'_>) -> T + Send + 'static,
    ) -> Result<Answer, Refusal> {
        Ok(Answer::state(&self.look(look).await?))
    }
}

impl page::Source for Views {
    async fn show(&self, asked: Asked) -> Result<Answer, Refusal> {
        match asked.parts()[..] {
            ["about"] => self.state(|looked| about(looked)).await,
            ["fleet"] => {
                let query = fleet::FleetQuery::of(&asked)?;
                self.state(move |looked| fleet::fleet(looked, &query)).await
            }
            ["node", node] => {
                let bad = || Refusal::not_found("a node is named by the 16 hexadecimal digits of its EUI-64");
                let node = NodeId::parse(node).ok_or_else(bad)?;
                Ok(Answer::state(&self.look(move |looked| node::node(looked, node)).await??))
            }
            ["tasks"] => {
                let query = fleet::TasksQuery::of(&asked)?;
                self.state(move |looked| fleet::tasks(looked, &query)).await
            }
            ["task", framework, task] => {
                let (framework, task) = (framework.to_owned(), task.to_owned());
                let (view, image) = self.look(move |looked| task::task(looked, &framework, &task)).await??;
                Ok(Answer::state(&view.with_image(image, &self.publishers)))
            }
            ["log", framework, task] => {
                let (framework, task) = (framework.to_owned(), task.to_owned());
                let offset = task::log_offset(&asked)?;
                let (offset, bytes) =
                    self.look(move |looked| task::log(looked, &framework, &task, offset)).await??;
                Ok(task::log_piece(offset, bytes))
            }
            ["images"] => {
                let page = images::page_of(&asked)?;
                let cache = self.look(move |looked| images::images(looked, page)).await?;
                Ok(Answer::state(&cache.shown(&self.publishers)))
            }
            ["events"] => {
                let query = EventsQuery::of(&asked, &events::KINDS)?;
                let node = asked.query.text("node").map(|text| {
                    NodeId::parse(text).ok_or_else(|| Refusal::bad("node: expected 16 hexadecimal digits"))
                });
                let node = node.transpose()?;
                let list = move |looked: &mut Looked<'_>| {
                    looked.seen.events.list(&query, |event| node.is_none() || event.about.node == node)
                };
                Ok(self.look(list).await?.answer())
            }
            ["security"] => self.state(|looked| security::security(looked)).await,
            _ => Err(Refusal::not_found(format!("no such view; there are {}", VIEWS.join(", ")))),
        }
    }
}

/// The views there are.
const VIEWS: [&str; 9] = ["about", "fleet", "node", "tasks", "task", "log", "images", "security", "events"];

#[derive(Serialize)]
struct About {
    kind: &'static str,
    version: &'static str,
    hostname: Option<String>,
    started_ms: u64,
    master: Option<String>,
    insecure: bool,
    views: [&'static str; VIEWS.len()],
}

fn about(looked: &Looked<'_>) -> About {
    About {
        kind: "gateway",
        version: env!("CARGO_PKG_VERSION"),
        hostname: page::own_hostname(),
        started_ms: looked.epoch_ms,
        master: looked.master.map(|master| master.to_string()),
        insecure: looked.sessions.is_insecure(),
        views: VIEWS,
    }
}
