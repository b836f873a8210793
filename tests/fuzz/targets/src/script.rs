//! The fuzzer's bytes as a list of steps: a byte that says what, a byte of length, so many bytes.

/// Steps; what is cut off at the end is shorter than it says.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Iterator for Script<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (step, rest) = self.0.split_first()?;
        let (len, rest) = rest.split_first().unwrap_or((&0, rest));
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        self.0 = rest;
        Some((*step, bytes))
    }
}

/// Writes one step; longer bytes than a step has room for are cut.
pub fn step(to: &mut Vec<u8>, step: u8, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(255)];
    to.push(step);
    to.push(bytes.len() as u8);
    to.extend_from_slice(bytes);
}

/// A number in as many bytes as there are, at most four, little endian.
pub fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The first byte, 0 without one, and the rest.
pub fn first(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest))
}
