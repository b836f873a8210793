//! What a gateway asks of a node. Field order is the wire order: a change needs a new [`crate::limits::VERSION`].

use crate::limits::*;
use crate::messages::*;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// One order to a node, the same in a poll's answer and in `POST /c`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its number.
    pub seq: CommandSeq,
    /// More commands wait: poll again at once.
    pub more: bool,
    /// What to do.
    pub order: Order,
}

/// What a [`Command`] asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Fetch, check and run.
    Launch(Launch),
    /// Stop a task. It ends as killed.
    Kill {
        /// Which task.
        task: TaskHandle,
        /// How long it may still run, milliseconds.
        grace_ms: u32,
    },
    /// Hand bytes to a task.
    Message {
        /// Which task.
        task: TaskHandle,
        /// The bytes.
        data: Vec<u8, MESSAGE_DATA_MAX>,
    },
    /// Fetch bytes that are too many for [`Order::Message`], hand them to a task, and only then call the command seen:
    /// until then the gateway keeps them. They are at [`crate::paths::BODY`], by the command's number.
    Fetch {
        /// Which task.
        task: TaskHandle,
        /// How many bytes, at most [`MESSAGE_LONG_MAX`].
        len: u16,
    },
}

/// How to run a task. The rest (entry, arguments, environment) is in its [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Its name on the node.
    pub task: TaskHandle,
    /// Where to get the image.
    pub image: ImageHandle,
    /// Length of the image, bytes.
    pub image_len: u32,
    /// First half of the image's SHA-256: 128 bits tie the bytes fetched to what the gateway checked.
    pub digest: [u8; 16],
    /// Length of the document, bytes; 0 if the task has none.
    pub document_len: u16,
    /// What kind of image it is.
    pub kind: Kind,
    /// Granted share of the core, thousandths.
    pub cpu_permille: u16,
    /// Granted memory, bytes.
    pub mem_bytes: u32,
    /// LEDs that it is to have for itself.
    pub leds: u8,
    /// What it may call.
    pub capabilities: Capabilities,
    /// How long it may run before it fails with [`Failure::Timeout`], seconds; 0 for as long as it likes.
    pub max_run_s: u32,
    /// It may be started again, from its beginning, by a node that restarts while it runs.
    pub resume: bool,
}

/// Kinds of image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A WebAssembly module.
    Wasm,
    /// A Tock binary for a slot.
    Native,
}

/// What is too long for a frame: fetched in blocks like an image, at most [`DOCUMENT_MAX`] bytes encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document<'a> {
    /// Name of the exported function to run; empty for `run`.
    pub entry: &'a str,
    /// Arguments, each ended by NUL.
    pub args: &'a [u8],
    /// Environment as `KEY=VALUE`, each ended by NUL.
    pub env: &'a [u8],
    /// Bytes that the framework gave the task.
    pub data: &'a [u8],
    /// A function of the task that tells whether it is well, if it is to be asked.
    pub check: Option<Check<'a>>,
    /// The image's signed [`crate::Manifest`]; empty for none.
    pub manifest: &'a [u8],
}

/// How a task is asked whether it is well: an exported function that takes nothing and returns an i32, 0 if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check<'a> {
    /// The function.
    pub entry: &'a str,
    /// Pause before the first call, seconds.
    pub delay_s: u16,
    /// Pause between calls, seconds; at least 1.
    pub interval_s: u16,
    /// How long a call may take, seconds; 0 for as long as it likes.
    pub timeout_s: u16,
    /// From the start, failures before the first success do not count for so long, seconds.
    pub grace_s: u16,
    /// Failures in a row after which the task is stopped with [`Failure::Unhealthy`]; 0 if results are only reported
    /// ([`State::Checked`] instead of [`State::Health`]).
    pub failures: u8,
}
