//! Grants against what the node has.

use crate::Grant;

/// What a node has for tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Share of the core, thousandths.
    pub cpu_permille: u16,
    /// Memory, bytes.
    pub mem_bytes: u32,
    /// Image storage, bytes.
    pub flash_bytes: u32,
}

/// Why a grant was refused. The figure is how much is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such slot.
    NoSlot,
    /// The slot holds a grant already.
    Taken,
    /// CPU, thousandths of the core.
    Cpu(u32),
    /// Memory, bytes.
    Memory(u32),
    /// Image storage, bytes.
    Flash(u32),
}

/// The grants of `SLOTS` slots. The sum of all never exceeds the capacity.
#[derive(Clone, Debug)]
pub struct Ledger<const SLOTS: usize> {
    capacity: Capacity,
    grants: [Option<Grant>; SLOTS],
}

impl<const SLOTS: usize> Ledger<SLOTS> {
    /// An empty ledger.
    pub const fn new(capacity: Capacity) -> Self {
        Self { capacity, grants: [None; SLOTS] }
    }

    /// Reserves all of `grant` for a slot, or nothing.
    pub fn reserve(&mut self, slot: usize, grant: Grant) -> Result<(), Refusal> {
        match self.grants.get(slot) {
            None => return Err(Refusal::NoSlot),
            Some(Some(_)) => return Err(Refusal::Taken),
            Some(None) => {}
        }
        let free = self.free();
        let missing = |asked: u32, free: u32| asked.checked_sub(free).filter(|missing| *missing > 0);
        if let Some(cpu) = missing(grant.cpu_permille.into(), free.cpu_permille.into()) {
            return Err(Refusal::Cpu(cpu));
        }
        if let Some(bytes) = missing(grant.mem_bytes, free.mem_bytes) {
            return Err(Refusal::Memory(bytes));
        }
        if let Some(bytes) = missing(grant.flash_bytes, free.flash_bytes) {
            return Err(Refusal::Flash(bytes));
        }
        self.grants[slot] = Some(grant);
        Ok(())
    }

    /// Gives a slot's grant back, if it holds one.
    pub fn release(&mut self, slot: usize) -> Option<Grant> {
        self.grants.get_mut(slot)?.take()
    }

    /// What a slot was granted.
    pub fn grant(&self, slot: usize) -> Option<Grant> {
        *self.grants.get(slot)?
    }

    /// What nobody has.
    pub fn free(&self) -> Capacity {
        let mut free = self.capacity;
        for grant in self.grants.iter().flatten() {
            // `reserve` keeps each sum within the capacity, so nothing saturates.
            free.cpu_permille = free.cpu_permille.saturating_sub(grant.cpu_permille);
            free.mem_bytes = free.mem_bytes.saturating_sub(grant.mem_bytes);
            free.flash_bytes = free.flash_bytes.saturating_sub(grant.flash_bytes);
        }
        free
    }
}
