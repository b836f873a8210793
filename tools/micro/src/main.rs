//! The `micro` command.
fn main() {}
