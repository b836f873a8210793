//! The executor capsule: grants enforced by a Tock kernel.
#![no_std]
