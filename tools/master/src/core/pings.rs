//! Whether agents are there: broken connections, pings, and when one that does not answer is given up
//! (src/master/master.cpp, `exited`, `SlaveObserver`). Never gives up faster than the operator allows.

use super::loss::Loss;
use super::{MasterCore, Timer};
use libprocess::Upid;
use mesos_proto::internal::PingSlaveMessage;
use mesos_proto::mesos::{TaskState, task_status};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;

impl MasterCore {
    pub(super) fn exited(&mut self, address: SocketAddrV4) {
        let ids: Vec<_> = self.by_address.get(&address).into_iter().flatten().cloned().collect();
        for id in ids {
            self.disconnect(&id);
        }
        self.drivers_exited(address);
    }

    fn disconnect(&mut self, id: &str) {
        let Some(agent) = self.agents.get_mut(id).filter(|agent| agent.connected) else { return };
        tracing::info!(agent = id, pid = %agent.pid, "agent disconnected");
        agent.connected = false;
        agent.disconnected_ms = self.now_ms;
        self.authenticated.remove(&agent.pid);
        let keeps = agent.info.checkpoint();
        let frameworks: BTreeSet<String> =
            agent.tasks.iter().map(|(framework, _)| framework.clone()).collect();
        self.count("slave_disconnections");
        self.allocator.set_agent_active(id, false);
        self.rescind_agent(id);
        for framework in frameworks {
            if !keeps || !self.frameworks.get(&framework).is_some_and(|f| f.info.checkpoint()) {
                let reason = task_status::Reason::SlaveDisconnected;
                let why = "Agent disconnected and the framework does not checkpoint";
                self.lose_tasks(id, Some(&framework), TaskState::TaskLost, reason, why);
            }
        }
    }

    pub(super) fn ping(&mut self, observer: u64) {
        // The timer of an agent that is gone finds nobody: observers are never numbered twice.
        let Some(id) = self.by_observer.get(&observer).cloned() else { return };
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if agent.awaiting_pong {
            agent.missed += 1;
        }
        if self.is_away(&id) && !self.give_up_later(&id) {
            return;
        }
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.awaiting_pong = true;
        let pid = agent.pid.clone();
        let message = PingSlaveMessage { connected: agent.connected };
        self.send_from(format!("slave-observer({observer})"), &pid, &message);
        self.timers.insert((self.now_ms + self.config.ping_interval_ms.max(1), Timer::Ping(observer)));
    }

    pub(super) fn pong(&mut self, observer: Option<u64>, from: &Upid) {
        let id = observer.and_then(|number| self.by_observer.get(&number));
        match id.and_then(|id| self.agents.get_mut(id)).filter(|agent| agent.pid == *from) {
            Some(agent) => {
                agent.missed = 0;
                agent.awaiting_pong = false;
            }
            None => self.count("messages_from_wrong_sender"),
        }
    }

    /// Whether a registered agent has not answered for too long.
    fn is_away(&self, id: &str) -> bool {
        self.agents.get(id).is_some_and(|agent| {
            let back_by = agent.disconnected_ms.saturating_add(self.config.agent_reregister_timeout_ms);
            agent.missed >= self.config.max_missed_pings || !agent.connected && self.now_ms >= back_by
        })
    }

    /// Gives an agent up now, if the rate of removals allows it, and returns false; else when it does.
    fn give_up_later(&mut self, id: &str) -> bool {
        if self.agents.get(id).is_some_and(|agent| agent.removal_ms.is_some()) {
            return true;
        }
        let at = self.removal_turn();
        if let Some(agent) = self.agents.get_mut(id) {
            agent.removal_ms = Some(at);
        }
        if at > self.now_ms {
            self.timers.insert((at, Timer::GiveUp(id.to_owned())));
            return true;
        }
        self.give_up(id);
        false
    }

    /// An agent's turn has come: given up, unless it has answered meanwhile.
    pub(super) fn give_up(&mut self, id: &str) {
        if self.recovered.contains_key(id) {
            return self.give_up_recovered(id);
        }
        if !self.is_away(id) {
            if let Some(agent) = self.agents.get_mut(id) {
                agent.removal_ms = None;
            }
            return;
        }
        tracing::warn!(agent = id, "agent unreachable");
        self.remove_agent(id, Loss::Unreachable);
    }

    /// When the next of many agents may be given up.
    pub(super) fn removal_turn(&mut self) -> u64 {
        let at = self.next_removal_ms.max(self.now_ms);
        self.next_removal_ms = at.saturating_add(self.config.agent_removal_interval_ms);
        at
    }
}
