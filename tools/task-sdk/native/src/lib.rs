//! Tasks as native Tock processes.
#![no_std]
