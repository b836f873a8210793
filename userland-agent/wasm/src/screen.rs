//! An image looked at while it comes, in pieces of any size, so that one that could never run is refused before all of
//! it was fetched. What this keeps is bounded by [`PIECE_MAX`] and what [`crate::limits`] allow of types and functions,
//! however large the image is.
//!
//! ```text
//!   \0asm 1 | section | section | ...
//!             custom: skipped      data: headers of segments are kept, their bytes skipped
//!             code: one function's code at a time      others: one section at a time
//! ```
//!
//! The last word is the engine's, at the start.

use crate::event::StartError;
use crate::inspect::{self, Image, Reading};
use crate::limits::{IMAGE_BYTES_MAX, PIECE_MAX};
use alloc::string::ToString;
use alloc::vec::Vec;
use wasmparser::{
    BinaryReader, BinaryReaderError, Chunk, ConstExpr, DataSectionReader, FuncValidatorAllocations, Parser,
    Payload, ValidPayload, Validator, WasmFeatures,
};

/// Bytes of the largest header of a segment of data: flags, an offset, a length.
const SEGMENT_HEADER_MAX: usize = 64;
const CUSTOM: u8 = 0;
const DATA: u8 = 11;

/// A module on its way in.
pub struct Screen {
    parser: Parser,
    validator: Validator,
    reading: Reading<'static>,
    /// What came and was not used, as the rest of it is missing.
    piece: Vec<u8>,
    /// Where it begins in the image.
    at: usize,
    /// Bytes to come that are not looked at.
    skip: usize,
    begun: bool,
    /// Functions whose code is still to come.
    functions_left: u32,
    data: Option<Data>,
    /// Functions with code, segments of data, and how many of the latter were announced.
    counts: (u32, u32, Option<u32>),
    allocations: FuncValidatorAllocations,
}

/// A section of data, as far as it has come.
struct Data {
    segments_left: u32,
    /// Where the section ends in the image.
    end: usize,
    /// The section as it would be if all its segments were empty.
    emptied: Vec<u8>,
}

/// What one look at a piece comes to.
enum Step {
    /// So many bytes are done with.
    Used(usize),
    /// More have to come.
    More,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    /// A screen for the next image.
    pub fn new() -> Self {
        let features = WasmFeatures::WASM2
            | WasmFeatures::TAIL_CALL
            | WasmFeatures::EXTENDED_CONST
            | WasmFeatures::CUSTOM_PAGE_SIZES;
        Self {
            parser: Parser::new(0),
            validator: Validator::new_with_features(features.difference(WasmFeatures::SIMD)),
            reading: Reading::default(),
            piece: Vec::new(),
            at: 0,
            skip: 0,
            begun: false,
            functions_left: 0,
            data: None,
            counts: (0, 0, None),
            allocations: FuncValidatorAllocations::default(),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), StartError> {
        let total = self.at + self.piece.len() + bytes.len();
        inspect::limit("bytes", total as u64, IMAGE_BYTES_MAX as u64)?;
        loop {
            if self.skip > 0 && self.piece.is_empty() {
                let skipped = self.skip.min(bytes.len());
                (self.skip, self.at, bytes) = (self.skip - skipped, self.at + skipped, &bytes[skipped..]);
            }
            if bytes.is_empty() {
                return Ok(());
            }
            let room = PIECE_MAX.saturating_sub(self.piece.len()).min(bytes.len());
            self.piece.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            self.digest(false)?;
            if self.piece.len() >= PIECE_MAX {
                let what = if self.functions_left > 0 { "bytes in a function" } else { "bytes in a section" };
                return Err(StartError::Limit { what, has: PIECE_MAX as u64 + 1, max: PIECE_MAX as u64 });
            }
        }
    }

    /// Says that this was all, and what it is made of.
    pub fn finish(mut self) -> Result<Image, StartError> {
        self.digest(true)?;
        let ended = self.begun && self.skip == 0 && self.data.is_none() && self.functions_left == 0;
        let end = self.at + self.piece.len();
        let (functions, segments, announced) = self.counts;
        let why = match () {
            () if !ended || !self.piece.is_empty() => Some("unexpected end"),
            () if functions != self.reading.of.functions => Some("functions without code"),
            () if announced.is_some_and(|announced| announced != segments) => {
                Some("segments of data are missing")
            }
            () => None,
        };
        if let Some(why) = why.map(ToString::to_string) {
            return Err(StartError::Invalid { section: None, offset: Some(end), why });
        }
        self.validator.end(end).map_err(|error| invalid(&error))?;
        self.reading.of.bytes = end;
        Ok(self.reading.of)
    }

    /// Most bytes that were held back at once, with room to grow.
    pub fn held_bytes(&self) -> usize {
        self.piece.capacity() + self.data.as_ref().map_or(0, |data| data.emptied.capacity())
    }

    /// Uses as much as it can of what came.
    fn digest(&mut self, last: bool) -> Result<(), StartError> {
        let piece = core::mem::take(&mut self.piece);
        let mut used = 0;
        while used < piece.len() {
            if self.skip > 0 {
                let skipped = self.skip.min(piece.len() - used);
                (self.skip, used) = (self.skip - skipped, used + skipped);
                continue;
            }
            match self.step(&piece[used..], self.at + used, last)? {
                Step::Used(more) => used += more,
                Step::More => break,
            }
        }
        self.at += used;
        self.piece = piece;
        self.piece.drain(..used);
        Ok(())
    }

    fn step(&mut self, bytes: &[u8], at: usize, last: bool) -> Result<Step, StartError> {
        if self.data.is_some() {
            return self.segment(bytes, at);
        }
        if self.begun && self.functions_left == 0 && matches!(bytes[0], CUSTOM | DATA) {
            return self.section(bytes, at);
        }
        match self.parser.parse(bytes, false).map_err(|error| invalid(&error))? {
            Chunk::NeedMoreData(_) if last => {
                let (offset, why) = (Some(at + bytes.len()), "unexpected end".to_string());
                Err(StartError::Invalid { section: None, offset, why })
            }
            Chunk::NeedMoreData(_) => Ok(Step::More),
            Chunk::Parsed { consumed, payload } => {
                self.payload(payload, (bytes, at))?;
                Ok(Step::Used(consumed))
            }
        }
    }

    fn payload(&mut self, payload: Payload<'_>, bytes: (&[u8], usize)) -> Result<(), StartError> {
        match &payload {
            Payload::Version { .. } => self.begun = true,
            Payload::CodeSectionStart { count, .. } => {
                (self.functions_left, self.counts.0) = (*count, *count)
            }
            Payload::DataCountSection { count, .. } => self.counts.2 = Some(*count),
            Payload::CodeSectionEntry(_) => self.functions_left = self.functions_left.saturating_sub(1),
            _ => {}
        }
        let valid = self.validator.payload(&payload).map_err(|error| invalid(&error))?;
        self.reading.section(payload, bytes)?;
        if let ValidPayload::Func(function, body) = valid {
            let allocations = core::mem::take(&mut self.allocations);
            let mut function = function.into_validator(allocations);
            function.validate(&body).map_err(|error| invalid(&error))?;
            self.allocations = function.into_allocations();
        }
        Ok(())
    }

    /// The beginning of a section that the parser would want whole.
    fn section(&mut self, bytes: &[u8], at: usize) -> Result<Step, StartError> {
        let mut reader = BinaryReader::new(&bytes[1..], at + 1);
        let read = reader.read_var_u32().and_then(|len| {
            let body = reader.original_position();
            let segments = if bytes[0] == DATA { reader.read_var_u32()? } else { 0 };
            Ok((len as usize, body, segments, reader.original_position()))
        });
        let (len, body, segments, now) = match read {
            Ok(read) => read,
            Err(_) if bytes.len() < SEGMENT_HEADER_MAX => return Ok(Step::More),
            Err(error) => return Err(invalid(&error)),
        };
        if bytes[0] == CUSTOM {
            self.skip = len;
        } else {
            inspect::limit("data segments", segments.into(), crate::limits::SEGMENTS_MAX.into())?;
            let mut emptied = Vec::new();
            leb(segments, &mut emptied);
            self.counts.1 = segments;
            let end = body.saturating_add(len);
            self.data = Some(Data { segments_left: segments, end, emptied });
            self.end_of_data(now)?;
        }
        Ok(Step::Used(now - at))
    }

    /// The header of a segment; its bytes are skipped.
    fn segment(&mut self, bytes: &[u8], at: usize) -> Result<Step, StartError> {
        let Some(data) = &mut self.data else { return Ok(Step::More) };
        let mut reader = BinaryReader::new(bytes, at);
        let mut read = || {
            match reader.read_var_u32()? {
                1 => {}
                flags => {
                    if flags > 0 {
                        reader.read_var_u32()?;
                    }
                    reader.read::<ConstExpr<'_>>()?;
                }
            }
            let header = reader.original_position();
            let len = reader.read_var_u32()? as usize;
            Ok((header - at, len, reader.original_position()))
        };
        let (header, len, now) = match read() {
            Ok(read) => read,
            Err(_) if bytes.len() < SEGMENT_HEADER_MAX => return Ok(Step::More),
            Err(error) => return Err(invalid(&error)),
        };
        data.segments_left = data.segments_left.saturating_sub(1);
        data.emptied.extend_from_slice(&bytes[..header.min(SEGMENT_HEADER_MAX)]);
        data.emptied.push(0);
        self.skip = len;
        self.end_of_data(now.saturating_add(len))?;
        Ok(Step::Used(now - at))
    }

    /// Judges the section of data if all its segments have come; they end `at`.
    fn end_of_data(&mut self, at: usize) -> Result<(), StartError> {
        let Some(data) = self.data.take_if(|data| data.segments_left == 0 || at > data.end) else {
            return Ok(());
        };
        if at != data.end {
            let why = "segments do not fill their section".to_string();
            return Err(StartError::Invalid { section: Some("data"), offset: Some(at), why });
        }
        let section =
            DataSectionReader::new(BinaryReader::new(&data.emptied, at - data.emptied.len().min(at)));
        let section = section.map_err(|error| invalid(&error))?;
        self.validator.data_section(&section).map_err(|error| invalid(&error))
    }
}

fn invalid(error: &BinaryReaderError) -> StartError {
    inspect::invalid(&[], error)
}

/// Appends a number as WebAssembly writes it.
fn leb(mut number: u32, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}
