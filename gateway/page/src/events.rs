//! What happened, for people: the newest [`KEPT`], numbered, as `/view/events` shows them. What comes in floods, forged
//! frames or ten thousand agents that register again, is one event a minute with a count.

use crate::document::{Answer, Document, Piece, Seq};
use crate::query::Asked;
use crate::reply::Refusal;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// Events in memory.
pub const KEPT: usize = 1_000;
/// Events in one answer unless the asker says otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Characters of an event's text, and of an id in what it is about.
const TEXT_MAX: usize = 256;
/// How long occurrences of the same kind are counted before they are told of again, milliseconds.
const GROUP_MS: u64 = 60_000;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As things go.
    Info,
    /// Worth a look.
    Warning,
    /// Something is lost.
    Error,
}

/// One event, about an `A`, whose fields it is shown with.
#[derive(Clone, Debug, Serialize)]
pub struct Event<A> {
    /// Its number.
    pub seq: u64,
    /// Unix time, milliseconds.
    pub at_ms: u64,
    /// What sort of thing it is about.
    pub kind: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    #[serde(flatten)]
    pub about: A,
    /// For people.
    pub text: Box<str>,
}

/// Occurrences that are counted.
#[derive(Debug)]
struct Group {
    about: (&'static str, Severity),
    /// When they were told of last.
    told_ms: Option<u64>,
    untold: u64,
}

/// The newest events.
#[derive(Debug)]
pub struct Events<A> {
    ring: VecDeque<Event<A>>,
    next: u64,
    groups: BTreeMap<&'static str, Group>,
}

/// As much of a text from outside as an event keeps.
pub fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    }
}

impl<A: Clone + Default + Serialize> Events<A> {
    /// None yet. Numbers begin at this moment in Unix time, milliseconds: they go on growing over restarts as long as
    /// there is not an event a millisecond, and who comes back with an old number misses nothing.
    pub fn new(epoch_ms: u64) -> Self {
        Self { ring: VecDeque::new(), next: epoch_ms, groups: BTreeMap::new() }
    }

    /// Adds one. `about` is bounded by whoever makes it: see [`cut`].
    pub fn add(&mut self, (kind, severity): (&'static str, Severity), about: A, text: &str, at_ms: u64) {
        if self.ring.len() >= KEPT {
            self.ring.pop_front();
        }
        self.ring.push_back(Event { seq: self.next, at_ms, kind, severity, about, text: cut(text) });
        self.next += 1;
    }

    /// Counts occurrences of something that may come in floods. The first is told of at once, what comes after it once a
    /// minute, as long as [`Events::settle`] is called. `what` reads before a number.
    pub fn count(&mut self, about: (&'static str, Severity), what: &'static str, times: u64, now_ms: u64) {
        if times == 0 {
            return;
        }
        let group = self.groups.entry(what).or_insert(Group { about, told_ms: None, untold: 0 });
        group.untold += times;
        self.tell(what, now_ms);
    }

    /// Tells of what was counted a minute ago.
    pub fn settle(&mut self, now_ms: u64) {
        let names: Vec<&'static str> = self.groups.keys().copied().collect();
        names.into_iter().for_each(|what| self.tell(what, now_ms));
    }

    fn tell(&mut self, what: &'static str, now_ms: u64) {
        let Some(group) = self.groups.get_mut(what).filter(|group| group.untold > 0) else { return };
        if group.told_ms.is_some_and(|at| now_ms < at + GROUP_MS) {
            return;
        }
        group.told_ms = Some(now_ms);
        let (about, times) = (group.about, std::mem::take(&mut group.untold));
        self.add(about, A::default(), &format!("{what}: {times}"), now_ms);
    }

    /// The newest events that are asked for and wanted, the oldest first.
    pub fn list(&self, query: &EventsQuery, wanted: impl Fn(&Event<A>) -> bool) -> Listed<A> {
        let first = self.next - self.ring.len() as u64;
        let known = usize::try_from(query.since.saturating_sub(first)).unwrap_or(usize::MAX);
        let newer = self.ring.range(known.min(self.ring.len())..).rev();
        let chosen = newer.filter(|event| query.kind.is_none_or(|kind| event.kind == kind) && wanted(event));
        let mut events: Vec<Event<A>> = chosen.take(query.limit).cloned().collect();
        events.reverse();
        Listed { next: self.next, events }
    }
}

/// A question about events.
#[derive(Clone, Debug)]
pub struct EventsQuery {
    since: u64,
    limit: usize,
    kind: Option<&'static str>,
}

impl EventsQuery {
    /// Reads `since`, `limit` and `kind`, which is one of these.
    pub fn of(asked: &Asked, kinds: &[&'static str]) -> Result<Self, Refusal> {
        let since = asked.query.number("since")?.unwrap_or(0);
        let back = asked.had.map(|had| had.saturating_add(1));
        Ok(Self {
            since: asked.after.map(|after| after.0).or(back).unwrap_or(since),
            limit: asked.query.paging(LIMIT_DEFAULT, KEPT)?.limit,
            kind: asked.query.choice("kind", kinds)?,
        })
    }
}

/// Events, and what to ask for next.
#[derive(Debug, Serialize)]
pub struct Listed<A> {
    next: u64,
    events: Vec<Event<A>>,
}

impl<A: Serialize> Listed<A> {
    /// As it is sent.
    pub fn answer(self) -> Answer {
        let piece = |event: &Event<A>| Piece {
            id: event.seq,
            data: serde_json::to_string(event).unwrap_or_default(),
        };
        let pieces = self.events.iter().map(piece).collect();
        Answer::Sequence { whole: Document::of(&self), name: "event", pieces, after: Seq(self.next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, Serialize)]
    struct About {
        node: Option<u8>,
    }

    const NEWS: (&str, Severity) = ("node", Severity::Info);
    const ALL: EventsQuery = EventsQuery { since: 0, limit: 10_000, kind: None };

    #[test]
    fn the_newest_are_kept_and_found_by_number() {
        let mut events = Events::new(0);
        for number in 0..KEPT + 5 {
            events.add(NEWS, About { node: Some((number % 2) as u8) }, &number.to_string(), 1);
        }
        let numbers = |since, limit| {
            let listed = events.list(&EventsQuery { since, limit, kind: None }, |_| true);
            assert_eq!(listed.next, 1_005);
            listed.events.iter().map(|event| event.seq).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0, 10_000).len(), KEPT);
        assert_eq!(numbers(0, 2), [1_003, 1_004]);
        assert_eq!(numbers(1_003, 10), [1_003, 1_004]);
        assert!(numbers(1_005, 10).is_empty() && numbers(u64::MAX, 10).is_empty());
        assert_eq!(events.list(&ALL, |event| event.about.node == Some(1)).events.len(), KEPT / 2);
        assert!(events.list(&EventsQuery { kind: Some("task"), ..ALL }, |_| true).events.is_empty());
        let shown =
            serde_json::to_value(&events.list(&EventsQuery { limit: 1, ..ALL }, |_| true).events[0]).unwrap();
        let expected = r#"{"seq":1004,"at_ms":1,"kind":"node","severity":"info","node":0,"text":"1004"}"#;
        assert_eq!(shown, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    }

    #[test]
    fn a_flood_is_one_event_a_minute_with_a_count() {
        let mut events = Events::<About>::new(0);
        let about = ("security", Severity::Warning);
        for second in 0..121 {
            let now_ms = 1_000 * (second + 1);
            events.count(about, "messages forged", 1_000, now_ms);
            events.count(about, "others", u64::from(second == 5 || second == 6), now_ms);
            events.settle(now_ms);
        }
        let listed = events.list(&ALL, |_| true);
        let texts: Vec<&str> = listed.events.iter().map(|event| &*event.text).collect();
        let expected = [
            "messages forged: 1000",
            "others: 1",
            "messages forged: 60000",
            "others: 1",
            "messages forged: 60000",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut events = Events::new(0);
        events.add(NEWS, About::default(), &"\u{e4}".repeat(9_999), 1);
        assert!(events.list(&ALL, |_| true).events[0].text.chars().count() < 300);
        assert_eq!(&*cut("short"), "short");
    }
}
