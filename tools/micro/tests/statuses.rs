//! The exit statuses that scripts rely on, of the real command against real servers.

mod support;

use support::{Cluster, NODE, Process, ask, image, micro};

/// Nobody listens there: it is reserved, and below what systems give away.
const NOBODY: &str = "127.0.0.1:1";

/// Each ends with this status and says why on standard error, and nothing on standard output.
fn assert_refused(status: i32, commands: &[String]) {
    for command in commands {
        let output = ask(command);
        assert_eq!(output.status.code(), Some(status), "micro {command}: {output:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "micro {command}: {output:?}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_2() {
    let commands = [
        "nodes --nonsense",
        "top --sort weight",
        "top --limit 0",
        "top --limit 201",
        "top --follow",
        "top --once --json",
        "node nonsense",
        "events --gateway nonsense",
        "run",
        "nonsense",
    ];
    assert_refused(2, &commands.map(str::to_owned));
    let output = micro().arg("top").env("MICRO_GATEWAY", "nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn nobody_there_is_5() {
    let at_gateway = [
        "nodes",
        "top",
        "top --json",
        "top --json --follow",
        "events",
        "images",
        "logs t",
        &format!("node {NODE}"),
    ]
    .map(|command| format!("{command} --gateway {NOBODY}"));
    assert_refused(5, &at_gateway);
    let at_master = ["tasks", "drain a", "job list", "events"].map(|command| match command {
        "events" => format!("events --master {NOBODY}"),
        other => format!("{other} --master {NOBODY}"),
    });
    assert_refused(5, &at_master);
    let output = ask(&format!("run {} --master {NOBODY}", image("hello").display()));
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}

#[test]
fn what_a_cluster_does_not_have_is_4_and_a_task_that_fails_is_3() {
    let cluster = Cluster::start();
    let (gateway, master) = (cluster.gateway, cluster.master);
    for command in ["nodes", "top", "top --once", "events", "images", &format!("node {NODE}")] {
        let output = ask(&format!("{command} --gateway {gateway}"));
        assert_eq!(output.status.code(), Some(0), "micro {command}: {output:?}");
    }
    assert_refused(
        4,
        &[
            format!("node 02000000000000ff --gateway {gateway}"),
            format!("logs nothing --gateway {gateway}"),
            format!("drain nobody --master {master}"),
            format!("job show nothing --master {master}"),
            format!("kill nothing --master {master}"),
        ],
    );
    assert_refused(2, &[format!("events --kind weather --gateway {gateway}")]);
    let run = |name: &str| ask(&format!("run {} --master {master}", image(name).display()));
    let well = run("hello");
    assert_eq!(well.status.code(), Some(0), "{well:?}");
    let badly = run("fault");
    assert_eq!(badly.status.code(), Some(3), "{badly:?}");
    assert!(String::from_utf8_lossy(&badly.stderr).contains("TASK_FAILED"), "{badly:?}");
}

#[test]
fn without_the_token_it_is_6() {
    let dir = tempfile::tempdir().unwrap();
    let [token, other] = ["token", "other"].map(|name| dir.path().join(name).display().to_string());
    let (_master, master) = Process::serve(&format!("master --listen 127.0.0.1:0 --token-file {token}"));
    let (_gateway, gateway) = Process::serve(&format!(
        "gateway --master {master} --listen 127.0.0.1:0 --udp 127.0.0.1:0 --state {} --token-file {token}",
        dir.path().join("gateway").display()
    ));
    // Another gateway's token is as good as none.
    let (_other, _) = Process::serve(&format!("master --listen 127.0.0.1:0 --token-file {other}"));
    let commands: Vec<String> = ["nodes", "top", "top --once", "top --json --follow", "events", "images"]
        .map(|command| format!("{command} --gateway {gateway}"))
        .into_iter()
        .chain(["job list", "events"].map(|command| format!("{command} --master {master}")))
        .collect();
    assert_refused(6, &commands);
    let with = |token: &str| -> Vec<String> {
        commands.iter().map(|command| format!("{command} --token-file {token}")).collect()
    };
    assert_refused(6, &with(&other));
    for command in with(&token).iter().filter(|command| !command.contains("--follow")) {
        let output = ask(command);
        assert_eq!(output.status.code(), Some(0), "micro {command}: {output:?}");
    }
}
