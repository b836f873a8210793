//! Many seeds for a short time, the same seed twice, and that what is wrong is noticed.

use sim::{Outcome, Run, Sabotage, run, run_all};

/// Seeds of one run of the tests, and their virtual minutes. Many more for longer: `micro sim --seeds 0..10000`.
const SEEDS: std::ops::Range<u64> = 0..200;
const MINUTES: u64 = 8;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

#[test]
fn every_invariant_holds_in_every_world() {
    let mut failed: Vec<Outcome> = Vec::new();
    let mut starts = 0;
    run_all(SEEDS, MINUTES, Sabotage::None, threads(), |outcome| {
        starts += outcome.stats.starts;
        failed.extend(outcome.violation.is_some().then(|| outcome.clone()));
        true
    });
    for outcome in &failed {
        println!("{:?}", outcome.violation);
        println!("micro sim --seed {} --minutes {MINUTES} --trace", outcome.seed);
    }
    assert!(failed.is_empty());
    assert!(starts > SEEDS.end, "worlds in which nothing happens prove nothing: {starts} starts");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1000..1004 {
        let once = || run(Run { seed, minutes: MINUTES, sabotage: Sabotage::None }, None);
        let (first, second) = (once(), once());
        assert_eq!(first, second);
        // What is printed changes nothing.
        let traced = run(Run { seed, minutes: MINUTES, sabotage: Sabotage::None }, Some(Box::new(|_| {})));
        assert_eq!(first, traced);
        let other = run(Run { seed: seed + 1, minutes: MINUTES, sabotage: Sabotage::None }, None);
        assert_ne!(first.hash, other.hash);
    }
}

/// The first invariants that do not hold in a world that is not as it should be.
fn caught(sabotage: Sabotage) -> Vec<&'static str> {
    let mut found = Vec::new();
    run_all(0..100, 20, sabotage, threads(), |outcome| {
        found.extend(outcome.violation.as_ref().map(|violation| violation.invariant));
        found.len() < 3
    });
    found
}

#[test]
fn nodes_that_forget_what_they_wrote_are_caught() {
    assert!(!caught(Sabotage::NodeForgets).is_empty());
}

#[test]
fn a_gateway_that_forgets_what_it_committed_is_caught() {
    assert!(!caught(Sabotage::GatewayForgets).is_empty());
}
