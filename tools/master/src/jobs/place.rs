//! Offers and the jobs that wait for them: which instance goes where. Jobs with a higher priority choose first, then older
//! ones. What fits nobody is declined, at once and for a while.

use super::constraint::{Constraint, Rule};
use super::job::{Job, Phase, Task};
use super::node::{Node, take};
use super::{Jobs, calls};
use crate::limits::MAX_NODES_SEEN;
use mesos_proto::v1::{self, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// How long a node that was offered counts as having the room it had, milliseconds: until it would be offered again twice.
pub(super) const SEEN_MS: u64 = 120_000;

/// An offer, and what is to be launched on it.
struct Hand {
    offer: v1::OfferId,
    role: String,
    node: Node,
    left: Vec<v1::Resource>,
    tasks: Vec<v1::TaskInfo>,
}

/// Where a job's instances run already.
pub(super) struct Siblings {
    /// By value, for each constraint that counts.
    groups: Vec<BTreeMap<String, u32>>,
    /// By agent.
    agents: BTreeMap<String, u32>,
}

impl Siblings {
    fn add(&mut self, agent: &str, groups: &[String]) {
        *self.agents.entry(agent.to_owned()).or_default() += 1;
        for (counts, group) in self.groups.iter_mut().zip(groups) {
            *counts.entry(group.clone()).or_default() += 1;
        }
    }
}

impl Jobs {
    pub(super) fn offers(&mut self, offers: Vec<v1::Offer>) {
        let mut hands: Vec<Hand> = offers.into_iter().map(|offer| self.hand(offer)).collect();
        let waiting: Vec<String> = self.waiting.iter().map(|(.., id)| id.clone()).collect();
        // Of many jobs that ask for the same, one that finds nothing speaks for all.
        let mut barren: BTreeSet<String> = BTreeSet::new();
        for id in waiting {
            let Some(job) = self.jobs.get(&id) else { continue };
            if !hands.iter().any(|hand| hand.role == job.kept.spec.role) {
                continue;
            }
            let wish = job.wish.clone();
            if wish.as_ref().is_some_and(|wish| barren.contains(wish)) {
                self.jobs.get_mut(&id).into_iter().for_each(|job| job.looked = true);
                continue;
            }
            self.place(&id, &mut hands);
            if let Some(wish) = wish.filter(|_| self.jobs.get(&id).is_some_and(|job| !job.due.is_empty())) {
                barren.insert(wish);
            }
        }
        let framework = self.all.framework.clone();
        let mut declined = Vec::new();
        for hand in hands {
            self.remember_node(&hand);
            if hand.tasks.is_empty() {
                declined.push(hand.offer);
            } else {
                self.calls.push(calls::accept(&framework, hand.offer, hand.tasks));
            }
        }
        if !declined.is_empty() {
            self.calls.push(calls::decline(&framework, declined));
        }
    }

    fn hand(&self, offer: v1::Offer) -> Hand {
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
        Hand {
            role: role.unwrap_or_else(|| mesos_proto::pool::UNRESERVED.into()),
            node: Node::of(&offer, self.now_ms),
            offer: offer.id,
            left: offer.resources,
            tasks: Vec::new(),
        }
    }

    fn remember_node(&mut self, hand: &Hand) {
        if !self.roles.contains_key(&hand.role) {
            return;
        }
        let key = (hand.role.clone(), hand.node.agent.clone());
        if self.nodes.len() >= MAX_NODES_SEEN && !self.nodes.contains_key(&key) {
            let now = self.now_ms;
            self.nodes.retain(|_, node| node.seen_ms + SEEN_MS > now);
            if self.nodes.len() >= MAX_NODES_SEEN {
                return;
            }
        }
        self.nodes.insert(key, hand.node.clone());
    }

    /// Places as many of a job's waiting instances as find a node.
    fn place(&mut self, id: &str, hands: &mut [Hand]) {
        let now = self.now_ms;
        let Some(mut job) = self.jobs.remove(id) else { return };
        job.looked = true;
        let mut siblings = job.siblings();
        while let Some(at) = job.due.first().copied() {
            let Some(chosen) = self.choose(&job, &siblings, hands) else { break };
            let hand = &mut hands[chosen];
            let Some(resources) = take(&mut hand.left, &job.needs) else { break };
            hand.node.free.subtract(&job.needs);
            let task_id = format!("{id}.{}", self.number());
            hand.tasks.push(calls::task(&job.kept.spec, &task_id, &hand.node.agent, resources));
            let groups = job.groups(&hand.node);
            siblings.add(&hand.node.agent, &groups);
            let task = Task {
                id: task_id.clone(),
                agent: hand.node.agent.clone(),
                hostname: hand.node.hostname.clone(),
                groups,
                state: TaskState::TaskStaging as i32,
                launched_ms: now,
                running_ms: None,
                unsure_ms: None,
                heard: true,
                kill_sent_ms: None,
            };
            if let Some(slot) = job.slot_mut(at) {
                slot.launches = slot.launches.saturating_add(1);
            }
            job.set(at, Phase::Launched(task));
            self.tasks.insert(task_id.clone(), (id.to_owned(), at));
            self.tell(id, false, format!("{task_id} goes to {}", hand.node.hostname));
        }
        self.jobs.insert(id.to_owned(), job);
        self.touch(id);
    }

    /// The offer that suits an instance best: where the fewest of its siblings are.
    fn choose(&self, job: &Job, siblings: &Siblings, hands: &[Hand]) -> Option<usize> {
        let spec = &job.kept.spec;
        let now = self.now_ms;
        let fits = |node: &Node| node.stays(now) && node.free.contains(&job.needs) && job.allows(node);
        let here: Vec<(usize, &Hand)> = hands
            .iter()
            .enumerate()
            .filter(|(_, hand)| hand.role == spec.role && fits(&hand.node))
            .filter(|(_, hand)| job.admits(&hand.node, siblings))
            .collect();
        if here.is_empty() {
            return None;
        }
        // Where else there was room a moment ago: what `group-by` without a number goes by.
        let in_hand: BTreeSet<&str> = hands.iter().map(|hand| hand.node.agent.as_str()).collect();
        let uneven =
            spec.constraints.iter().any(|constraint| matches!(constraint.rule, Rule::GroupBy(_, None)));
        let elsewhere: Vec<&Node> = self
            .nodes
            .iter()
            .filter(|((role, agent), node)| {
                uneven
                    && *role == spec.role
                    && !in_hand.contains(agent.as_str())
                    && node.seen_ms + SEEN_MS > self.now_ms
                    && fits(node)
                    && job.admits(node, siblings)
            })
            .map(|(_, node)| node)
            .collect();
        let mut best: Option<(Vec<u32>, u32, usize)> = None;
        for (at, hand) in &here {
            let counts = job.counts(&hand.node, siblings);
            let on_node = siblings.agents.get(&hand.node.agent).copied().unwrap_or(0);
            let rank = (counts, on_node, *at);
            if best.as_ref().is_none_or(|best| rank < *best) {
                best = Some(rank);
            }
        }
        let (counts, _, at) = best?;
        let lower_elsewhere = elsewhere.iter().any(|node| job.counts(node, siblings) < counts);
        (!lower_elsewhere).then_some(at)
    }
}

impl Job {
    fn counting(&self) -> impl Iterator<Item = (&Constraint, &str)> {
        self.kept.spec.constraints.iter().filter_map(|held| Some((held, held.counted_by()?)))
    }

    /// What an instance on this node counts as.
    fn groups(&self, node: &Node) -> Vec<String> {
        self.counting().map(|(_, name)| node.group(name).unwrap_or_default()).collect()
    }

    /// Counts what may run.
    pub(super) fn siblings(&self) -> Siblings {
        let groups = self.counting().map(|_| BTreeMap::new()).collect();
        let mut siblings = Siblings { groups, agents: BTreeMap::new() };
        self.tasks().for_each(|(_, task)| siblings.add(&task.agent, &task.groups));
        siblings
    }

    /// Whether the node itself will do.
    pub(super) fn allows(&self, node: &Node) -> bool {
        self.kept.spec.constraints.iter().all(|constraint| constraint.allows(node))
    }

    /// Whether one more instance may run there beside its siblings.
    pub(super) fn admits(&self, node: &Node, siblings: &Siblings) -> bool {
        self.counting().zip(&siblings.groups).all(|((constraint, name), counts)| {
            let here = node.group(name).and_then(|group| counts.get(&group).copied()).unwrap_or(0);
            match &constraint.rule {
                Rule::Unique(_) => here == 0,
                Rule::MaxPer(_, most) => here < *most,
                Rule::GroupBy(_, Some(groups)) => {
                    let known = u32::try_from(counts.len()).unwrap_or(u32::MAX);
                    let least = if known < *groups { 0 } else { counts.values().copied().min().unwrap_or(0) };
                    here <= least
                }
                _ => true,
            }
        })
    }

    /// How many siblings are where, for the constraints that spread them.
    fn counts(&self, node: &Node, siblings: &Siblings) -> Vec<u32> {
        let spread = self
            .counting()
            .zip(&siblings.groups)
            .filter(|((held, _), _)| matches!(held.rule, Rule::GroupBy(..)));
        spread
            .map(|((_, name), counts)| {
                node.group(name).and_then(|group| counts.get(&group).copied()).unwrap_or(0)
            })
            .collect()
    }
}
