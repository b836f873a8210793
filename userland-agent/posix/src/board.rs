//! The made-up board: what a task on this node senses and drives.

use std::fmt;
use std::str::FromStr;

/// What the node offers. Parsed from `name,cpu=0.8,mem=128K,flash=256K,sensors=1,leds=2,battery=90`.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// Its name, at most 14 characters.
    pub name: String,
    /// Share of the core for tasks, thousandths.
    pub cpu_permille: u16,
    /// Memory for tasks, bytes.
    pub mem_bytes: u32,
    /// Image storage, bytes.
    pub flash_bytes: u32,
    /// Number of temperature sensors.
    pub sensors: u8,
    /// Number of LEDs.
    pub leds: u8,
    /// Charge in percent, or `None` on mains.
    pub battery: Option<u8>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            name: "posix".into(),
            cpu_permille: 1000,
            mem_bytes: 256 << 10,
            flash_bytes: 512 << 10,
            sensors: 1,
            leds: 2,
            battery: None,
        }
    }
}

/// A board description that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardError(String);

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BoardError {}

impl FromStr for Board {
    type Err = BoardError;

    fn from_str(text: &str) -> Result<Self, BoardError> {
        let mut board = Self { sensors: 0, leds: 0, ..Self::default() };
        for (at, part) in text.split(',').enumerate() {
            let error = |what: &str| BoardError(format!("board: '{part}': {what}"));
            let Some((key, value)) = part.split_once('=') else {
                if at > 0 || part.is_empty() || part.len() > node_proto::limits::BOARD_NAME_MAX {
                    return Err(error("expected KEY=VALUE, or first a name of at most 14 characters"));
                }
                board.name = part.to_owned();
                continue;
            };
            match key {
                "cpu" => {
                    let cpu: f64 = value.parse().map_err(|_| error("not a number"))?;
                    if !(0.001..=1.0).contains(&cpu) {
                        return Err(error("cpu is a share of one core, 0.001 to 1"));
                    }
                    board.cpu_permille = (cpu * 1000.0).round() as u16;
                }
                "mem" => board.mem_bytes = size(value).ok_or_else(|| error("expected bytes, nK or nM"))?,
                "flash" => {
                    board.flash_bytes = size(value).ok_or_else(|| error("expected bytes, nK or nM"))?
                }
                "sensors" => board.sensors = value.parse().map_err(|_| error("expected 0 to 255"))?,
                "leds" => board.leds = value.parse().map_err(|_| error("expected 0 to 255"))?,
                "battery" => match value.parse() {
                    Ok(percent @ 0..=100) => board.battery = Some(percent),
                    _ => return Err(error("expected percent, 0 to 100")),
                },
                _ => return Err(error("known are cpu, mem, flash, sensors, leds, battery")),
            }
        }
        Ok(board)
    }
}

/// Reads `4096`, `128K` or `1M`.
fn size(text: &str) -> Option<u32> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<u32>().ok()?.checked_mul(factor)
}

/// The devices on the board and their state.
#[derive(Debug)]
pub struct Devices {
    sensors: u8,
    leds: Vec<bool>,
    /// How often any LED changed.
    pub led_changes: u64,
    samples: u32,
}

impl Devices {
    /// The devices of `board`, all LEDs off.
    pub fn new(board: &Board) -> Self {
        Self { sensors: board.sensors, leds: vec![false; board.leds.into()], led_changes: 0, samples: 0 }
    }

    /// Temperature in thousandths of a degree Celsius: 21.5 °C and a slow swing of a quarter of a degree.
    pub fn sample(&mut self, index: u32) -> Option<i32> {
        if index >= u32::from(self.sensors) {
            return None;
        }
        self.samples = self.samples.wrapping_add(1);
        let swing = (f64::from(self.samples) / 5.0).sin() * 250.0;
        Some(21_500 + 100 * index as i32 + swing as i32)
    }

    /// Switches an LED; false if there is none of this number.
    pub fn set_led(&mut self, index: u32, on: bool) -> bool {
        let Some(led) = self.leds.get_mut(index as usize) else { return false };
        if *led != on {
            self.led_changes += 1;
        }
        *led = on;
        true
    }

    /// Which LEDs are on.
    pub fn leds(&self) -> &[bool] {
        &self.leds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_described_in_one_line() {
        let board: Board = "field,cpu=0.8,mem=128K,flash=1M,sensors=1,leds=2,battery=90".parse().unwrap();
        assert_eq!(board.name, "field");
        assert_eq!((board.cpu_permille, board.mem_bytes, board.flash_bytes), (800, 131_072, 1_048_576));
        assert_eq!((board.sensors, board.leds, board.battery), (1, 2, Some(90)));
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (text, word) in [
            ("cpu=2", "cpu=2"),
            ("a,b", "'b'"),
            ("mem=9999M", "mem"),
            ("x=1", "known are"),
            ("battery=101", "percent"),
        ] {
            let error = text.parse::<Board>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
