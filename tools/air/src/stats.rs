//! What the medium has carried, and what it has not and why.

use std::fmt;

/// Counters since the start, of the whole medium or of one radio: frames of its own from `frames` to `airtime_us` and
/// from `backoffs` on, and what became of others' frames at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames sent.
    pub frames: u64,
    /// Their bytes, check sequences included.
    pub bytes: u64,
    /// Time that they took, microseconds; that of frames sent at once counts each.
    pub airtime_us: u64,
    /// Frames heard, per receiver.
    pub delivered: u64,
    /// Frames lost by chance, per receiver.
    pub lost: u64,
    /// Frames held back, per receiver.
    pub delayed: u64,
    /// Frames heard twice, per receiver.
    pub duplicated: u64,
    /// Frames that never reach a receiver, for their distance or because a link carries nothing; per receiver.
    pub out_of_reach: u64,
    /// Frames kept from a receiver by a partition, per receiver.
    pub partitioned: u64,
    /// Frames destroyed by another at a receiver that hears both, per receiver and frame.
    pub collided: u64,
    /// Frames that a receiver missed because it was sending itself, per receiver.
    pub deaf: u64,
    /// Times that a sender found the channel busy and waited.
    pub backoffs: u64,
    /// Frames not sent because the channel was busy to the last.
    pub channel_busy: u64,
    /// Frames not sent because the sender had used up its share of airtime.
    pub duty_refused: u64,
    /// Frames that found a sender's queue or the medium full.
    pub overflowed: u64,
    /// Datagrams that are no frames, or came from more radios than there may be.
    pub refused: u64,
}

impl Stats {
    /// Every counter with its name.
    pub fn fields(&self) -> [(&'static str, u64); 16] {
        [
            ("frames", self.frames),
            ("bytes", self.bytes),
            ("airtime_us", self.airtime_us),
            ("delivered", self.delivered),
            ("lost", self.lost),
            ("delayed", self.delayed),
            ("duplicated", self.duplicated),
            ("out_of_reach", self.out_of_reach),
            ("partitioned", self.partitioned),
            ("collided", self.collided),
            ("deaf", self.deaf),
            ("backoffs", self.backoffs),
            ("channel_busy", self.channel_busy),
            ("duty_refused", self.duty_refused),
            ("overflowed", self.overflowed),
            ("refused", self.refused),
        ]
    }
}

/// One line: what any medium has, and of the rest what has happened.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, lost, delayed, duplicated, .. } = self;
        write!(f, "{frames} frames, {lost} lost, {delayed} delayed, {duplicated} doubled")?;
        let rest = [
            (self.out_of_reach, "out of reach"),
            (self.partitioned, "kept back by a partition"),
            (self.collided, "collided"),
            (self.deaf, "missed while sending"),
            (self.backoffs, "back-offs"),
            (self.channel_busy, "not sent on a busy channel"),
            (self.duty_refused, "over the duty cycle"),
            (self.overflowed, "overflowed"),
            (self.refused, "refused"),
        ];
        rest.iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_not_said() {
        let stats = Stats { frames: 9, lost: 2, collided: 4, ..Default::default() };
        assert_eq!(stats.to_string(), "9 frames, 2 lost, 0 delayed, 0 doubled, 4 collided");
    }
}
