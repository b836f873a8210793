//! PAN and channel of the radio, through Tock's 802.15.4 driver (`capsules/extra/src/ieee802154/driver.rs`), if the board
//! has it. A board without that driver sets both itself, and then what was provisioned has to agree with it.

use libtock_platform::Syscalls;

/// Tock's number of the driver.
pub const DRIVER: u32 = 0x30001;
const EXISTS: u32 = 0;
const SET_PAN: u32 = 4;
const SET_CHANNEL: u32 = 5;
const COMMIT: u32 = 7;

/// Sets both. What the driver refuses stays as the board has set it.
pub fn configure<S: Syscalls>(pan: u16, channel: u8) {
    if !S::command(DRIVER, EXISTS, 0, 0).is_success() {
        return;
    }
    let _ = S::command(DRIVER, SET_PAN, u32::from(pan), 0);
    let _ = S::command(DRIVER, SET_CHANNEL, u32::from(channel), 0);
    let _ = S::command(DRIVER, COMMIT, 0, 0);
}
