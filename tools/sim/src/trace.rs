//! What happened, as a number to compare and as lines to read.

/// Takes the lines of a trace.
pub type Sink = Box<dyn FnMut(&str)>;

/// Folds every event into one number; tells of each if anybody listens.
pub(crate) struct Trace {
    hash: u64,
    pub events: u64,
    sink: Option<Sink>,
}

impl Trace {
    pub fn new(sink: Option<Sink>) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, sink }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    fn word(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// One event. `what` are the bytes that came with it.
    pub fn note(&mut self, now: u64, what: &[u8], text: impl FnOnce() -> String) {
        self.events += 1;
        self.word(now);
        self.word(what.len() as u64);
        for chunk in what.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(bytes));
        }
        self.say(now, text);
    }

    /// A line that is not part of the number.
    pub fn say(&mut self, now: u64, text: impl FnOnce() -> String) {
        if let Some(sink) = &mut self.sink {
            sink(&format!("{:>10}.{:03}  {}", now / 1000, now % 1000, text()));
        }
    }
}
