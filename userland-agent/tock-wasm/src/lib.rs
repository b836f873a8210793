//! The WebAssembly executor as a Tock app.
#![no_std]
