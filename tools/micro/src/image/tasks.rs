//! Native tasks: one file each, for every slot of a board.

use super::toolchain::Build;
use super::{Board, linked_at, wrap, write};
use anyhow::{Context, Result};
use image::board::Place;
use image::relocation::{Links, MOVES, Moved};
use image::tbf::{Change, Header, changed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

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

/// A task linked three times, as a relocation table wants it.
pub struct Linked {
    name: String,
    /// The base, with its flash elsewhere, with its memory elsewhere.
    executables: [PathBuf; 3],
    /// Where they are: cargo has but one place for an executable.
    _dir: TempDir,
}

/// Links tasks of the slots' package for a slot, and elsewhere.
pub fn link(board: &Board, names: &[&str], slot: &Place) -> Result<Vec<Linked>> {
    let package = &board.map.slots.package;
    let dirs = names.iter().map(|_| TempDir::new()).collect::<Result<Vec<_>, _>>()?;
    let still = Moved::default();
    for (n, moved) in [still, Moved { ram: 0, ..MOVES }, Moved { flash: 0, ..MOVES }].into_iter().enumerate()
    {
        let env = linked_at(slot, moved);
        let build =
            Build { package, bins: names, env: &env, rustflags: flags(&board.map.target), feature: None };
        for (dir, built) in dirs.iter().zip(board.toolchain.build(&board.dir, &build)?) {
            std::fs::copy(&built, dir.path().join(n.to_string()))
                .with_context(|| built.display().to_string())?;
        }
    }
    let linked = names.iter().zip(dirs).map(|(name, dir)| Linked {
        name: (*name).to_owned(),
        executables: ["0", "1", "2"].map(|n| dir.path().join(n)),
        _dir: dir,
    });
    Ok(linked.collect())
}

impl Linked {
    /// The image under a name, and the memory that it takes, bytes.
    pub fn image(&self, name: &str) -> Result<(Vec<u8>, u32)> {
        let [base, flash, ram] = &self.executables;
        let (base, flash, ram) = (wrap::wrap(base, name)?, wrap::wrap(flash, name)?, wrap::wrap(ram, name)?);
        // elf2tab adds what it thinks that a heap wants; nobody here has one.
        let sized = |tbf: &[u8]| changed(tbf, Change { ram: Some(base.ram), ..Change::default() });
        let (base_tbf, flash, ram) = (sized(&base.tbf)?, sized(&flash.tbf)?, sized(&ram.tbf)?);
        let links = Links { base: &base_tbf, flash: &flash, ram: &ram };
        let image = links.image().with_context(|| format!("{}: cannot be made relocatable", self.name))?;
        Ok((image, base.ram))
    }
}

/// Builds tasks: NAME.tbf in `out` for each.
pub fn build(board: &Board, names: &[String], out: &Path) -> Result<Vec<Built>> {
    let slot = board.slots().first().context("the map has no slots")?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let linked = link(board, &names, slot)?;
    let build = |linked: &Linked| {
        let name = &linked.name;
        let (image, ram) = linked.image(name)?;
        let header = Header::parse(&image)?;
        slot.has_room(name, &header, ram)?;
        let path = out.join(format!("{name}.tbf"));
        write(&path, &image)?;
        let sha256 = Sha256::digest(&image).iter().map(|byte| format!("{byte:02x}")).collect();
        let table = image.len() - header.total_len;
        Ok(Built { name: name.clone(), path, bytes: image.len(), table, ram, sha256 })
    };
    linked.iter().map(build).collect()
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
