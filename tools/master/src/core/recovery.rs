//! What outlives the master: its id, the numbers it has given, and who was here. Says what to keep, and takes it up
//! again after a restart. It never gives a number twice.

use super::MasterCore;
use crate::store::{Records, Table, Unreadable, of_kind, put};

/// Offers numbered before the next write of how far they may have come.
const OFFERS_AHEAD: u64 = 1 << 16;

/// Keys of [`Table::Meta`].
mod meta {
    /// The master's id.
    pub const ID: &str = "id";
    /// The next agent's number.
    pub const AGENTS: &str = "agents";
    /// The next framework's number.
    pub const FRAMEWORKS: &str = "frameworks";
    /// Numbers of offers below this one may have been used.
    pub const OFFERS: &str = "offers";
}

impl MasterCore {
    /// Takes up the records of an earlier run.
    pub(super) fn recover(&mut self, records: &Records) -> Result<(), Unreadable> {
        let names =
            records.iter().filter(|(table, key, _)| *table == Table::Meta && key == meta::ID.as_bytes());
        match of_kind::<String>(&names.cloned().collect(), Table::Meta)?.pop() {
            Some((_, id)) => self.config.id = id,
            None => self.keep(put(Table::Meta, meta::ID, &self.config.id.clone())),
        }
        let numbers =
            records.iter().filter(|(table, key, _)| *table == Table::Meta && key != meta::ID.as_bytes());
        for (name, number) in of_kind::<u64>(&numbers.cloned().collect(), Table::Meta)? {
            match name.as_str() {
                meta::AGENTS => self.next_agent = number,
                meta::FRAMEWORKS => self.next_framework = number,
                meta::OFFERS => (self.next_offer, self.offers_kept) = (number, number),
                _ => tracing::warn!(name, "a number of a newer master; it is left alone"),
            }
        }
        Ok(())
    }

    /// An id for an agent; none is given twice.
    pub(super) fn new_agent_id(&mut self) -> String {
        let id = format!("{}-S{}", self.config.id, self.next_agent);
        self.next_agent += 1;
        self.keep(put(Table::Meta, meta::AGENTS, &self.next_agent));
        id
    }

    /// An id for a framework; none is given twice.
    pub(super) fn new_framework_id(&mut self) -> String {
        let id = format!("{}-{:04}", self.config.id, self.next_framework);
        self.next_framework += 1;
        self.keep(put(Table::Meta, meta::FRAMEWORKS, &self.next_framework));
        id
    }

    /// An id for an offer; none is given twice, so that an answer to one from before a restart fits none of after it.
    pub(super) fn new_offer_id(&mut self) -> String {
        let id = format!("{}-O{}", self.config.id, self.next_offer);
        self.next_offer += 1;
        if self.next_offer > self.offers_kept {
            self.offers_kept = self.next_offer + OFFERS_AHEAD;
            self.keep(put(Table::Meta, meta::OFFERS, &self.offers_kept));
        }
        id
    }
}
