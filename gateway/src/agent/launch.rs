//! From what a framework sends to what a node runs.

use super::info::bytes_of_milli_mb;
use mesos_proto::mesos::{CommandInfo, TaskInfo};
use mesos_proto::resources::Scalars;
use node_proto::limits::DOCUMENT_MAX;
use node_proto::{Capabilities, Document};

/// Label of a task that names its capabilities, separated by commas, instead of the usual ones.
pub const CAPABILITY_LABEL: &str = "capabilities";

/// A launch as the node will get it, but for the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub uri: String,
    pub document: Vec<u8>,
    pub cpu_permille: u16,
    pub mem_bytes: u32,
    pub capabilities: u16,
}

/// Reads a command task; the error is for the framework.
pub(super) fn plan(task: &TaskInfo) -> Result<Plan, String> {
    if task.executor.is_some() {
        return Err(
            "a node runs no custom executor: send a command with the URI of a .wasm or .tbf image".into()
        );
    }
    if task.container.is_some() {
        return Err("a node runs no container: send a command with the URI of a .wasm or .tbf image".into());
    }
    let command = task.command.as_ref().ok_or("the task has no command")?;
    let uri = image_uri(command)?;
    let document = document(command, &uri)?;
    let granted = Scalars::of(&task.resources);
    let cpu_permille = u16::try_from(granted.milli("cpus")).map_err(|_| "more cpus than a node has")?;
    Ok(Plan {
        document,
        cpu_permille,
        mem_bytes: bytes_of_milli_mb(granted.milli("mem")),
        capabilities: capabilities(task, &granted)?,
        uri,
    })
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

/// Entry, arguments and environment; empty if there are none. `value` names the entry, unless it names the image
/// file, as one writes a program: then the entry is the usual one. With `shell` its further words are arguments.
fn document(command: &CommandInfo, uri: &str) -> Result<Vec<u8>, String> {
    let value = command.value.as_deref().unwrap_or_default();
    let (entry, words): (&str, Vec<&str>) = if command.shell.unwrap_or(true) {
        let mut words = value.split_whitespace();
        (words.next().unwrap_or_default(), words.collect())
    } else {
        (value, command.arguments.iter().map(String::as_str).collect())
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
    if entry.is_empty() && args.is_empty() && env.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = postcard::to_allocvec(&Document { entry, args: &args, env: &env, ..Default::default() })
        .map_err(|e| e.to_string())?;
    if bytes.len() > DOCUMENT_MAX {
        return Err(format!(
            "arguments and environment take {} bytes; a node takes {DOCUMENT_MAX}",
            bytes.len()
        ));
    }
    Ok(bytes)
}

/// By the label, or: log, message, sleep and time for everyone, devices for those who hold the resource.
fn capabilities(task: &TaskInfo, granted: &Scalars) -> Result<u16, String> {
    let named = [
        ("log", Capabilities::LOG),
        ("message", Capabilities::MESSAGE),
        ("sleep", Capabilities::SLEEP),
        ("time", Capabilities::TIME),
        ("sensor", Capabilities::SENSOR),
        ("led", Capabilities::LED),
    ];
    let labels = task.labels.iter().flat_map(|labels| &labels.labels);
    let label = labels.filter(|label| label.key == CAPABILITY_LABEL).find_map(|label| label.value.as_deref());
    let Some(label) = label else {
        let mut set = Capabilities::LOG | Capabilities::MESSAGE | Capabilities::SLEEP | Capabilities::TIME;
        for (resource, bit) in [("sensors", Capabilities::SENSOR), ("leds", Capabilities::LED)] {
            if granted.milli(resource) > 0 {
                set |= bit;
            }
        }
        return Ok(set);
    };
    label.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(0, |set, name| {
        let (_, bit) = named
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("label {CAPABILITY_LABEL}: unknown capability '{name}'"))?;
        Ok(set | bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos_proto::mesos::command_info::Uri;
    use mesos_proto::mesos::{Environment, Label, Labels, environment};
    use mesos_proto::resources::scalar;

    fn task(uri: &str, value: &str, shell: bool, arguments: &[&str]) -> TaskInfo {
        TaskInfo {
            resources: vec![scalar("cpus", 0.25), scalar("mem", 0.03125)],
            command: Some(CommandInfo {
                uris: vec![Uri { value: uri.into(), ..Default::default() }],
                value: Some(value.into()),
                shell: Some(shell),
                arguments: arguments.iter().map(|word| word.to_string()).collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn what_frameworks_send_is_understood() {
        let read = |task: &TaskInfo| {
            let plan = plan(task).unwrap();
            let document: Document = postcard::from_bytes(&plan.document).unwrap();
            (document.entry.to_owned(), document.args.to_vec())
        };
        let shell = task("http://h/x/blink.wasm", "./blink.wasm 6 150", true, &[]);
        assert_eq!(read(&shell), (String::new(), b"6\x00150\x00".to_vec()));
        let exec = task("/tmp/blink.wasm#sha256=00", "fast", false, &["6", "a b"]);
        assert_eq!(read(&exec), ("fast".into(), b"6\0a b\0".to_vec()));
        let plan = plan(&task("/tmp/blink.wasm", "blink", true, &[])).unwrap();
        assert!(plan.document.is_empty());
        assert_eq!((plan.cpu_permille, plan.mem_bytes), (250, 32_505), "0.031 MB: Mesos counts thousandths");
    }

    #[test]
    fn what_a_node_cannot_do_is_said() {
        let refused = |task: &TaskInfo| plan(task).unwrap_err();
        assert!(refused(&task("/tmp/blink.tar", "x", true, &[])).contains("no URI"));
        assert!(refused(&task("/a.wasm", "a;b", true, &[])).contains("not the name"));
        assert!(refused(&task("/a.wasm", "run", false, &["x"; 600])).contains("take"));
        let mut labelled = task("/a.wasm", "", true, &[]);
        let label = Label { key: CAPABILITY_LABEL.into(), value: Some("led, laser".into()) };
        labelled.labels = Some(Labels { labels: vec![label] });
        assert!(refused(&labelled).contains("'laser'"));
        let mut nul = task("/a.wasm", "", true, &[]);
        let variable = environment::Variable { name: "A".into(), value: Some("\0".into()), r#type: None };
        nul.command.as_mut().unwrap().environment = Some(Environment { variables: vec![variable] });
        assert!(refused(&nul).contains("cannot be passed on"));
    }

    #[test]
    fn devices_come_with_their_resource() {
        let mut with_led = task("/a.wasm", "", true, &[]);
        assert!(!Capabilities(plan(&with_led).unwrap().capabilities).has(Capabilities::LED));
        with_led.resources.push(scalar("leds", 1.0));
        assert!(
            Capabilities(plan(&with_led).unwrap().capabilities).has(Capabilities::LED | Capabilities::LOG)
        );
    }
}
