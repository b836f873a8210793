//! What a module's functions and limits share, in every engine.

use crate::abi;
use crate::executor::Launch;
use crate::heap;
use crate::kv::Kv;
use crate::limits::{TABLE_ELEMENT_BYTES, TABLE_ELEMENTS_MAX};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A piece of a module's memory as the module gives it: address and length, neither of them checked.
pub(crate) type Piece = (u32, u32);

/// Why a module is suspended in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    Sleep { ms: u32 },
    Receive { ptr: u32, len: u32, wait_ms: u32 },
    Sensor { index: u32, out: u32 },
    Led { index: u32, on: bool },
    KvGet { key: Piece, out: Piece },
    KvSet { key: Piece, value: Piece },
    KvDelete { key: Piece },
}

/// What a memory or table that would grow is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    Granted,
    /// -1, as WebAssembly has it: by the module's own limit, by ours, or because the node has no more.
    No,
    /// More than the grant, which ends the module.
    Refused,
}

/// The state of one module.
pub(crate) struct State {
    pub args: Vec<u8>,
    pub env: Vec<u8>,
    pub data: Vec<u8>,
    /// Messages of the framework, oldest first.
    pub inbox: VecDeque<Vec<u8>>,
    /// Until when it may go on, once it was told to stop.
    pub stop_at_ms: Option<u64>,
    pub now_ms: u64,
    pub log: VecDeque<u8>,
    pub messages: VecDeque<Vec<u8>>,
    pub kv: Kv,
    /// Messages taken from it so far, and their bytes.
    pub sent: u64,
    pub sent_bytes: u64,
    /// Bytes of log taken from it so far.
    pub log_bytes: u64,
    mem_granted: u32,
    memory: usize,
    tables: usize,
    pub mem_peak: usize,
    /// Set when growth is refused: what the module would have had.
    pub refused: Option<usize>,
}

impl State {
    pub fn of(launch: &Launch<'_>, now_ms: u64) -> Self {
        Self {
            args: launch.args.into(),
            env: launch.env.into(),
            data: launch.data.into(),
            inbox: VecDeque::new(),
            stop_at_ms: None,
            now_ms,
            log: VecDeque::new(),
            messages: VecDeque::new(),
            kv: Kv::default(),
            sent: 0,
            sent_bytes: 0,
            log_bytes: 0,
            mem_granted: launch.grant.mem_bytes,
            memory: 0,
            tables: 0,
            mem_peak: 0,
            refused: None,
        }
    }

    pub fn mem_granted(&self) -> u32 {
        self.mem_granted
    }

    pub fn mem_bytes(&self) -> usize {
        self.memory + self.tables
    }

    /// A memory grows from `current` to `desired` bytes; `block` is what the heap has to give for it in one piece.
    pub fn grow_memory(&mut self, desired: usize, block: usize) -> Growth {
        self.grow(desired, self.tables, block)
    }

    /// A table grows from `current` to `desired` elements, of which `block` have to be had in one piece.
    pub fn grow_table(&mut self, current: usize, desired: usize, block: usize) -> Growth {
        if desired > TABLE_ELEMENTS_MAX {
            return Growth::No;
        }
        let more = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES);
        self.grow(self.memory, self.tables.saturating_add(more), block.saturating_mul(TABLE_ELEMENT_BYTES))
    }

    fn grow(&mut self, memory: usize, tables: usize, block: usize) -> Growth {
        let asked = memory.saturating_add(tables);
        if asked > self.mem_granted as usize {
            self.refused = Some(asked);
            return Growth::Refused;
        }
        if !heap::has_room(block) {
            return Growth::No;
        }
        (self.memory, self.tables) = (memory, tables);
        self.mem_peak = self.mem_peak.max(asked);
        Growth::Granted
    }
}

/// A key, if it is one.
pub(crate) fn key(bytes: &[u8]) -> Option<Vec<u8>> {
    (1..=abi::KV_KEY_MAX).contains(&bytes.len()).then(|| bytes.into())
}
