//! One pass over an agent: who gets what of its free part (`__generateOffers` in
//! src/master/allocator/mesos/hierarchical.cpp, without quota).
//!
//! The first in the policy's order who can take it gets all that its role may use. What is reserved for other roles
//! goes to the next in the same order. The order is that of the pass's beginning: nothing is booked before its end.

use super::{AgentEntry, Allocator, Grant, Pair};
use mesos_proto::pool::{Pool, UNRESERVED, may_use};
use mesos_proto::resources::Scalars;
use std::borrow::Cow;
use std::sync::Arc;

/// What a role may use of an agent.
#[derive(Clone)]
struct Portion {
    pool: Pool,
    quantities: Scalars,
    /// Enough to be offered unless a framework says otherwise.
    enough: bool,
}

impl Portion {
    fn of(pool: Pool, least: &[Scalars]) -> Self {
        let quantities = pool.quantities();
        let enough = is_enough(&quantities, least);
        Self { pool, quantities, enough }
    }
}

/// The free part of an agent, cut for each role. Most roles have no reservation on most agents: their cut is the same.
struct Free<'a> {
    left: Pool,
    reserved: Vec<String>,
    common: Portion,
    /// What was refused last of the agent, and whether that has all of the common cut.
    refused: Option<(&'a Arc<Pool>, bool)>,
    least: &'a [Scalars],
}

impl<'a> Free<'a> {
    fn of(left: Pool, refused: Option<&'a Arc<Pool>>, least: &'a [Scalars]) -> Self {
        let reserved: Vec<_> = left.reserved_roles().into_iter().collect();
        let common = if reserved.is_empty() { left.clone() } else { left.usable_by(UNRESERVED) };
        let common = Portion::of(common, least);
        let refused = refused.map(|refused| (refused, refused.contains(&common.pool)));
        Self { left, reserved, common, refused, least }
    }

    /// The cut for a role, and what is known of filters on it.
    fn cut(&self, role: &str) -> (Cow<'_, Portion>, Option<(&'a Arc<Pool>, bool)>) {
        if self.reserved.iter().any(|reserved| may_use(role, reserved)) {
            (Cow::Owned(Portion::of(self.left.usable_by(role), self.least)), None)
        } else {
            (Cow::Borrowed(&self.common), self.refused)
        }
    }

    fn take(&mut self, taken: &Pool) {
        let mut left = std::mem::take(&mut self.left);
        left.subtract(taken);
        *self = Self::of(left, self.refused.map(|(refused, _)| refused), self.least);
    }
}

impl Allocator {
    /// Shares out what these agents have free.
    pub fn allocate<'a>(&mut self, agents: impl IntoIterator<Item = &'a str>, now_ms: u64) -> Vec<Grant> {
        if !self.tree.is_live() {
            return Vec::new();
        }
        let mut order: Vec<_> = agents.into_iter().map(|agent| (self.next_random(), agent)).collect();
        order.sort_unstable();
        let mut grants = Vec::new();
        for (_, agent) in order {
            let Some(mut chosen) = self.choose(agent, now_ms) else { continue };
            for (pair, resources) in chosen.drain(..) {
                self.book_agent(agent, |used| used.add(&resources));
                let quantities = resources.quantities();
                self.book_pair(pair, |account| account.hold(&quantities));
                let Pair { framework, node, .. } = self.pairs[pair];
                grants.push(Grant {
                    framework: self.frameworks[framework].id.clone(),
                    role: self.tree.path(node).to_owned(),
                    agent: agent.to_owned(),
                    resources,
                });
            }
        }
        grants
    }

    /// Which pairs of framework and role get what of an agent.
    fn choose(&mut self, agent: &str, now_ms: u64) -> Option<Vec<(usize, Pool)>> {
        let entry = self.agents.get(agent).filter(|entry| entry.active)?;
        let mut left = entry.total.clone();
        left.subtract(&entry.used);
        if left.is_empty() {
            return None;
        }
        let mut free = Free::of(left, entry.refused.as_ref(), &self.rules.min_allocatable);
        let scale = super::scale(&*self.policy, &self.total);
        let mut chosen = Vec::new();
        let mut walk = self.tree.walk();
        while let Some(role) = walk.next(&mut self.tree, scale) {
            let path = self.tree.path(role);
            if entry.hides_from(path) {
                continue;
            }
            let (portion, known) = free.cut(path);
            if portion.pool.is_empty() {
                continue;
            }
            // What frameworks that know no refined reservations can be offered, if that is less.
            let plain = matches!(portion, Cow::Owned(_)).then(|| portion.pool.unrefined());
            let plain = plain.filter(|plain| *plain != portion.pool);
            let refines = |pair: &Pair| self.frameworks[pair.framework].abilities.refinement;
            let taker = self.tree.clients(role, scale).find(|pair| {
                let pair = &self.pairs[*pair];
                self.frameworks[pair.framework].can_use(entry)
                    && (refines(pair) || plain.as_ref().is_none_or(|plain| !plain.is_empty()))
                    && pair
                        .least
                        .as_ref()
                        .map_or(portion.enough, |least| is_enough(&portion.quantities, least))
                    && !pair.filters.refuse(entry.number, &portion.pool, known, now_ms)
            });
            if let Some(pair) = taker {
                let taken = match plain {
                    Some(plain) if !refines(&self.pairs[pair]) => plain,
                    _ => portion.into_owned().pool,
                };
                free.take(&taken);
                chosen.push((pair, taken));
                if free.left.is_empty() {
                    break;
                }
            }
        }
        Some(chosen)
    }
}

impl AgentEntry {
    /// An agent that does not know hierarchical roles is not offered to them.
    fn hides_from(&self, role: &str) -> bool {
        !self.abilities.hierarchical_role && role.contains('/')
    }
}

fn is_enough(quantities: &Scalars, least: &[Scalars]) -> bool {
    least.is_empty() || least.iter().any(|least| quantities.contains(least))
}
