//! What a day costs a node's battery: fixed pings every 15 s against polls that are announced and back off.

use super::pair::{DATAGRAM_MS, Pair, Setup};
use anyhow::{Context as _, Result};
use gateway::energy::NRF52840;
use gateway::{BATTERY_MAH, session};
use node_proto::{Power, State};

const HOUR_MS: u64 = 3_600_000;
/// Bytes of the image that a busy day's tasks run.
const IMAGE_LEN: usize = 2_560;
/// How long such a task runs, milliseconds.
const RUN_MS: u64 = 30_000;
/// `agent_ping_timeout` times `max_agent_ping_timeouts` of a Mesos master, seconds.
const MASTER_S: u64 = 75;

/// Prints the table.
pub fn day() -> Result<()> {
    println!(
        "a day of a node on an {} with {BATTERY_MAH} mAh; a datagram takes {DATAGRAM_MS} ms of its processor:",
        NRF52840.name
    );
    println!(
        "{:<40} {:>9} {:>11} {:>9} {:>10} {:>9} {:>8}",
        "", "frames/h", "listens s/d", "mAh/d", "life days", "launch s", "lost s"
    );
    let ways = [
        ("radio always on, polls every 15 s", Power::Mains, 15),
        ("asleep, polls every 15 s", Power::Battery(90), 15),
        ("asleep, up to 60 s (default)", Power::Battery(90), 60),
        ("asleep, up to 300 s", Power::Battery(90), 300),
        ("asleep, up to 1200 s", Power::Battery(90), 1200),
    ];
    for launches in [0, 24] {
        println!("{launches} launches, each with an image already there but for the first:");
        for (name, power, poll_s) in ways {
            row(name, power, poll_s, launches)?;
        }
    }
    println!("launch: order to RUNNING, mean. lost: after so long the master gives up a node that has died.");
    Ok(())
}

fn row(name: &str, power: Power, poll_s: u16, launches: u64) -> Result<()> {
    let setup = Setup { power, poll_s, busy_poll_ms: 1_000, loss_permille: 20, seed: 7, run_ms: RUN_MS };
    let mut pair = Pair::new(setup, IMAGE_LEN)?;
    let mut waited_ms = 0;
    for number in 0..launches {
        // Not at the same moment of every pause.
        let at = number * 24 * HOUR_MS / launches + HOUR_MS / 2 + number * 977_000 % HOUR_MS / 4;
        pair.run(at, |_| false)?;
        let task = pair.launch()?;
        let begun = pair.now_ms();
        let running = |pair: &Pair| pair.states.get(&task) == Some(&State::Running);
        pair.run(at + HOUR_MS, running)?.with_context(|| format!("{name}: task {task} never ran"))?;
        waited_ms += pair.now_ms() - begun;
        let ended = |pair: &Pair| pair.states.get(&task).is_some_and(|state| state.is_terminal());
        pair.run(at + 2 * HOUR_MS, ended)?.with_context(|| format!("{name}: task {task} never ended"))?;
        pair.forget(task);
    }
    pair.run(24 * HOUR_MS, |_| false)?;
    let used = pair.vitals.context("the node said nothing of itself")?;
    let days = f64::from(used.uptime_s) / 86_400.0;
    let charge = NRF52840.charge(&used);
    let launch = match launches {
        0 => "-".to_owned(),
        _ => format!("{:.1}", waited_ms as f64 / 1000.0 / launches as f64),
    };
    println!(
        "  {name:<38} {:>9.1} {:>11.1} {:>9.3} {:>10.0} {launch:>9} {:>8}",
        pair.tally.frames as f64 / 24.0,
        used.listened_ms as f64 / 1000.0 / days,
        charge.total_mah() / days,
        NRF52840.life_days(&used, BATTERY_MAH).unwrap_or(0.0),
        session::Config::default().lease_ms(poll_s) / 1000 + MASTER_S,
    );
    Ok(())
}
