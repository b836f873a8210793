//! What was built, beside the room and the budget that there is for it.

use anyhow::Result;
use image::board::{Map, Place};
use serde_json::{Value, json};

/// All of a board.
pub struct Report {
    board: String,
    map: Map,
    /// How much the kernel takes of ROM and RAM, if it was built.
    pub kernel: Option<(u32, u32)>,
    /// Parts of it with a budget of their own: name, flash, budget.
    pub parts: Vec<(String, u32, u32)>,
    /// Programs and slots, as they lie.
    pub rows: Vec<Row>,
    /// Where the files are.
    pub out: String,
}

/// A program or a slot.
pub struct Row {
    place: Place,
    flash: u32,
    ram: u32,
    /// For flash and memory; 0 for none.
    budget: (u32, u32),
}

impl Row {
    pub fn new(place: &Place, flash: u32, ram: u32, budget: (u32, u32)) -> Self {
        Self { place: place.clone(), flash, ram, budget }
    }

    fn json(&self) -> Value {
        let budget = |bytes: u32| (bytes > 0).then_some(bytes);
        json!({
            "name": self.place.name,
            "flash": { "start": self.place.flash.start, "len": self.place.flash.len, "used": self.flash,
                       "budget": budget(self.budget.0) },
            "ram": { "start": self.place.ram.start, "len": self.place.ram.len, "own": self.place.own_ram,
                     "used": self.ram, "budget": budget(self.budget.1) },
        })
    }
}

/// How a size stands to its budget, for people.
fn against(used: u32, budget: u32) -> String {
    match budget {
        0 => "-".to_owned(),
        budget if used > budget => format!("{budget} OVER"),
        budget => budget.to_string(),
    }
}

impl Report {
    pub fn new(board: &str, map: &Map) -> Self {
        Self {
            board: board.to_owned(),
            map: map.clone(),
            kernel: None,
            parts: Vec::new(),
            rows: Vec::new(),
            out: String::new(),
        }
    }

    /// For tools; `map.json` is the same.
    pub fn json(&self) -> Value {
        let kernel = &self.map.kernel;
        json!({
            "board": self.board,
            "target": self.map.target,
            "kernel": { "rom": kernel.rom, "ram": kernel.ram,
                        "rom_used": self.kernel.map(|kernel| kernel.0), "ram_used": self.kernel.map(|kernel| kernel.1) },
            "parts": self.parts.iter().map(|(name, used, budget)| json!({ "name": name, "flash_used": used,
                                                                          "flash_budget": budget })).collect::<Vec<_>>(),
            "flash": self.map.flash,
            "ram": self.map.ram,
            "storage": self.map.storage,
            "programs": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }

    /// Says it.
    pub fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(&self.json())?);
            return Ok(());
        }
        let line = |name: &str, cells: [String; 8]| {
            let [flash_at, flash_len, flash, flash_budget, ram_at, ram_len, ram, ram_budget] = cells;
            println!(
                "{name:<8} {flash_at:>10} {flash_len:>7} {flash:>7} {flash_budget:>11}  {ram_at:>10} {ram_len:>7} {ram:>7} \
                 {ram_budget:>11}"
            );
        };
        line("", ["flash", "room", "used", "budget", "memory", "room", "used", "budget"].map(str::to_owned));
        if let Some((rom, ram)) = self.kernel {
            let kernel = &self.map.kernel;
            let at = |start: u32| format!("{start:#x}");
            line(
                "kernel",
                [
                    at(kernel.rom.start),
                    kernel.rom.len.to_string(),
                    rom.to_string(),
                    "-".to_owned(),
                    at(kernel.ram.start),
                    kernel.ram.len.to_string(),
                    ram.to_string(),
                    "-".to_owned(),
                ],
            );
        }
        for (name, used, budget) in &self.parts {
            let blank = String::new;
            let cells = [
                blank(),
                blank(),
                used.to_string(),
                against(*used, *budget),
                blank(),
                blank(),
                blank(),
                blank(),
            ];
            line(&format!("  {name}"), cells);
        }
        for row in &self.rows {
            let place = &row.place;
            line(
                &place.name,
                [
                    format!("{:#x}", place.flash.start),
                    place.flash.len.to_string(),
                    row.flash.to_string(),
                    against(row.flash, row.budget.0),
                    format!("{:#x}", place.ram.start),
                    place.own_ram.to_string(),
                    row.ram.to_string(),
                    against(row.ram, row.budget.1),
                ],
            );
        }
        println!(
            "in {}: {}apps.bin (to {:#x}), map.json",
            self.out,
            if self.kernel.is_some() { "kernel.elf, " } else { "" },
            self.map.flash.start
        );
        Ok(())
    }
}
