//! Chance, all of it from the seed.

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `sides`; 0 if that is 0.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.next() % sides.max(1)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Between 1 and `high`, each order of magnitude as likely as the next.
    pub fn scale(&mut self, low: u64, high: u64) -> u64 {
        let mut top = low;
        let mut steps = Vec::new();
        while top < high {
            steps.push(top);
            top = top.saturating_mul(2);
        }
        steps.push(high);
        let top = self.pick(&steps);
        self.between(top / 2 + 1, top)
    }

    /// Another stream of chance that this one decides.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
