//! Writes to the kernel: its code, its memory, its devices, and other processes. It faults at the first of them; exit code
//! 1 says that a store went through.
//!
//! `kernel-store [HEX]`, an address, tries that one alone.
#![no_std]
#![no_main]
task_sdk::task!(main);

/// On QEMU's virt machine code and memory of the kernel; on the nRF52840 its memory. Others are nobody's.
const PLACES: [usize; 3] = [0x8000_0000, 0x8050_0000, 0x2000_0000];

fn hex(text: &[u8]) -> Option<usize> {
    text.iter().try_fold(0usize, |sum, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(sum.checked_mul(16)? + digit as usize)
    })
}

#[allow(unsafe_code, reason = "doing what is forbidden is what this task is for")]
fn main() -> i32 {
    let _ = task_sdk::log(b"about to write to the kernel\n");
    let store = |place: usize| {
        let place = core::hint::black_box(place) as *mut u32;
        unsafe { place.write_volatile(0x6b61_7061) };
        let _ = task_sdk::log(b"written\n");
    };
    let mut buffer = [0; 32];
    match task_sdk::args(&mut buffer).next().and_then(hex) {
        Some(place) => store(place),
        None => PLACES.into_iter().for_each(store),
    }
    1
}
