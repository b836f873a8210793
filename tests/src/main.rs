//! The `micro` command as the whole-system tests run it.

use gateway::store::{Stage, set_probe};
use std::sync::OnceLock;

/// Where a test wants this process to stop: `before 3` or `after 3`, the third commit of the gateway's store.
const STOP_AT: &str = "MICRO_TEST_STOP_AT";

static STOP: OnceLock<(Stage, u64)> = OnceLock::new();

fn main() -> std::process::ExitCode {
    let wanted = std::env::var(STOP_AT).unwrap_or_default();
    let stage = |word| if word == "before" { Stage::Before } else { Stage::After };
    if let Some((word, number)) = wanted.split_once(' ')
        && let Ok(number) = number.parse()
        && STOP.set((stage(word), number)).is_ok()
    {
        set_probe(|stage, number| {
            if STOP.get() == Some(&(stage, number)) {
                std::process::abort();
            }
        });
    }
    micro::main()
}
