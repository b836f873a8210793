//! A capture that Wireshark reads: classic pcap, frames without check sequence.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// LINKTYPE_IEEE802_15_4_NOFCS.
const LINKTYPE: u32 = 230;

/// A capture being written.
#[derive(Debug)]
pub struct Capture {
    file: BufWriter<File>,
}

impl Capture {
    /// Makes the file, replacing one that is there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        file.write_all(&[2, 0, 4, 0])?; // version 2.4
        file.write_all(&[0; 8])?;
        file.write_all(&256u32.to_le_bytes())?;
        file.write_all(&LINKTYPE.to_le_bytes())?;
        file.flush()?;
        Ok(Self { file })
    }

    /// Adds a frame, as sent now.
    pub fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.file.write_all(&(since.as_secs() as u32).to_le_bytes())?;
        self.file.write_all(&since.subsec_micros().to_le_bytes())?;
        self.file.write_all(&(frame.len() as u32).to_le_bytes())?;
        self.file.write_all(&(frame.len() as u32).to_le_bytes())?;
        self.file.write_all(frame)
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
