//! Documents as they are sent: JSON objects that say when they were true, and whether they have changed since.

use bytes::Bytes;
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// What comes before the JSON in an event.
const PREFIX: &str = "event: view\ndata: ";
/// What comes behind it.
const SUFFIX: &str = "\n\n";

/// Unix time, milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The number of a piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// A JSON object with the time in it. It is kept as the event that a stream sends, once for all that watch.
#[derive(Clone, Debug)]
pub struct Document {
    event: Bytes,
    /// Where what follows the time begins.
    rest: usize,
}

impl Document {
    /// What `value` says now; it has to be an object.
    pub fn of(value: &impl Serialize) -> Self {
        Self::at(now_ms(), value)
    }

    fn at(at_ms: u64, value: &impl Serialize) -> Self {
        let text = serde_json::to_string(value).unwrap_or_else(|error| {
            tracing::error!(%error, "a document has no JSON");
            r#"{"error":"this document cannot be shown"}"#.to_owned()
        });
        let fields = text.strip_prefix('{').unwrap_or("}");
        let comma = if fields == "}" { "" } else { "," };
        let mut event = format!("{PREFIX}{{\"at\":{at_ms}{comma}");
        let rest = event.len();
        event.push_str(fields);
        event.push_str(SUFFIX);
        Self { event: event.into(), rest }
    }

    /// The JSON.
    pub fn json(&self) -> Bytes {
        self.event.slice(PREFIX.len()..self.event.len() - SUFFIX.len())
    }

    pub(crate) fn event(&self) -> Bytes {
        self.event.clone()
    }

    /// True if they say the same, whenever they say it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.event[self.rest..] == other.event[other.rest..]
    }
}

/// One event of a stream.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What a reader says it has had, if it comes back.
    pub id: u64,
    /// JSON.
    pub data: String,
}

/// What is shown.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A state: a stream sends it again whenever it has changed.
    State(Document),
    /// A sequence: a stream sends each piece once.
    Sequence {
        /// All of it in one document.
        whole: Document,
        /// What a stream calls each piece.
        name: &'static str,
        /// The pieces.
        pieces: Vec<Piece>,
        /// What to ask for next: given back as [`crate::Asked::after`].
        after: Seq,
    },
}

impl Answer {
    /// What `value` says now.
    pub fn state(value: &impl Serialize) -> Self {
        Self::State(Document::of(value))
    }

    pub(crate) fn whole(&self) -> &Document {
        match self {
            Self::State(document) | Self::Sequence { whole: document, .. } => document,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_time_alone_is_no_change() {
        let first = Document::at(1, &json!({ "total": 3 }));
        let later = Document::at(12_345, &json!({ "total": 3 }));
        assert!(first.is_same(&later) && !first.is_same(&Document::at(1, &json!({ "total": 4 }))));
        assert_eq!(
            serde_json::from_slice::<Value>(&later.json()).unwrap(),
            json!({ "at": 12_345, "total": 3 })
        );
        assert_eq!(first.event(), "event: view\ndata: {\"at\":1,\"total\":3}\n\n");
        assert_eq!(Document::at(7, &json!({})).json(), "{\"at\":7}");
    }

    #[test]
    fn no_text_ends_an_event_early() {
        let document = Document::at(1, &json!({ "text": "a\n\nevent: x\r\ndata: y" }));
        assert_eq!(document.event().windows(2).filter(|two| two == b"\n\n").count(), 1);
        assert!(document.json().iter().all(|byte| !b"\r\n".contains(byte)));
    }
}
