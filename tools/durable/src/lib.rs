//! What survives `kill -9`: records as bytes under (table, key) in one file, written in one transaction per step of a
//! driver. Gateway and master each name their tables; this crate never interprets what is in a record, and never
//! overwrites a file that it cannot read.

mod file;

pub use file::Store;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The kinds of record of one program.
pub trait Table: Copy + Debug + PartialEq + Send + 'static {
    /// The program, as messages call it: `gateway`.
    const OWNER: &'static str;
    /// The format of the records. It grows when an older program could not read them.
    const FORMAT: u32;

    /// The number on disk, for ever.
    fn number(self) -> u8;

    /// The other way; none for a kind that this program does not know.
    fn from_number(number: u8) -> Option<Self>;
}

/// One change. A driver commits all changes of a step, in order, before it does anything else that the step asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write<T> {
    /// Insert or replace.
    Put(T, Vec<u8>, Vec<u8>),
    /// Remove; no error if it is not there.
    Delete(T, Vec<u8>),
}

/// All records, as read at the start.
pub type Records<T> = Vec<(T, Vec<u8>, Vec<u8>)>;

/// Where changes go.
pub trait Commit<T>: Send {
    /// Makes all changes, or none, and returns when they would survive a loss of power.
    fn commit(&self, writes: &[Write<T>]) -> Result<(), StoreError>;
}

/// Keeps nothing: for those who want to start empty each time.
pub struct Nowhere;

impl<T> Commit<T> for Nowhere {
    fn commit(&self, _writes: &[Write<T>]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The store cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("store {path} is in use: another {owner} runs on it")]
    InUse {
        /// The file.
        path: PathBuf,
        /// Which program it is of.
        owner: &'static str,
    },
    /// A newer version of the same program wrote it. It is left as it is.
    #[error(
        "store {path} is of format {found}, this {owner} reads format {known}: run the version that wrote it, or move \
         it away to start empty"
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Which program it is of.
        owner: &'static str,
        /// Its format.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// Not a store of this program, or damaged. It is left as it is.
    #[error("store {path} cannot be read ({why}): restore it from a copy, or move it away to start empty")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A write failed: the disk is full or broken.
    #[error("store {path}: {why}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Where in a commit a [`set_probe`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of it is done.
    Before,
    /// It would survive a loss of power.
    After,
}

static PROBE: OnceLock<fn(&'static str, Stage, u64)> = OnceLock::new();

/// Has a function called before and after every commit of this process, with the store's owner and the commit's number
/// from 1: how tests stop the process at each of them. Only the first call counts.
pub fn set_probe(probe: fn(&'static str, Stage, u64)) {
    let _ = PROBE.set(probe); // the first one stays
}
