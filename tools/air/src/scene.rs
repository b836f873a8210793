//! What surrounds the radios: where they are, who hears whom and when. See [`Scene::read`] for its file.

use crate::duty::DutyCycle;
use lowpan::Eui64;

/// Radios that one scene may name.
pub const NAMED_MAX: usize = 4096;

/// How bad the medium is. Probabilities are in thousandths, per frame and receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Lost.
    pub loss_permille: u32,
    /// Heard twice.
    pub duplicate_permille: u32,
    /// Held back, so that later frames overtake it.
    pub delay_permille: u32,
    /// Longest time a frame is held back, microseconds.
    pub delay_max_us: u64,
}

impl Conditions {
    /// A medium that carries everything.
    pub const PERFECT: Self =
        Self { loss_permille: 0, duplicate_permille: 0, delay_permille: 0, delay_max_us: 0 };
}

/// How radios share the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Everybody sends at any time and nobody disturbs anybody: frames are on their way as soon as they are handed over.
    Open,
    /// A radio sends one frame at a time. Two at once destroy each other at whoever hears both, and a radio that
    /// sends hears nothing.
    Shared {
        /// Radios listen first, with the unslotted CSMA-CA of IEEE 802.15.4-2020, 6.2.5.1.
        csma: bool,
    },
}

/// A radio that the scene names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Radio {
    /// What it is known by: the address that its frames are from.
    pub eui64: Eui64,
    /// Where it is, metres. One that is nowhere in particular is in everybody's range, and everybody in its.
    pub at_m: Option<(f64, f64)>,
    /// How far it is heard, metres, if not as far as the scene says.
    pub range_m: Option<f64>,
    /// Its limit of airtime, if not the scene's.
    pub duty: Option<DutyCycle>,
}

impl Radio {
    /// A radio of which nothing is known but its address.
    pub fn new(eui64: Eui64) -> Self {
        Self { eui64, at_m: None, range_m: None, duty: None }
    }
}

/// What is particular about one direction between two radios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The sender.
    pub from: Eui64,
    /// The receiver.
    pub to: Eui64,
    /// Loss instead of the general one, in thousandths. Over one of 1000 nothing at all is heard: no frame is
    /// disturbed and no channel found busy by it.
    pub loss_permille: u32,
}

/// A time in which groups of radios do not hear each other; radios in none of them hear and are heard as ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its start on the medium's clock, microseconds. A frame that is in the air then is lost to the other groups.
    pub from_us: u64,
    /// Its end, microseconds.
    pub to_us: u64,
    /// Who stays together.
    pub groups: Vec<Vec<Eui64>>,
}

/// Everything that the medium is told before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// What holds for everybody.
    pub conditions: Conditions,
    /// How the channel is shared.
    pub channel: Channel,
    /// How far radios are heard that have a place, metres; any distance if absent.
    pub range_m: Option<f64>,
    /// Loss at the edge of the range, in thousandths, on top of the general one. It rises with the fourth power of
    /// the distance: none near by, a sixteenth of it half-way.
    pub edge_loss_permille: u32,
    /// Limit of airtime of every radio that has none of its own.
    pub duty: Option<DutyCycle>,
    /// The radios that have a place.
    pub radios: Vec<Radio>,
    /// The links that are particular.
    pub links: Vec<Link>,
    /// Who is apart when.
    pub partitions: Vec<Partition>,
}

/// One room in which everybody hears everybody and nobody disturbs anybody.
impl From<Conditions> for Scene {
    fn from(conditions: Conditions) -> Self {
        Self {
            conditions,
            channel: Channel::Open,
            range_m: None,
            edge_loss_permille: 0,
            duty: None,
            radios: Vec::new(),
            links: Vec::new(),
            partitions: Vec::new(),
        }
    }
}
