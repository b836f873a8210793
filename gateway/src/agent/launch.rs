//! From what a framework sends to what a node runs.

use super::checks;
use super::info::bytes_of_milli_mb;
use mesos_proto::mesos::{CommandInfo, ContainerInfo, ExecutorInfo, TaskInfo};
use mesos_proto::resources::Scalars;
use node_proto::limits::{DOCUMENT_MAX, MANIFEST_MAX};
use node_proto::{Capabilities, Check, Document};

/// Label of a task that names its capabilities, separated by commas, instead of the usual ones.
pub const CAPABILITY_LABEL: &str = "capabilities";

/// Label of a task with the publisher's signed manifest of its image, for those who do not keep it beside the image.
pub const MANIFEST_LABEL: &str = "manifest";

/// Label of a task that may be started again, from its beginning, by a node that restarts while it runs: `true`.
pub const RESUME_LABEL: &str = "resume";

/// The longest time limit that fits the order, seconds.
const RUN_MAX_S: i64 = u32::MAX as i64;

/// A launch as the node will get it, but for the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub uri: String,
    pub cpu_permille: u16,
    pub mem_bytes: u32,
    pub leds: u8,
    pub capabilities: u16,
    pub max_run_s: u32,
    pub resume: bool,
    /// The publisher's signed manifest, if the framework knows it.
    pub manifest: Option<Vec<u8>>,
    entry: String,
    args: Vec<u8>,
    env: Vec<u8>,
    data: Vec<u8>,
    check: Option<checks::Check>,
}

impl Plan {
    /// The document that goes with the launch; empty if there is nothing to say.
    pub fn document(&self, manifest: Option<&[u8]>) -> Result<Vec<u8>, String> {
        let check = self.check.as_ref().map(|check| Check {
            entry: &check.entry,
            delay_s: check.delay_s,
            interval_s: check.interval_s,
            timeout_s: check.timeout_s,
            grace_s: check.grace_s,
            failures: check.failures,
        });
        let document = Document {
            entry: &self.entry,
            args: &self.args,
            env: &self.env,
            data: &self.data,
            check,
            manifest: manifest.unwrap_or_default(),
        };
        if document == Document::default() {
            return Ok(Vec::new());
        }
        let bytes = postcard::to_allocvec(&document).map_err(|error| error.to_string())?;
        if bytes.len() > DOCUMENT_MAX {
            return Err(format!(
                "arguments, environment and data take {} bytes; a node takes {DOCUMENT_MAX}",
                bytes.len()
            ));
        }
        Ok(bytes)
    }
}

/// Reads a task: a command, one of a default executor's group, or one of a custom executor, whose image it is then
/// that runs. The error is for the framework.
pub(super) fn plan(task: &TaskInfo, executor: Option<&ExecutorInfo>, group: bool) -> Result<Plan, String> {
    let custom = executor.filter(|_| !group);
    let containers = [task.container.as_ref(), executor.and_then(|executor| executor.container.as_ref())];
    if containers.into_iter().flatten().any(means_something) {
        return Err("a node runs no container: send a command with the URI of a .wasm or .tbf image".into());
    }
    let command = match custom {
        Some(executor) => executor.command.as_ref().ok_or("the executor has no command")?,
        None => task.command.as_ref().ok_or("the task has no command")?,
    };
    let uri = image_uri(command)?;
    let (entry, args, env) = words(command, &uri)?;
    let granted = Scalars::of(&task.resources);
    let cpu_permille = u16::try_from(granted.milli("cpus")).map_err(|_| "more cpus than a node has")?;
    let max_run_s = task.max_completion_time.as_ref().map_or(Ok(0), |time| {
        // Rounded up: a task gets the time it was promised.
        let seconds = time.nanoseconds.div_euclid(1_000_000_000)
            + i64::from(time.nanoseconds.rem_euclid(1_000_000_000) > 0);
        u32::try_from(seconds.clamp(1, RUN_MAX_S)).map_err(|error| error.to_string())
    })?;
    let data = [task.data.as_deref(), custom.and_then(|executor| executor.data.as_deref())];
    let plan = Plan {
        cpu_permille,
        mem_bytes: bytes_of_milli_mb(granted.milli("mem")),
        leds: leds(&granted)?,
        capabilities: capabilities(task, &granted)?,
        max_run_s,
        resume: resume(task)?,
        manifest: manifest(task)?,
        uri,
        entry,
        args,
        env,
        data: data.into_iter().flatten().next().unwrap_or_default().to_vec(),
        check: checks::plan(task)?,
    };
    plan.document(Some(&[0; MANIFEST_MAX]))?; // what is too long is said before the image is fetched
    Ok(plan)
}

/// The value of a task's label, empty if it has none; `None` without the label.
fn label<'a>(task: &'a TaskInfo, key: &str) -> Option<&'a str> {
    let mut labels = task.labels.iter().flat_map(|labels| &labels.labels);
    labels.find(|label| label.key == key).map(|label| label.value.as_deref().unwrap_or_default())
}

fn resume(task: &TaskInfo) -> Result<bool, String> {
    match label(task, RESUME_LABEL) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("label {RESUME_LABEL}: '{other}' is neither true nor false")),
    }
}

/// What the framework says is the publisher's manifest of the image.
fn manifest(task: &TaskInfo) -> Result<Option<Vec<u8>>, String> {
    let Some(value) = label(task, MANIFEST_LABEL) else { return Ok(None) };
    let manifest = crate::images::parse_manifest(value.as_bytes());
    manifest.map(Some).ok_or_else(|| format!("label {MANIFEST_LABEL}: no signed manifest (micro task sign)"))
}

/// Frameworks send an empty container to everybody; it asks for nothing.
fn means_something(container: &ContainerInfo) -> bool {
    let empty = ContainerInfo {
        r#type: mesos_proto::mesos::container_info::Type::Mesos as i32,
        ..Default::default()
    };
    let with_info = ContainerInfo { mesos: Some(Default::default()), ..empty.clone() };
    *container != empty && *container != with_info
}

fn image_uri(command: &CommandInfo) -> Result<String, String> {
    let path = |uri: &str| uri.split(['#', '?']).next().unwrap_or_default().to_owned();
    let mut images = command.uris.iter().map(|uri| uri.value.as_str()).filter(|uri| {
        uri.starts_with("data:") || path(uri).ends_with(".wasm") || path(uri).ends_with(".tbf")
    });
    match (images.next(), images.next()) {
        (Some(uri), None) => Ok(uri.to_owned()),
        (Some(_), Some(_)) => Err("the command has more than one image among its URIs".into()),
        (None, _) => Err("the command has no URI of a .wasm or .tbf image".into()),
    }
}

/// Entry, arguments and environment. `value` names the entry, unless it names the image file, as one writes a
/// program: then the entry is the usual one. With `shell` its further words are arguments.
fn words(command: &CommandInfo, uri: &str) -> Result<(String, Vec<u8>, Vec<u8>), String> {
    let value = command.value.as_deref().unwrap_or_default();
    let (entry, words): (&str, Vec<&str>) = if command.shell.unwrap_or(true) {
        let mut words = value.split_whitespace();
        (words.next().unwrap_or_default(), words.collect())
    } else {
        // As for execlp, the first argument is the program's own name, where the framework keeps to that (Marathon does).
        let words = command.arguments.iter().map(String::as_str);
        let own_name = |(at, word): &(usize, &str)| *at == 0 && !value.is_empty() && *word == value;
        (value, words.enumerate().filter(|word| !own_name(word)).map(|(_, word)| word).collect())
    };
    let file = uri.split(['#', '?']).next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let name = entry.trim_start_matches("./");
    let entry = if name == file || name == stem { "" } else { entry };
    if !entry.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!("'{entry}' is not the name of an exported function; a node has no shell"));
    }
    let mut args = Vec::new();
    for word in words {
        if word.contains('\0') {
            return Err("an argument contains NUL".into());
        }
        args.extend_from_slice(word.as_bytes());
        args.push(0);
    }
    let mut env = Vec::new();
    for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
        let value = variable.value.as_deref().unwrap_or_default();
        if variable.name.contains(['\0', '=']) || value.contains('\0') {
            return Err(format!(
                "environment variable '{}' cannot be passed on",
                variable.name.escape_debug()
            ));
        }
        env.extend_from_slice(format!("{}={value}\0", variable.name).as_bytes());
    }
    Ok((entry.to_owned(), args, env))
}

/// By the label, or: log, message, sleep and time for everyone, devices for those who hold the resource. What a task
/// keeps by key is the node's memory beyond the grant: only the label gives that.
/// LEDs that the task holds. One belongs to one task at a time: there is no part of one.
fn leds(granted: &Scalars) -> Result<u8, String> {
    let milli = granted.milli("leds");
    match u8::try_from(milli / 1000) {
        Ok(leds) if milli % 1000 == 0 => Ok(leds),
        _ => Err(format!("leds: {} is no number of LEDs: each belongs to one task", granted.get("leds"))),
    }
}

fn capabilities(task: &TaskInfo, granted: &Scalars) -> Result<u16, String> {
    let known = [
        ("log", Capabilities::LOG),
        ("message", Capabilities::MESSAGE),
        ("sleep", Capabilities::SLEEP),
        ("time", Capabilities::TIME),
        ("sensor", Capabilities::SENSOR),
        ("led", Capabilities::LED),
        ("kv", Capabilities::KV),
    ];
    let Some(label) = label(task, CAPABILITY_LABEL) else {
        let mut set = Capabilities::LOG | Capabilities::MESSAGE | Capabilities::SLEEP | Capabilities::TIME;
        for (resource, bit) in [("sensors", Capabilities::SENSOR), ("leds", Capabilities::LED)] {
            if granted.milli(resource) > 0 {
                set |= bit;
            }
        }
        return Ok(set);
    };
    let named =
        label.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(0, |set, name| {
            let (_, bit) = known
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| format!("label {CAPABILITY_LABEL}: unknown capability '{name}'"))?;
            Ok::<u16, String>(set | bit)
        })?;
    if Capabilities(named).has(Capabilities::LED) && granted.milli("leds") == 0 {
        return Err(format!("label {CAPABILITY_LABEL}: led needs a resource leds"));
    }
    Ok(named)
}

#[cfg(test)]
mod tests;
