//! One pass over an agent: who gets what of its free part (`__generateOffers` in
//! src/master/allocator/mesos/hierarchical.cpp, without quota).
//!
//! The first in the policy's order who can take it gets all that its role may use. What is reserved for other roles
//! goes to the next in the same order. The order is that of the pass's beginning: nothing is booked before its end.

use super::{AgentEntry, Allocator, Grant, Pair, Unwanted};
use mesos_proto::pool::{Pool, UNRESERVED, may_use};
use mesos_proto::resources::Scalars;
use std::sync::Arc;

/// What somebody may use of an agent.
#[derive(Default)]
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

/// What a role may use, for frameworks that can tell reservations within reservations and for those that cannot.
struct Cut {
    all: Portion,
    plain: Portion,
}

/// The free part of an agent, cut for each role. Most agents have no reservations, and of the others most roles can use
/// none: what they can use is the same for all.
struct Free<'a> {
    reserved: Pool,
    reserved_for: Vec<String>,
    common: Portion,
    /// What was refused last of the agent, and whether that has all of the common part.
    refused: Option<(&'a Arc<Pool>, bool)>,
    least: &'a [Scalars],
}

impl<'a> Free<'a> {
    fn of(left: Pool, refused: Option<&'a Arc<Pool>>, least: &'a [Scalars]) -> Self {
        let reserved_for: Vec<_> = left.reserved_roles().into_iter().collect();
        let (common, reserved) = if reserved_for.is_empty() {
            (left, Pool::default())
        } else {
            let common = left.usable_by(UNRESERVED);
            let mut reserved = left;
            reserved.subtract(&common);
            (common, reserved)
        };
        let common = Portion::of(common, least);
        let refused = refused.map(|refused| (refused, refused.contains(&common.pool)));
        Self { reserved, reserved_for, common, refused, least }
    }

    fn is_empty(&self) -> bool {
        self.common.pool.is_empty() && self.reserved.is_empty()
    }

    /// The cut for a role, or none if the common part is all that it may use.
    fn cut(&self, role: &str) -> Option<Cut> {
        if !self.reserved_for.iter().any(|reserved| may_use(role, reserved)) {
            return None;
        }
        let mut all = self.reserved.usable_by(role);
        all.add(&self.common.pool);
        let plain = all.unrefined();
        Some(Cut { all: Portion::of(all, self.least), plain: Portion::of(plain, self.least) })
    }

    /// Takes the common part away and this of the reserved one.
    fn take(&mut self, taken: &Pool) {
        self.common = Portion::default();
        self.refused = None;
        self.reserved.subtract(taken);
        self.reserved_for.clear();
        self.reserved_for.extend(self.reserved.reserved_roles());
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
            let Some(chosen) = self.choose(agent, now_ms) else { continue };
            for (pair, resources) in chosen {
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
        let entry = self.agents.get_mut(agent).filter(|entry| entry.active && entry.used != entry.total)?;
        let idle = |seen: &Unwanted| seen.wishes == self.wishes && now_ms < seen.until_ms;
        if entry.unwanted.as_ref().is_some_and(idle) {
            return None;
        }
        let mut left = entry.total.clone();
        left.subtract(&entry.used);
        let mut free = Free::of(left, entry.refused.as_ref(), &self.rules.min_allocatable);
        let scale = super::scale(&*self.policy, &self.total);
        let mut chosen = Vec::new();
        let mut until_ms = u64::MAX;
        let mut walk = self.tree.walk();
        while !free.is_empty()
            && let Some(role) = walk.next(&mut self.tree, scale)
        {
            let (path, pairs) = self.tree.role(role, scale);
            if entry.hides_from(path) {
                continue;
            }
            let mut cut = free.cut(path);
            if cut.is_none() && free.common.pool.is_empty() {
                continue;
            }
            for number in pairs {
                let pair = &self.pairs[number];
                let framework = &self.frameworks[pair.framework];
                let portion = match &cut {
                    Some(cut) if framework.abilities.refinement => &cut.all,
                    Some(cut) => &cut.plain,
                    None => &free.common,
                };
                let known = free.refused.filter(|_| cut.is_none());
                if portion.pool.is_empty()
                    || !framework.can_use(entry)
                    || !pair.least.as_ref().map_or(portion.enough, |own| is_enough(&portion.quantities, own))
                    || pair.wanted.as_ref().is_some_and(|wanted| !wanted.allow(&entry.facts))
                {
                    continue;
                }
                if let Some(until) = pair.filters.refuse(entry.number, &portion.pool, known, now_ms) {
                    until_ms = until_ms.min(until);
                    continue;
                }
                let taken = portion.pool.clone();
                free.take(&taken);
                chosen.push((number, taken));
                // Something may be left for others of the role if this one cannot tell all reservations.
                cut = free.cut(path);
                if cut.is_none() {
                    break;
                }
            }
        }
        entry.unwanted = chosen.is_empty().then_some(Unwanted { wishes: self.wishes, until_ms });
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
