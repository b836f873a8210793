//! `micro check`: whether an image would run, where, and what to ask for, before anybody launches it.
//!
//! The node's own inspection answers (`agent_wasm::inspect`): what is refused here is refused there, in these words.

use crate::demo;
use agent_posix::board::Board;
use agent_wasm::abi::{self, CAPABILITY_NAMES};
use agent_wasm::inspect::{self, Image};
use agent_wasm::{Screen, StartError};
use anyhow::{Context, Result, bail};
use grants::Capabilities;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::ExitCode;

/// What a megabyte of Mesos has, bytes.
const MB: u64 = 1 << 20;

#[derive(clap::Args)]
pub struct CheckArgs {
    /// The image
    image: PathBuf,
    /// The exported function to run
    #[arg(long, default_value = abi::ENTRY, value_name = "NAME")]
    entry: String,
    /// Share of a node's core that it is to get
    #[arg(long, value_name = "SHARE")]
    cpus: Option<f64>,
    /// Memory that it is to get, MB; what it needs if absent
    #[arg(long, value_name = "MB")]
    mem: Option<f64>,
    /// A board to try it on, as `micro node` takes it; again for more. Those of the demo and the default if absent
    #[arg(long, value_name = "DESCRIPTION")]
    board: Vec<Board>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a launch would ask for.
struct Wish {
    cpu_permille: Option<u64>,
    mem_bytes: u64,
}

/// What is found out about an image.
struct Report {
    path: String,
    bytes: usize,
    sha256: String,
    /// What it is made of, if that can be read.
    image: Option<Image>,
    /// True if all of it is, its code included.
    valid: bool,
    floats: bool,
    /// Why no node starts it.
    refused: Option<StartError>,
    /// Each board, and why it does not run there.
    boards: Vec<(String, Vec<String>)>,
}

pub fn check(args: &CheckArgs) -> Result<ExitCode> {
    let path = args.image.display().to_string();
    let bytes = std::fs::read(&args.image).with_context(|| path.clone())?;
    let amount = |name: &str, value: Option<f64>, max: f64| match value {
        Some(value) if !(0.0..=max).contains(&value) => bail!("--{name} {value}: expected 0 to {max}"),
        value => Ok(value.map(|value| (value * 1000.0).round() as u64)),
    };
    let cpu_permille = amount("cpus", args.cpus, 1.0)?;
    let mem_bytes = amount("mem", args.mem, f64::from(u32::MAX / MB as u32))?.map(|milli| milli * MB / 1000);
    let boards = if args.board.is_empty() { known_boards()? } else { args.board.clone() };
    let report = examine(path, &bytes, &args.entry, cpu_permille, mem_bytes, &boards);
    if args.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text(&args.entry));
    }
    Ok(if report.would_run() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The board of a node that is told nothing, and those of the demo.
fn known_boards() -> Result<Vec<Board>> {
    std::iter::once(Ok(Board::default())).chain((0..4).map(demo::board)).collect()
}

fn examine(
    path: String,
    bytes: &[u8],
    entry: &str,
    cpu_permille: Option<u64>,
    mem_bytes: Option<u64>,
    boards: &[Board],
) -> Report {
    let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut report = Report {
        path,
        bytes: bytes.len(),
        sha256,
        image: None,
        valid: false,
        floats: inspect::has_floats(bytes),
        refused: None,
        boards: Vec::new(),
    };
    let image = match inspect::inspect(bytes) {
        Ok(image) => report.image.insert(image),
        Err(error) => {
            report.refused = Some(error);
            return report;
        }
    };
    let wish = Wish { cpu_permille, mem_bytes: mem_bytes.unwrap_or(mem_milli_mb(image) * MB / 1000) };
    let granted = Capabilities(image.capabilities());
    let mem_bytes = u32::try_from(wish.mem_bytes).unwrap_or(u32::MAX);
    let valid = inspect::validate(bytes).and_then(|()| {
        // A node looks at an image so while it fetches it.
        let mut screen = Screen::new();
        screen.push(bytes)?;
        screen.finish().map(drop)
    });
    report.valid = valid.is_ok();
    report.refused = valid.and_then(|()| image.admit(entry, None, granted, mem_bytes)).err();
    report.boards = boards.iter().map(|board| (board.name.clone(), obstacles(image, &wish, board))).collect();
    report
}

/// The least that `mem` has to be, thousandths of a megabyte.
fn mem_milli_mb(image: &Image) -> u64 {
    u64::try_from((u128::from(image.mem_bytes()) * 1000).div_ceil(MB.into())).unwrap_or(u64::MAX / MB)
}

/// Why a board would not take it, with nothing else on it.
fn obstacles(image: &Image, wish: &Wish, board: &Board) -> Vec<String> {
    let mut found = Vec::new();
    let mut more = |what: &str, wanted: u64, has: u64| {
        if wanted > has {
            found.push(format!("{what}: {wanted}, it has {has}"));
        }
    };
    more("flash bytes", image.bytes as u64, board.flash_bytes.into());
    more("memory bytes", wish.mem_bytes, board.mem_bytes.into());
    more("cpus in thousandths", wish.cpu_permille.unwrap_or(0), board.cpu_permille.into());
    let needs = Capabilities(image.capabilities());
    if needs.has(Capabilities::SENSOR) && board.sensors == 0 {
        found.push("no sensor".into());
    }
    if needs.has(Capabilities::LED) && board.leds == 0 {
        found.push("no LED".into());
    }
    found
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// The names of capabilities in a set.
fn names(set: u16) -> Vec<&'static str> {
    CAPABILITY_NAMES.iter().filter(|(_, bit)| set & bit != 0).map(|(name, _)| *name).collect()
}

/// What a launch has to say to be granted these capabilities.
fn to_ask_for(set: u16) -> Option<String> {
    let set = Capabilities(set);
    if set.has(Capabilities::KV) {
        return Some(format!("label capabilities={}", names(set.0).join(",")));
    }
    let devices = [(Capabilities::LED, "leds"), (Capabilities::SENSOR, "sensors")];
    let asked: Vec<&str> = devices.iter().filter(|(bit, _)| set.has(*bit)).map(|(_, name)| *name).collect();
    (!asked.is_empty()).then(|| format!("resource {}", asked.join(" and ")))
}

impl Report {
    fn would_run(&self) -> bool {
        self.refused.is_none() && self.boards.iter().any(|(_, obstacles)| obstacles.is_empty())
    }

    fn json(&self) -> Value {
        let image = self.image.as_ref().map(|image| {
            let imports = image.imports.iter().map(|import| {
                let capability = import.function.map(|function| names(function.capability));
                json!({
                    "name": import.name,
                    "known": import.function.is_some(),
                    "type_fits": import.fits,
                    "capability": capability.and_then(|names| names.first().copied()),
                })
            });
            let entries = image.exports.iter().filter(|export| export.is_entry).map(|export| &export.name);
            json!({
                "imports": imports.collect::<Vec<_>>(),
                "capabilities": names(image.capabilities()),
                "entries": entries.collect::<Vec<_>>(),
                "exports_memory": image.exports_memory,
                "memory_min_bytes": image.memory.map(|memory| memory.min_bytes),
                "memory_max_bytes": image.memory.and_then(|memory| memory.max_bytes),
                "page_bytes": image.memory.map(|memory| memory.page_bytes),
                "custom_page_size": image.has_custom_pages(),
                "table_elements": image.table_elements,
                "needs_bytes": image.mem_bytes(),
                "needs_mem_mb": mem_milli_mb(image) as f64 / 1000.0,
                "functions": image.functions,
                "locals_max": image.locals,
                "start_function": image.has_start,
                "floats": self.floats,
            })
        });
        let boards =
            self.boards.iter().map(|(name, obstacles)| json!({ "name": name, "obstacles": obstacles }));
        let fault = match &self.refused {
            Some(StartError::Invalid { section, offset, why }) => {
                json!({ "section": section, "offset": offset, "why": why })
            }
            _ => Value::Null,
        };
        json!({
            "image": self.path,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "would_run": self.would_run(),
            "refused": self.refused.as_ref().map(StartError::to_string),
            "valid": self.valid,
            "fault": fault,
            "module": image,
            "boards": boards.collect::<Vec<_>>(),
        })
    }

    fn text(&self, entry: &str) -> String {
        let mut lines = vec![
            ("image", self.path.clone()),
            ("size", format!("{} B", self.bytes)),
            ("sha256", self.sha256.clone()),
            ("valid", yes(self.valid)),
        ];
        if let Some(image) = &self.image {
            lines.extend(self.describe(image, entry));
        }
        for (name, obstacles) in &self.boards {
            let fits = if obstacles.is_empty() { "fits".into() } else { obstacles.join("; ") };
            lines.push(("board", format!("{name}: {fits}")));
        }
        let verdict = match &self.refused {
            Some(why) => format!("would not run: {why}"),
            None if self.would_run() => "would run".into(),
            None => "would not run: it fits none of these boards".into(),
        };
        let lines = lines.into_iter().map(|(name, value)| format!("{name:<10} {value}\n"));
        lines.chain([format!("{verdict}\n")]).collect()
    }

    fn describe(&self, image: &Image, entry: &str) -> Vec<(&'static str, String)> {
        let listed = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        let imports = image.imports.iter().map(|import| match import.function {
            None => format!("{} (unknown)", import.name),
            Some(_) if !import.fits => format!("{} (of another type)", import.name),
            Some(_) => import.name.clone(),
        });
        let entries = image.exports.iter().filter(|export| export.is_entry).map(|export| {
            if export.name == entry { format!("{} (to be run)", export.name) } else { export.name.clone() }
        });
        let mut needs = listed(names(image.capabilities()).into_iter().map(str::to_owned).collect());
        if let Some(how) = to_ask_for(image.capabilities()) {
            needs += &format!(" ({how})");
        }
        let memory = image.memory.map_or("none".to_owned(), |memory| {
            let grows = memory.max_bytes.map_or("as granted".into(), |bytes| format!("to {bytes} B"));
            format!("{} B, grows {grows}; pages of {} B", memory.min_bytes, memory.page_bytes)
        });
        let mem = mem_milli_mb(image);
        let least = format!("{} B: ask for mem {}.{:03} or more", image.mem_bytes(), mem / 1000, mem % 1000);
        vec![
            ("imports", listed(imports.collect())),
            ("calls", needs),
            ("entries", listed(entries.collect())),
            ("memory", memory),
            ("table", format!("{} elements", image.table_elements)),
            ("needs", least),
            ("functions", format!("{}, {} locals at most", image.functions, image.locals)),
            ("own pages", yes(image.has_custom_pages())),
            ("floats", yes(self.floats)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, entry: &str, mem_bytes: Option<u64>, boards: &[Board]) -> Report {
        let path = format!("{}/../task-sdk/images/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap();
        examine(path, &bytes, entry, Some(100), mem_bytes, boards)
    }

    fn fitting(report: &Report) -> Vec<&str> {
        report.boards.iter().filter(|(_, why)| why.is_empty()).map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn an_image_fits_where_its_devices_are() {
        let boards = known_boards().unwrap();
        let blink = of("blink", "run", None, &boards);
        assert!(blink.would_run(), "{:?}", blink.refused);
        assert_eq!(fitting(&blink), ["posix", "lights"]);
        assert_eq!(fitting(&of("sense", "run", None, &boards)), ["posix", "weather"]);
        assert_eq!(fitting(&of("hello", "run", None, &boards)).len(), boards.len());
        let text = blink.text("run");
        assert!(text.contains("resource leds") && text.ends_with("would run\n"), "{text}");
        let json = blink.json();
        assert_eq!((&json["would_run"], &json["module"]["custom_page_size"]), (&json!(true), &json!(true)));
        assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn what_would_not_run_says_why() {
        let boards = known_boards().unwrap();
        let refused = |report: Report| {
            assert!(!report.would_run());
            report.refused.unwrap().to_string()
        };
        assert_eq!(refused(of("blink", "walk", None, &boards)), "no entry walk() -> i32");
        let little = refused(of("blink", "run", Some(100), &boards));
        assert!(little.starts_with("needs ") && little.ends_with("granted 100"), "{little}");
        let broken = examine("x".into(), b"\0asm\x01\0\0\0garbage", "run", None, None, &boards);
        let json = broken.json();
        assert!(json["module"].is_null() && json["fault"]["offset"].is_u64(), "{json}");
        assert!(refused(broken).contains("at 0x"));
        let tiny = of("hello", "run", None, &["tiny,mem=1K,flash=1K".parse().unwrap()]);
        assert!(!tiny.would_run() && tiny.refused.is_none());
        assert!(tiny.text("run").contains("fits none"), "{}", tiny.text("run"));
    }

    #[test]
    fn what_it_says_to_ask_for_is_enough_and_no_less_is() {
        for name in ["blink", "hello", "sense", "echo"] {
            let report = of(name, "run", None, &[Board::default()]);
            assert!(report.would_run(), "{name}: {:?}", report.refused);
            let milli = mem_milli_mb(report.image.as_ref().unwrap());
            let less = of(name, "run", Some((milli - 1) * MB / 1000), &[Board::default()]);
            assert!(less.refused.is_some(), "{name}: {milli}");
        }
    }
}
