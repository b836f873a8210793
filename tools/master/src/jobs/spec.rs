//! What a job is: the document that a user writes, read and checked whole before anything is made of it.

use super::constraint::Constraint;
use super::schedule::{Overlap, Schedule};
use super::span::Span;
use crate::core::{valid_id, valid_role};
use crate::limits::{MAX_DURATION_MS, MAX_INSTANCES, MAX_JOB_BYTES, MAX_JOB_ENTRIES, MAX_RUNS_AT_ONCE};
use mesos_proto::resources::{Scalars, milli};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of a job's id: task ids are made of it and a number.
const MAX_JOB_ID: usize = 128;
/// Bytes of a name, a URI's or a label's parts, an argument, a variable.
const MAX_TEXT: usize = 4096;
/// The most of any resource.
const MAX_AMOUNT: f64 = 1e9;
/// Times that a task may be begun again.
const MAX_RETRIES: u32 = 1_000_000;

/// What is wrong with a job, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// The field.
    pub field: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

fn invalid<T>(field: impl Into<String>, why: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { field: field.into(), why: why.into() })
}

/// A job. It never changes once it is accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its id, of at most 128 letters, digits, `-`, `_` and `.`; tasks are called `ID.NUMBER`.
    pub id: String,
    /// What people call it; the id if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose share of the cluster it takes.
    #[serde(default = "any_role")]
    pub role: String,
    /// Jobs with a higher one are placed first.
    #[serde(default)]
    pub priority: i32,
    /// URI or path of the image; the same as one more in `uris`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What the agent fetches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// `command.value`: for a node, the exported function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Whether `entry` is for a shell, on agents that have one.
    #[serde(default)]
    pub shell: bool,
    /// What the task is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The same by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Amounts for each instance, in thousandths at the finest: `cpus` shares of a core, `mem` and `disk` MB, or
    /// whatever else nodes offer.
    #[serde(default = "usual_resources")]
    pub resources: BTreeMap<String, f64>,
    /// Labels of the tasks: `capabilities`, `resume`, `manifest` mean something to nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Tasks at the same time, 1 to 1,000.
    #[serde(default = "one")]
    pub instances: u32,
    /// Where they may run: all of these hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// What happens when a task ends.
    #[serde(default)]
    pub restart: Restart,
    /// How long it waits before it is begun again.
    #[serde(default)]
    pub backoff: Backoff,
    /// What runs for longer fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_time: Option<Span>,
    /// What a task that is killed has to come to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_grace: Option<Span>,
    /// When it runs; once, and at once, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How long the job is remembered after its end.
    #[serde(default = "a_day")]
    pub ttl: Span,
}

/// Whether a task that ended is begun again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// When.
    #[serde(default)]
    pub policy: Policy,
    /// With `on-failure`: how often, for each instance of a run.
    #[serde(default = "three")]
    pub retries: u32,
}

/// When a task that ended is begun again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Not if it may have run.
    #[default]
    Never,
    /// If it did not finish well.
    OnFailure,
    /// Whatever its end was.
    Always,
}

/// The wait before attempt n+1: `initial * factor^(n-1)`, `max` at most, shortened by up to `jitter` of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// After the first failure.
    pub initial: Span,
    /// How much longer each next one is, 1 to 100.
    pub factor: f64,
    /// The longest. A task that ran for this long begins with `initial` again.
    pub max: Span,
    /// Which part of it chance decides, 0 to 1.
    pub jitter: f64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { policy: Policy::Never, retries: three() }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Span::from_ms(1_000), factor: 2.0, max: Span::from_ms(300_000), jitter: 0.2 }
    }
}

impl Backoff {
    /// The wait after so many failures in a row, with chance as a number from 0 to 1.
    pub(super) fn wait_ms(&self, failures: u32, chance: f64) -> u64 {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = self.max.ms().max(self.initial.ms()) as f64;
        let whole = (self.initial.ms() as f64 * self.factor.powi(exponent)).min(longest);
        (whole * (1.0 - self.jitter * chance.clamp(0.0, 1.0))).round() as u64
    }
}

fn any_role() -> String {
    mesos_proto::pool::UNRESERVED.into()
}

fn usual_resources() -> BTreeMap<String, f64> {
    [("cpus".into(), 0.1), ("mem".into(), 0.016)].into()
}

fn one() -> u32 {
    1
}

fn three() -> u32 {
    3
}

fn a_day() -> Span {
    Span::from_ms(86_400_000)
}

impl Spec {
    /// Reads a job from JSON.
    pub fn parse(json: &[u8]) -> Result<Self, Invalid> {
        if json.len() > MAX_JOB_BYTES {
            return invalid("job", format!("more than {MAX_JOB_BYTES} bytes: keep data in the image"));
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let spec: Self = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let field = match error.path().to_string() {
                root if root == "." || root == "?" => "job".to_owned(),
                field => field,
            };
            Invalid { field, why: error.inner().to_string() }
        })?;
        if reader.end().is_err() {
            return invalid("job", "something follows the document");
        }
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), Invalid> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !valid_id(&self.id) || self.id.len() > MAX_JOB_ID || !self.id.chars().all(good) {
            let why = format!("expected 1 to {MAX_JOB_ID} letters, digits, '-', '_' and '.'");
            return invalid("id", why);
        }
        if let Err(why) = valid_role(&self.role) {
            return invalid("role", format!("{why}: expected a name like 'ops' or 'ops/pumps'"));
        }
        if self.image.is_none() && self.uris.is_empty() && self.entry.is_none() {
            return invalid("image", "expected the URI or path of a .wasm or .tbf image");
        }
        for (field, number) in [
            ("uris", self.uris.len()),
            ("arguments", self.arguments.len()),
            ("environment", self.environment.len()),
            ("resources", self.resources.len()),
            ("labels", self.labels.len()),
            ("constraints", self.constraints.len()),
        ] {
            if number > MAX_JOB_ENTRIES {
                return invalid(field, format!("{number} entries: at most {MAX_JOB_ENTRIES}"));
            }
        }
        for (field, text) in self.texts() {
            if text.len() > MAX_TEXT || text.contains('\0') {
                return invalid(field, format!("longer than {MAX_TEXT} bytes, or with a zero byte in it"));
            }
        }
        for uri in self.image.iter().chain(&self.uris) {
            if uri.trim().is_empty() {
                return invalid("image", "expected a URI or a path, not an empty text");
            }
        }
        for (name, amount) in &self.resources {
            let field = format!("resources.{name}");
            if name.is_empty()
                || name.len() > 255
                || name.contains(|c: char| c.is_whitespace() || c.is_control())
            {
                return invalid(field, "expected a name without spaces");
            }
            if !(amount.is_finite() && *amount <= MAX_AMOUNT && milli(*amount) >= 1) {
                return invalid(
                    field,
                    format!("{amount}: expected an amount from 0.001 on; leave it out if none is needed"),
                );
            }
        }
        if self.resources.is_empty() {
            return invalid("resources", "expected something, for example {\"cpus\": 0.1, \"mem\": 0.016}");
        }
        if !(1..=MAX_INSTANCES).contains(&self.instances) {
            return invalid("instances", format!("{}: expected 1 to {MAX_INSTANCES}", self.instances));
        }
        self.check_times()
    }

    fn check_times(&self) -> Result<(), Invalid> {
        let Backoff { initial, factor, max, jitter } = self.backoff;
        if initial.ms() < 1 {
            return invalid("backoff.initial", "expected at least 1ms");
        }
        if max < initial {
            return invalid("backoff.max", format!("{max}: expected at least backoff.initial, {initial}"));
        }
        if !(1.0..=100.0).contains(&factor) {
            return invalid("backoff.factor", format!("{factor}: expected a number from 1 to 100"));
        }
        if !(0.0..=1.0).contains(&jitter) {
            return invalid("backoff.jitter", format!("{jitter}: expected a number from 0 to 1"));
        }
        if self.restart.retries > MAX_RETRIES {
            return invalid("restart.retries", format!("at most {MAX_RETRIES}; or restart.policy always"));
        }
        if self.max_completion_time.is_some_and(|time| time.ms() == 0 || time.ms() > MAX_DURATION_MS) {
            return invalid("max_completion_time", "expected more than nothing");
        }
        if let Some(schedule) = &self.schedule {
            if self.restart.policy == Policy::Always {
                let why = "a periodic job ends before it runs again: choose never or on-failure, or leave schedule out";
                return invalid("restart.policy", why);
            }
            schedule.check().map_err(|(field, why)| Invalid { field: format!("schedule.{field}"), why })?;
        }
        Ok(())
    }

    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let name = self.name.iter().map(|text| ("name", text.as_str()));
        let image = self.image.iter().map(|text| ("image", text.as_str()));
        let uris = self.uris.iter().map(|text| ("uris", text.as_str()));
        let entry = self.entry.iter().map(|text| ("entry", text.as_str()));
        let arguments = self.arguments.iter().map(|text| ("arguments", text.as_str()));
        let variables = self.environment.iter().flat_map(|(name, value)| [name, value]);
        let variables = variables.map(|text| ("environment", text.as_str()));
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        let labels = labels.map(|text| ("labels", text.as_str()));
        name.chain(image).chain(uris).chain(entry).chain(arguments).chain(variables).chain(labels)
    }

    /// The most instances that there can be at once.
    pub(super) fn most_instances(&self) -> usize {
        let overlaps = self.schedule.as_ref().is_some_and(|schedule| schedule.overlap == Overlap::Allow);
        usize::try_from(self.instances).unwrap_or(usize::MAX) * if overlaps { MAX_RUNS_AT_ONCE } else { 1 }
    }

    /// What nodes have to have for it, as a text; `None` if that depends on what runs already.
    pub(super) fn wish(&self) -> Option<String> {
        let alone = self.constraints.iter().all(|constraint| constraint.counted_by().is_none());
        alone.then(|| {
            let constraints: Vec<String> = self.constraints.iter().map(Constraint::to_string).collect();
            format!("{}\n{}\n{}", self.role, self.needs(), constraints.join("\n"))
        })
    }

    /// What an instance needs.
    pub(super) fn needs(&self) -> Scalars {
        Scalars::from_amounts(self.resources.iter().map(|(name, amount)| (name.as_str(), *amount)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"{"id": "blink", "image": "/x/blink.wasm"}"#;

    #[test]
    fn the_least_of_a_job_has_defaults_and_reads_back() {
        let spec = Spec::parse(LEAST.as_bytes()).unwrap();
        assert_eq!((spec.instances, spec.role.as_str(), spec.restart.policy), (1, "*", Policy::Never));
        assert_eq!(spec.needs().to_string(), "cpus:0.1; mem:0.016");
        assert_eq!(Spec::parse(&serde_json::to_vec(&spec).unwrap()).unwrap(), spec);
    }

    #[test]
    fn a_full_job_reads_back() {
        let text = r#"{"id": "pumps", "name": "all pumps", "role": "ops", "priority": 7, "uris": ["http://h/p.wasm"],
            "entry": "go", "arguments": ["a"], "environment": {"K": "v"}, "labels": {"resume": "true"},
            "resources": {"cpus": 0.2, "mem": 0.03, "sensors": 1}, "instances": 3,
            "constraints": ["on=temp-sensor", "unique=node"], "restart": {"policy": "on-failure", "retries": 5},
            "backoff": {"initial": "2s", "max": "1m"}, "max_completion_time": "10m", "kill_grace": "5s",
            "schedule": {"every": "15m", "overlap": "allow"}, "ttl": "2h"}"#;
        let spec = Spec::parse(text.as_bytes()).unwrap();
        assert_eq!(Spec::parse(&serde_json::to_vec(&spec).unwrap()).unwrap(), spec);
        assert_eq!(spec.backoff.factor, 2.0);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field() {
        let with = |more: &str| format!(r#"{{"id": "a", "image": "/x.wasm", {more}}}"#);
        for (text, field, word) in [
            ("{}".to_owned(), "job", "id"),
            ("[]".to_owned(), "job", "invalid"),
            (format!("{LEAST} 1"), "job", "follows"),
            (r#"{"id": "a/b", "image": "x"}"#.into(), "id", "letters"),
            (r#"{"id": "..", "image": "x"}"#.into(), "id", "letters"),
            (r#"{"id": "a"}"#.into(), "image", ".wasm"),
            (r#"{"id": "a", "image": " "}"#.into(), "image", "empty"),
            (with(r#""instance": 1"#), "instance", "unknown field"),
            (with(r#""instances": 0"#), "instances", "1 to 1000"),
            (with(r#""instances": "2""#), "instances", "invalid type"),
            (with(r#""role": "a b""#), "role", "whitespace"),
            (with(r#""resources": {"mem": 0.0001}"#), "resources.mem", "0.001"),
            (with(r#""resources": {"mem": "1"}"#), "resources.mem", "invalid type"),
            (with(r#""resources": {}"#), "resources", "cpus"),
            (with(r#""constraints": ["on=x", "floor<high"]"#), "constraints[1]", "no number"),
            (with(r#""restart": {"policy": "sometimes"}"#), "restart.policy", "on-failure"),
            (with(r#""backoff": {"initial": "0s"}"#), "backoff.initial", "1ms"),
            (with(r#""backoff": {"max": "10ms"}"#), "backoff.max", "1s"),
            (with(r#""backoff": {"factor": 0.5}"#), "backoff.factor", "1 to 100"),
            (with(r#""backoff": {"jitter": 2}"#), "backoff.jitter", "0 to 1"),
            (with(r#""ttl": "forever""#), "ttl", "15m"),
            (
                with(r#""schedule": {"every": "1h"}, "restart": {"policy": "always"}"#),
                "restart.policy",
                "periodic",
            ),
            (with(r#""schedule": {}"#), "schedule.every", "cron"),
            (with(r#""schedule": {"every": "1m", "cron": "* * * * *"}"#), "schedule.every", "not both"),
            (with(r#""schedule": {"every": "10ms"}"#), "schedule.every", "1s"),
            (with(r#""schedule": {"cron": "61 * * * *"}"#), "schedule.cron", "61"),
            (with(r#""schedule": {"cron": "0 0 30 2 *"}"#), "schedule.cron", "never"),
        ] {
            let error = Spec::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.field, field, "{text}: {error}");
            assert!(error.why.contains(word), "{text}: {error}");
        }
        let long = with(&format!(r#""arguments": ["{}"]"#, "x".repeat(5000)));
        assert_eq!(Spec::parse(long.as_bytes()).unwrap_err().field, "arguments");
        let many = with(&format!(r#""arguments": [{}"a"]"#, r#""a","#.repeat(64)));
        assert_eq!(Spec::parse(many.as_bytes()).unwrap_err().field, "arguments");
        assert_eq!(Spec::parse(&vec![b' '; MAX_JOB_BYTES + 1]).unwrap_err().field, "job");
    }

    #[test]
    fn waits_grow_to_their_bound() {
        let backoff = Backoff { jitter: 0.5, ..Backoff::default() };
        let waits: Vec<_> = [1, 2, 3, 9, 10, 4_000_000_000].map(|n| backoff.wait_ms(n, 0.0)).into();
        assert_eq!(waits, [1000, 2000, 4000, 256_000, 300_000, 300_000]);
        assert_eq!(backoff.wait_ms(3, 1.0), 2000);
    }
}
