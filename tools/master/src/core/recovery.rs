//! What outlives the master: its id, the numbers it has given, and who was here. Says what to keep, and takes it up
//! again after a restart. It never gives a number twice.

use super::wishes::Wishes;
use super::{Completed, MasterCore, Timer};
use crate::records::{AgentRecord, CompletedRecord, FrameworkRecord};
use crate::store::{Records, Table, Unreadable, delete, of_kind, put};
use libprocess::Upid;
use mesos_proto::mesos::{FrameworkId, FrameworkInfo};
use std::collections::VecDeque;

/// Offers numbered before the next write of how far they may have come.
const OFFERS_AHEAD: u64 = 1 << 16;

/// Keys of [`Table::Meta`].
mod meta {
    /// The master's id.
    pub const ID: &str = "id";
    /// The next agent's number.
    pub const AGENTS: &str = "agents";
    /// The next framework's number.
    pub const FRAMEWORKS: &str = "frameworks";
    /// Numbers of offers below this one may have been used.
    pub const OFFERS: &str = "offers";
}

impl MasterCore {
    /// Takes up the records of an earlier run.
    pub(super) fn recover(&mut self, records: &Records) -> Result<(), Unreadable> {
        let names =
            records.iter().filter(|(table, key, _)| *table == Table::Meta && key == meta::ID.as_bytes());
        match of_kind::<String>(&names.cloned().collect(), Table::Meta)?.pop() {
            Some((_, id)) => self.config.id = id,
            None => self.keep(put(Table::Meta, meta::ID, &self.config.id.clone())),
        }
        let numbers =
            records.iter().filter(|(table, key, _)| *table == Table::Meta && key != meta::ID.as_bytes());
        for (name, number) in of_kind::<u64>(&numbers.cloned().collect(), Table::Meta)? {
            match name.as_str() {
                meta::AGENTS => self.next_agent = number,
                meta::FRAMEWORKS => self.next_framework = number,
                meta::OFFERS => (self.next_offer, self.offers_kept) = (number, number),
                _ => tracing::warn!(name, "a number of a newer master; it is left alone"),
            }
        }
        self.recover_agents(records)?;
        self.recover_frameworks(records)
    }

    /// Agents of an earlier run have their time to come back.
    fn recover_agents(&mut self, records: &Records) -> Result<(), Unreadable> {
        self.recovered = of_kind::<AgentRecord>(records, Table::Agent)?.into_iter().collect();
        for (id, since_ms) in of_kind::<u64>(records, Table::Unreachable)? {
            self.unreachable.insert(&id, since_ms);
        }
        for (id, since_ms) in of_kind::<u64>(records, Table::Gone)? {
            self.gone.insert(&id, since_ms);
        }
        self.recover_drains(records)?;
        self.recover_maintenance(records)?;
        self.recover_weights(records)?;
        self.recovered_first = self.recovered.len();
        self.await_recovered();
        Ok(())
    }

    /// Frameworks of an earlier run may come back: for as long as they say, and at least as long as their agents.
    fn recover_frameworks(&mut self, records: &Records) -> Result<(), Unreadable> {
        for (id, record) in of_kind::<FrameworkRecord>(records, Table::Framework)? {
            self.insert_framework(&id, record.info);
            if let Some(framework) = self.frameworks.get_mut(&id) {
                framework.registered_ms = record.registered_ms;
            }
            self.tell_allocator(&id, Wishes::default());
            self.await_failover(&id);
        }
        let mut completed: Vec<_> = of_kind::<CompletedRecord>(records, Table::Completed)?
            .into_iter()
            .map(|(id, record)| Completed {
                info: FrameworkInfo {
                    id: Some(FrameworkId { value: id.clone() }),
                    name: record.name,
                    user: record.user,
                    ..Default::default()
                },
                id,
                registered_ms: record.registered_ms,
                unregistered_ms: record.unregistered_ms,
                tasks: VecDeque::new(),
            })
            .collect();
        completed.sort_by_key(|done| done.unregistered_ms);
        self.completed = completed.into();
        Ok(())
    }

    fn await_recovered(&mut self) {
        if !self.recovered.is_empty() {
            self.timers.insert((self.now_ms + self.config.agent_reregister_timeout_ms, Timer::Recovered));
        }
    }

    /// The time of those that were here before a restart is over (M: `recoveredSlavesTimeout`). If too many of them have
    /// not come back, the fault is rather here or in between: they get the same time once more.
    pub(super) fn recovered_timeout(&mut self) {
        let share = self.recovered.len() as f64 / self.recovered_first.max(1) as f64;
        if share > self.config.recovery_agent_removal_limit {
            let (missing, of) = (self.recovered.len(), self.recovered_first);
            tracing::error!(
                missing,
                of,
                "too many agents have not come back after the restart; none is given up: look for what keeps them away, \
                 or raise the limit of removals"
            );
            return self.await_recovered();
        }
        let ids: Vec<_> = self.recovered.keys().cloned().collect();
        for id in ids {
            let at = self.removal_turn();
            self.timers.insert((at, Timer::GiveUp(id)));
        }
    }

    /// An agent that was here before a restart is unreachable.
    pub(super) fn give_up_recovered(&mut self, id: &str) {
        if self.recovered.remove(id).is_some() {
            tracing::warn!(agent = id, "agent did not come back after the master's restart: unreachable");
            self.count("slave_unreachable_completed");
            self.count("slave_removals");
            self.count("slave_removals/reason_unhealthy");
            self.count("recovery_slave_removals");
            self.keep_unreachable(id);
            self.tell_agent_lost(id);
        }
    }

    /// A new agent is where one from before a restart was: one actor is one agent, and that one was never told its id, or
    /// has lost it. It never comes back, and frameworks that ask for its tasks are to know.
    pub(super) fn supersede_recovered(&mut self, pid: &Upid) {
        if self.recovered.is_empty() {
            return;
        }
        let pid = pid.to_string();
        let before = self.recovered.iter().find(|(_, record)| record.pid == pid).map(|(id, _)| id.clone());
        if let Some(id) = before {
            self.mark_gone(&id);
        }
    }

    /// Keeps that an agent is admitted, and as what.
    pub(super) fn keep_agent(&mut self, id: &str) {
        let Some(agent) = self.agents.get(id) else { return };
        let record = AgentRecord {
            info: agent.info.clone(),
            registered_ms: agent.registered_ms,
            pid: agent.pid.to_string(),
        };
        self.keep(put(Table::Agent, id, &record));
    }

    /// An agent said goodbye.
    pub(super) fn forget_agent(&mut self, id: &str) {
        self.forget_drain(id);
        self.keep(delete(Table::Agent, id));
    }

    pub(super) fn keep_unreachable(&mut self, id: &str) {
        self.keep(delete(Table::Agent, id));
        self.keep(put(Table::Unreachable, id, &self.now_ms.clone()));
        if let Some(forgotten) = self.unreachable.insert(id, self.now_ms) {
            self.forget_drain(&forgotten);
            self.keep(delete(Table::Unreachable, &forgotten));
        }
    }

    pub(super) fn forget_unreachable(&mut self, id: &str) {
        if self.unreachable.remove(id) {
            self.keep(delete(Table::Unreachable, id));
        }
    }

    pub(super) fn keep_gone(&mut self, id: &str) {
        self.forget_drain(id);
        self.keep(delete(Table::Agent, id));
        self.forget_unreachable(id);
        self.keep(put(Table::Gone, id, &self.now_ms.clone()));
        if let Some(forgotten) = self.gone.insert(id, self.now_ms) {
            self.keep(delete(Table::Gone, &forgotten));
        }
    }

    /// Keeps that a framework is there, and as what.
    pub(super) fn keep_framework(&mut self, id: &str) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let record = FrameworkRecord { info: framework.info.clone(), registered_ms: framework.registered_ms };
        self.keep(put(Table::Framework, id, &record));
    }

    /// Keeps that a framework has ended.
    pub(super) fn keep_completed(&mut self, done: &Completed) {
        let record = CompletedRecord {
            name: done.info.name.clone(),
            user: done.info.user.clone(),
            registered_ms: done.registered_ms,
            unregistered_ms: done.unregistered_ms,
        };
        self.keep(delete(Table::Framework, &done.id));
        self.keep(put(Table::Completed, &done.id, &record));
    }

    /// An ended framework is forgotten.
    pub(super) fn forget_completed(&mut self, id: &str) {
        self.keep(delete(Table::Completed, id));
    }

    /// An id for an agent; none is given twice. One that is known already, because the records were restored from an
    /// older copy, is passed over.
    pub(super) fn new_agent_id(&mut self) -> String {
        let id = loop {
            let id = format!("{}-S{}", self.config.id, self.next_agent);
            self.next_agent += 1;
            let known = self.agents.contains_key(&id)
                || self.recovered.contains_key(&id)
                || self.unreachable.contains(&id)
                || self.gone.contains(&id);
            if !known {
                break id;
            }
        };
        self.keep(put(Table::Meta, meta::AGENTS, &self.next_agent.clone()));
        id
    }

    /// An id for a framework; none is given twice.
    pub(super) fn new_framework_id(&mut self) -> String {
        let id = loop {
            let id = format!("{}-{:04}", self.config.id, self.next_framework);
            self.next_framework += 1;
            if !self.frameworks.contains_key(&id) && self.completed.iter().all(|done| done.id != id) {
                break id;
            }
        };
        self.keep(put(Table::Meta, meta::FRAMEWORKS, &self.next_framework.clone()));
        id
    }

    /// An id for an offer; none is given twice, so that an answer to one from before a restart fits none of after it.
    pub(super) fn new_offer_id(&mut self) -> String {
        let id = format!("{}-O{}", self.config.id, self.next_offer);
        self.next_offer += 1;
        if self.next_offer > self.offers_kept {
            self.offers_kept = self.next_offer + OFFERS_AHEAD;
            self.keep(put(Table::Meta, meta::OFFERS, &self.offers_kept));
        }
        id
    }
}
