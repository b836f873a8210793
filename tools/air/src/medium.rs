//! What happens to a frame in the air.

use std::collections::BTreeSet;

/// Radios that one medium carries.
pub const RADIOS_MAX: usize = 4096;

/// A radio, by the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RadioId(pub usize);

/// How bad the medium is. Probabilities are in thousandths, per frame and receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Lost.
    pub loss_permille: u32,
    /// Heard twice.
    pub duplicate_permille: u32,
    /// Held back, so that later frames overtake it.
    pub delay_permille: u32,
    /// Longest time a frame is held back, microseconds.
    pub delay_max_us: u64,
}

impl Conditions {
    /// A medium that carries everything.
    pub const PERFECT: Self =
        Self { loss_permille: 0, duplicate_permille: 0, delay_permille: 0, delay_max_us: 0 };
}

/// A frame to be given to a radio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The receiver.
    pub to: RadioId,
    /// When, on the caller's clock, microseconds.
    pub at_us: u64,
}

/// What the medium has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames sent.
    pub frames: u64,
    /// Their bytes, check sequences included.
    pub bytes: u64,
    /// Frames heard, per receiver.
    pub delivered: u64,
    /// Frames lost, per receiver.
    pub lost: u64,
    /// Frames held back, per receiver.
    pub delayed: u64,
    /// Frames heard twice, per receiver.
    pub duplicated: u64,
    /// Datagrams that are no frames, or came from more radios than there may be.
    pub refused: u64,
}

/// The medium's state.
#[derive(Debug)]
pub struct Medium {
    conditions: Conditions,
    radios: usize,
    cut: BTreeSet<(RadioId, RadioId)>,
    random: u64,
    stats: Stats,
}

impl Medium {
    /// An empty medium. The same seed and the same frames in the same order give the same fates.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self { conditions, radios: 0, cut: BTreeSet::new(), random: seed.max(1), stats: Stats::default() }
    }

    /// Adds a radio, if there is room.
    pub fn attach(&mut self) -> Option<RadioId> {
        if self.radios >= RADIOS_MAX {
            self.stats.refused += 1;
            return None;
        }
        self.radios += 1;
        Some(RadioId(self.radios - 1))
    }

    /// Makes `to` deaf to `from`, or not any more.
    pub fn cut(&mut self, from: RadioId, to: RadioId, cut: bool) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// Decides what becomes of a frame of `len` bytes, check sequence included: every other radio in range hears it
    /// when it has been sent (250 kbit/s: 32 us a byte), unless it is lost to that one.
    pub fn transmit(&mut self, from: RadioId, len: usize, now_us: u64) -> Vec<Delivery> {
        self.stats.frames += 1;
        self.stats.bytes += len as u64;
        let heard_us = now_us + 32 * len as u64;
        let mut deliveries = Vec::new();
        for to in (0..self.radios).map(RadioId) {
            if to == from || self.cut.contains(&(from, to)) {
                continue;
            }
            let Conditions { loss_permille, duplicate_permille, delay_permille, delay_max_us } =
                self.conditions;
            if self.dice(loss_permille) {
                self.stats.lost += 1;
                continue;
            }
            let mut at_us = heard_us;
            if self.dice(delay_permille) {
                at_us += self.next_random() % (delay_max_us + 1);
                self.stats.delayed += 1;
            }
            deliveries.push(Delivery { to, at_us });
            self.stats.delivered += 1;
            if self.dice(duplicate_permille) {
                let again_us = heard_us + self.next_random() % (delay_max_us + 1);
                deliveries.push(Delivery { to, at_us: again_us });
                self.stats.duplicated += 1;
            }
        }
        deliveries
    }

    /// Counts a datagram that is no frame.
    pub fn refuse(&mut self) {
        self.stats.refused += 1;
    }

    /// What was carried so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn dice(&mut self, permille: u32) -> bool {
        permille > 0 && self.next_random() % 1000 < u64::from(permille)
    }

    /// xorshift64*.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Conditions =
        Conditions { loss_permille: 50, duplicate_permille: 20, delay_permille: 100, delay_max_us: 30_000 };

    fn run(seed: u64, frames: usize) -> (Vec<Delivery>, Stats) {
        let mut medium = Medium::new(BAD, seed);
        let radios: Vec<_> = (0..3).filter_map(|_| medium.attach()).collect();
        let fates = (0..frames).flat_map(|n| medium.transmit(radios[n % 3], 100, n as u64 * 1000)).collect();
        (fates, medium.stats())
    }

    #[test]
    fn the_same_seed_gives_the_same_fates() {
        assert_eq!(run(7, 500), run(7, 500));
        assert_ne!(run(7, 500).0, run(8, 500).0);
    }

    #[test]
    fn about_as_much_is_lost_as_asked_for() {
        let stats = run(1, 20_000).1;
        let lost = stats.lost as f64 / (stats.lost + stats.delivered) as f64;
        assert!((0.045..0.055).contains(&lost), "{lost}");
        assert!(stats.duplicated > 500 && stats.delayed > 3_000, "{stats:?}");
    }

    #[test]
    fn nobody_hears_himself_or_through_a_cut() {
        let mut medium = Medium::new(Conditions::PERFECT, 1);
        let (a, b, c) = (medium.attach().unwrap(), medium.attach().unwrap(), medium.attach().unwrap());
        medium.cut(a, b, true);
        let heard: Vec<_> = medium.transmit(a, 127, 10).into_iter().map(|d| (d.to, d.at_us)).collect();
        assert_eq!(heard, [(c, 10 + 127 * 32)]);
        let heard: Vec<_> = medium.transmit(b, 10, 0).into_iter().map(|d| d.to).collect();
        assert_eq!(heard, [a, c], "a cut goes one way");
        medium.cut(a, b, false);
        assert_eq!(medium.transmit(a, 10, 0).len(), 2);
    }
}
