//! The cast: which boards there are, and who wants what to run where.

use agent_posix::board::Board;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The board of a node by its number; from the fourth on they are plain.
pub fn board(number: u8) -> Result<Board> {
    Ok(match number {
        0 => "field,cpu=0.5,mem=64K,flash=256K,battery=92".parse()?,
        1 => "weather,cpu=0.8,mem=96K,flash=256K,sensors=1".parse()?,
        2 => "lights,cpu=1.0,mem=128K,flash=512K,leds=3".parse()?,
        more => format!("plain-{more},cpu=0.4,mem=64K,flash=128K").parse()?,
    })
}

/// What the board of the node with a real Tock kernel calls itself.
pub const TOCK_BOARD: &str = "qemu_rv32_virt";

/// Puts the images where a fetcher finds them, those for Tock among them if there is a directory of them.
pub fn write_images(dir: &Path, native: Option<&Path>) -> Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let images: [(&str, &[u8]); 6] = [
        ("blink", include_bytes!("../../../task-sdk/images/blink.wasm")),
        ("sense", include_bytes!("../../../task-sdk/images/sense.wasm")),
        ("spin", include_bytes!("../../../task-sdk/images/spin.wasm")),
        ("hog", include_bytes!("../../../task-sdk/images/hog.wasm")),
        ("fault", include_bytes!("../../../task-sdk/images/fault.wasm")),
        ("hello", include_bytes!("../../../task-sdk/images/hello.wasm")),
    ];
    for (name, bytes) in images {
        std::fs::write(dir.join(format!("{name}.wasm")), bytes).context("writing an image")?;
    }
    for wanted in ON_TOCK.iter().filter(|wanted| wanted.image.ends_with(".tbf")) {
        if let Some(native) = native {
            let from = native.join(wanted.image);
            std::fs::copy(&from, dir.join(wanted.image)).with_context(|| from.display().to_string())?;
        }
    }
    Ok(dir.to_owned())
}

/// A task of the scene.
pub struct Wanted {
    pub id: &'static str,
    /// File name of its image.
    pub image: &'static str,
    pub tenant: usize,
    pub board: &'static str,
    pub amounts: &'static [(&'static str, f64)],
    pub args: &'static [&'static str],
    /// It never ends by itself, and is killed once its share shows.
    pub endless: bool,
}

pub const TENANTS: [&str; 3] = ["alice", "bob", "carol"];

/// What runs on the nodes that are Linux processes.
pub const WANTED: [Wanted; 6] = [
    Wanted {
        id: "blink",
        image: "blink.wasm",
        tenant: 0,
        board: "lights",
        amounts: &[("cpus", 0.2), ("mem", 0.008), ("leds", 1.0)],
        args: &["16", "250"],
        endless: false,
    },
    Wanted {
        id: "spin",
        image: "spin.wasm",
        tenant: 2,
        board: "lights",
        amounts: &[("cpus", 0.25), ("mem", 0.008)],
        args: &[],
        endless: true,
    },
    Wanted {
        id: "sense",
        image: "sense.wasm",
        tenant: 1,
        board: "weather",
        amounts: &[("cpus", 0.1), ("mem", 0.008), ("sensors", 1.0)],
        args: &["8", "100"],
        endless: false,
    },
    Wanted {
        id: "fault",
        image: "fault.wasm",
        tenant: 0,
        board: "weather",
        amounts: &[("cpus", 0.1), ("mem", 0.008)],
        args: &[],
        endless: false,
    },
    Wanted {
        id: "hog",
        image: "hog.wasm",
        tenant: 1,
        board: "field",
        amounts: &[("cpus", 0.1), ("mem", 0.016)],
        args: &[],
        endless: false,
    },
    Wanted {
        id: "hello",
        image: "hello.wasm",
        tenant: 2,
        board: "field",
        amounts: &[("cpus", 0.1), ("mem", 0.008)],
        args: &["to", "the", "field"],
        endless: false,
    },
];

/// What runs beside on a node with a Tock kernel: the same source as wasm and as a native process, a native process that
/// never ends, and one that stores to null.
pub const ON_TOCK: [Wanted; 4] = [
    Wanted {
        id: "tock-wasm",
        image: "hello.wasm",
        tenant: 0,
        board: TOCK_BOARD,
        amounts: &[("cpus", 0.1), ("mem", 0.008)],
        args: &["in", "wasm"],
        endless: false,
    },
    Wanted {
        id: "tock-native",
        image: "hello.tbf",
        tenant: 1,
        board: TOCK_BOARD,
        amounts: &[("cpus", 0.1), ("mem", 0.032)],
        args: &["as", "a", "process"],
        endless: false,
    },
    Wanted {
        id: "tock-spin",
        image: "spin.tbf",
        tenant: 2,
        board: TOCK_BOARD,
        amounts: &[("cpus", 0.25), ("mem", 0.032)],
        args: &[],
        endless: true,
    },
    Wanted {
        id: "tock-null",
        image: "null.tbf",
        tenant: 0,
        board: TOCK_BOARD,
        amounts: &[("cpus", 0.1), ("mem", 0.032)],
        args: &[],
        endless: false,
    },
];
