//! What a node's radio and processor cost: counted frames, listening time and CPU time times the currents of a chip.
//!
//! The chip is the same for all nodes; a simulated node is told what it would have used on it.

use node_proto::Vitals;

/// Currents of a chip at 3 V, milliamperes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chip {
    /// Its name.
    pub name: &'static str,
    /// Sending.
    pub transmit_ma: f64,
    /// Listening or receiving.
    pub listen_ma: f64,
    /// Processor at work, radio off.
    pub cpu_ma: f64,
    /// Sleeping with memory kept and a timer running.
    pub sleep_ma: f64,
}

/// Nordic nRF52840 at 0 dBm with its DC/DC converter (Product Specification, "Current consumption"; the radio's figures
/// are those of Bluetooth LE at 1 Mbit/s).
pub const NRF52840: Chip =
    Chip { name: "nRF52840", transmit_ma: 6.40, listen_ma: 6.26, cpu_ma: 3.3, sleep_ma: 0.003_16 };

/// Octets of preamble, delimiter and length before a frame (IEEE 802.15.4, 12.1).
const HEADER_OCTETS: u64 = 6;
/// Time of an octet at 250 kbit/s, microseconds.
const OCTET_US: u64 = 32;
/// Time to turn from listening to sending before each frame: 12 symbols, microseconds.
const TURNAROUND_US: u64 = 192;

/// Charge by what used it, milliampere hours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Charge {
    /// Sending.
    pub transmit_mah: f64,
    /// Listening, receiving among it.
    pub listen_mah: f64,
    /// Processor.
    pub cpu_mah: f64,
    /// The rest of the time.
    pub sleep_mah: f64,
}

impl Charge {
    /// All of it.
    pub fn total_mah(&self) -> f64 {
        self.transmit_mah + self.listen_mah + self.cpu_mah + self.sleep_mah
    }
}

impl Chip {
    /// What a node used.
    pub fn charge(&self, used: &Vitals) -> Charge {
        let octets = u64::from(used.bytes_out) + HEADER_OCTETS * u64::from(used.frames_out);
        let sent_s = (octets * OCTET_US + TURNAROUND_US * u64::from(used.frames_out)) as f64 / 1e6;
        let (listened_s, cpu_s) = (used.listened_ms as f64 / 1e3, used.cpu_ms as f64 / 1e3);
        let slept_s = (f64::from(used.uptime_s) - listened_s.max(cpu_s) - sent_s).max(0.0);
        let mah = |ma: f64, seconds: f64| ma * seconds / 3600.0;
        Charge {
            transmit_mah: mah(self.transmit_ma, sent_s),
            listen_mah: mah(self.listen_ma, listened_s),
            cpu_mah: mah(self.cpu_ma, cpu_s),
            sleep_mah: mah(self.sleep_ma, slept_s),
        }
    }

    /// How long a battery lasts at this rate, days; `None` before there is a rate.
    pub fn life_days(&self, used: &Vitals, battery_mah: f64) -> Option<f64> {
        let a_day = self.charge(used).total_mah() * 86_400.0 / f64::from(used.uptime_s);
        (used.uptime_s > 0 && a_day > 0.0).then(|| battery_mah / a_day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_each_costs_what_the_chip_draws() {
        let hour = Vitals { uptime_s: 3600, ..Vitals::default() };
        let close = |a: f64, b: f64| assert!((a - b).abs() < b * 0.01, "{a} is not {b}");
        close(NRF52840.charge(&hour).total_mah(), NRF52840.sleep_ma);
        let listening = Vitals { listened_ms: 3_600_000, ..hour };
        close(NRF52840.charge(&listening).total_mah(), NRF52840.listen_ma);
        let frames = 3_600_000_000 / (127 * 32 + 6 * 32 + 192);
        let sending = Vitals { frames_out: frames, bytes_out: frames * 127, ..hour };
        close(NRF52840.charge(&sending).total_mah(), NRF52840.transmit_ma);
        // Both at once is not more than an hour of sleep less.
        let both = Vitals { cpu_ms: 3_600_000, ..listening };
        close(NRF52840.charge(&both).total_mah(), NRF52840.listen_ma + NRF52840.cpu_ma);
    }

    #[test]
    fn a_battery_lasts_as_long_as_the_rate_says() {
        let sleeping = Vitals { uptime_s: 1000, ..Vitals::default() };
        let days = NRF52840.life_days(&sleeping, 1000.0).unwrap();
        assert!((days - 1000.0 / (NRF52840.sleep_ma * 24.0)).abs() < 1.0, "{days}");
        assert_eq!(NRF52840.life_days(&Vitals::default(), 1000.0), None);
    }
}
