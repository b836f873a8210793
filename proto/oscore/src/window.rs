//! Which of the peer's numbers have been taken (RFC 8613 §7.4).

/// Numbers below the newest one that may still come, late.
const WIDTH: u64 = 32;

/// The newest number taken and, as bits, the 32 before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// One more than the newest; 0 if there is none.
    next: u64,
    /// Bit n: the number `next - 1 - n` was taken.
    taken: u32,
}

impl Window {
    /// A window that takes `next` and what comes after it, and nothing before.
    pub fn from(next: u64) -> Self {
        Self { next, taken: u32::MAX }
    }

    /// True if a number has not been taken and is not too old to tell.
    pub fn admits(&self, number: u64) -> bool {
        match self.next.checked_sub(1).and_then(|newest| newest.checked_sub(number)) {
            None => true,
            Some(age) => age < WIDTH && self.taken & (1 << age) == 0,
        }
    }

    /// Remembers a number as taken.
    pub fn take(&mut self, number: u64) {
        if number < self.next {
            let age = self.next - 1 - number;
            if age < WIDTH {
                self.taken |= 1 << age;
            }
            return;
        }
        let ahead = number + 1 - self.next;
        self.taken = if ahead < WIDTH { self.taken << ahead } else { 0 } | 1;
        self.next = number + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    extern crate std;

    #[test]
    fn a_window_that_starts_later_takes_nothing_from_before() {
        let mut window = Window::from(100);
        assert!((0..100).all(|number| !window.admits(number)));
        assert!(window.admits(100));
        window.take(105);
        assert!(window.admits(100) && !window.admits(105) && !window.admits(99));
    }

    proptest! {
        /// Against a set: no number twice, whatever the order, and no number refused that is new and recent.
        #[test]
        fn each_number_is_taken_once(numbers in proptest::collection::vec(0..200u64, 1..400)) {
            let (mut window, mut taken) = (Window::default(), BTreeSet::new());
            for number in numbers {
                let newest = taken.last().copied().unwrap_or(0);
                let old = !taken.is_empty() && number + WIDTH <= newest;
                prop_assert_eq!(window.admits(number), !old && !taken.contains(&number));
                if window.admits(number) {
                    window.take(number);
                    taken.insert(number);
                }
            }
        }
    }
}
