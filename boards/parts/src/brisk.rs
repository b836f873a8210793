//! An alarm that says its ticks are longer than they are, for the one user that asks for too much time.
//!
//! At the pinned revision of Tock, each datagram ends with a pause of 100 ms before the next may be sent, even if it was a
//! single frame (`send_done` in `capsules/extra/src/net/ipv6/ipv6_send.rs`; the pause is meant for fragments): a node
//! would fetch 640 bytes of an image a second, however fast its radio. With this alarm the pause is [`DIVISOR`] times
//! shorter, as the stack reckons it in ticks of a frequency that is too low, which still lets a receiver breathe between fragments.
//!
//! Nothing but the 6LoWPAN stack may have it. (Its time-out for fragments is shorter too; none reach it.)

use core::marker::PhantomData;
use kernel::ErrorCode;
use kernel::hil::time::{Alarm, AlarmClient, Frequency, Time};

/// How many times fewer ticks a second it says to have.
pub const DIVISOR: u32 = 20;

/// A fraction of another frequency.
pub struct Fraction<F: Frequency>(PhantomData<F>);

impl<F: Frequency> Frequency for Fraction<F> {
    fn frequency() -> u32 {
        F::frequency() / DIVISOR
    }
}

/// A real alarm under a lower frequency.
pub struct Brisk<'a, A: Alarm<'a>> {
    alarm: &'a A,
}

impl<'a, A: Alarm<'a>> Brisk<'a, A> {
    /// By an alarm that is nobody else's.
    pub const fn new(alarm: &'a A) -> Self {
        Self { alarm }
    }
}

impl<'a, A: Alarm<'a>> Time for Brisk<'a, A> {
    type Frequency = Fraction<A::Frequency>;
    type Ticks = A::Ticks;

    fn now(&self) -> Self::Ticks {
        self.alarm.now()
    }
}

impl<'a, A: Alarm<'a>> Alarm<'a> for Brisk<'a, A> {
    fn set_alarm_client(&self, client: &'a dyn AlarmClient) {
        self.alarm.set_alarm_client(client);
    }

    fn set_alarm(&self, reference: Self::Ticks, dt: Self::Ticks) {
        self.alarm.set_alarm(reference, dt);
    }

    fn get_alarm(&self) -> Self::Ticks {
        self.alarm.get_alarm()
    }

    fn disarm(&self) -> Result<(), ErrorCode> {
        self.alarm.disarm()
    }

    fn is_armed(&self) -> bool {
        self.alarm.is_armed()
    }

    fn minimum_dt(&self) -> Self::Ticks {
        self.alarm.minimum_dt()
    }
}
