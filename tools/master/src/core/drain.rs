//! Agents that are emptied, or only offered no more (src/master/http.cpp `_drainAgent`, `_deactivateAgent`,
//! `_reactivateAgent`; src/master/master.cpp `checkAndTransitionDrainingAgent`). Kept over restarts; a drained agent
//! is offered again by nothing but the operator's word.

use super::MasterCore;
use crate::operator::Refusal;
use crate::records::DrainRecord;
use crate::store::{Records, Table, Unreadable, delete, of_kind, put};
use mesos_proto::internal::DrainSlaveMessage;
use mesos_proto::mesos::{DrainConfig, DrainInfo, DrainState, slave_info};

impl MasterCore {
    pub(super) fn recover_drains(&mut self, records: &Records) -> Result<(), Unreadable> {
        self.drains = of_kind::<DrainRecord>(records, Table::Drain)?.into_iter().collect();
        Ok(())
    }

    /// Ends an agent's tasks and offers it no more, from now on or from when it is back.
    pub(crate) fn drain_agent(&mut self, id: &str, config: DrainConfig) -> Result<(), Refusal> {
        self.known_agent(id)?;
        if let Some(agent) = self.agents.get(id)
            && !agent.has(slave_info::capability::Type::AgentDraining)
        {
            return Err(Refusal::bad(format!("Agent {id} is not capable of draining")));
        }
        if self.is_scheduled(id) {
            return Err(Refusal::bad(format!("Agent {id} is part of a maintenance schedule")));
        }
        tracing::info!(agent = id, gone = config.mark_gone(), "agent is drained");
        let info = DrainInfo { state: DrainState::Draining as i32, config };
        self.set_drain(id, DrainRecord { info: Some(info), since_ms: self.now_ms });
        Ok(())
    }

    /// Offers an agent no more; its tasks stay.
    pub(crate) fn deactivate_agent(&mut self, id: &str) -> Result<(), Refusal> {
        self.known_agent(id)?;
        if !self.drains.contains_key(id) {
            tracing::info!(agent = id, "agent deactivated");
            self.set_drain(id, DrainRecord { info: None, since_ms: self.now_ms });
        }
        Ok(())
    }

    /// Offers an agent again that was deactivated or is drained.
    pub(crate) fn reactivate_agent(&mut self, id: &str) -> Result<(), Refusal> {
        let Some(record) = self.drains.get(id) else { return Err(Refusal::bad("Agent is not deactivated")) };
        if record.info.as_ref().is_some_and(|info| info.state() == DrainState::Draining) {
            return Err(Refusal::bad("Agent is still in the DRAINING state"));
        }
        tracing::info!(agent = id, "agent reactivated");
        self.forget_drain(id);
        if let Some(agent) = self.agents.get_mut(id) {
            agent.deactivated = false;
            if agent.connected {
                self.allocator.set_agent_active(id, true);
                self.dirty.insert(id.to_owned());
            }
        }
        Ok(())
    }

    fn known_agent(&self, id: &str) -> Result<(), Refusal> {
        let known =
            self.agents.contains_key(id) || self.recovered.contains_key(id) || self.unreachable.contains(id);
        if known { Ok(()) } else { Err(Refusal::bad("Unknown agent")) }
    }

    fn set_drain(&mut self, id: &str, record: DrainRecord) {
        self.keep(put(Table::Drain, id, &record));
        self.drains.insert(id.to_owned(), record);
        self.apply_drain(id, false);
    }

    /// What the operator said of an agent, for one that is here or, `again`, is back. It is told in either state of the
    /// drain: it may have forgotten.
    pub(super) fn apply_drain(&mut self, id: &str, again: bool) {
        let Some(record) = self.drains.get(id) else { return };
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.deactivated = true;
        let (pid, connected) = (agent.pid.clone(), agent.connected);
        let config = record.info.as_ref().map(|info| info.config);
        // Such an agent says only later, by UpdateSlaveMessage, which operations are under way there.
        let says_later = agent.has(slave_info::capability::Type::ResourceProvider);
        self.allocator.set_agent_active(id, false);
        self.rescind_agent(id);
        let Some(config) = config else { return };
        if connected {
            self.send(&pid, &DrainSlaveMessage { config });
        }
        if !again || !says_later {
            self.emptied.insert(id.to_owned());
        }
    }

    /// Something ended on an agent; it may have been the last.
    pub(super) fn something_ended(&mut self, id: &str) {
        if self.drains.contains_key(id) {
            self.emptied.insert(id.to_owned());
        }
    }

    /// Agents on which nothing is left are drained. Those that are away are not: what they run is not over.
    pub(super) fn settle_drains(&mut self) {
        for id in std::mem::take(&mut self.emptied) {
            let empty = self
                .agents
                .get(&id)
                .is_some_and(|agent| agent.tasks.is_empty() && agent.operations.is_empty());
            let Some(record) = self.drains.get_mut(&id).filter(|_| empty) else { continue };
            let Some(info) = record.info.as_mut().filter(|info| info.state() == DrainState::Draining) else {
                continue;
            };
            if info.config.mark_gone() {
                self.mark_gone(&id);
                continue;
            }
            tracing::info!(agent = id, "agent drained");
            info.set_state(DrainState::Drained);
            let record = record.clone();
            self.keep(put(Table::Drain, &id, &record));
        }
    }

    /// Nothing is said of this agent any more.
    pub(super) fn forget_drain(&mut self, id: &str) {
        if self.drains.remove(id).is_some() {
            self.keep(delete(Table::Drain, id));
        }
    }
}
