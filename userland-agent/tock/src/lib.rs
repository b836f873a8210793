//! The node agent as a Tock app.
#![no_std]
