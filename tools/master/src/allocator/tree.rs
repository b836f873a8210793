//! Roles as a tree: "eng/dev" is below "eng" (docs/roles.md of Mesos; src/master/allocator/mesos/sorter/drf/sorter.cpp).
//!
//! At each node the roles below it compete with the node's own frameworks, which are a sibling named `.` of weight 1. A
//! node is there as long as a framework has its role or one below it, or holds something for it. Roles where nobody
//! wants anything keep their account but are not in the order. The tree knows no agents and no filters.

use super::group::{Account, Group, Scale};
use crate::limits::MAX_ROLE_DEPTH;
use mesos_proto::resources::Scalars;
use slab::Slab;
use std::collections::{BTreeMap, HashMap};

/// A role's number while it is in the tree.
pub(super) type NodeId = usize;

const OWN: &str = ".";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Own,
    Below(NodeId),
}

#[derive(Clone, Debug, Default)]
struct Node {
    path: String,
    /// None for the root only.
    parent: Option<Place>,
    below: Group<Seat>,
    /// The slot of [`Seat::Own`] in `below`, if the role has frameworks.
    own: Option<usize>,
    /// The role's frameworks, by the number that the allocator gave each.
    clients: Group<usize>,
    priority: i64,
    /// Active clients, of the nodes below too.
    live: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    node: NodeId,
    slot: usize,
}

/// The roles.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Slab<Node>,
    paths: HashMap<String, NodeId>,
    root: NodeId,
    weights: BTreeMap<String, f64>,
    priorities: BTreeMap<String, i64>,
}

impl Tree {
    pub fn new(weights: BTreeMap<String, f64>, priorities: BTreeMap<String, i64>) -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::default());
        Self { nodes, paths: HashMap::new(), root, weights, priorities }
    }

    pub fn weights(&self) -> &BTreeMap<String, f64> {
        &self.weights
    }

    pub fn priorities(&self) -> &BTreeMap<String, i64> {
        &self.priorities
    }

    pub fn path(&self, node: NodeId) -> &str {
        &self.nodes[node].path
    }

    /// True if anybody wants anything.
    pub fn is_live(&self) -> bool {
        self.nodes[self.root].live > 0
    }

    pub fn set_weight(&mut self, role: &str, weight: f64, scale: Scale<'_>) {
        self.weights.insert(role.to_owned(), weight);
        if let Some(Place { node, slot }) = self.paths.get(role).and_then(|node| self.nodes[*node].parent) {
            self.nodes[node].below.change(slot, scale, |member| member.weight = weight);
        }
    }

    pub fn set_priority(&mut self, role: &str, priority: i64, scale: Scale<'_>) {
        self.priorities.insert(role.to_owned(), priority);
        let mut changed: Vec<NodeId> = self.paths.get(role).copied().into_iter().collect();
        while let Some(id) = changed.pop() {
            let Some(place) = self.nodes[id].parent else { continue };
            let inherited = self.nodes[place.node].priority;
            let priority = self.priorities.get(&self.nodes[id].path).copied().unwrap_or(inherited);
            self.nodes[place.node].below.change(place.slot, scale, |member| member.priority = priority);
            let node = &mut self.nodes[id];
            node.priority = priority;
            if let Some(own) = node.own {
                node.below.change(own, scale, |member| member.priority = priority);
            }
            changed.extend(node.below.iter().filter_map(|member| match member.what {
                Seat::Below(child) => Some(child),
                Seat::Own => None,
            }));
        }
    }

    /// Adds an inactive framework to a role; returns the role and the framework's slot in it.
    pub fn add_client(&mut self, role: &str, framework: &str, client: usize) -> (NodeId, usize) {
        let id = self.enter(role);
        let node = &mut self.nodes[id];
        if node.own.is_none() {
            node.own = Some(node.below.add(OWN.into(), Seat::Own, 1.0, node.priority));
        }
        (id, node.clients.add(framework.to_owned(), client, 1.0, 0))
    }

    /// Removes a framework that holds nothing from a role, and what of the tree was there for it alone.
    pub fn remove_client(&mut self, id: NodeId, slot: usize, scale: Scale<'_>) {
        self.set_active(id, slot, false, scale);
        let node = &mut self.nodes[id];
        node.clients.remove(slot, scale);
        if node.clients.is_empty()
            && let Some(own) = node.own.take()
        {
            node.below.remove(own, scale);
        }
        let mut id = id;
        while let Some(place) = self.nodes[id].parent.filter(|_| self.nodes[id].below.is_empty()) {
            let gone = self.nodes.remove(id);
            self.paths.remove(&gone.path);
            self.nodes[place.node].below.remove(place.slot, scale);
            id = place.node;
        }
    }

    /// Says whether a framework wants resources in a role; true if that is news.
    pub fn set_active(&mut self, id: NodeId, slot: usize, active: bool, scale: Scale<'_>) -> bool {
        let node = &mut self.nodes[id];
        if !node.clients.set_active(slot, active, scale) {
            return false;
        }
        if let Some(own) = node.own {
            node.below.set_active(own, node.clients.any_active(), scale);
        }
        let mut id = Some(id);
        while let Some(node) = id {
            let node = &mut self.nodes[node];
            node.live = if active { node.live + 1 } else { node.live - 1 };
            let live = node.live > 0;
            id = node.parent.map(|Place { node, slot }| {
                self.nodes[node].below.set_active(slot, live, scale);
                node
            });
        }
        true
    }

    /// Books what a framework gets or gives back in a role, there and in all roles above.
    pub fn book(&mut self, id: NodeId, slot: usize, scale: Scale<'_>, change: impl Fn(&mut Account)) {
        let node = &mut self.nodes[id];
        node.clients.change(slot, scale, |member| change(&mut member.account));
        if let Some(own) = node.own {
            node.below.change(own, scale, |member| change(&mut member.account));
        }
        let mut place = node.parent;
        while let Some(Place { node, slot }) = place {
            self.nodes[node].below.change(slot, scale, |member| change(&mut member.account));
            place = self.nodes[node].parent;
        }
    }

    /// What a framework holds in a role.
    pub fn held(&self, id: NodeId, slot: usize) -> &Scalars {
        &self.nodes[id].clients.get(slot).account.allocated
    }

    /// What a role and those below it hold.
    pub fn held_below(&self, role: &str) -> Option<&Scalars> {
        let place = self.nodes[*self.paths.get(role)?].parent?;
        Some(&self.nodes[place.node].below.get(place.slot).account.allocated)
    }

    /// The role's path and its active frameworks, who is served first in front.
    pub fn role(&mut self, id: NodeId, scale: Scale<'_>) -> (&str, impl Iterator<Item = usize>) {
        self.nodes[id].clients.in_order(scale);
        let node = &self.nodes[id];
        (&node.path, node.clients.sorted().map(|member| member.what))
    }

    /// Starts on a way through all roles where somebody wants something, who is served first in front.
    pub fn walk(&self) -> Walk {
        Walk { stack: vec![(self.root, 0)] }
    }

    fn enter(&mut self, role: &str) -> NodeId {
        if let Some(node) = self.paths.get(role) {
            return *node;
        }
        let mut id = self.root;
        let mut start = 0;
        // What is deeper is one name: a tree that costs no more than its limit.
        for part in role.splitn(MAX_ROLE_DEPTH, '/') {
            let path = &role[..start + part.len()];
            start += part.len() + 1;
            id = match self.paths.get(path) {
                Some(node) => *node,
                None => self.add_node(id, path, part),
            };
        }
        id
    }

    fn add_node(&mut self, parent: NodeId, path: &str, name: &str) -> NodeId {
        let weight = self.weights.get(path).copied().unwrap_or(1.0);
        let inherited = self.nodes[parent].priority;
        let priority = self.priorities.get(path).copied().unwrap_or(inherited);
        let id = self.nodes.vacant_key();
        let slot = self.nodes[parent].below.add(name.to_owned(), Seat::Below(id), weight, priority);
        let place = Some(Place { node: parent, slot });
        self.nodes.insert(Node { path: path.to_owned(), parent: place, priority, ..Node::default() });
        self.paths.insert(path.to_owned(), id);
        id
    }
}

/// A way through the tree, in depth first and in order at each level. The tree must not change on the way.
pub(super) struct Walk {
    stack: Vec<(NodeId, usize)>,
}

impl Walk {
    /// The next role with frameworks that want something.
    pub fn next(&mut self, tree: &mut Tree, scale: Scale<'_>) -> Option<NodeId> {
        loop {
            let (id, at) = self.stack.last_mut()?;
            let below = &mut tree.nodes[*id].below;
            let Some(slot) = below.in_order(scale).get(*at).copied() else {
                self.stack.pop();
                continue;
            };
            *at += 1;
            match below.get(slot).what {
                Seat::Own => return Some(*id),
                Seat::Below(child) => self.stack.push((child, 0)),
            }
        }
    }
}
