//! Tasks that follow a script instead of running code.

use crate::rng::Rng;
use agent_core::Event;
use grants::Grant;
use node_proto::Failure;
use std::collections::VecDeque;

/// What a scheduler puts into a task's data: its number, and what decides how it behaves.
pub(crate) fn data(number: u32, behaviour: u64) -> Vec<u8> {
    [&number.to_le_bytes()[..], &behaviour.to_le_bytes()].concat()
}

/// The two, read back.
pub(crate) fn read(data: &[u8]) -> Option<(u32, u64)> {
    let (number, behaviour) = data.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), u64::from_le_bytes(behaviour.try_into().ok()?)))
}

/// Times that a task which may resume is started, at most.
pub(crate) const STARTS_MAX: u32 = 17;

/// Whether a task may be started again by a node that restarts: one in five.
pub(crate) fn resumes(number: u32) -> bool {
    number.is_multiple_of(5)
}

/// What a message carries: the number of its task, and its own within that. One in four is too long for one frame.
pub(crate) fn message(number: u32, count: u32) -> Vec<u8> {
    let mut bytes = [number.to_le_bytes(), count.to_le_bytes()].concat();
    let drawn = number.wrapping_mul(31).wrapping_add(count.wrapping_mul(17));
    if drawn.is_multiple_of(4) {
        bytes.extend((0..64 + drawn % 441).map(|at| (at ^ drawn) as u8));
    }
    bytes
}

/// The two, read back from a message that is whole.
pub(crate) fn read_message(data: &[u8]) -> Option<(u32, u32)> {
    let (number, rest) = data.split_first_chunk()?;
    let (number, count) = (u32::from_le_bytes(*number), u32::from_le_bytes(*rest.first_chunk()?));
    (data == message(number, count)).then_some((number, count))
}

/// A task in an executor.
#[derive(Debug)]
pub(crate) struct Running {
    pub number: u32,
    pub grant: Grant,
    /// When what happens.
    pub script: VecDeque<(u64, Event)>,
    /// How long it takes to end by itself once it is told to; `None` if it does not notice.
    pub notices: Option<u64>,
    /// Newest message of the framework's.
    pub told: u32,
}

impl Running {
    pub fn new(number: u32, behaviour: u64, grant: Grant, now: u64) -> Self {
        let mut rng = Rng::new(behaviour);
        let mut script = VecDeque::new();
        let mut at = now + rng.pick(&[0, 1, 50, 1000]);
        let says = if rng.chance(500) { rng.between(1, 12) } else { 0 };
        let pause = rng.scale(10, 60_000);
        let mut count = 0;
        for _ in 0..says {
            at += rng.between(0, pause);
            let event = match rng.chance(500) {
                true => {
                    count += 1;
                    Event::Message(message(number, count))
                }
                false => Event::Log(vec![b'.'; rng.between(1, 48) as usize]),
            };
            script.push_back((at, event));
        }
        at += rng.between(0, 60_000);
        let end = match rng.below(10) {
            0..=3 => Some(Event::Exited(0)),
            4 => Some(Event::Exited(rng.between(1, 9) as i32)),
            5 => Some(Event::Failed(Failure::Trap, "trapped".into())),
            6 => Some(Event::Failed(Failure::Memory, "too much memory".into())),
            _ => None, // it runs until it is killed
        };
        script.extend(end.map(|end| (at, end)));
        let notices = rng.chance(500).then(|| rng.between(0, 4_000));
        Self { number, grant, script, notices, told: 0 }
    }
}

/// True for an event that ends a task.
pub(crate) fn ends(event: &Event) -> bool {
    matches!(event, Event::Exited(_) | Event::Killed | Event::Failed(..))
}
