//! RecordIO: a decimal length, a newline, so many bytes.

use bytes::{Buf, BytesMut};

/// Longest record taken, bytes.
pub const RECORD_MAX: usize = 16 << 20;
/// Longest length line, digits.
const DIGITS_MAX: usize = 10;

/// The stream is not RecordIO, or a record is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event stream is not RecordIO, or a record is longer than {RECORD_MAX} bytes")]
pub struct Malformed;

/// Takes pieces of a stream and gives whole records.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next record, if it is whole.
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(end) = self.buffer.iter().take(DIGITS_MAX + 1).position(|byte| *byte == b'\n') else {
            return if self.buffer.len() > DIGITS_MAX { Err(Malformed) } else { Ok(None) };
        };
        let len = std::str::from_utf8(&self.buffer[..end]).ok().and_then(|digits| digits.parse().ok());
        let len: usize = len.filter(|len| *len <= RECORD_MAX).ok_or(Malformed)?;
        let start = end + 1;
        if self.buffer.len() - start < len {
            return Ok(None);
        }
        self.buffer.advance(start);
        Ok(Some(self.buffer.split_to(len).to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_survive_any_cutting(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10),
            piece in 1usize..20)
        {
            let mut stream = Vec::new();
            for record in &records {
                stream.extend_from_slice(format!("{}\n", record.len()).as_bytes());
                stream.extend_from_slice(record);
            }
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for piece in stream.chunks(piece) {
                decoder.push(piece);
                while let Some(record) = decoder.next_record().unwrap() { got.push(record); }
            }
            prop_assert_eq!(got, records);
        }

        #[test]
        fn any_stream_is_survived(stream in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut decoder = Decoder::default();
            decoder.push(&stream);
            while let Ok(Some(_)) = decoder.next_record() {}
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(b"99999999999");
        assert_eq!(decoder.next_record(), Err(Malformed));
        let mut decoder = Decoder::default();
        decoder.push(b"20000000\n");
        assert_eq!(decoder.next_record(), Err(Malformed));
    }
}
