//! How long it takes until a node that died is given up, and that one which lives on a bad radio never is.

use crate::world::{NODE, World};
use gateway::bridge::FromNode;
use gateway::session::Config;
use node_proto::Power;

/// Pauses between polls, seconds, and the longest silence after which a node's lease lapses: three pauses, but not
/// less than one and what a message with all its repetitions takes (MAX_TRANSMIT_WAIT, RFC 7252 §4.8.2).
const BOUNDS: [(u16, u64); 5] = [(1, 94), (5, 98), (15, 108), (60, 180), (300, 900)];

#[test]
fn the_bound_is_what_the_readme_says() {
    for (poll_s, bound_s) in BOUNDS {
        assert_eq!(Config::default().lease_ms(poll_s), bound_s * 1000, "polls every {poll_s} s");
    }
}

#[test]
fn a_dead_node_lapses_within_its_bound() {
    for (poll_s, bound_s) in BOUNDS {
        for (seed, power) in [(1, Power::Mains), (2, Power::Battery(50)), (3, Power::Mains)] {
            let mut world = World::polling(seed, 100, power, poll_s);
            // It dies at any time between two polls.
            world.run_until(u64::from(poll_s) * (20_000 + seed * 350));
            assert!(!world.events.contains(&FromNode::Lapsed));
            let died = world.now;
            world.loss_permille = 1000;
            world.air.clear();
            let heard_ago = world.sessions.view(NODE, died).unwrap().heard_ms_ago.unwrap();
            world.run_until(died + bound_s * 1000 - heard_ago - 1);
            assert!(!world.events.contains(&FromNode::Lapsed), "polls every {poll_s} s: too soon");
            world.run_until(died + bound_s * 1000);
            assert_eq!(world.events.last(), Some(&FromNode::Lapsed), "polls every {poll_s} s");
        }
    }
}

#[test]
fn a_node_that_lives_never_lapses_on_a_bad_radio() {
    for (poll_s, _) in BOUNDS {
        for seed in 1..=4 {
            let mut world = World::polling(seed, 200, Power::Battery(50), poll_s);
            world.run_until(u64::from(poll_s) * 200_000);
            assert!(world.registered && world.events.len() >= 60, "{} polls", world.events.len());
            assert!(!world.events.contains(&FromNode::Lapsed), "polls every {poll_s} s, seed {seed}");
        }
    }
}

/// What the node says of its next poll counts, up to what the gateway allows.
#[test]
fn the_lease_follows_what_a_poll_announces() {
    let mut world = World::polling(1, 0, Power::Battery(50), 300);
    world.pause_ms = 10_000;
    for (announced, lease_s) in [(1, 94), (20, 113), (300, 900), (60_000, 900), (0, 94)] {
        world.next_s = announced;
        world.run_until(world.now + 25_000);
        let heard_ago = world.sessions.view(NODE, world.now).unwrap().heard_ms_ago.unwrap();
        let lapse = world.sessions.view(NODE, world.now).unwrap().lease_ms_left;
        assert_eq!(lapse + heard_ago, lease_s * 1000, "{announced} s announced");
    }
}
