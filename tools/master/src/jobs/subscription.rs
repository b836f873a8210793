//! The jobs' subscription: made when there is a first job, kept under the same id over restarts, told which roles want
//! offers. Offers are asked for only while something waits for them.

use super::job::Phase;
use super::records::{self, All};
use super::{Jobs, calls};
use mesos_proto::v1::TaskState;
use std::collections::BTreeSet;

/// Until a subscription that ended is made anew, milliseconds.
const RETRY_MS: u64 = 1_000;
/// Between questions after tasks that nobody knows of, milliseconds.
pub(super) const AGAIN_MS: u64 = 15_000;
/// Between two times that all refusals are taken back, milliseconds; and a tenth more for each node.
const REVIVE_GAP_MS: u64 = 250;
/// Until the end of a task is asked for again, milliseconds.
const KILL_AGAIN_MS: u64 = 30_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Link {
    #[default]
    Off,
    Asked,
    On,
}

/// What the master was told.
#[derive(Default)]
pub(super) struct Subscription {
    link: Link,
    retry_ms: u64,
    roles: BTreeSet<String>,
    wanted: BTreeSet<String>,
    /// Roles whose refusals do not hold any more.
    stale: BTreeSet<String>,
    revived_ms: u64,
    reconcile_ms: Option<u64>,
}

impl Subscription {
    pub fn connected(&self) -> bool {
        self.link == Link::On
    }

    pub fn next_wakeup_ms(&self, nodes: usize) -> u64 {
        let retry = if self.link == Link::Off && self.retry_ms > 0 { self.retry_ms } else { u64::MAX };
        let waits = self.link == Link::On && !self.stale.is_empty();
        let revive = if waits { self.revivable_ms(nodes) } else { u64::MAX };
        retry.min(revive).min(self.reconcile_ms.unwrap_or(u64::MAX))
    }

    /// Each time all nodes are offered again: with many, that is much to look at.
    fn revivable_ms(&self, nodes: usize) -> u64 {
        self.revived_ms + REVIVE_GAP_MS + u64::try_from(nodes).unwrap_or(u64::MAX / 2) / 10
    }
}

impl Jobs {
    /// Nodes that were refused may do for jobs of this role now.
    pub(super) fn look_again(&mut self, role: &str) {
        self.subscription.stale.insert(role.to_owned());
    }

    pub(super) fn subscribed(&mut self) {
        tracing::info!(framework = self.all.framework, jobs = self.jobs.len(), "jobs subscribed");
        self.subscription.link = Link::On;
        self.nodes.clear();
        for job in self.jobs.values_mut() {
            for run in job.runs.values_mut() {
                for slot in &mut run.slots {
                    if let Phase::Launched(task) = &mut slot.phase {
                        (task.heard, task.kill_sent_ms) = (false, None);
                    }
                }
            }
        }
        self.subscription.reconcile_ms = Some(self.now_ms);
    }

    pub(super) fn subscription_closed(&mut self) {
        self.subscription = Subscription { retry_ms: self.now_ms + RETRY_MS, ..Default::default() };
    }

    /// The master ends the subscription and says why.
    pub(super) fn subscription_refused(&mut self, why: &str) {
        tracing::warn!(why, "the jobs' subscription ended");
        if self.subscription.link == Link::Asked {
            // The framework was removed, and its tasks with it. Jobs outlive it, under another name.
            self.all.framework.clear();
            let tasks: Vec<String> = self.tasks.keys().cloned().collect();
            for task in tasks {
                self.lost(&task, TaskState::TaskGone, "the jobs' framework was removed by an operator");
            }
        }
        self.subscription_closed();
    }

    fn framework_info(&self, roles: &BTreeSet<String>) -> mesos_proto::v1::FrameworkInfo {
        calls::info(&self.all.framework, &self.config.user, roles, self.config.failover_s)
    }

    /// Subscribes if there is a reason to, and asks for offers as long as something waits.
    pub(super) fn keep_subscription(&mut self) {
        let mut roles: BTreeSet<String> = self.roles.keys().cloned().collect();
        if roles.is_empty() {
            if self.subscription.link == Link::Off {
                self.subscription.retry_ms = 0;
                return;
            }
            // A framework has a role.
            roles.insert(mesos_proto::pool::UNRESERVED.into());
        }
        let wanted = self.roles.iter().filter(|(_, role)| role.waiting > 0).map(|(name, _)| name.clone());
        let wanted: BTreeSet<String> = wanted.collect();
        let quiet: Vec<String> = roles.difference(&wanted).cloned().collect();
        match self.subscription.link {
            Link::Asked => {}
            Link::Off if self.now_ms < self.subscription.retry_ms => {}
            Link::Off => {
                self.name_framework();
                let info = self.framework_info(&roles);
                self.calls.push(calls::subscribe(&self.all.framework, info, quiet));
                (self.subscription.roles, self.subscription.wanted) = (roles, wanted);
                self.subscription.link = Link::Asked;
            }
            Link::On => {
                self.ask_for_offers(roles, wanted, quiet);
                self.reconcile();
            }
        }
    }

    /// A framework keeps its id for ever.
    fn name_framework(&mut self) {
        if !self.all.framework.is_empty() {
            return;
        }
        let number = self.number();
        self.all.framework = format!("{}-{number}", self.config.framework);
        self.numbers_kept = self.all.next_task;
        self.writes.push(records::put_all(&All { ..self.all.clone() }));
    }

    fn ask_for_offers(&mut self, roles: BTreeSet<String>, wanted: BTreeSet<String>, quiet: Vec<String>) {
        let framework = self.all.framework.clone();
        let told = std::mem::take(&mut self.subscription.wanted);
        let more: BTreeSet<String> = wanted.difference(&told).cloned().collect();
        if roles != self.subscription.roles {
            let info = self.framework_info(&roles);
            self.calls.push(calls::update_framework(&framework, info, quiet));
            self.subscription.roles = roles;
        } else {
            let less: Vec<String> = told.difference(&wanted).cloned().collect();
            if !less.is_empty() {
                self.calls.push(calls::suppress(&framework, less));
            }
        }
        self.subscription.stale.retain(|role| wanted.contains(role) && !more.contains(role));
        let mut revived = more;
        if self.now_ms >= self.subscription.revivable_ms(self.nodes.len()) {
            revived.extend(std::mem::take(&mut self.subscription.stale));
        }
        if !revived.is_empty() {
            self.subscription.revived_ms = self.now_ms;
            self.calls.push(calls::revive(&framework, revived.into_iter().collect()));
        }
        self.subscription.wanted = wanted;
    }

    /// Asks after tasks that were not heard of, or that nobody is sure of, and again for ends that do not come.
    fn reconcile(&mut self) {
        if self.subscription.reconcile_ms.is_none_or(|at| at > self.now_ms) {
            return;
        }
        let now = self.now_ms;
        let mut open = Vec::new();
        let mut kills = Vec::new();
        for job in self.jobs.values_mut().filter(|job| job.kept.ended_ms.is_none()) {
            let killed = job.kept.killed;
            let slots = job.runs.values_mut().flat_map(|run| &mut run.slots);
            for slot in slots {
                let Phase::Launched(task) = &mut slot.phase else { continue };
                if !task.heard || task.unsure_ms.is_some() {
                    open.push(&*task);
                } else if killed && task.kill_sent_ms.is_none_or(|sent| now >= sent + KILL_AGAIN_MS) {
                    task.kill_sent_ms = Some(now);
                    kills.push(calls::kill(&self.all.framework, &task.id, Some(&task.agent)));
                }
            }
        }
        let asked = !open.is_empty();
        if asked {
            self.calls.push(calls::reconcile(&self.all.framework, open.into_iter()));
        }
        self.calls.extend(kills);
        let killing = self.jobs.values().any(|job| job.kept.killed && job.kept.ended_ms.is_none());
        self.subscription.reconcile_ms = (asked || killing).then_some(now + AGAIN_MS);
    }

    /// Has [`Self::reconcile`] look soon.
    pub(super) fn ask_soon(&mut self, in_ms: u64) {
        let at = self.now_ms + in_ms;
        let due = self.subscription.reconcile_ms.get_or_insert(at);
        *due = at.min(*due);
    }
}
