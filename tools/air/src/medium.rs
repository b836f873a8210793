//! What happens to a frame in the air.
//!
//! ```text
//!   send -> [queue -> back-off -> channel free?] -> airtime left? -> on the air -> every other radio:
//!           Channel::Shared only                                                   in reach, undisturbed, by chance
//! ```
//!
//! Nothing here reads a clock, waits or draws other numbers than those of the seed: the caller says what is sent and
//! when, and asks with [`Medium::poll`] what has come of it until a given time.

use crate::csma::{self, Backoff};
use crate::frame::Frame;
use crate::random::Random;
use crate::scene::{Channel, Conditions, Scene};
use crate::seat::{Activity, Seat};
use crate::stats::Stats;
use crate::terrain::{Hearing, Spot, Terrain};
use lowpan::{Eui64, FRAME_MAX};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Radios that a medium carries beside those that its scene names.
pub const STRANGERS_MAX: usize = 4096;
/// Frames on their way at once, each counted once for every receiver that it is held back for; more are lost.
pub const IN_FLIGHT_MAX: usize = 65_536;

/// A radio: first those of the scene, then others by the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RadioId(pub usize);

/// Something that has come to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame begins.
    OnAir {
        /// Its sender.
        from: RadioId,
        /// It.
        frame: Frame,
        /// When, microseconds.
        at_us: u64,
    },
    /// A radio has heard a frame to its end.
    Heard {
        /// The receiver.
        to: RadioId,
        /// It.
        frame: Frame,
        /// When, microseconds.
        at_us: u64,
    },
}

/// What is to be done at some time.
#[derive(Debug)]
enum Due {
    /// A radio has one more frame to send.
    Offer(RadioId, Frame),
    /// A radio has listened to the channel.
    Sense(RadioId, Backoff),
    /// A radio begins to send.
    Launch(RadioId),
    /// A transmission is over.
    End(u64),
    /// A radio hears a frame.
    Hear(RadioId, Frame),
}

/// A frame in the air.
#[derive(Debug)]
struct Transmission {
    from: RadioId,
    frame: Frame,
    start_us: u64,
    end_us: u64,
    /// Who else sent meanwhile.
    others: BTreeSet<RadioId>,
}

/// The medium's state.
#[derive(Debug)]
pub struct Medium {
    terrain: Terrain,
    random: Random,
    /// The latest time that is accounted for, microseconds.
    now_us: u64,
    seats: Vec<Seat>,
    /// Seats of strangers that have left, and when nothing of them is in the air any more.
    vacant: VecDeque<(u64, RadioId)>,
    on_air: BTreeMap<u64, Transmission>,
    /// By time in microseconds, what comes from outside last, and order of entry: so it does not matter how often
    /// the caller asks.
    agenda: BTreeMap<(u64, bool, u64), Due>,
    events: VecDeque<Event>,
    /// Counts entries and transmissions.
    count: u64,
    total: Stats,
}

impl Medium {
    /// An empty medium. The same seed and the same frames at the same times give the same fates.
    pub fn new(scene: impl Into<Scene>, seed: u64) -> Self {
        let terrain = Terrain::new(scene.into());
        let seats = (0..terrain.named()).map(|number| Seat::new(terrain.name(number))).collect();
        Self {
            terrain,
            random: Random::new(seed),
            now_us: 0,
            seats,
            vacant: VecDeque::new(),
            on_air: BTreeMap::new(),
            agenda: BTreeMap::new(),
            events: VecDeque::new(),
            count: 0,
            total: Stats::default(),
        }
    }

    /// Adds a radio of which nothing is known, if there is room.
    pub fn attach(&mut self) -> Option<RadioId> {
        if let Some((_, id)) = self.vacant.front().copied().filter(|(from_us, _)| *from_us <= self.now_us) {
            self.vacant.pop_front();
            self.seats[id.0] = Seat::attached(self.now_us);
            return Some(id);
        }
        if self.seats.len() >= self.terrain.named() + STRANGERS_MAX {
            self.total.refused += 1;
            return None;
        }
        self.seats.push(Seat::attached(self.now_us));
        Some(RadioId(self.seats.len() - 1))
    }

    /// Switches on a radio that the scene names; `None` if it does not.
    pub fn attach_as(&mut self, eui64: Eui64) -> Option<RadioId> {
        let number = self.terrain.spot(eui64)?;
        let seat = &mut self.seats[number];
        if !seat.present {
            (seat.present, seat.since_us) = (true, self.now_us);
        }
        Some(RadioId(number))
    }

    /// Takes a radio off the air that the scene does not name; those that it does stay.
    pub fn detach(&mut self, id: RadioId) {
        if id.0 < self.terrain.named() || !self.seats.get(id.0).is_some_and(|seat| seat.present) {
            return;
        }
        self.seats[id.0] = Seat::new(None);
        let held_us = self.terrain.scene().conditions.delay_max_us;
        let airtime_us = 2 * 32 * FRAME_MAX as u64;
        self.vacant.push_back((self.now_us.saturating_add(csma::LONGEST_US + airtime_us + held_us), id));
    }

    /// A radio has a frame to send. One that is not attached is not heard.
    pub fn send(&mut self, from: RadioId, frame: Frame, now_us: u64) {
        let Some(seat) = self.seats.get_mut(from.0).filter(|seat| seat.present) else {
            return self.refuse();
        };
        seat.name = seat.name.or(frame.from);
        if self.agenda.len() >= IN_FLIGHT_MAX {
            return self.tally(from, |stats| stats.overflowed += 1);
        }
        self.enter(now_us.max(self.now_us), Due::Offer(from, frame));
    }

    /// When something comes to pass next, microseconds; in the past if that has not been asked for yet.
    pub fn next_us(&self) -> Option<u64> {
        match self.events.is_empty() {
            true => self.agenda.first_key_value().map(|((at_us, ..), _)| *at_us),
            false => Some(self.now_us),
        }
    }

    /// What has come to pass until now and not been said yet, the earliest first.
    pub fn poll(&mut self, now_us: u64) -> Option<Event> {
        while self.events.is_empty() {
            let due = self.agenda.first_entry().filter(|entry| entry.key().0 <= now_us);
            let Some(((at_us, ..), due)) = due.map(|entry| entry.remove_entry()) else {
                self.now_us = self.now_us.max(now_us);
                return None;
            };
            debug_assert!(at_us >= self.now_us, "the agenda is in order");
            self.now_us = at_us;
            match due {
                Due::Offer(from, frame) => self.offer(from, frame),
                Due::Sense(id, backoff) => self.sense(id, backoff),
                Due::Launch(id) => self.launch(id),
                Due::End(number) => self.end(number),
                Due::Hear(to, frame) => self.events.push_back(Event::Heard { to, frame, at_us }),
            }
        }
        self.events.pop_front()
    }

    /// Counts a datagram that is no frame.
    pub fn refuse(&mut self) {
        self.total.refused += 1;
    }

    /// What was carried so far.
    pub fn stats(&self) -> Stats {
        self.total
    }

    /// What each radio sent and heard so far, under the EUI-64 that it showed first.
    pub fn radios(&self) -> impl Iterator<Item = (RadioId, Option<Eui64>, Stats)> {
        let seats = self.seats.iter().enumerate().filter(|(_, seat)| seat.present);
        seats.map(|(number, seat)| (RadioId(number), seat.name, seat.stats))
    }

    /// Entries that wait for their time: at most [`IN_FLIGHT_MAX`], and one more for every radio.
    pub fn in_flight(&self) -> usize {
        self.agenda.len()
    }

    /// Whether the scene names it.
    pub fn is_named(&self, id: RadioId) -> bool {
        id.0 < self.terrain.named()
    }

    fn enter(&mut self, at_us: u64, due: Due) {
        self.count += 1;
        self.agenda.insert((at_us, matches!(due, Due::Offer(..)), self.count), due);
    }

    fn tally(&mut self, id: RadioId, count: impl Fn(&mut Stats)) {
        count(&mut self.total);
        count(&mut self.seats[id.0].stats);
    }

    fn spot(&self, id: RadioId) -> Spot {
        self.is_named(id).then_some(id.0)
    }

    fn offer(&mut self, from: RadioId, frame: Frame) {
        if !self.seats[from.0].present {
            return; // it has been detached since
        }
        if self.terrain.scene().channel == Channel::Open {
            self.transmit(from, frame);
        } else if !self.seats[from.0].queue(frame) {
            self.tally(from, |stats| stats.overflowed += 1);
        } else if self.seats[from.0].activity == Activity::Idle {
            self.next_frame(from);
        }
    }

    /// Goes for the channel with the first frame of a queue, if there is one.
    fn next_frame(&mut self, id: RadioId) {
        let seat = &mut self.seats[id.0];
        if seat.is_drained() {
            seat.activity = Activity::Idle;
            return;
        }
        seat.activity = Activity::Contending;
        match self.terrain.scene().channel {
            Channel::Shared { csma: true } => self.back_off(id, Backoff::new()),
            _ => self.enter(self.now_us, Due::Launch(id)),
        }
    }

    fn back_off(&mut self, id: RadioId, backoff: Backoff) {
        let at_us = self.now_us + backoff.wait_us(&mut self.random);
        self.enter(at_us, Due::Sense(id, backoff));
    }

    fn sense(&mut self, id: RadioId, backoff: Backoff) {
        let own = self.spot(id);
        let busy = self.on_air.values().any(|other| {
            let hearing = self.terrain.hearing(self.spot(other.from), own, self.now_us, self.now_us + 1);
            other.end_us > self.now_us && matches!(hearing, Hearing::Good { .. })
        });
        if !busy {
            return self.enter(self.now_us + csma::TURNAROUND_US, Due::Launch(id));
        }
        self.tally(id, |stats| stats.backoffs += 1);
        match backoff.again() {
            Some(backoff) => self.back_off(id, backoff),
            None => {
                if self.seats[id.0].take().is_some() {
                    self.tally(id, |stats| stats.channel_busy += 1);
                }
                self.next_frame(id);
            }
        }
    }

    fn launch(&mut self, id: RadioId) {
        let frame = self.seats[id.0].take();
        if !frame.is_some_and(|frame| self.transmit(id, frame)) {
            self.next_frame(id);
        }
    }

    /// Puts a frame on the air, unless its sender has used up its time.
    fn transmit(&mut self, from: RadioId, frame: Frame) -> bool {
        let (start_us, airtime_us) = (self.now_us, frame.airtime_us());
        if let Some(limit) = self.terrain.duty(self.spot(from))
            && !self.seats[from.0].ledger.spend(limit, airtime_us, start_us)
        {
            self.tally(from, |stats| stats.duty_refused += 1);
            return false;
        }
        self.seats[from.0].activity = Activity::Sending;
        self.tally(from, |stats| {
            stats.frames += 1;
            stats.bytes += frame.psdu_len() as u64;
            stats.airtime_us += airtime_us;
        });
        let end_us = start_us + airtime_us;
        let mut others = BTreeSet::new();
        if self.terrain.scene().channel != Channel::Open {
            for other in self.on_air.values_mut().filter(|other| other.end_us > start_us) {
                other.others.insert(from);
                others.insert(other.from);
            }
        }
        self.events.push_back(Event::OnAir { from, frame: frame.clone(), at_us: start_us });
        let number = self.count;
        self.on_air.insert(number, Transmission { from, frame, start_us, end_us, others });
        self.enter(end_us, Due::End(number)); // counts on
        true
    }

    fn end(&mut self, number: u64) {
        let Some(sent) = self.on_air.remove(&number) else { return };
        for to in (0..self.seats.len()).map(RadioId) {
            let seat = &self.seats[to.0];
            if to != sent.from && seat.present && seat.since_us <= sent.start_us {
                self.receive(&sent, to);
            }
        }
        if self.terrain.scene().channel != Channel::Open {
            self.next_frame(sent.from);
        }
    }

    /// Decides what a radio gets of a frame that was sent.
    fn receive(&mut self, sent: &Transmission, to: RadioId) {
        let Transmission { from, frame, start_us, end_us, others } = sent;
        // One that has not said who it is may be whoever the frame is for.
        let unknown = frame.to.filter(|_| self.seats[to.0].name.is_none());
        let ear = self.spot(to).or_else(|| self.terrain.spot(unknown?));
        let hearing = |from| self.terrain.hearing(self.spot(from), ear, *start_us, *end_us);
        let loss_permille = match hearing(*from) {
            Hearing::OutOfReach => return self.tally(to, |stats| stats.out_of_reach += 1),
            Hearing::Partitioned => return self.tally(to, |stats| stats.partitioned += 1),
            Hearing::Good { .. } if others.contains(&to) => return self.tally(to, |stats| stats.deaf += 1),
            Hearing::Good { loss_permille } => loss_permille,
        };
        if others.iter().any(|other| matches!(hearing(*other), Hearing::Good { .. })) {
            return self.tally(to, |stats| stats.collided += 1);
        }
        if self.random.dice(loss_permille) {
            return self.tally(to, |stats| stats.lost += 1);
        }
        let Conditions { duplicate_permille, delay_permille, delay_max_us, .. } =
            self.terrain.scene().conditions;
        let mut held_us = 0;
        if self.random.dice(delay_permille) {
            held_us = self.random.up_to(delay_max_us);
            self.tally(to, |stats| stats.delayed += 1);
        }
        if self.hand_over(to, frame, held_us) {
            self.tally(to, |stats| stats.delivered += 1);
        }
        if self.random.dice(duplicate_permille) {
            let again_us = self.random.up_to(delay_max_us);
            if self.hand_over(to, frame, again_us) {
                self.tally(to, |stats| stats.duplicated += 1);
            }
        }
    }

    fn hand_over(&mut self, to: RadioId, frame: &Frame, held_us: u64) -> bool {
        if self.agenda.len() >= IN_FLIGHT_MAX {
            self.tally(to, |stats| stats.overflowed += 1);
            return false;
        }
        self.enter(self.now_us.saturating_add(held_us), Due::Hear(to, frame.clone()));
        true
    }
}
