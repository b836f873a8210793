//! What the node's operations cost on the air, beside the least that they could.

use super::pair::{Pair, Setup, Tally};
use anyhow::{Context as _, Result};
use lowpan::single_frame_payload;
use node_proto::paths::COAP_PORT;
use node_proto::{Power, State};

/// Bytes of the image that is fetched.
const IMAGE_LEN: usize = 10_240;
/// Bytes of a block.
const BLOCK: usize = 64;
/// Worlds that a figure with loss is the mean of.
const WORLDS: u64 = 50;
const MINUTE_MS: u64 = 60_000;

/// A node with mains whose polls do not come in between.
fn quiet(loss_permille: u64, seed: u64) -> Setup {
    let poll_s = 3600;
    Setup { power: Power::Mains, poll_s, busy_poll_ms: 3_600_000, loss_permille, seed, run_ms: u64::MAX / 2 }
}

fn until(pair: &mut Pair, what: &str, done: impl Fn(&Pair) -> bool) -> Result<Tally> {
    let took = pair.run(pair.now_ms() + 120 * MINUTE_MS, done)?;
    // What is still in the air belongs to it.
    let rest = pair.run(pair.now_ms() + 200, |_| false)?;
    debug_assert!(rest.is_none());
    took.with_context(|| format!("{what} never came true"))
}

fn step(pair: &mut Pair, what: &str, done: impl Fn(&Pair) -> bool) -> Result<Tally> {
    let begun = Tally { at_ms: 0, ..pair.tally };
    let took = until(pair, what, done)?;
    Ok(Tally { at_ms: took.at_ms, ..Tally { at_ms: 0, ..pair.tally }.since(begun) })
}

fn line(what: &str, tally: Tally, least: f64) {
    println!(
        "{what:<34} {:>8} {:>10.1} {:>8} {:>9.2}",
        tally.frames,
        least,
        tally.bytes,
        tally.at_ms as f64 / 1000.0
    );
}

/// Prints the table.
pub fn exchanges() -> Result<()> {
    println!(
        "{:<34} {:>8} {:>10} {:>8} {:>9}",
        "on the air, OSCORE included", "frames", "least", "bytes", "seconds"
    );
    let mut pair = Pair::new(quiet(0, 1), 2_560)?;
    // Asked, challenged, asked again, answered; and a poll at once.
    let joined = step(&mut pair, "the node's registration", |pair| pair.registered > 0)?;
    line("join: freshness, 1st heartbeat", joined, 6.0);
    let polls = pair.polls;
    let polled = step(&mut pair, "a poll", |pair| pair.polls > polls)?;
    line("heartbeat", Tally { at_ms: 0, ..polled }, 2.0);
    let first = pair.launch()?;
    until(&mut pair, "the first launch", |pair| pair.states.get(&first) == Some(&State::Running))?;
    let second = pair.launch()?;
    let running = |pair: &Pair| pair.states.get(&second) == Some(&State::Running);
    // The order, STARTING and RUNNING, each with its answer.
    line("launch to RUNNING, image there", step(&mut pair, "the second launch", running)?, 6.0);
    pair.kill(first)?;
    let killed = |pair: &Pair| pair.states.get(&first) == Some(&State::Killed);
    line("kill to KILLED", step(&mut pair, "a kill", killed)?, 4.0);
    for loss in [0u64, 100, 300] {
        let worlds = if loss == 0 { 1 } else { WORLDS };
        let mut sum = Tally::default();
        for seed in 1..=worlds {
            let fetched = fetch(loss, seed)?;
            sum.frames += fetched.frames;
            sum.bytes += fetched.bytes;
            sum.at_ms += fetched.at_ms;
        }
        let mean =
            Tally { frames: sum.frames / worlds, bytes: sum.bytes / worlds, at_ms: sum.at_ms / worlds };
        let blocks = IMAGE_LEN.div_ceil(BLOCK) as f64;
        let passes = 1.0 - loss as f64 / 1000.0;
        // A question is asked until it and its answer pass; it is answered each time it arrives.
        let least = blocks * (1.0 / (passes * passes) + 1.0 / passes);
        line(&format!("image of 10 kB, {}% of frames lost", loss / 10), mean, least);
    }
    let full = IMAGE_LEN.div_ceil(single_frame_payload(COAP_PORT, COAP_PORT));
    println!(
        "least: frames of as many exchanges, one block of {BLOCK} bytes each, one after the other; those with loss are"
    );
    println!(
        "means of {WORLDS} worlds. The image's bytes alone, without questions, headers or protection: {full} frames."
    );
    Ok(())
}

/// The image alone: what a launch takes with it, less what one takes without.
fn fetch(loss_permille: u64, seed: u64) -> Result<Tally> {
    let mut pair = Pair::new(quiet(0, seed), IMAGE_LEN)?;
    until(&mut pair, "the node's registration", |pair| pair.registered > 0 && pair.polls > 0)?;
    let task = pair.launch()?;
    let starting = |pair: &Pair| pair.states.get(&task) == Some(&State::Starting);
    pair.run(pair.now_ms() + MINUTE_MS, starting)?.context("the node never took the launch")?;
    pair.set_loss(loss_permille);
    let begun = pair.tally;
    let took =
        pair.run(pair.now_ms() + 600 * MINUTE_MS, |pair| pair.states.get(&task) == Some(&State::Running))?;
    let took = took.context("the image never came")?;
    // Less the two frames of RUNNING, as far as they are no repetitions.
    let frames = pair.tally.frames - begun.frames;
    Ok(Tally { frames: frames.saturating_sub(1), ..took })
}
