//! Which drivers a process may call.
//!
//! A task has the executor capsule, random numbers, and the alarm if it may sleep or tell the time: nothing else of the
//! board. What is refused answers like a driver that is not there, and is counted.

use crate::board::Who;
use crate::capsule::Capsule;
use grants::Capabilities;
use grants::syscall::DRIVER;
use kernel::ErrorCode;
use kernel::platform::SyscallFilter;
use kernel::process::Process;
use kernel::syscall::Syscall;

/// Tock's driver number of the alarm (`capsules/core/src/driver.rs`).
pub const ALARM: usize = 0x0;
/// Tock's driver number of random numbers.
pub const RANDOM: usize = 0x40001;

/// The filter of a board with this capsule.
pub struct SlotFilter<const SLOTS: usize, const NATIVES: usize, const UP: usize = 100, const DOWN: usize = 52>
{
    capsule: &'static Capsule<SLOTS, NATIVES, UP, DOWN>,
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize>
    SlotFilter<SLOTS, NATIVES, UP, DOWN>
{
    /// For the slots of a capsule.
    pub const fn new(capsule: &'static Capsule<SLOTS, NATIVES, UP, DOWN>) -> Self {
        Self { capsule }
    }

    /// Whether a process may call a driver; counts it if not. Processes that are nobody's are the board's business.
    pub fn allows(&self, who: Option<Who>, driver: usize) -> bool {
        let board = self.capsule.board();
        match who {
            None => true,
            _ if driver == DRIVER => true,
            Some(Who::Agent) => board.agent_drivers.contains(&driver),
            Some(Who::Host) => board.host_drivers.contains(&driver),
            Some(Who::Task(slot)) => {
                let may = self.capsule.capabilities(slot);
                let allowed = match driver {
                    RANDOM => true,
                    ALARM => may.has(Capabilities::SLEEP) || may.has(Capabilities::TIME),
                    _ => false,
                };
                if !allowed {
                    self.capsule.refuse(slot);
                }
                allowed
            }
        }
    }
}

impl<const SLOTS: usize, const NATIVES: usize, const UP: usize, const DOWN: usize> SyscallFilter
    for SlotFilter<SLOTS, NATIVES, UP, DOWN>
{
    fn filter_syscall(&self, process: &dyn Process, syscall: &Syscall) -> Result<(), ErrorCode> {
        let driver = match *syscall {
            Syscall::Subscribe { driver_number, .. }
            | Syscall::Command { driver_number, .. }
            | Syscall::ReadWriteAllow { driver_number, .. }
            | Syscall::UserspaceReadableAllow { driver_number, .. }
            | Syscall::ReadOnlyAllow { driver_number, .. } => driver_number,
            // The kernel asks about no others.
            _ => return Ok(()),
        };
        let who = self.capsule.board().who(process.short_app_id());
        if self.allows(who, driver) { Ok(()) } else { Err(ErrorCode::NODEVICE) }
    }
}
