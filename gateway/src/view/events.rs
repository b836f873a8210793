//! What happened, for people: the newest [`KEPT`], numbered. What comes in floods, forged frames or ten thousand agents
//! that register again, is one event a minute with a count.

use crate::bridge::NodeId;
use page::{Answer, Asked, Document, Piece, Refusal, Seq};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};

/// Events in memory.
pub(crate) const KEPT: usize = 1_000;
/// Events in one answer unless the asker says otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Characters of an event's text and of an id in it.
const TEXT_MAX: usize = 256;
/// How long occurrences of the same kind are counted before they are told of again.
const GROUP_MS: u64 = 60_000;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Task,
    Master,
    Security,
    Image,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Task => "task",
            Self::Master => "master",
            Self::Security => "security",
            Self::Image => "image",
        }
    }
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub seq: u64,
    pub at_ms: u64,
    pub kind: Kind,
    pub severity: Severity,
    pub node: Option<NodeId>,
    /// Framework and task.
    pub task: Option<(Box<str>, Box<str>)>,
    pub text: Box<str>,
}

/// Occurrences that are counted.
#[derive(Debug, Default)]
struct Group {
    /// Since when.
    since_ms: u64,
    /// Not told of yet.
    untold: u64,
}

/// The newest events.
#[derive(Debug)]
pub(crate) struct Events {
    ring: VecDeque<Event>,
    next: u64,
    groups: BTreeMap<&'static str, Group>,
}

fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    }
}

impl Events {
    /// None yet. Numbers begin at this moment in Unix time: they go on growing over restarts, as long as there is not an
    /// event a millisecond, and who comes back with an old number misses nothing.
    pub fn new(epoch_ms: u64) -> Self {
        Self { ring: VecDeque::new(), next: epoch_ms, groups: BTreeMap::new() }
    }

    /// Adds one.
    pub fn add(
        &mut self,
        (kind, severity): (Kind, Severity),
        node: Option<NodeId>,
        task: Option<(&str, &str)>,
        text: &str,
        at_ms: u64,
    ) {
        if self.ring.len() >= KEPT {
            self.ring.pop_front();
        }
        let task = task.map(|(framework, task)| (cut(framework), cut(task)));
        self.ring.push_back(Event { seq: self.next, at_ms, kind, severity, node, task, text: cut(text) });
        self.next += 1;
    }

    /// Counts occurrences of something that may come in floods. The first is told of at once, the others once a minute.
    /// `what` reads before a number: "messages that did not verify".
    pub fn count(&mut self, about: (Kind, Severity), what: &'static str, times: u64, now_ms: u64) {
        let group = self.groups.entry(what).or_default();
        group.untold += times;
        let due = group.since_ms == 0 || now_ms >= group.since_ms + GROUP_MS;
        if group.untold == 0 || !due {
            return;
        }
        let told = std::mem::replace(group, Group { since_ms: now_ms, untold: 0 }).untold;
        self.add(about, None, None, &format!("{what}: {told}"), now_ms);
    }

    /// The number that the next one will have.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Those from this number on, the oldest first.
    pub fn since(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Event> {
        let first = self.next - self.ring.len() as u64;
        let known = usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX);
        self.ring.range(known.min(self.ring.len())..)
    }
}

/// A question about events.
pub(super) struct EventsQuery {
    since: u64,
    limit: usize,
    kind: Option<&'static str>,
    node: Option<NodeId>,
}

impl EventsQuery {
    pub fn of(asked: &Asked) -> Result<Self, Refusal> {
        let query = &asked.query;
        let since = query.number("since")?.unwrap_or(0);
        let node = query.text("node").map(|text| {
            NodeId::parse(text).ok_or_else(|| Refusal::bad("node: expected 16 hexadecimal digits"))
        });
        Ok(Self {
            since: asked
                .after
                .map(|after| after.0)
                .or(asked.had.map(|had| had.saturating_add(1)))
                .unwrap_or(since),
            limit: query.paging(LIMIT_DEFAULT, KEPT)?.limit,
            kind: query.choice("kind", &["node", "task", "master", "security", "image"])?,
            node: node.transpose()?,
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    seq: u64,
    at_ms: u64,
    kind: &'static str,
    severity: &'static str,
    node: Option<String>,
    task_id: Option<String>,
    framework_id: Option<String>,
    text: String,
}

/// The newest events that are asked for, the oldest first, and what to ask for next.
pub(super) fn events(events: &Events, query: &EventsQuery) -> (Vec<Shown>, u64) {
    let wanted = events.since(query.since).rev().filter(|event| {
        query.kind.is_none_or(|kind| event.kind.name() == kind)
            && query.node.is_none_or(|node| event.node == Some(node))
    });
    let mut shown: Vec<Shown> = wanted.take(query.limit).map(Shown::of).collect();
    shown.reverse();
    (shown, events.next())
}

impl Shown {
    fn of(event: &Event) -> Self {
        let (framework_id, task_id) =
            event.task.as_ref().map(|(f, t)| (f.to_string(), t.to_string())).unzip();
        Self {
            seq: event.seq,
            at_ms: event.at_ms,
            kind: event.kind.name(),
            severity: event.severity.name(),
            node: event.node.map(|node| node.to_string()),
            task_id,
            framework_id,
            text: event.text.to_string(),
        }
    }
}

/// As it is sent.
pub(super) fn answer((events, next): (Vec<Shown>, u64)) -> Answer {
    let piece = |event: &Shown| {
        let data = serde_json::to_string(event).unwrap_or_default();
        Piece { id: event.seq, data }
    };
    let pieces = events.iter().map(piece).collect();
    let whole = Document::of(&json!({ "next": next, "events": events }));
    Answer::Sequence { whole, name: "event", pieces, after: Seq(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: (Kind, Severity) = (Kind::Node, Severity::Info);

    #[test]
    fn the_newest_are_kept_and_found_by_number() {
        let mut events = Events::new(0);
        for number in 0..KEPT + 5 {
            events.add(NEWS, None, None, &number.to_string(), 1);
        }
        let numbers = |since, limit| {
            let (shown, next) = super::events(&events, &EventsQuery { since, limit, kind: None, node: None });
            assert_eq!(next, 1_005);
            shown.iter().map(|event| event.seq).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0, 10_000).len(), KEPT);
        assert_eq!(numbers(0, 2), [1_003, 1_004]);
        assert_eq!(numbers(1_003, 10), [1_003, 1_004]);
        assert!(numbers(1_005, 10).is_empty() && numbers(u64::MAX, 10).is_empty());
        let of_tasks = EventsQuery { since: 0, limit: 9, kind: Some("task"), node: None };
        assert!(super::events(&events, &of_tasks).0.is_empty());
    }

    #[test]
    fn a_flood_is_one_event_a_minute_with_a_count() {
        let mut events = Events::new(0);
        let about = (Kind::Security, Severity::Warning);
        for second in 0..121 {
            events.count(about, "messages forged", 1_000, 1_000 * (second + 1));
            events.count(about, "others", u64::from(second == 5), 1_000 * (second + 1));
        }
        let texts: Vec<&str> = events.since(0).map(|event| &*event.text).collect();
        assert_eq!(
            texts,
            ["messages forged: 1000", "others: 1", "messages forged: 60000", "messages forged: 60000"]
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut events = Events::new(0);
        events.add(NEWS, None, Some(("f", &"t".repeat(9_999))), &"\u{e4}".repeat(9_999), 1);
        let event = events.since(0).next().unwrap();
        assert!(event.text.chars().count() < 300 && event.task.as_ref().unwrap().1.len() < 300);
    }
}
