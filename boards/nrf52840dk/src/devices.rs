//! What tasks may touch of the kit, if their grant says so: its four LEDs, and the chip's own temperature.

use crate::{AlarmHw, pins};
use capsules_core::virtualizers::virtual_alarm::{MuxAlarm, VirtualMuxAlarm};
use core::cell::Cell;
use kernel::ErrorCode;
use kernel::hil::gpio::{Configure, Output};
use kernel::hil::sensors::{TemperatureClient, TemperatureDriver};
use kernel::hil::time::{Alarm, AlarmClient, ConvertTicks, Time};
use kernel::static_init;
use nrf52840::gpio::Port;
use nrf52840::temperature::Temp;

/// Pause between two measurements, milliseconds.
const PAUSE_MS: u32 = 5_000;

/// LEDs are numbered from 0; sensor 0 is the temperature in thousandths of a degree Celsius.
pub struct Devices {
    pins: &'static Port<'static, { nrf52840::gpio::NUM_PINS }>,
    sensor: &'static Temp<'static>,
    alarm: &'static VirtualMuxAlarm<'static, AlarmHw>,
    temperature: Cell<Option<i32>>,
}

impl capsule_tock::Devices for Devices {
    fn led(&self, number: u32, on: bool) -> bool {
        let Some(pin) = usize::try_from(number).ok().and_then(|number| pins::LEDS.get(number)) else {
            return false;
        };
        let pin = &self.pins[*pin];
        if on {
            pin.clear()
        } else {
            pin.set()
        }
        true
    }

    fn sensor(&self, number: u32) -> Option<i32> {
        if number == 0 { self.temperature.get() } else { None }
    }
}

impl Devices {
    fn wait(&self) {
        self.alarm.set_alarm(self.alarm.now(), self.alarm.ticks_from_ms(PAUSE_MS));
    }
}

impl AlarmClient for Devices {
    fn alarm(&self) {
        // What cannot be measured now may be at the next time.
        if self.sensor.read_temperature().is_err() {
            self.wait();
        }
    }
}

impl TemperatureClient for Devices {
    fn callback(&self, hundredths: Result<i32, ErrorCode>) {
        self.temperature.set(hundredths.ok().and_then(|hundredths| hundredths.checked_mul(10)));
        self.wait();
    }
}

/// Switches all LEDs off and measures for the first time.
///
/// # Safety
///
/// Only before the kernel's loop, and once.
#[expect(unsafe_code, reason = "static buffers")]
pub unsafe fn start(
    pins: &'static Port<'static, { nrf52840::gpio::NUM_PINS }>,
    sensor: &'static Temp<'static>,
    mux_alarm: &'static MuxAlarm<'static, AlarmHw>,
) -> &'static Devices {
    // SAFETY: called once.
    unsafe {
        let alarm = static_init!(VirtualMuxAlarm<'static, AlarmHw>, VirtualMuxAlarm::new(mux_alarm));
        alarm.setup();
        let devices = static_init!(Devices, Devices { pins, sensor, alarm, temperature: Cell::new(None) });
        for pin in pins::LEDS {
            pins[pin].set();
            pins[pin].make_output();
        }
        sensor.set_client(devices);
        alarm.set_alarm_client(devices);
        AlarmClient::alarm(devices);
        devices
    }
}
