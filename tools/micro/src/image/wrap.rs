//! Tock binaries of executables, with the elf2tab of the Tock project.

use anyhow::{Context, Result, bail};
use image::elf::{self, Segment};
use image::tbf;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

/// An executable as a Tock binary, without credentials and padding.
pub struct Wrapped {
    pub tbf: Vec<u8>,
    /// Memory that it takes from its start, bytes: stack, data, bss.
    pub ram: u32,
}

/// What is loaded of an executable.
pub fn segments(executable: &Path) -> Result<Vec<Segment>> {
    let bytes = std::fs::read(executable).with_context(|| executable.display().to_string())?;
    elf::segments(&bytes).with_context(|| executable.display().to_string())
}

/// elf2tab, and how to name it.
fn program() -> (OsString, String) {
    let program = std::env::var_os("ELF2TAB").unwrap_or_else(|| "elf2tab".into());
    let shown = program.to_string_lossy().into_owned();
    (program, shown)
}

/// Whether there is an elf2tab, before anything is built for it.
pub fn is_there() -> Result<()> {
    let (program, shown) = program();
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{shown}: not found; `cargo install elf2tab` installs it, and ELF2TAB names another place")
        }
        output => output.with_context(|| shown).map(drop),
    }
}

/// Makes a Tock binary of that name.
pub fn wrap(executable: &Path, name: &str) -> Result<Wrapped> {
    let ram = elf::ram(&segments(executable)?);
    // elf2tab writes beside its input, whatever it is told.
    let dir = tempfile::tempdir()?;
    let input = dir.path().join("app.elf");
    std::fs::copy(executable, &input).with_context(|| executable.display().to_string())?;
    let (program, shown) = program();
    let output = Command::new(program)
        .args(["--deterministic", "--kernel-major", "2", "--kernel-minor", "1", "--package-name", name])
        .arg("--output-file")
        .arg(dir.path().join("app.tab"))
        .arg(&input)
        .stdin(Stdio::null())
        .output()
        .with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("{shown} {}: {}", executable.display(), String::from_utf8_lossy(&output.stderr).trim_end());
    }
    let made = dir.path().join("app.tbf");
    let tbf = std::fs::read(&made)
        .with_context(|| format!("{shown} made no Tock binary of {}", executable.display()))?;
    let tbf = tbf::trimmed(&tbf).with_context(|| format!("{shown}: {name}"))?;
    Ok(Wrapped { tbf, ram })
}
