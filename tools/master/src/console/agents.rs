//! `/view/agents` and `/view/agent/AGENT_ID`.

use super::shape::{Resource, TaskShown, resources, sum};
use super::{LIST_DEFAULT, LIST_MAX};
use crate::core::MasterCore;
use crate::state::Agent;
use crate::view::attribute;
use mesos_proto::mesos::DrainState;
use mesos_proto::resources::Scalars;
use page::{Asked, Paging, Refusal};
use serde::Serialize;
use serde_json::{Map, Value};

/// Tasks shown of one agent.
const TASKS_MAX: usize = 1_000;

/// An agent, or what is left of one. Of those that are not here no more is known than the fields that are not null.
#[derive(Debug, Serialize)]
struct AgentShown {
    agent_id: String,
    hostname: Option<String>,
    pid: Option<String>,
    /// `active`, `inactive`, `draining`, `unreachable`, `gone`, or `recovering` from before the master's start.
    state: &'static str,
    registered_ms: Option<u64>,
    /// Since when it is unreachable or gone.
    lost_ms: Option<u64>,
    version: Option<String>,
    resources: Vec<Resource>,
    attributes: Map<String, Value>,
    tasks: usize,
    drain: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ExecutorShown {
    executor_id: String,
    name: String,
    framework_id: String,
    role: String,
    resources: Map<String, Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct AgentsShown {
    total: usize,
    matching: usize,
    offset: usize,
    agents: Vec<AgentShown>,
}

#[derive(Debug, Serialize)]
pub(super) struct AgentInFull {
    agent: AgentShown,
    tasks: Vec<TaskShown>,
    executors: Vec<ExecutorShown>,
}

/// A question about agents.
pub(super) struct AgentsQuery {
    text: String,
    state: Option<&'static str>,
    page: Paging,
}

impl AgentsQuery {
    pub fn of(asked: &Asked) -> Result<Self, Refusal> {
        let states = ["active", "inactive", "draining", "unreachable", "gone", "recovering"];
        Ok(Self {
            text: asked.query.text("q").unwrap_or_default().to_ascii_lowercase(),
            state: asked.query.choice("state", &states)?,
            page: asked.query.paging(LIST_DEFAULT, LIST_MAX)?,
        })
    }

    fn takes(&self, state: &str, texts: &[&str]) -> bool {
        self.state.is_none_or(|wanted| wanted == state) && page::finds(&self.text, texts)
    }
}

impl MasterCore {
    fn drain_of(&self, id: &str) -> Option<&'static str> {
        match self.drains.get(id)?.info.as_ref()?.state() {
            DrainState::Draining => Some("draining"),
            DrainState::Drained => Some("drained"),
            DrainState::Unknown => None,
        }
    }

    fn state_of(&self, id: &str, agent: &Agent) -> &'static str {
        match self.drain_of(id) {
            Some(_) => "draining",
            None if agent.active() => "active",
            None => "inactive",
        }
    }

    fn agent_shown(&self, id: &str, agent: &Agent) -> AgentShown {
        let (used, offered) = (sum(&self.used_of(agent)), sum(&self.offered(&agent.offers)));
        AgentShown {
            agent_id: id.to_owned(),
            hostname: Some(agent.info.hostname.clone()),
            pid: Some(agent.pid.to_string()),
            state: self.state_of(id, agent),
            registered_ms: Some(agent.registered_ms),
            lost_ms: None,
            version: Some(agent.version.clone()),
            resources: resources(&agent.total.quantities(), &used, &offered),
            attributes: agent.info.attributes.iter().map(|one| (one.name.clone(), attribute(one))).collect(),
            tasks: agent.tasks.len(),
            drain: self.drain_of(id),
        }
    }

    /// An agent that is not here.
    fn absent_shown(&self, id: &str) -> Option<AgentShown> {
        let (state, lost_ms) = match (self.unreachable.since(id), self.gone.since(id)) {
            (_, Some(since)) => ("gone", Some(since)),
            (Some(since), None) => ("unreachable", Some(since)),
            _ => ("recovering", None),
        };
        let record = self.recovered.get(id);
        if lost_ms.is_none() && record.is_none() {
            return None;
        }
        Some(AgentShown {
            agent_id: id.to_owned(),
            hostname: record.map(|record| record.info.hostname.clone()),
            pid: None,
            state,
            registered_ms: None,
            lost_ms,
            version: None,
            resources: resources(&Scalars::default(), &Scalars::default(), &Scalars::default()),
            attributes: Map::new(),
            tasks: 0,
            drain: self.drain_of(id),
        })
    }
}

pub(super) fn agents(core: &MasterCore, query: &AgentsQuery) -> AgentsShown {
    let here = core.agents.iter().filter(|(id, agent)| {
        let pid = agent.pid.to_string();
        query.takes(core.state_of(id, agent), &[id, &agent.info.hostname, &pid])
    });
    let mut found: Vec<&str> = here.map(|(id, _)| id.as_str()).collect();
    let recovering =
        core.recovered.iter().filter(|(id, record)| query.takes("recovering", &[id, &record.info.hostname]));
    found.extend(recovering.map(|(id, _)| id.as_str()));
    // Those that are lost are shown to whoever asks for them.
    for (state, lost) in [("unreachable", &core.unreachable), ("gone", &core.gone)] {
        if query.state == Some(state) {
            found.extend(lost.ids().filter(|id| query.takes(state, &[id])));
        }
    }
    let matching = found.len();
    let shown = query.page.cut(found).into_iter().filter_map(|id| match core.agents.get(id) {
        Some(agent) => Some(core.agent_shown(id, agent)),
        None => core.absent_shown(id),
    });
    AgentsShown {
        total: core.agents.len() + core.recovered.len(),
        matching,
        offset: query.page.offset,
        agents: shown.collect(),
    }
}

pub(super) fn agent(core: &MasterCore, id: &str) -> Result<AgentInFull, Refusal> {
    let unknown = || Refusal::not_found(format!("no agent {id} here; /view/agents lists them"));
    let Some(agent) = core.agents.get(id) else {
        let agent = core.absent_shown(id).ok_or_else(unknown)?;
        return Ok(AgentInFull { agent, tasks: Vec::new(), executors: Vec::new() });
    };
    let tasks =
        agent.tasks.iter().filter_map(|(framework, task)| core.frameworks.get(framework)?.tasks.get(task));
    let executor = |((framework, id), own): (&(String, String), &crate::state::Executor)| ExecutorShown {
        executor_id: id.clone(),
        name: own.info.name().to_owned(),
        framework_id: framework.clone(),
        role: own.role.clone(),
        resources: own.held.to_json(None),
    };
    Ok(AgentInFull {
        agent: core.agent_shown(id, agent),
        tasks: tasks.take(TASKS_MAX).map(|record| core.task_shown(&record.task)).collect(),
        executors: agent.executors.iter().take(TASKS_MAX).map(executor).collect(),
    })
}
