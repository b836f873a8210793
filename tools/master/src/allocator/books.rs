//! Who holds what: in the agent's entry, and in the tree for the role and all above it. What was held is taken back
//! exactly, whoever has gone in the meantime.

use super::filters::Filters;
use super::group::Account;
use super::{Allocator, Framework, Pair, scale};
use mesos_proto::pool::Pool;

impl Allocator {
    /// Marks resources as held, as an agent reports them or an offer has them.
    pub fn hold(&mut self, framework: &str, role: &str, agent: &str, resources: &Pool) {
        if resources.is_empty() {
            return;
        }
        self.book_agent(agent, |used| used.add(resources));
        let framework = self.framework(framework);
        let pair = self.pair(framework, role);
        let quantities = resources.quantities();
        self.book_pair(pair, |account| account.hold(&quantities));
    }

    /// Takes resources back.
    pub fn recover(&mut self, framework: &str, role: &str, agent: &str, resources: &Pool) {
        self.book_agent(agent, |used| used.subtract(resources));
        let Some(framework) = self.by_id.get(framework) else { return };
        let Some(pair) = self.frameworks[*framework].pairs.get(role).copied() else { return };
        let quantities = resources.quantities();
        self.book_pair(pair, |account| account.recover(&quantities));
        self.settle(pair);
    }

    pub(super) fn book_agent(&mut self, agent: &str, change: impl FnOnce(&mut Pool)) {
        if let Some(entry) = self.agents.get_mut(agent) {
            change(&mut entry.used);
            entry.unwanted = None;
        }
    }

    pub(super) fn book_pair(&mut self, pair: usize, change: impl Fn(&mut Account)) {
        let Pair { node, slot, .. } = self.pairs[pair];
        self.tree.book(node, slot, scale(&*self.policy, &self.total), change);
    }

    /// A framework's number; it gets one if it has none.
    pub(super) fn framework(&mut self, id: &str) -> usize {
        if let Some(number) = self.by_id.get(id) {
            return *number;
        }
        let number = self.frameworks.insert(Framework { id: id.to_owned(), ..Framework::default() });
        self.by_id.insert(id.to_owned(), number);
        number
    }

    /// A framework's number in a role; it gets one if it has none.
    pub(super) fn pair(&mut self, framework: usize, role: &str) -> usize {
        let entry = &mut self.frameworks[framework];
        if let Some(pair) = entry.pairs.get(role) {
            return *pair;
        }
        let number = self.pairs.vacant_key();
        let (node, slot) = self.tree.add_client(role, &entry.id, number);
        entry.pairs.insert(role.to_owned(), number);
        self.pairs.insert(Pair {
            framework,
            node,
            slot,
            subscribed: false,
            suppressed: false,
            least: None,
            wanted: None,
            filters: Filters::default(),
        })
    }

    /// The pairs of a framework's roles, of all if none is named.
    pub(super) fn pairs_of(&self, id: &str, roles: &[String]) -> Vec<usize> {
        let framework = self.by_id.get(id).map(|number| &self.frameworks[*number]);
        let pairs = framework.into_iter().flat_map(|framework| &framework.pairs);
        pairs.filter(|(role, _)| roles.is_empty() || roles.contains(role)).map(|(_, pair)| *pair).collect()
    }

    /// Brings the tree in line with what a pair is, and forgets one that is nothing any more.
    pub(super) fn settle(&mut self, number: usize) {
        let scale = scale(&*self.policy, &self.total);
        let Pair { framework, node, slot, subscribed, suppressed, .. } = self.pairs[number];
        if subscribed || !self.tree.held(node, slot).is_empty() {
            let active = self.frameworks[framework].active && subscribed && !suppressed;
            let news = self.tree.set_active(node, slot, active, scale);
            self.wishes += u64::from(news && active);
            return;
        }
        self.frameworks[framework].pairs.retain(|_, pair| *pair != number);
        self.tree.remove_client(node, slot, scale);
        self.pairs.remove(number);
        self.forget(framework);
    }

    /// Forgets a framework that is not known and holds nothing.
    pub(super) fn forget(&mut self, number: usize) {
        let over = |framework: &Framework| !framework.known && framework.pairs.is_empty();
        if self.frameworks.get(number).is_some_and(over) {
            let gone = self.frameworks.remove(number);
            self.by_id.remove(&gone.id);
        }
    }
}
