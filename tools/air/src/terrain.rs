//! Who hears whom: a scene, made ready to be asked for every frame and receiver.

use crate::duty::DutyCycle;
use crate::scene::{Link, NAMED_MAX, Partition, Radio, Scene};
use lowpan::Eui64;
use std::collections::BTreeMap;

/// A radio of the scene, by its number there; `None` is a radio that the scene does not name, or not yet.
pub(crate) type Spot = Option<usize>;

/// What one radio gets of another's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It, but for chance: probability of loss in thousandths.
    Good { loss_permille: u32 },
    /// Nothing, ever.
    OutOfReach,
    /// Nothing at this time.
    Partitioned,
}

#[derive(Debug)]
pub(crate) struct Terrain {
    scene: Scene,
    radios: Vec<Radio>,
    numbers: BTreeMap<Eui64, usize>,
    links: BTreeMap<(usize, usize), u32>,
    /// Start, end, and the group of each radio that is in one.
    partitions: Vec<(u64, u64, BTreeMap<usize, usize>)>,
}

impl Terrain {
    /// Every radio that the scene speaks of gets a number, up to [`NAMED_MAX`]; what it says of more is not heeded.
    pub fn new(scene: Scene) -> Self {
        let mut terrain = Self {
            radios: Vec::new(),
            numbers: BTreeMap::new(),
            links: BTreeMap::new(),
            partitions: Vec::new(),
            scene,
        };
        for radio in terrain.scene.radios.clone() {
            if let Some(number) = terrain.number(radio.eui64) {
                terrain.radios[number] = radio;
            }
        }
        for Link { from, to, loss_permille } in terrain.scene.links.clone() {
            if let (Some(from), Some(to)) = (terrain.number(from), terrain.number(to)) {
                terrain.links.insert((from, to), loss_permille);
            }
        }
        for Partition { from_us, to_us, groups } in terrain.scene.partitions.clone() {
            let members = groups.into_iter().enumerate();
            let members =
                members.flat_map(|(group, radios)| radios.into_iter().map(move |radio| (radio, group)));
            let groups = members.filter_map(|(radio, group)| Some((terrain.number(radio)?, group))).collect();
            terrain.partitions.push((from_us, to_us, groups));
        }
        terrain
    }

    fn number(&mut self, eui64: Eui64) -> Option<usize> {
        if let Some(number) = self.numbers.get(&eui64) {
            return Some(*number);
        }
        if self.radios.len() >= NAMED_MAX {
            return None;
        }
        self.radios.push(Radio::new(eui64));
        self.numbers.insert(eui64, self.radios.len() - 1);
        Some(self.radios.len() - 1)
    }

    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// How many radios have a number.
    pub fn named(&self) -> usize {
        self.radios.len()
    }

    pub fn spot(&self, eui64: Eui64) -> Spot {
        self.numbers.get(&eui64).copied()
    }

    pub fn name(&self, number: usize) -> Option<Eui64> {
        self.radios.get(number).map(|radio| radio.eui64)
    }

    /// The limit of airtime of a radio.
    pub fn duty(&self, spot: Spot) -> Option<DutyCycle> {
        spot.and_then(|number| self.radios[number].duty).or(self.scene.duty)
    }

    /// What of a frame that is in the air from `start_us` to `end_us` gets from one radio to another.
    pub fn hearing(&self, from: Spot, to: Spot, start_us: u64, end_us: u64) -> Hearing {
        let general = self.scene.conditions.loss_permille;
        let (Some(from), Some(to)) = (from, to) else { return Hearing::Good { loss_permille: general } };
        let Some(edge_permille) = self.by_distance(from, to) else { return Hearing::OutOfReach };
        let apart = self.partitions.iter().any(|(begin_us, until_us, groups)| {
            *begin_us < end_us
                && start_us < *until_us
                && matches!((groups.get(&from), groups.get(&to)), (Some(one), Some(other)) if one != other)
        });
        if apart {
            return Hearing::Partitioned;
        }
        match self.links.get(&(from, to)) {
            Some(1000..) => Hearing::OutOfReach,
            Some(loss_permille) => Hearing::Good { loss_permille: *loss_permille },
            // What is not lost for the one reason can be for the other.
            None => Hearing::Good {
                loss_permille: general + edge_permille * 1000u32.saturating_sub(general) / 1000,
            },
        }
    }

    /// The loss for the distance alone, in thousandths; `None` if it is too great.
    fn by_distance(&self, from: usize, to: usize) -> Option<u32> {
        let (sender, receiver) = (&self.radios[from], &self.radios[to]);
        let (Some(range_m), Some(a), Some(b)) =
            (sender.range_m.or(self.scene.range_m), sender.at_m, receiver.at_m)
        else {
            return Some(0);
        };
        let square = (a.0 - b.0) * (a.0 - b.0) + (a.1 - b.1) * (a.1 - b.1);
        let share = square / (range_m * range_m);
        // Only products and quotients, which are the same on every machine.
        (share <= 1.0).then(|| (share * share * f64::from(self.scene.edge_loss_permille)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Conditions;

    fn eui64(last: u8) -> Eui64 {
        Eui64([2, 0, 0, 0, 0, 0, 0, last])
    }

    fn at(last: u8, x: f64) -> Radio {
        Radio { at_m: Some((x, 0.0)), ..Radio::new(eui64(last)) }
    }

    fn good(loss_permille: u32) -> Hearing {
        Hearing::Good { loss_permille }
    }

    #[test]
    fn loss_rises_towards_the_edge_of_the_senders_range_and_ends_there() {
        let far = Radio { range_m: Some(202.0), ..at(4, 101.0) };
        let terrain = Terrain::new(Scene {
            range_m: Some(100.0),
            edge_loss_permille: 800,
            radios: vec![at(1, 0.0), at(2, 50.0), at(3, 100.0), far],
            ..Conditions { loss_permille: 500, ..Conditions::PERFECT }.into()
        });
        let hears =
            |from: u8, to: u8| terrain.hearing(terrain.spot(eui64(from)), terrain.spot(eui64(to)), 0, 1);
        assert_eq!(hears(1, 2), good(500 + 25));
        assert_eq!(hears(1, 3), good(500 + 400));
        assert_eq!((hears(1, 4), hears(4, 1)), (Hearing::OutOfReach, good(500 + 25)));
        assert_eq!(hears(1, 9), good(500), "a stranger is everywhere");
    }

    #[test]
    fn a_link_goes_one_way_and_a_partition_ends() {
        let link = Link { from: eui64(1), to: eui64(2), loss_permille: 1000 };
        let split =
            Partition { from_us: 10, to_us: 20, groups: vec![vec![eui64(1), eui64(3)], vec![eui64(2)]] };
        let terrain =
            Terrain::new(Scene { links: vec![link], partitions: vec![split], ..Conditions::PERFECT.into() });
        let hears = |from: u8, to: u8, start, end| {
            terrain.hearing(terrain.spot(eui64(from)), terrain.spot(eui64(to)), start, end)
        };
        assert_eq!((hears(1, 2, 0, 5), hears(2, 1, 0, 5)), (Hearing::OutOfReach, good(0)));
        assert_eq!((hears(2, 3, 5, 10), hears(2, 3, 5, 11)), (good(0), Hearing::Partitioned));
        assert_eq!((hears(2, 3, 19, 25), hears(2, 3, 20, 25)), (Hearing::Partitioned, good(0)));
        assert_eq!(hears(1, 3, 12, 13), good(0));
    }
}
