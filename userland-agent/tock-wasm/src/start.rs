//! A start: from what the kernel has of a slot to a module that is ready to run.

use crate::kernel::{Kernel, buffer};
use crate::mouth::refusal;
use agent_wasm::limits::IMAGE_BYTES_MAX;
use agent_wasm::{Executor, Launch};
use alloc::format;
use alloc::string::{String, ToString};
use grants::syscall::{End, Part, TaskRecord};
use grants::{Capabilities, Grant, Leds};
use libtock_platform::Syscalls;
use node_proto::Document;
use node_proto::limits::DOCUMENT_MAX;

/// Reads what a slot is to run and hands it to the executor. The image is in memory for as long as that takes and no
/// longer. What is refused says how it ended, and why.
pub(crate) fn start<S: Syscalls>(
    kernel: &Kernel<'_, S>,
    executor: &mut Executor,
    slot: u8,
    record: &TaskRecord,
) -> Result<(), (End, String)> {
    let document = load(kernel, slot, Part::Document, record.document_len, DOCUMENT_MAX)?;
    let document: Document<'_> = match document.as_slice() {
        [] => Document::default(),
        bytes => postcard::from_bytes(bytes).map_err(|_| (End::BadImage, "document: not readable".into()))?,
    };
    let image = load(kernel, slot, Part::Image, record.image_len, IMAGE_BYTES_MAX)?;
    let launch = Launch {
        task: slot.into(),
        image: &image,
        entry: document.entry,
        args: document.args,
        env: document.env,
        data: document.data,
        check: document.check,
        grant: Grant {
            cpu_permille: record.cpu_permille,
            mem_bytes: record.mem_bytes,
            capabilities: Capabilities(record.capabilities),
            strict: true,
            ..Grant::default()
        },
        // The kernel counts LEDs as the task does: all that the executor has to do is leave them so.
        leds: Leds(u32::MAX.checked_shr(u32::BITS - record.leds.count_ones()).unwrap_or(0)),
    };
    let started = executor.start(&launch, kernel.clock.now_ms());
    started.map_err(|error| (refusal(&error), error.to_string()))
}

fn load<S: Syscalls>(
    kernel: &Kernel<'_, S>,
    slot: u8,
    part: Part,
    len: u32,
    max: usize,
) -> Result<alloc::vec::Vec<u8>, (End, String)> {
    let what = if part == Part::Image { "image" } else { "document" };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > max {
        return Err((End::BadImage, format!("{what}: {len} B, limit {max}")));
    }
    let Some(mut bytes) = buffer(len) else {
        return Err((End::OverMemory { asked: len as u32 }, format!("node is full: {what} needs {len} B")));
    };
    match kernel.read(slot, part, 0, &mut bytes) {
        Ok(true) => Ok(bytes),
        Ok(false) => Err((End::BadImage, format!("{what}: cut"))),
        Err(error) => Err((End::BadImage, format!("{what}: read error {}", error as u16))),
    }
}
