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
    /// LEDs; [`Leds`] counts no more than 32 of them.
    pub leds: u8,
}

/// Which of a node's LEDs a task holds: bit N is the node's LED N. A task sees only its own, numbered from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leds(pub u32);

impl Leds {
    /// The node's number of the LED that the task calls `index`.
    pub fn of_task(self, index: u32) -> Option<u32> {
        (0..u32::BITS).filter(|led| self.0 >> led & 1 == 1).nth(index as usize)
    }
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
    /// LEDs.
    Leds(u32),
}

/// The grants of `SLOTS` slots. The sum of all never exceeds the capacity.
#[derive(Clone, Debug)]
pub struct Ledger<const SLOTS: usize> {
    capacity: Capacity,
    grants: [Option<(Grant, Leds)>; SLOTS],
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
        if let Some(leds) = missing(grant.leds.into(), free.leds.into()) {
            return Err(Refusal::Leds(leds));
        }
        self.grants[slot] = Some((grant, self.free_leds(grant.leds)));
        Ok(())
    }

    /// Gives a slot's grant back, if it holds one.
    pub fn release(&mut self, slot: usize) -> Option<Grant> {
        self.grants.get_mut(slot)?.take().map(|(grant, _)| grant)
    }

    /// What a slot was granted.
    pub fn grant(&self, slot: usize) -> Option<Grant> {
        self.grants.get(slot)?.map(|(grant, _)| grant)
    }

    /// Which LEDs a slot holds.
    pub fn leds(&self, slot: usize) -> Leds {
        self.grants.get(slot).copied().flatten().map_or(Leds(0), |(_, leds)| leds)
    }

    /// The lowest `count` of those that nobody holds.
    fn free_leds(&self, count: u8) -> Leds {
        let held = self.grants.iter().flatten().fold(0, |held, (_, leds)| held | leds.0);
        let has = u32::from(self.capacity.leds).min(u32::BITS);
        let free = (0..has).filter(|led| held >> led & 1 == 0).take(count.into());
        Leds(free.fold(0, |mask, led| mask | 1 << led))
    }

    /// What nobody has.
    pub fn free(&self) -> Capacity {
        let mut free = self.capacity;
        free.leds = free.leds.min(u32::BITS as u8);
        for (grant, _) in self.grants.iter().flatten() {
            // `reserve` keeps each sum within the capacity, so nothing saturates.
            free.cpu_permille = free.cpu_permille.saturating_sub(grant.cpu_permille);
            free.mem_bytes = free.mem_bytes.saturating_sub(grant.mem_bytes);
            free.flash_bytes = free.flash_bytes.saturating_sub(grant.flash_bytes);
            free.leds = free.leds.saturating_sub(grant.leds);
        }
        free
    }
}
