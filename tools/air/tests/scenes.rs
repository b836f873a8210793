//! Single situations: collisions, hidden terminals, links of one way, partitions, limits of airtime.

mod support;

use air::{Channel, Conditions, DutyCycle, Event, Link, Medium, Partition, Radio, RadioId, Scene, Stats};
use support::{eui64, frame, number_of};

/// Length of the frames here, bytes, and their airtime: (6 + 98 + 2) * 32 us.
const LEN: usize = 98;
const AIRTIME_US: u64 = 3_392;

fn perfect() -> Scene {
    Conditions::PERFECT.into()
}

fn placed(number: usize, x: f64) -> Radio {
    Radio { at_m: Some((x, 0.0)), ..Radio::new(eui64(number)) }
}

/// Three in a row, of which the outer two do not hear each other.
fn row(csma: bool) -> Scene {
    let radios = vec![placed(0, 0.0), placed(1, 40.0), placed(2, 80.0)];
    Scene { channel: Channel::Shared { csma }, range_m: Some(50.0), radios, ..perfect() }
}

/// What is heard of frames (when in us, by whom) that get numbers in that order: number, receiver, time.
fn heard(scene: Scene, radios: usize, sent: &[(u64, usize)]) -> (Vec<(usize, usize, u64)>, Stats) {
    let mut medium = Medium::new(scene, 1);
    let ids: Vec<RadioId> =
        (0..radios).filter_map(|at| medium.attach_as(eui64(at)).or_else(|| medium.attach())).collect();
    for (number, (at_us, from)) in sent.iter().enumerate() {
        medium.send(ids[*from], frame(*from, 255, number, LEN), *at_us);
    }
    let mut heard = Vec::new();
    while let Some(event) = medium.poll(u64::MAX) {
        if let Event::Heard { to, frame, at_us } = event {
            heard.push((number_of(&frame), to.0, at_us));
        }
    }
    (heard, medium.stats())
}

#[test]
fn without_a_scene_everybody_hears_everything_at_once() {
    let (heard, stats) = heard(perfect(), 3, &[(0, 0), (0, 1), (10, 0)]);
    let end = AIRTIME_US;
    assert_eq!(
        heard,
        [(0, 1, end), (0, 2, end), (1, 0, end), (1, 2, end), (2, 1, end + 10), (2, 2, end + 10)]
    );
    assert_eq!((stats.collided, stats.deaf, stats.airtime_us), (0, 0, 3 * AIRTIME_US));
}

#[test]
fn two_frames_at_once_destroy_each_other_where_both_are_heard() {
    let (none, stats) = heard(row(false), 3, &[(0, 0), (AIRTIME_US - 1, 2)]);
    assert_eq!((none.len(), stats.collided, stats.out_of_reach), (0, 2, 2));
    let (both, stats) = heard(row(false), 3, &[(0, 0), (AIRTIME_US, 2)]);
    assert_eq!(both, [(0, 1, AIRTIME_US), (1, 1, 2 * AIRTIME_US)]);
    assert_eq!(stats.collided, 0);
    // The one in the middle sends: the outer two hear nothing of each other anyway, and it is deaf.
    let (outer, stats) = heard(row(false), 3, &[(0, 1), (5, 0)]);
    assert_eq!(outer, [(0, 2, AIRTIME_US)]);
    assert_eq!((stats.deaf, stats.collided), (2, 0));
}

#[test]
fn who_listens_first_collides_with_hidden_radios_mostly() {
    // Two radios with a frame each, at random distances in time of up to a frame.
    let collided = |hidden: bool, csma: bool| {
        let mut scene = row(csma);
        if !hidden {
            scene.range_m = Some(100.0);
        }
        let sent: Vec<_> =
            (0..500u64).flat_map(|round| [(round * 50_000, 0), (round * 50_000 + round * 6, 2)]).collect();
        let stats = heard(scene, 3, &sent).1;
        assert_eq!(stats.frames + stats.channel_busy, 1000);
        stats.collided
    };
    let (hidden, seen, reckless) = (collided(true, true), collided(false, true), collided(false, false));
    assert!(seen * 3 < hidden && hidden < 1000 && hidden > 400, "{seen} {hidden}");
    assert_eq!(reckless, 1000, "without listening both frames of a round are lost to the third");
    assert!(seen > 0, "the turnaround leaves a gap");
}

#[test]
fn a_busy_channel_is_given_up_in_the_end() {
    // One radio talks without pause and does not listen: it hears nobody.
    let links = vec![Link { from: eui64(1), to: eui64(0), loss_permille: 1000 }];
    let scene = Scene { links, channel: Channel::Shared { csma: true }, ..perfect() };
    let mut sent = vec![(0, 0); 40];
    sent.extend((0..40).map(|number| (number * 3_500, 1)));
    let stats = heard(scene, 2, &sent).1;
    assert!(stats.channel_busy > 0 && stats.backoffs >= 5 * stats.channel_busy, "{stats:?}");
}

#[test]
fn links_differ_by_direction() {
    let links = vec![
        Link { from: eui64(0), to: eui64(1), loss_permille: 300 },
        Link { from: eui64(2), to: eui64(1), loss_permille: 1000 },
    ];
    let sent: Vec<_> = (0..6_000).map(|number| (number * 10_000, number as usize % 3)).collect();
    let (heard, stats) = heard(Scene { links, ..perfect() }, 3, &sent);
    let count = |from, to| heard.iter().filter(|(number, at, _)| number % 3 == from && *at == to).count();
    assert_eq!(
        (count(0, 2), count(1, 0), count(1, 2), count(2, 0), count(2, 1)),
        (2000, 2000, 2000, 2000, 0)
    );
    assert!((1300..1500).contains(&count(0, 1)));
    assert_eq!((stats.out_of_reach, stats.lost), (2000, 2000 - count(0, 1) as u64));
}

#[test]
fn a_partition_begins_and_heals_and_leaves_others_alone() {
    let split = Partition { from_us: 100_000, to_us: 200_000, groups: vec![vec![eui64(0)], vec![eui64(1)]] };
    let sent = [(0, 0), (99_000, 0), (150_000, 0), (150_000, 1), (150_000, 2), (200_000, 0)];
    let (heard, stats) = heard(Scene { partitions: vec![split], ..perfect() }, 3, &sent);
    let receivers =
        |number| heard.iter().filter(|(n, ..)| *n == number).map(|(_, to, _)| *to).collect::<Vec<_>>();
    assert_eq!((receivers(0), receivers(1)), (vec![1, 2], vec![2]), "one is cut off in mid-air");
    assert_eq!((receivers(2), receivers(3), receivers(4)), (vec![2], vec![2], vec![0, 1]));
    assert_eq!((receivers(5), stats.partitioned), (vec![1, 2], 3));
}

#[test]
fn one_percent_of_an_hour_is_spent_and_then_refused_and_counted() {
    let hour = DutyCycle { airtime_us: 36_000_000, window_us: DutyCycle::HOUR_US };
    let talker = Radio { duty: Some(hour), ..Radio::new(eui64(0)) };
    let scene = Scene { radios: vec![talker, Radio::new(eui64(1))], ..perfect() };
    // Two frames a second for half an hour, and some in the hour after.
    let mut sent: Vec<_> = (0..20_000).map(|number| (number * 90_000, 0)).collect();
    sent.extend((0..10).map(|number| (3_720_000_000 + number * 90_000, 0)));
    sent.push((1_799_000_000, 1));
    let stats = heard(scene, 2, &sent).1;
    let most = 36_000_000 / AIRTIME_US;
    assert_eq!(stats.frames, most + 10 + 1);
    assert_eq!(stats.duty_refused, 20_000 - most);
}

#[test]
fn a_radio_that_has_only_greeted_hears_as_the_one_that_is_called() {
    let mut medium = Medium::new(row(false), 1);
    let (near, quiet) = (medium.attach_as(eui64(1)).unwrap(), medium.attach().unwrap());
    let mut count = |to: usize, at_us| {
        medium.send(near, frame(1, to, 0, LEN), at_us);
        std::iter::from_fn(|| medium.poll(at_us + 9_000))
            .filter(|event| matches!(event, Event::Heard { .. }))
            .count()
    };
    assert_eq!((count(2, 0), count(7, 10_000)), (1, 1));
    let far = medium.attach_as(eui64(0)).unwrap();
    medium.send(far, frame(0, 2, 0, LEN), 20_000);
    let heard: Vec<_> = std::iter::from_fn(|| medium.poll(30_000))
        .filter_map(|event| match event {
            Event::Heard { to, .. } => Some(to),
            Event::OnAir { .. } => None,
        })
        .collect();
    assert_eq!(
        heard,
        [near],
        "what is for a radio out of range is not heard by one that may be it: {quiet:?}"
    );
}
