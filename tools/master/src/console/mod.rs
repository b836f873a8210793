//! What operators see in a browser: the page, and the documents of `/view/` that it is made of. `gateway/page` decides who
//! may ask and how often, and turns documents into streams; here they are made of the core as it is, in its task, and
//! their JSON outside. Reads the core, never changes it.

mod agents;
mod frameworks;
mod notes;
mod overview;
mod shape;
mod tasks;

pub(crate) use notes::Events;

use crate::core::MasterCore;
use crate::driver::Request as Ask;
use crate::http_api::{self, Doors};
use crate::jobs::{Reply, Request as JobRequest};
use http::StatusCode;
use libprocess::HttpHandler;
use page::events::EventsQuery;
use page::{Answer, Asked, Refusal, Source};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Entries of a list unless the asker says otherwise.
const LIST_DEFAULT: usize = 100;
/// Entries of a list at most.
const LIST_MAX: usize = 200;

/// A look at the core, taken in its task: it must be short.
pub(crate) type Look = Box<dyn FnOnce(&MasterCore) + Send>;

/// Answers every ordinary request.
pub(crate) fn handler(doors: Doors) -> HttpHandler {
    let doors = Arc::new(doors);
    Arc::new(move |request| {
        let doors = doors.clone();
        Box::pin(async move {
            if let Some(file) = doors.page.file(&request) {
                return file;
            }
            if request.uri().path().starts_with("/view/") {
                return doors.page.view(&request, Views(doors.core.clone())).await;
            }
            http_api::answer(request, &doors).await
        })
    })
}

/// The documents of a master.
#[derive(Clone)]
struct Views(mpsc::Sender<Ask>);

impl Views {
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&MasterCore) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = || Refusal::busy("the master is busy or stopping");
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |core| drop(reply.send(look(core)))); // nobody waits any more
        self.0.try_send(Ask::Look(look)).map_err(|_| busy())?;
        answer.await.map_err(|_| busy())
    }

    async fn state<T: Serialize + Send + 'static>(
        &self,
        look: impl FnOnce(&MasterCore) -> T + Send + 'static,
    ) -> Result<Answer, Refusal> {
        Ok(Answer::state(&self.look(look).await?))
    }

    /// What the jobs' own endpoint answers.
    async fn jobs(&self, request: JobRequest) -> Result<Answer, Refusal> {
        let busy = || Refusal::busy("the master is busy or stopping");
        let (answer, reply) = oneshot::channel();
        self.0.try_send(Ask::Jobs { request, answer }).map_err(|_| busy())?;
        let Reply { status, body, .. } = reply.await.map_err(|_| busy())?;
        if status == 200 {
            return Ok(Answer::state(&body));
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Err(Refusal { status, why: body["error"].as_str().unwrap_or_default().to_owned() })
    }
}

impl Source for Views {
    async fn show(&self, asked: Asked) -> Result<Answer, Refusal> {
        match asked.parts()[..] {
            ["about"] => self.state(about).await,
            ["overview"] => self.state(overview::overview).await,
            ["agents"] => {
                let query = agents::AgentsQuery::of(&asked)?;
                self.state(move |core| agents::agents(core, &query)).await
            }
            ["agent", agent] => {
                let agent = agent.to_owned();
                Ok(Answer::state(&self.look(move |core| agents::agent(core, &agent)).await??))
            }
            ["frameworks"] => {
                let query = frameworks::FrameworksQuery::of(&asked)?;
                self.state(move |core| frameworks::frameworks(core, &query)).await
            }
            ["tasks"] => {
                let query = tasks::TasksQuery::of(&asked)?;
                self.state(move |core| tasks::tasks(core, &query)).await
            }
            ["task", framework, task] => {
                let (framework, task) = (framework.to_owned(), task.to_owned());
                Ok(Answer::state(&self.look(move |core| tasks::task(core, &framework, &task)).await??))
            }
            ["jobs"] => {
                let text = |name| asked.query.text(name).map(str::to_owned);
                let page = asked.query.paging(LIST_DEFAULT, LIST_MAX)?;
                let (state, text) = (text("state"), text("q"));
                self.jobs(JobRequest::List { state, text, offset: page.offset, limit: Some(page.limit) })
                    .await
            }
            ["job", job] => self.jobs(JobRequest::Show(job.to_owned())).await,
            ["events"] => {
                let query = EventsQuery::of(&asked, &notes::KINDS)?;
                Ok(self.look(move |core| core.events.list(&query, |_| true)).await?.answer())
            }
            _ => Err(Refusal::not_found(format!("no such view; there are {}", VIEWS.join(", ")))),
        }
    }
}

/// The views there are.
const VIEWS: [&str; 10] =
    ["about", "overview", "agents", "agent", "frameworks", "tasks", "task", "jobs", "job", "events"];

#[derive(Serialize)]
struct About {
    kind: &'static str,
    version: &'static str,
    hostname: String,
    started_ms: u64,
    master: String,
    insecure: bool,
    cluster: Option<String>,
    policy: &'static str,
    leader: String,
    views: [&'static str; VIEWS.len()],
}

fn about(core: &MasterCore) -> About {
    let address = core.config.address.to_string();
    About {
        kind: "master",
        version: env!("CARGO_PKG_VERSION"),
        hostname: core.config.hostname.clone(),
        started_ms: core.started_ms,
        master: address.clone(),
        // Whoever says so is an agent.
        insecure: !core.config.authenticate_agents,
        cluster: core.config.cluster.clone(),
        policy: core.allocator.policy_name(),
        // There is no other.
        leader: address,
        views: VIEWS,
    }
}
