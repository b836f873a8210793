//! Tock for QEMU.
#![no_std]
