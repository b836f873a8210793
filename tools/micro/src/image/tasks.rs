//! Native tasks: one file each, for every slot of a board.

use super::{Board, room, write};
use anyhow::{Context, Result};
use image::tbf::Header;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A task that was built.
pub struct Built {
    name: String,
    path: PathBuf,
    bytes: usize,
    /// Of these, the table.
    table: usize,
    ram: u32,
    sha256: String,
}

/// Flags without which tasks for a target could not be moved.
pub fn flags(target: &str) -> &'static [&'static str] {
    // movw and movt hold halves of an address, with the other's carry unknown; from a literal it is a word.
    if target.starts_with("thumb") { &["-Ctarget-feature=+no-movt"] } else { &[] }
}

impl Board {
    /// Builds a task: NAME.tbf in `out`.
    pub(super) fn task(&self, name: &str, out: &Path) -> Result<Built> {
        let slot = self.places.get(self.map.apps.len()).context("the map has no slots")?;
        let (image, ram) = self.relocatable(name, name, slot)?;
        let header = Header::parse(&image)?;
        room(name, &header, ram, slot)?;
        let path = out.join(format!("{name}.tbf"));
        write(&path, &image)?;
        let sha256 = Sha256::digest(&image).iter().map(|byte| format!("{byte:02x}")).collect();
        let table = image.len() - header.total_len;
        Ok(Built { name: name.to_owned(), path, bytes: image.len(), table, ram, sha256 })
    }
}

/// Says what was built.
pub fn print(tasks: &[Built], json: bool) -> Result<()> {
    if json {
        let all: Vec<Value> = tasks.iter().map(Built::json).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!("{:<14} {:>7} {:>7} {:>7}  sha256", "task", "bytes", "table", "memory");
    for task in tasks {
        println!("{:<14} {:>7} {:>7} {:>7}  {}", task.name, task.bytes, task.table, task.ram, task.sha256);
    }
    Ok(())
}

impl Built {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "path": self.path,
            "bytes": self.bytes,
            "table_bytes": self.table,
            "ram_bytes": self.ram,
            "sha256": self.sha256,
        })
    }
}
