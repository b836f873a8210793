//! What frameworks send, and what a node gets of it.

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
        let document = plan(task, None, false).unwrap().document(None).unwrap();
        let document: Document = postcard::from_bytes(&document).unwrap();
        (document.entry.to_owned(), document.args.to_vec())
    };
    let shell = task("http://h/x/blink.wasm", "./blink.wasm 6 150", true, &[]);
    assert_eq!(read(&shell), (String::new(), b"6\x00150\x00".to_vec()));
    let exec = task("/tmp/blink.wasm#sha256=00", "fast", false, &["6", "a b"]);
    assert_eq!(read(&exec), ("fast".into(), b"6\0a b\0".to_vec()));
    let named = task("/tmp/blink.wasm", "fast", false, &["fast", "6", "fast"]);
    assert_eq!(read(&named), ("fast".into(), b"6\0fast\0".to_vec()), "argv[0] is no argument");
    let plan = plan(&task("/tmp/blink.wasm", "blink", true, &[]), None, false).unwrap();
    assert!(plan.document(None).unwrap().is_empty());
    assert_eq!((plan.cpu_permille, plan.mem_bytes), (250, 32_505), "0.031 MB: Mesos counts thousandths");
}

/// As Marathon 1.12 builds the task of the README's app: a shell command, a discovery name, and an environment of its
/// own beside the app's, ports and labels included.
#[test]
fn what_marathon_sends_fits_a_node() {
    let mut app = task("https://h/images/sense.wasm", "run 60 1000", true, &[]);
    let variables = [
        ("HOST", "020000000000000a.micro"),
        ("MESOS_TASK_ID", "field_thermometer.instance-5d0d425d-19a6-4a7c-b500-9b23dbb3b783._app.1"),
        ("MARATHON_APP_ID", "/field/thermometer"),
        ("MARATHON_APP_VERSION", "2026-11-21T14:24:45.123Z"),
        ("MARATHON_APP_RESOURCE_CPUS", "0.1"),
        ("MARATHON_APP_RESOURCE_MEM", "0.032"),
        ("MARATHON_APP_RESOURCE_DISK", "0.0"),
        ("MARATHON_APP_RESOURCE_GPUS", "0"),
        ("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE"),
        ("MARATHON_APP_LABELS", "CAPABILITIES"),
        ("MARATHON_APP_LABEL_CAPABILITIES", "log,message,sleep,sensor"),
        ("PORTS", ""),
    ];
    let variable = |(name, value): (&str, &str)| environment::Variable {
        name: name.into(),
        value: Some(value.into()),
        r#type: None,
    };
    let environment = Environment { variables: variables.map(variable).into() };
    app.command.as_mut().unwrap().environment = Some(environment);
    let label = Label { key: CAPABILITY_LABEL.into(), value: Some("log,message,sleep,sensor".into()) };
    app.labels = Some(Labels { labels: vec![label] });
    app.discovery = Some(mesos_proto::mesos::DiscoveryInfo {
        visibility: mesos_proto::mesos::discovery_info::Visibility::Framework as i32,
        name: Some("thermometer.field".into()),
        ports: Some(Default::default()),
        ..Default::default()
    });
    let plan = plan(&app, None, false).unwrap();
    assert!(Capabilities(plan.capabilities).has(Capabilities::SENSOR), "without a resource, by the label");
    let document = plan.document(None).unwrap();
    let document: Document = postcard::from_bytes(&document).unwrap();
    assert_eq!((document.entry, document.args), ("run", &b"60\x001000\0"[..]));
}

#[test]
fn what_a_node_cannot_do_is_said() {
    let refused = |task: &TaskInfo| plan(task, None, false).unwrap_err();
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
    let mut docker = task("/a.wasm", "", true, &[]);
    let kind = mesos_proto::mesos::container_info::Type::Docker as i32;
    docker.container = Some(ContainerInfo { r#type: kind, ..Default::default() });
    assert!(refused(&docker).contains("no container"));
}

#[test]
fn an_empty_container_asks_for_nothing() {
    let mut plain = task("/a.wasm", "", true, &[]);
    let kind = mesos_proto::mesos::container_info::Type::Mesos as i32;
    plain.container = Some(ContainerInfo { r#type: kind, ..Default::default() });
    assert!(plan(&plain, None, false).is_ok());
}

#[test]
fn a_custom_executor_brings_the_image_and_the_task_its_data() {
    let mut with_data = task("/a.wasm", "", true, &[]);
    let command = with_data.command.take();
    with_data.data = Some(b"7".to_vec());
    with_data.max_completion_time = Some(mesos_proto::mesos::DurationInfo { nanoseconds: 1_500_000_000 });
    let executor = ExecutorInfo { command, ..Default::default() };
    let planned = plan(&with_data, Some(&executor), false).unwrap();
    assert_eq!((planned.uri.as_str(), planned.max_run_s), ("/a.wasm", 2));
    let document = planned.document(Some(&[3; 99])).unwrap();
    let document: Document = postcard::from_bytes(&document).unwrap();
    assert_eq!((document.data, document.manifest), (&b"7"[..], &[3; 99][..]));
    assert!(plan(&with_data, Some(&executor), true).is_err(), "tasks of a group have commands of their own");
}

#[test]
fn only_who_says_so_is_started_again() {
    let mut labelled = task("/a.wasm", "", true, &[]);
    assert!(!plan(&labelled, None, false).unwrap().resume);
    for (value, expected) in [("true", Some(true)), ("false", Some(false)), ("1", None)] {
        let label = Label { key: RESUME_LABEL.into(), value: Some(value.into()) };
        labelled.labels = Some(Labels { labels: vec![label] });
        assert_eq!(plan(&labelled, None, false).map(|plan| plan.resume).ok(), expected);
    }
}

#[test]
fn keeping_values_is_for_those_who_name_it() {
    let mut labelled = task("/a.wasm", "", true, &[]);
    assert!(!Capabilities(plan(&labelled, None, false).unwrap().capabilities).has(Capabilities::KV));
    let label = Label { key: CAPABILITY_LABEL.into(), value: Some("log,kv".into()) };
    labelled.labels = Some(Labels { labels: vec![label] });
    let capabilities = plan(&labelled, None, false).unwrap().capabilities;
    assert_eq!(capabilities, Capabilities::LOG | Capabilities::KV);
}

#[test]
fn devices_come_with_their_resource() {
    let mut with_led = task("/a.wasm", "", true, &[]);
    assert!(!Capabilities(plan(&with_led, None, false).unwrap().capabilities).has(Capabilities::LED));
    with_led.resources.push(scalar("leds", 1.0));
    assert!(
        Capabilities(plan(&with_led, None, false).unwrap().capabilities)
            .has(Capabilities::LED | Capabilities::LOG)
    );
    assert_eq!(plan(&with_led, None, false).unwrap().leds, 1);
    let label = Label { key: CAPABILITY_LABEL.into(), value: Some("led".into()) };
    with_led.labels = Some(Labels { labels: vec![label] });
    assert_eq!(plan(&with_led, None, false).unwrap().leds, 1);
    with_led.resources.pop();
    assert!(plan(&with_led, None, false).unwrap_err().contains("needs a resource leds"));
    with_led.labels = None;
    with_led.resources.push(scalar("leds", 0.5));
    assert!(plan(&with_led, None, false).unwrap_err().contains("each belongs to one task"));
}
