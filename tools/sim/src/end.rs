//! The end of a run: everything is mended, and then all parts have to agree, and in the end nothing be left.

use crate::plan::Fault;
use crate::scheduler::{Stand, is_terminal, name};
use crate::world::World;
use master::view::View;
use mesos_proto::v1::TaskState;
use std::collections::BTreeSet;

/// Pause between two looks.
const LOOK_MS: u64 = 5_000;
/// How long agreement may take: longer than the longest pause before an update is sent again (600 s), after which an
/// agent that missed all pings registers again, and a scheduler reconciles.
const PATIENCE_MS: u64 = 45 * 60_000;
/// How long nothing may happen at the very end.
const IDLE_MS: u64 = 10 * 60_000;
/// Datagrams of one idle node in that time, both ways: a poll every 5 s and its answer.
const IDLE_DATAGRAMS: u64 = 2 * IDLE_MS / 5_000 + 20;

impl World {
    /// Mends everything and waits until all parts agree; then ends all tasks and waits until nothing is left.
    pub fn wind_up(&mut self) {
        self.heal();
        let forgets = self.plan.faults.iter().any(|(fault, _)| *fault == Fault::NodeStorage);
        match forgets {
            // A node whose storage fails and which then restarts may know nothing of a task: it says so when asked to
            // end it, and not before.
            true => self.wait_for("all parts agree", Self::unready),
            false => self.wait_for("all parts agree", Self::disagreement),
        }
        self.scheduler.close(self.now);
        self.wait_for("nothing is left", Self::leftover);
        // A connection that stalled may still hold what has been settled by what overtook it on another.
        let held_ms = self.to_master.last_arrival_ms().max(self.to_gateway.last_arrival_ms());
        self.run_until(self.now.max(held_ms) + LOOK_MS);
        let (datagrams, updates) = (self.stats.datagrams, self.stats.updates);
        self.run_until(self.now + IDLE_MS);
        let datagrams = self.stats.datagrams - datagrams;
        if datagrams > IDLE_DATAGRAMS * self.nodes.len() as u64 {
            self.checks.fail("idle nodes are quiet", format!("{datagrams} datagrams in {IDLE_MS} ms"));
        }
        if self.stats.updates != updates {
            self.checks.fail("what is acknowledged is not sent again", "an update came after the end");
        }
        if let Some(what) = self.disagreement().or_else(|| self.leftover()) {
            self.checks.fail("all parts go on agreeing", what);
        }
        self.lives();
    }

    fn wait_for(&mut self, what: &'static str, missing: impl Fn(&mut Self) -> Option<String>) {
        let end = self.now + PATIENCE_MS;
        loop {
            self.run_until(self.now + LOOK_MS);
            if self.checks.violation.is_some() {
                return;
            }
            match missing(self) {
                None => return,
                Some(missing) if self.now >= end => return self.checks.fail(what, missing),
                Some(_) => {}
            }
        }
    }

    /// What the parts do not agree on yet.
    fn disagreement(&mut self) -> Option<String> {
        self.unready().or_else(|| self.tasks_apart())
    }

    /// Who is not back yet, and what still waits.
    fn unready(&mut self) -> Option<String> {
        if let Some(at) = self.nodes.iter().position(|node| !node.is_up()) {
            return Some(format!("node {at} is down"));
        }
        let Some((sessions, agents, now)) = self.gateway.view(self.now) else {
            return Some("the gateway is down".into());
        };
        let (totals, nodes) = (agents.totals(), self.nodes.len() as u64);
        if totals.registered != nodes || totals.live != nodes {
            return Some(format!(
                "of {nodes} nodes {} are live, {} registered",
                totals.live, totals.registered
            ));
        }
        if totals.updates_waiting > 0 {
            return Some(format!("{} updates are not acknowledged", totals.updates_waiting));
        }
        for node in &self.nodes {
            if let Some(view) = sessions.view(node.id, now).filter(|view| view.mailbox > 0) {
                return Some(format!("{} commands wait for node {}", view.mailbox, node.id));
            }
        }
        if !self.scheduler.subscribed {
            return Some("the scheduler is not subscribed".into());
        }
        None
    }

    /// Tasks that are somewhere and not everywhere.
    fn tasks_apart(&self) -> Option<String> {
        let jobs = self.scheduler.jobs.iter().enumerate();
        let out: BTreeSet<String> =
            jobs.clone().filter(|(_, job)| job.stand == Stand::Out).map(|(at, _)| name(at)).collect();
        for (at, job) in jobs.filter(|(_, job)| job.stand == Stand::Out) {
            if job.state != TaskState::TaskRunning {
                return Some(format!("{} is {} to its scheduler", name(at), job.state.as_str_name()));
            }
        }
        let mut running = BTreeSet::new();
        for node in &self.nodes {
            running.extend(node.board.borrow().running.values().map(|task| name(task.number as usize)));
        }
        if out != running {
            return Some(format!("the scheduler believes that {out:?} run, the nodes run {running:?}"));
        }
        let known = self.known_to_master();
        let known: BTreeSet<String> = known.into_iter().collect();
        (known != out).then(|| format!("the scheduler knows {out:?}, the master {known:?}"))
    }

    fn known_to_master(&self) -> Vec<String> {
        let Some(core) = &self.master else { return vec!["nothing: it is down".into()] };
        let state = core.view(View::Frameworks);
        let frameworks = state["frameworks"].as_array().into_iter().flatten();
        let tasks = frameworks.flat_map(|framework| framework["tasks"].as_array().into_iter().flatten());
        tasks.filter_map(|task| task["id"].as_str().map(str::to_owned)).collect()
    }

    /// What is left although everything has ended.
    fn leftover(&mut self) -> Option<String> {
        if let Some(at) = self.scheduler.jobs.iter().position(|job| job.stand == Stand::Out) {
            return Some(format!("{} has not ended", name(at)));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if node.tasks() > 0 || !node.board.borrow().running.is_empty() {
                return Some(format!("node {at} has {} tasks", node.tasks()));
            }
        }
        let known = self.known_to_master();
        if !known.is_empty() {
            return Some(format!("the master knows {known:?}"));
        }
        self.checks.empty(&self.gateway)
    }

    /// Each task's life as a whole.
    fn lives(&mut self) {
        let mut wrong = Vec::new();
        for (at, life) in &self.checks.lives {
            let ended = life.last().is_some_and(is_terminal);
            if life.starts > 0 && !ended {
                wrong.push(format!(
                    "{} ran, and its scheduler never heard its end: {:?}",
                    name(*at),
                    life.last()
                ));
            }
            if let Some(state) = life.unheard() {
                wrong.push(format!(
                    "{} was {} and its scheduler never heard",
                    name(*at),
                    state.as_str_name()
                ));
            }
        }
        if let Some(first) = wrong.into_iter().next() {
            self.checks.fail("no update is lost", first);
        }
        self.stats.tasks = self.scheduler.jobs.iter().filter(|job| job.stand == Stand::Over).count() as u64;
    }
}
