//! The `micro` command as the whole-system tests run it.

use durable::{Stage, set_probe};
use std::sync::OnceLock;

/// Where a test wants this process to stop: `gateway before 3` or `master after 3`, the third commit of that store.
const STOP_AT: &str = "MICRO_TEST_STOP_AT";

static STOP: OnceLock<(String, Stage, u64)> = OnceLock::new();

fn main() -> std::process::ExitCode {
    let wanted = std::env::var(STOP_AT).unwrap_or_default();
    let stage = |word| if word == "before" { Stage::Before } else { Stage::After };
    if let [owner, word, number] = wanted.split(' ').collect::<Vec<_>>()[..]
        && let Ok(number) = number.parse()
        && STOP.set((owner.to_owned(), stage(word), number)).is_ok()
    {
        set_probe(|owner, stage, number| {
            if STOP.get().is_some_and(|stop| (stop.0.as_str(), stop.1, stop.2) == (owner, stage, number)) {
                std::process::abort();
            }
        });
    }
    micro::main()
}
