//! What the gateway's driver does between its two cores in one step.

use crate::gateway::{Cores, Effects, FETCHES_MAX, FRESH_MS, Fetched};
use crate::images::Cache;
use gateway::agent;
use gateway::bridge::ToNode;
use gateway::session;
use gateway::store::Write;
use node_proto::ImageHandle;

impl Cores {
    /// All waiting inputs of one kind, as `select!` picks it.
    pub fn input(
        &mut self,
        choice: u64,
        now: u64,
        cache: &mut Cache,
        writes: &mut Vec<Write>,
        effects: &mut Effects,
    ) {
        for kind in 0..4 {
            match (choice + kind) % 4 {
                0 if !self.inbox.messages.is_empty() => {
                    for message in std::mem::take(&mut self.inbox.messages) {
                        let refused = self.agents.counters().not_master;
                        self.agents.from_master(&message, now);
                        if self.agents.counters().not_master == refused {
                            effects.heard.push(message);
                        }
                    }
                    return;
                }
                1 if !self.inbox.datagrams.is_empty() => {
                    for (peer, bytes) in std::mem::take(&mut self.inbox.datagrams) {
                        self.sessions.handle_datagram(peer, &bytes, now);
                    }
                    return;
                }
                2 if !self.inbox.fetched.is_empty() => {
                    if let Some((uri, image)) = self.inbox.fetched.pop_front() {
                        let waiting = self.fetching.remove(&uri).flatten();
                        self.keep(&uri, image, now, cache, writes);
                        if let Some(handle) = waiting
                            && cache.load(handle).is_err()
                        {
                            self.sessions.no_image(handle);
                        }
                        self.start_fetches(effects);
                    }
                    return;
                }
                3 if !self.inbox.leaders.is_empty() => {
                    if let Some(leader) = self.inbox.leaders.pop_front() {
                        self.agents.master_detected(leader, now);
                    }
                    return;
                }
                _ => {}
            }
        }
    }

    pub fn settle(&mut self, now: u64, cache: &mut Cache, writes: &mut Vec<Write>, effects: &mut Effects) {
        loop {
            if let Some(output) = self.sessions.poll_output() {
                match output {
                    session::Output::Write(write) => writes.push(write),
                    session::Output::Event(node, event) => {
                        effects.said.push((node, event.clone()));
                        self.agents.from_node(node, event, now);
                    }
                    session::Output::Load(image) => self.load(image, cache, effects),
                    session::Output::Transmit(peer, bytes) => effects.datagrams.push((peer, bytes)),
                }
            } else if let Some(output) = self.agents.poll_output() {
                match output {
                    agent::Output::Write(write) => writes.push(write),
                    agent::Output::Send { from, to, name, body } => {
                        effects.messages.push((from, to, name, body));
                    }
                    agent::Output::ToNode(node, order) => {
                        let launch = match &order {
                            ToNode::Launch { task, .. } => Some(*task),
                            _ => None,
                        };
                        if !self.sessions.order(node, order, now)
                            && let Some(task) = launch
                        {
                            self.agents.undeliverable(node, task, now);
                        }
                    }
                    agent::Output::Fetch(uri) => {
                        self.recent.retain(|(at, ..)| at + FRESH_MS > now);
                        let recent = self.recent.iter().find(|(_, held, _)| *held == uri);
                        match recent.map(|(.., bytes)| bytes.clone()) {
                            Some(bytes) => self.keep(&uri, Ok(bytes), now, cache, writes),
                            None => {
                                self.queue.push_back(uri);
                                self.start_fetches(effects);
                            }
                        }
                    }
                }
            } else {
                return;
            }
        }
    }

    fn keep(&mut self, uri: &str, image: Fetched, now: u64, cache: &mut Cache, writes: &mut Vec<Write>) {
        let kept = image.map(|bytes| {
            let image = cache.keep(uri, &bytes, writes);
            if !self.recent.iter().any(|(_, held, _)| held == uri) {
                self.recent.push_back((now, uri.to_owned(), bytes.clone()));
            }
            self.sessions.add_image(image.handle, bytes);
            image
        });
        self.agents.image(uri, kept, now);
    }

    fn load(&mut self, handle: ImageHandle, cache: &Cache, effects: &mut Effects) {
        match cache.load(handle) {
            Ok(bytes) => self.sessions.add_image(handle, bytes),
            Err(Some(uri)) => {
                if self.fetching.insert(uri.clone(), Some(handle)).is_none() {
                    effects.fetches.push(uri);
                }
            }
            Err(None) => self.sessions.no_image(handle),
        }
    }

    fn start_fetches(&mut self, effects: &mut Effects) {
        while self.fetching.len() < FETCHES_MAX {
            let Some(uri) = self.queue.pop_front() else { return };
            if !self.fetching.contains_key(&uri) {
                self.fetching.insert(uri.clone(), None);
                effects.fetches.push(uri);
            }
        }
    }
}
