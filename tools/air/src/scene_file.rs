//! The file of a scene: TOML, described in the crate's README. What is wrong in one is said with its path, the line
//! and the field, and nothing of it is used.

use crate::duty::DutyCycle;
use crate::scene::{Channel, Conditions, Link, NAMED_MAX, Partition, Radio, Scene};
use lowpan::Eui64;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Longest time that a scene speaks of, seconds: a year.
const TIME_MAX_S: f64 = 31_536_000.0;
/// Greatest coordinate and range, metres.
const DISTANCE_MAX_M: f64 = 1e6;
/// Longest delay, milliseconds.
const DELAY_MAX_MS: f64 = 60_000.0;

/// A scene cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// It is not there.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something in it.
    #[error("{path}, line {line}: {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong, with the field.
        why: String,
    },
}

/// What is wrong, and the offset of where.
type Wrong = (usize, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    conditions: General,
    #[serde(default)]
    radio: Vec<Place>,
    #[serde(default)]
    link: Vec<Hop>,
    #[serde(default)]
    partition: Vec<Split>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct General {
    loss: Option<Spanned<f64>>,
    delay: Option<Spanned<f64>>,
    delay_ms: Option<Spanned<f64>>,
    duplicate: Option<Spanned<f64>>,
    range: Option<Spanned<f64>>,
    edge_loss: Option<Spanned<f64>>,
    collisions: Option<bool>,
    csma: Option<Spanned<bool>>,
    duty: Option<Spanned<f64>>,
    duty_window_s: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    eui64: Spanned<String>,
    x: Option<Spanned<f64>>,
    y: Option<Spanned<f64>>,
    range: Option<Spanned<f64>>,
    duty: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hop {
    from: Spanned<String>,
    to: Spanned<String>,
    loss: Spanned<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    from_s: Spanned<f64>,
    to_s: Spanned<f64>,
    groups: Spanned<Vec<Vec<Spanned<String>>>>,
}

impl Scene {
    /// Reads a scene file.
    pub fn read(path: &Path) -> Result<Self, SceneError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SceneError::Read { path: path.to_owned(), error })?;
        parse(&text).map_err(|(offset, why)| {
            let line = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
            SceneError::Content { path: path.to_owned(), line, why }
        })
    }
}

fn parse(text: &str) -> Result<Scene, Wrong> {
    let file: File = toml::from_str(text)
        .map_err(|error| (error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    let mut named = BTreeSet::new();
    let mut eui64 = |field: &str, value: &Spanned<String>| {
        let eui64 = value.get_ref().parse::<Eui64>().map_err(|why| wrong(value, field, &why))?;
        named.insert(eui64);
        match named.len() {
            ..=NAMED_MAX => Ok(eui64),
            _ => Err(wrong(value, field, &format!("a scene names {NAMED_MAX} radios at most"))),
        }
    };
    let mut scene = general(&file.conditions)?;
    let window_us = window_us(&file.conditions)?;
    for place in &file.radio {
        let radio = Radio {
            eui64: eui64("eui64", &place.eui64)?,
            at_m: match (&place.x, &place.y) {
                (None, None) => None,
                (Some(x), Some(y)) => Some((
                    number("x", x, -DISTANCE_MAX_M, DISTANCE_MAX_M)?,
                    number("y", y, -DISTANCE_MAX_M, DISTANCE_MAX_M)?,
                )),
                (Some(alone), None) => return Err(wrong(alone, "x", "expected a y beside it")),
                (None, Some(alone)) => return Err(wrong(alone, "y", "expected an x beside it")),
            },
            range_m: place.range.as_ref().map(distance).transpose()?,
            duty: place.duty.as_ref().map(|value| duty(value, window_us)).transpose()?,
        };
        if scene.radios.iter().any(|other| other.eui64 == radio.eui64) {
            return Err(wrong(&place.eui64, "eui64", "this radio has been named before"));
        }
        scene.radios.push(radio);
    }
    let mut pairs = BTreeSet::new();
    for hop in &file.link {
        let (from, to) = (eui64("from", &hop.from)?, eui64("to", &hop.to)?);
        if from == to {
            return Err(wrong(&hop.to, "to", "no radio hears itself"));
        }
        if !pairs.insert((from, to)) {
            return Err(wrong(&hop.from, "from", "this link has been named before"));
        }
        scene.links.push(Link { from, to, loss_permille: share("loss", &hop.loss)? });
    }
    for split in &file.partition {
        let time = |field, value| Ok((number(field, value, 0.0, TIME_MAX_S)? * 1e6).round() as u64);
        let (from_us, to_us) = (time("from_s", &split.from_s)?, time("to_s", &split.to_s)?);
        if to_us <= from_us {
            return Err(wrong(&split.to_s, "to_s", "expected a time after from_s"));
        }
        if split.groups.get_ref().len() < 2 {
            return Err(wrong(&split.groups, "groups", "expected two or more"));
        }
        let (mut groups, mut members) = (Vec::new(), BTreeSet::new());
        for group in split.groups.get_ref() {
            let mut together = Vec::new();
            for member in group {
                let radio = eui64("groups", member)?;
                if !members.insert(radio) {
                    return Err(wrong(member, "groups", "a radio is in one group of a partition"));
                }
                together.push(radio);
            }
            groups.push(together);
        }
        scene.partitions.push(Partition { from_us, to_us, groups });
    }
    Ok(scene)
}

fn general(said: &General) -> Result<Scene, Wrong> {
    let permille = |field, value: &Option<Spanned<f64>>, otherwise| {
        value.as_ref().map_or(Ok(otherwise), |value| share(field, value))
    };
    let delay_ms =
        said.delay_ms.as_ref().map(|value| number("delay_ms", value, 0.0, DELAY_MAX_MS)).transpose()?;
    let conditions = Conditions {
        loss_permille: permille("loss", &said.loss, 0)?,
        duplicate_permille: permille("duplicate", &said.duplicate, 0)?,
        // Who says how long, but not how often, means always.
        delay_permille: permille("delay", &said.delay, if delay_ms.is_some() { 1000 } else { 0 })?,
        delay_max_us: (delay_ms.unwrap_or(30.0) * 1e3).round() as u64,
    };
    let collisions = said.collisions.unwrap_or(false);
    if let Some(csma) = said.csma.as_ref().filter(|csma| *csma.get_ref() && !collisions) {
        return Err(wrong(csma, "csma", "expected collisions = true beside it"));
    }
    let csma = said.csma.as_ref().is_none_or(|csma| *csma.get_ref());
    let window_us = window_us(said)?;
    Ok(Scene {
        channel: if collisions { Channel::Shared { csma } } else { Channel::Open },
        range_m: said.range.as_ref().map(distance).transpose()?,
        edge_loss_permille: permille("edge_loss", &said.edge_loss, 0)?,
        duty: said.duty.as_ref().map(|value| duty(value, window_us)).transpose()?,
        ..conditions.into()
    })
}

fn window_us(said: &General) -> Result<u64, Wrong> {
    match &said.duty_window_s {
        None => Ok(DutyCycle::HOUR_US),
        Some(value) => Ok((number("duty_window_s", value, 1.0, TIME_MAX_S)? * 1e6) as u64),
    }
}

fn duty(value: &Spanned<f64>, window_us: u64) -> Result<DutyCycle, Wrong> {
    let share = number("duty", value, 0.0, 1.0)?;
    Ok(DutyCycle { airtime_us: (share * window_us as f64).round() as u64, window_us })
}

fn distance(value: &Spanned<f64>) -> Result<f64, Wrong> {
    number("range", value, 0.001, DISTANCE_MAX_M)
}

/// A share, in thousandths.
fn share(field: &str, value: &Spanned<f64>) -> Result<u32, Wrong> {
    Ok((number(field, value, 0.0, 1.0)? * 1000.0).round() as u32)
}

fn number(field: &str, value: &Spanned<f64>, least: f64, most: f64) -> Result<f64, Wrong> {
    let number = *value.get_ref();
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(wrong(value, field, &format!("{number}: expected {least} to {most}"))),
    }
}

fn wrong<T>(value: &Spanned<T>, field: &str, why: &str) -> Wrong {
    (value.span().start, format!("{field}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let said = Scene::read(file.path()).err().map(|error| error.to_string()).unwrap_or_default();
        said.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn the_example_says_what_it_says() {
        let scene = Scene::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenes/yard.toml"))).unwrap();
        let eui64 = |last| Eui64([2, 0, 0, 0, 0, 0, 0, last]);
        assert_eq!(scene.conditions.loss_permille, 20);
        assert_eq!((scene.conditions.delay_permille, scene.conditions.delay_max_us), (100, 30_000));
        assert_eq!((scene.range_m, scene.edge_loss_permille), (Some(60.0), 300));
        assert_eq!(scene.channel, Channel::Shared { csma: true });
        assert_eq!(scene.duty, None);
        let battery = scene.radios.iter().find(|radio| radio.eui64 == eui64(0x0c)).unwrap();
        assert_eq!(battery.at_m, Some((-50.0, 0.0)));
        assert_eq!(battery.duty, Some(DutyCycle { airtime_us: 36_000_000, window_us: DutyCycle::HOUR_US }));
        assert_eq!(scene.links, [Link { from: eui64(0x0b), to: eui64(1), loss_permille: 250 }]);
        let groups = vec![vec![eui64(1), eui64(0x0a)], vec![eui64(0x0b), eui64(0x0c)]];
        assert_eq!(scene.partitions, [Partition { from_us: 60_000_000, to_us: 90_000_000, groups }]);
    }

    #[test]
    fn delay_without_a_share_is_for_every_frame_and_nothing_said_is_a_perfect_medium() {
        let conditions = parse("[conditions]\ndelay_ms = 5\n").unwrap().conditions;
        assert_eq!((conditions.delay_permille, conditions.delay_max_us), (1000, 5_000));
        let nothing = parse("").unwrap();
        assert_eq!(nothing, Conditions { delay_max_us: 30_000, ..Conditions::PERFECT }.into());
        let alone = parse("[conditions]\ncollisions = true\ncsma = false\n").unwrap();
        assert_eq!(alone.channel, Channel::Shared { csma: false });
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let radio = "[[radio]]\neui64 = \"0200000000000001\"\n";
        let link = "[[link]]\nfrom = \"0200000000000001\"\n";
        let split = "[[partition]]\nfrom_s = 5\n";
        let cases: [(&str, &[&str]); 14] = [
            ("[conditions]\nlos = 0.1\n", &["line 2", "unknown field `los`", "`loss`"]),
            ("seed = 1\n", &["line 1", "unknown field `seed`"]),
            ("[conditions]\nloss = 2\n", &["line 2: loss: 2: expected 0 to 1"]),
            ("[conditions]\nloss = nan\n", &["line 2: loss"]),
            ("[conditions]\nloss = \"much\"\n", &["line 2", "expected f64"]),
            ("[conditions]\ncsma = true\n", &["line 2: csma: expected collisions = true"]),
            ("[[radio]]\neui64 = \"12\"\n", &["line 2: eui64: '12'"]),
            (&format!("{radio}{radio}"), &["line 4: eui64: this radio has been named"]),
            (&format!("{radio}x = 1\n"), &["line 3: x: expected a y"]),
            (&format!("{radio}duty = 1.5\n"), &["line 3: duty: 1.5"]),
            (&format!("{link}to = \"0200000000000001\"\nloss = 1\n"), &["line 3: to: no radio hears itself"]),
            (
                &format!("{split}to_s = 5\ngroups = [[], []]\n"),
                &["line 3: to_s: expected a time after from_s"],
            ),
            (&format!("{split}to_s = 6\ngroups = [[]]\n"), &["line 4: groups: expected two"]),
            (
                &format!(
                    "{split}to_s = 6\ngroups = [[\"0200000000000001\"],\n[\"02-00-00-00-00-00-00-01\"]]\n"
                ),
                &["line 5: groups: a radio is in one group"],
            ),
        ];
        for (text, words) in cases {
            let said = error(text);
            assert!(said.starts_with("FILE, line"), "{text}: {said}");
            assert!(words.iter().all(|word| said.contains(word)), "{text}: {said}");
        }
        assert!(
            Scene::read(Path::new("/nonexistent.toml"))
                .unwrap_err()
                .to_string()
                .contains("/nonexistent.toml")
        );
    }
}
