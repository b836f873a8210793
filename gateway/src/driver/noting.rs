//! Notes what happens for people: events, and the courses of nodes and tasks. Changes nothing else.

use super::*;
use crate::agent::Notice;
use crate::bridge::NodeId;
use crate::view::events::{About, IMAGE, MASTER, NODE, SECURITY, TASK};
use crate::view::unix_s;
use mesos_proto::mesos::TaskState;
use page::events::Severity;

impl Driver {
    fn unix_ms(&self) -> u64 {
        self.epoch_ms + self.now_ms()
    }

    /// A heartbeat told something.
    pub(super) fn note_news(&mut self, node: NodeId, news: News) {
        if news == News::Nothing {
            return;
        }
        let now_s = unix_s(self.unix_ms());
        let Some(agent) = self.agents.glance(node) else { return };
        match news {
            News::Nothing => {}
            News::Vitals(vitals) => {
                let memory = agent.tasks().filter(|task| !task.has_ended()).filter_map(|task| task.usage());
                let memory = memory.fold(0u32, |sum, usage| sum.saturating_add(usage.mem_bytes));
                let (_, quality) = self.sessions.rank(node);
                self.seen.history.vitals(node, &vitals, (agent.power(), quality, memory), now_s);
            }
            News::Usage(usage) => {
                if let Some(task) = agent.tasks().find(|task| task.handle == usage.task) {
                    let used = task.cpu_used_permille();
                    self.seen.history.usage(node, usage.task, used, usage.mem_bytes, now_s);
                }
            }
        }
    }

    /// What the agents have to tell.
    pub(super) fn note_all(&mut self) {
        while let Some(notice) = self.agents.poll_notice() {
            let now = self.unix_ms();
            let events = &mut self.seen.events;
            let mut of_node =
                |severity, node, text: &str| events.add((NODE, severity), About::node(node), text, now);
            match notice {
                Notice::New(node) => of_node(Severity::Info, node, "a new node registered"),
                Notice::Back(node) => of_node(Severity::Info, node, "the node is heard again"),
                Notice::Lapsed(node) => {
                    of_node(Severity::Warning, node, "the node was not heard for its whole lease");
                }
                Notice::Forgot(node) => of_node(Severity::Error, node, "the node has lost its storage"),
                Notice::Registered { node, slave_id, new: true } => {
                    of_node(Severity::Info, node, &format!("the master took it in as agent {slave_id}"));
                }
                Notice::Registered { new: false, .. } => {
                    let about = (MASTER, Severity::Info);
                    events.count(about, "agents that registered again with the master", 1, now);
                }
                Notice::ImageRefused { node, why } => {
                    events.add((SECURITY, Severity::Warning), About::node(node), &why, now);
                }
                Notice::Task { node, framework_id, task_id, state, message } => {
                    let severity = match state {
                        TaskState::TaskFailed | TaskState::TaskError => Severity::Error,
                        TaskState::TaskLost | TaskState::TaskDropped | TaskState::TaskGone => {
                            Severity::Warning
                        }
                        _ => Severity::Info,
                    };
                    let text = match message.is_empty() {
                        true => state.as_str_name().to_owned(),
                        false => format!("{}: {message}", state.as_str_name()),
                    };
                    let about = About::task(node, &framework_id, &task_id);
                    events.add((TASK, severity), about, &text, now);
                }
            }
        }
    }

    /// What was refused since it was last looked, and what waits to be told of.
    pub(super) fn note_refusals(&mut self) {
        let now = self.unix_ms();
        let (_, _, refused) = self.sessions.counters();
        let before = std::mem::replace(&mut self.seen.refused, refused);
        for (what, now_refused, before) in [
            ("messages without protection, dropped", refused.unprotected, before.unprotected),
            ("messages of unknown keys, dropped", refused.unknown, before.unknown),
            ("messages of revoked keys, dropped", refused.revoked, before.revoked),
            ("messages that had been taken before, dropped", refused.replayed, before.replayed),
            ("messages that did not verify, dropped", refused.forged, before.forged),
        ] {
            let times = now_refused.saturating_sub(before);
            self.seen.events.count((SECURITY, Severity::Warning), what, times, now);
        }
        self.seen.events.settle(now);
    }

    pub(super) fn note_master(&mut self, leader: detect::Leader) {
        let now = self.unix_ms();
        let (severity, text) = match (self.master, leader) {
            (was, is) if was == is => return,
            (_, Some(leader)) => (Severity::Info, format!("the leading master is {leader}")),
            (_, None) => (Severity::Warning, "no master leads".to_owned()),
        };
        self.seen.events.add((MASTER, severity), About::default(), &text, now);
    }

    pub(super) fn note_image(&mut self, uri: &str, fetched: &Result<Fetched, String>) {
        let now = self.unix_ms();
        let (severity, text) = match fetched {
            Ok(image) => {
                let (bytes, digest) = (image.bytes.len(), images::hex(&image.digest));
                (Severity::Info, format!("fetched {uri}: {bytes} bytes, sha256={digest}"))
            }
            Err(why) => (Severity::Error, why.clone()),
        };
        self.seen.events.add((IMAGE, severity), About::default(), &text, now);
    }
}
