//! One module from its image: what it is and wants is looked at before anything is made of it.

use crate::engine::{Chosen, Engine};
use crate::event::StartError;
use crate::executor::Launch;
use crate::heap;
use crate::inspect;
use crate::state::State;

/// A module ready to run.
pub(crate) struct Loaded {
    pub engine: Chosen,
    /// It can learn that it is told to stop.
    pub notices_stop: bool,
    /// What its start section and its segments have cost.
    pub fuel_used: u64,
}

/// Validates and instantiates a module. Nothing of it has run but a start section, within `fuel`; and nothing at all
/// of one that is refused for what it is or wants.
pub(crate) fn load(launch: &Launch<'_>, fuel: u64, now_ms: u64) -> Result<Loaded, StartError> {
    let image = inspect::inspect(launch.image)?;
    let check = launch.check.as_ref().map(|check| check.entry);
    image.admit(launch.entry, check, launch.grant.capabilities, launch.grant.mem_bytes)?;
    let needs = heap::load_bytes(&image);
    if !heap::has_room(needs) {
        return Err(StartError::NoRoom { needs });
    }
    let (engine, fuel_used) = Chosen::load(launch, &image, State::of(launch, now_ms), fuel)?;
    let mut imports = image.imports.iter().filter_map(|import| import.function);
    let notices_stop = imports.any(|function| function.name == "stopping");
    Ok(Loaded { engine, notices_stop, fuel_used })
}
