//! `micro image`: everything that a board runs, built and laid out by its map, and native tasks that fit its slots.
//!
//! Nothing here is in the finished node: the kernel finds the programs by their headers, and a task's image tells its
//! slot how to move it. What does not fit is found here, with the name of what it is.

mod report;
mod tasks;
mod toolchain;
mod wrap;

use anyhow::{Context, Result, bail};
use image::board::{Map, Place};
use image::elf;
use image::relocation::{Moved, relocate, split};
use image::tbf::{Change, Header, changed};
use report::{Report, Row};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolchain::{Build, Toolchain};

#[derive(clap::Args)]
pub struct ImageArgs {
    /// The board: a folder in boards/
    board: String,
    /// Build this example task for the board's slots instead of the board's image; again for more
    #[arg(long, value_name = "NAME")]
    task: Vec<String>,
    /// Where to put what is built [default: image-BOARD]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Build by this map instead of boards/BOARD/map.toml
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// The WebAssembly engine, in place of the map's: wasmi or spacewasm
    #[arg(long, value_name = "NAME", conflicts_with = "task")]
    engine: Option<String>,
    /// Build the programs, but not the kernel
    #[arg(long, conflicts_with = "task")]
    without_kernel: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A board, and what builds for it.
struct Board {
    name: String,
    /// The boards workspace.
    dir: PathBuf,
    map: Map,
    places: Vec<Place>,
    toolchain: Toolchain,
}

pub fn image(args: &ImageArgs) -> Result<ExitCode> {
    let dir = workspace(&args.board)?;
    let path = args.map.clone().unwrap_or_else(|| dir.join(&args.board).join("map.toml"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut map = Map::parse(&text).with_context(|| path.display().to_string())?;
    for engine in map.apps.iter_mut().filter_map(|app| app.engine.as_mut()) {
        args.engine.iter().for_each(|wanted| engine.clone_from(wanted));
    }
    let places = map.places().with_context(|| path.display().to_string())?;
    let own_library = !args.task.is_empty() && !tasks::flags(&map.target).is_empty();
    let toolchain = Toolchain::find(&map.target, own_library)?;
    let board = Board { name: args.board.clone(), dir, map, places, toolchain };
    let out = args.out.clone().unwrap_or_else(|| format!("image-{}", args.board).into());
    wrap::is_there()?;
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    if args.task.is_empty() {
        let report = board.image(&out, !args.without_kernel)?;
        report.print(args.json)?;
    } else {
        let built = tasks::build(&board, &args.task, &out)?;
        tasks::print(&built, args.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The boards workspace, from here or from a folder above.
fn workspace(board: &str) -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let found = here.ancestors().map(|dir| dir.join("boards")).find(|dir| dir.join("Cargo.toml").is_file());
    let dir = found.with_context(|| {
        format!("{}: no folder boards here or above: start it in the sources", here.display())
    })?;
    if !dir.join(board).is_dir() {
        bail!("{}: no board {board}", dir.display());
    }
    Ok(dir)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// Where a program is linked to. libtock's layout (`build_scripts/libtock_layout.ld`) counts memory that is not stored as
/// flash too ("section '.bss' will not fit in region 'FLASH'"), so the linker is given both; what is stored is checked here.
fn linked_at(place: &Place, moved: Moved) -> [(&'static str, String); 4] {
    [
        ("LIBTOCK_LINKER_FLASH", format!("{:#x}", place.flash.start.wrapping_add(moved.flash))),
        ("LIBTOCK_LINKER_FLASH_LENGTH", format!("{:#x}", place.flash.len + place.own_ram)),
        ("LIBTOCK_LINKER_RAM", format!("{:#x}", place.ram.start.wrapping_add(moved.ram))),
        ("LIBTOCK_LINKER_RAM_LENGTH", format!("{:#x}", place.own_ram)),
    ]
}

impl Board {
    /// Builds the kernel and all programs.
    fn image(&self, out: &Path, with_kernel: bool) -> Result<Report> {
        let mut report = Report::new(&self.name, &self.map);
        if with_kernel {
            report.kernel = Some(self.kernel(out)?);
            let elf = std::fs::read(out.join("kernel.elf"))?;
            let parts = self.map.kernel.part.iter();
            report.parts = parts
                .map(|part| (part.name.clone(), elf::of_parts(&elf, &part.symbols), part.flash_budget))
                .collect();
        }
        let mut programs = Vec::new();
        for (app, place) in self.map.apps.iter().zip(&self.places) {
            let at = linked_at(place, Moved::default());
            let executable = self.build(&app.package, &app.bin, &at, app.engine.as_deref())?;
            let wrapped = wrap::wrap(&executable, &place.name)?;
            let header = Header::parse(&wrapped.tbf)?;
            place.takes(&header, wrapped.ram)?;
            programs.extend(filled(&wrapped.tbf, place)?);
            let budget = (app.flash_budget, app.ram_budget);
            report.rows.push(Row::new(place, header.total_len as u32, wrapped.ram, budget));
        }
        let slots = self.slots();
        if let Some(first) = slots.first() {
            let links = tasks::link(self, &[&self.map.slots.bin], first)?;
            for (place, links) in slots.iter().zip(links.iter().cycle()) {
                let (tbf, ram) = placeholder(links, first, place)?;
                let header = Header::parse(&tbf)?;
                place.takes(&header, ram)?;
                programs.extend(filled(&tbf, place)?);
                report.rows.push(Row::new(place, header.total_len as u32, ram, (0, 0)));
            }
        }
        write(&out.join("apps.bin"), &programs)?;
        write(&out.join("map.json"), serde_json::to_string_pretty(&report.json())?.as_bytes())?;
        report.out = out.display().to_string();
        Ok(report)
    }

    /// Builds the kernel: how much it takes of its ROM and RAM.
    fn kernel(&self, out: &Path) -> Result<(u32, u32)> {
        let kernel = &self.map.kernel;
        let executable = self.build(&kernel.package, &kernel.bin, &[], None)?;
        let segments = wrap::segments(&executable)?;
        let used = match elf::stored(&segments, kernel.rom) {
            Ok(used) => used,
            Err(segment) => bail!(
                "the kernel has {} bytes at {:#x}, outside its ROM of {} bytes at {:#x}",
                segment.stored,
                segment.stored_at,
                kernel.rom.len,
                kernel.rom.start
            ),
        };
        let ends = segments.iter().filter(|segment| segment.writable && segment.size > 0);
        let end = ends.map(|segment| u64::from(segment.address) + u64::from(segment.size)).max().unwrap_or(0);
        if end > kernel.ram.end() {
            bail!("the kernel's memory ends at {end:#x}, and the map ends it at {:#x}", kernel.ram.end());
        }
        std::fs::copy(&executable, out.join("kernel.elf")).with_context(|| out.display().to_string())?;
        Ok((used, (end.saturating_sub(kernel.ram.start.into())) as u32))
    }

    /// The places of the slots.
    fn slots(&self) -> &[Place] {
        self.places.get(self.map.apps.len()..).unwrap_or_default()
    }

    fn build(
        &self,
        package: &str,
        bin: &str,
        env: &[(&str, String)],
        feature: Option<&str>,
    ) -> Result<PathBuf> {
        let build = Build { package, bins: &[bin], env, rustflags: &[], feature };
        let built = self.toolchain.build(&self.dir, &build)?;
        built.into_iter().next().context("cargo built nothing")
    }
}

/// What a slot holds at first: a task that is linked for the first slot, and moved from there as a slot moves tasks.
fn placeholder(links: &tasks::Linked, first: &Place, place: &Place) -> Result<(Vec<u8>, u32)> {
    let (image, ram) = links.image(&place.name)?;
    let header = Header::parse(&image)?;
    let (binary, places) = split(&image, &header)?;
    let mut binary = binary.to_vec();
    let moved = Moved {
        flash: place.flash.start.wrapping_sub(first.flash.start),
        ram: place.ram.start.wrapping_sub(first.ram.start),
    };
    relocate(&mut binary, &places, moved);
    let there = Change {
        flash_start: Some(place.flash.start),
        ram_start: Some(place.ram.start),
        ..Change::default()
    };
    Ok((changed(&binary, there)?, ram))
}

/// A Tock binary that takes all of its place.
fn filled(tbf: &[u8], place: &Place) -> Result<Vec<u8>> {
    let whole = Change { total_len: Some(place.flash.len), ram: Some(place.own_ram), ..Change::default() };
    changed(tbf, whole).with_context(|| place.name.clone())
}
