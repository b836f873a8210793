//! What builds for a board: cargo with a target that rustup has, or with the standard library's sources.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's compiler, which has no libraries for microcontrollers, but their sources in a package.
const DEBIAN: &str = "/usr/bin/rustc";

/// How to build for one target.
pub struct Toolchain {
    target: String,
    /// The compiler, if it is another one than cargo would take, and whether it makes the standard library too.
    rustc: Option<PathBuf>,
    from_sources: bool,
}

/// Which executables of which package, and what their build is told.
pub struct Build<'a> {
    pub package: &'a str,
    pub bins: &'a [&'a str],
    pub env: &'a [(&'a str, String)],
    pub rustflags: &'a [&'a str],
    /// The one feature to build it with, if not by its default.
    pub feature: Option<&'a str>,
}

impl Toolchain {
    /// Looks for one. `own_library` wants the standard library built with the program's own flags.
    pub fn find(target: &str, own_library: bool) -> Result<Self> {
        let found = |rustc: Option<&str>, from_sources| Self {
            target: target.to_owned(),
            rustc: rustc.map(PathBuf::from),
            from_sources,
        };
        if !own_library
            && said("rustc", &["--print", "target-libdir", "--target", target])
                .is_some_and(|dir| dir.is_dir())
        {
            return Ok(found(None, false));
        }
        for rustc in [DEBIAN, "rustc"] {
            let sources =
                said(rustc, &["--print", "sysroot"]).map(|root| root.join("lib/rustlib/src/rust/library"));
            if sources.is_some_and(|dir| dir.is_dir()) {
                return Ok(found((rustc == DEBIAN).then_some(DEBIAN), true));
            }
        }
        let why = if own_library { " with its own flags" } else { "" };
        bail!(
            "nothing here builds for {target}{why}: `rustup target add {target}` and `rustup component add rust-src`, or on \
             Debian 12 the packages rustc-web, rust-web-src, rust-web-llvm and lld-22"
        )
    }

    /// Builds executables of the boards workspace in `dir`, and gives where they are.
    pub fn build(&self, dir: &Path, build: &Build<'_>) -> Result<Vec<PathBuf>> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(dir).args(["build", "--release", "--message-format=json-render-diagnostics"]);
        cargo.args(["--target", &self.target, "-p", build.package]);
        cargo.args(build.bins.iter().flat_map(|bin| ["--bin", bin]));
        if let Some(feature) = build.feature {
            cargo.args(["--no-default-features", "--features", feature]);
        }
        if !build.rustflags.is_empty() {
            let flags: Vec<_> = build.rustflags.iter().map(|flag| format!("{flag:?}")).collect();
            cargo.args(["--config", &format!("target.{}.rustflags=[{}]", self.target, flags.join(","))]);
        }
        if let Some(rustc) = &self.rustc {
            cargo.env("RUSTC", rustc);
        }
        if self.from_sources {
            // Without the sign that it may, a stable compiler does not build the library. Both crates want the feature:
            // core alone lacks what alloc then calls.
            cargo.env("RUSTC_BOOTSTRAP", "1").args([
                "-Z",
                "build-std=core,alloc,compiler_builtins",
                "-Z",
                "build-std-features=core/optimize_for_size,alloc/optimize_for_size",
            ]);
        }
        // The flags of the root workspace's build would take the place of those that the boards have in a file.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        cargo.envs(build.env.iter().map(|(name, value)| (name, value)));
        let output = cargo
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cargo: cannot be started")?;
        if !output.status.success() {
            let bins = build.bins.join(" --bin ");
            bail!("{}: `cargo build -p {} --bin {bins}` failed", dir.display(), build.package);
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let messages: Vec<Value> =
            messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let executable = |bin: &&str| {
            let ours = messages.iter().filter(|message| message["target"]["name"] == **bin);
            let path = ours.filter_map(|message| message["executable"].as_str()).next_back();
            path.map(PathBuf::from)
                .with_context(|| format!("cargo names no executable {bin} of package {}", build.package))
        };
        build.bins.iter().map(executable).collect()
    }
}

/// The first line that a program says, if it is a path.
fn said(program: &str, args: &[&str]) -> Option<PathBuf> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned();
    (output.status.success() && !line.is_empty()).then(|| PathBuf::from(line))
}
