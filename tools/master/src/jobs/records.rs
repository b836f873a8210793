//! Jobs as they are kept, in JSON: one record for each job, keyed by its id, one for each instance that has begun, keyed
//! by job, run and number, and one for all, under the empty key.

use super::job::{At, Job, Kept, Slot};
use crate::store::{Records, Table, Unreadable, Write};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What belongs to no job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct All {
    /// The framework's id.
    pub framework: String,
    /// No task has a number from here on.
    pub next_task: u64,
}

pub(super) fn put_all(all: &All) -> Write {
    Write::Put(Table::Job, Vec::new(), bytes(all))
}

pub(super) fn put_job(id: &str, kept: &Kept) -> Write {
    Write::Put(Table::Job, id.as_bytes().to_vec(), bytes(kept))
}

pub(super) fn delete_job(id: &str) -> Write {
    Write::Delete(Table::Job, id.as_bytes().to_vec())
}

pub(super) fn put_slot(id: &str, at: At, slot: &Slot) -> Write {
    Write::Put(Table::Instance, key(id, at), bytes(slot))
}

pub(super) fn delete_slot(id: &str, at: At) -> Write {
    Write::Delete(Table::Instance, key(id, at))
}

/// An id holds no slash.
fn key(id: &str, (run, instance): At) -> Vec<u8> {
    format!("{id}/{run}/{instance}").into_bytes()
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Maps have texts for keys and numbers are finite: there is nothing that JSON cannot say.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Puts together what was kept. The records of others are passed over.
pub(super) fn read(records: &Records) -> Result<(All, Vec<Job>), Unreadable> {
    let fail = |table: Table, key: &[u8], why: &str| {
        tracing::error!(?table, key = %String::from_utf8_lossy(key), why, "a record of a job cannot be read");
        Unreadable { table }
    };
    let mut all = All::default();
    let mut jobs: BTreeMap<String, Job> = BTreeMap::new();
    for (table, key, value) in records.iter().filter(|(table, ..)| *table == Table::Job) {
        let wrong = |error: serde_json::Error| fail(*table, key, &error.to_string());
        if key.is_empty() {
            all = serde_json::from_slice(value).map_err(wrong)?;
            continue;
        }
        let kept: Kept = serde_json::from_slice(value).map_err(wrong)?;
        jobs.insert(kept.spec.id.clone(), Job::of(kept));
    }
    for (table, key, value) in records.iter().filter(|(table, ..)| *table == Table::Instance) {
        let slot: Slot =
            serde_json::from_slice(value).map_err(|error| fail(*table, key, &error.to_string()))?;
        let place = std::str::from_utf8(key).ok().and_then(|key| {
            let mut parts = key.split('/');
            let place = (parts.next()?, (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?));
            Some(place)
        });
        let (id, at) = place.ok_or_else(|| fail(*table, key, "its key names no instance"))?;
        let held = jobs.get_mut(id).and_then(|job| job.slot_mut(at));
        *held.ok_or_else(|| fail(*table, key, "there is no such job or run"))? = slot;
    }
    let mut jobs: Vec<Job> = jobs.into_values().collect();
    jobs.iter_mut().for_each(Job::index);
    Ok((all, jobs))
}
