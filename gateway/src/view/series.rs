//! A course of values over time in little memory: evenly spaced points, as far apart as it takes to reach back to the
//! beginning. When there is no more room, each two neighbours become one, and the next come twice as far apart.

/// Longest time between points, seconds; then the oldest goes.
const GAP_MAX_S: u32 = 4 * 3_600;

/// What a course is made of.
pub(super) trait Point: Copy {
    /// Unix time, seconds.
    fn at_s(&self) -> u32;
    /// This one and the one after it as one.
    fn with(self, next: Self) -> Self;
}

/// At most `MAX` points, the oldest first.
#[derive(Debug)]
pub(super) struct Series<P, const MAX: usize> {
    points: Vec<P>,
    gap_s: u32,
}

impl<P: Point, const MAX: usize> Series<P, MAX> {
    /// A course whose points are at first as far apart as this, seconds.
    pub fn new(gap_s: u32) -> Self {
        Self { points: Vec::new(), gap_s }
    }

    /// True if a point at this time is wanted.
    pub fn wants(&self, at_s: u32) -> bool {
        self.points.last().is_none_or(|last| at_s.saturating_sub(last.at_s()) >= self.gap_s)
    }

    pub fn add(&mut self, point: P) {
        if self.points.len() >= MAX {
            if self.gap_s >= GAP_MAX_S {
                self.points.remove(0);
            } else {
                let merged =
                    self.points.chunks(2).map(|two| two.iter().skip(1).fold(two[0], |a, b| a.with(*b)));
                self.points = merged.collect();
                self.gap_s *= 2;
            }
        }
        self.points.push(point);
    }

    pub fn points(&self) -> &[P] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// When, and how many there were since the one before.
    impl Point for (u32, u64) {
        fn at_s(&self) -> u32 {
            self.0
        }

        fn with(self, next: Self) -> Self {
            (next.0, self.1 + next.1)
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_room_is_kept_to(steps in prop::collection::vec(1u32..2_000, 1..600)) {
            let mut series: Series<(u32, u64), 16> = Series::new(10);
            let (mut now, mut added) = (0, 0);
            for step in steps {
                now += step;
                if series.wants(now) {
                    series.add((now, 1));
                    added += 1;
                }
            }
            let points = series.points();
            prop_assert!(points.len() <= 16 && points.is_sorted());
            let sum: u64 = points.iter().map(|point| point.1).sum();
            if series.gap_s < GAP_MAX_S {
                prop_assert_eq!(sum, added);
            }
        }
    }
}
