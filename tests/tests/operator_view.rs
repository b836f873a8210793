//! What operators see of a real system: fleet, node, tasks, log, images, and the master's side of the same.

mod support;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use support::{Follower, PATIENCE, PLAIN, System, image};

const NODE: &str = "020000000000000a";

fn ask(at: SocketAddr, path: &str) -> Value {
    let mut response =
        ureq::get(format!("http://{at}{path}")).call().unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
}

async fn until(at: SocketAddr, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let document = ask(at, path);
        if wanted(&document) {
            return document;
        }
        assert!(begun.elapsed() < PATIENCE, "{path} never is as it has to be: {document:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_seen_from_its_launch_to_its_end() {
    let system = System::start(0.0, 0.0, 0.0);
    let mut spin = Follower::launch_with(&system, "spin", &[], PLAIN, |task| {
        task.labels = Some(framework::v1::Labels {
            labels: vec![framework::v1::Label { key: "site".into(), value: Some("north".into()) }],
        });
    })
    .await;
    spin.until_running().await;
    let framework = spin.client.framework_id().to_owned();
    let (gateway, master) = (system.gateway, system.master);

    // Granted at once; used when the node has told of it twice.
    let of_task = format!("/view/task/{framework}/spin");
    let shown =
        until(gateway, &of_task, |shown| shown["task"]["cpu"]["used_permille"].as_u64() > Some(0)).await;
    let task = &shown["task"];
    assert_eq!(
        (&task["state"], &task["role"], &task["framework"]),
        (&json!("TASK_RUNNING"), &json!("test"), &json!("test"))
    );
    assert_eq!((&task["node"], &task["source_kind"]), (&json!(NODE), &json!("wasm")));
    assert_eq!(task["cpu"]["granted_permille"], 200);
    assert!(task["cpu"]["used_permille"].as_u64() <= Some(210), "held to its grant: {task:#}");
    assert!(
        task["mem"]["used_bytes"].as_u64() > Some(0) && task["since_ms"].as_u64() <= shown["at"].as_u64()
    );
    assert_eq!(
        (&task["received_bytes"], &shown["labels"]),
        (&task["total_bytes"], &json!({ "site": "north" }))
    );
    let states: Vec<&str> = shown["statuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|status| status["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["TASK_STARTING", "TASK_RUNNING"]);
    assert!(shown["statuses"].as_array().unwrap().iter().all(|status| status["acknowledged"].is_boolean()));
    assert!(!shown["history"]["points"].as_array().unwrap().is_empty());
    let bytes = std::fs::read(image("spin")).unwrap();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&shown["image"]["digest"], &shown["image"]["bytes"]), (&json!(digest), &json!(bytes.len())));

    // The same in every sum.
    let fleet = ask(gateway, "/view/fleet?role=test");
    assert_eq!((&fleet["matching"], &fleet["summary"]["tasks"]["running"]), (&json!(1), &json!(1)));
    assert_eq!((&fleet["tenants"][0]["role"], &fleet["tenants"][0]["tasks"]), (&json!("test"), &json!(1)));
    for part in [&fleet["summary"]["cpu"], &fleet["tenants"][0]["cpu"], &fleet["nodes"][0]["cpu"]] {
        assert_eq!(part["granted_permille"], 200);
    }
    let node = ask(gateway, &format!("/view/node/{NODE}"));
    assert_eq!((&node["node"]["node"], &node["node"]["state"]), (&json!(NODE), &json!("registered")));
    let cpus = node["resources"].as_array().unwrap().iter().find(|held| held["name"] == "cpus").unwrap();
    assert_eq!(cpus["granted"], json!({ "test": 0.2 }));
    let tasks = ask(gateway, &format!("/view/tasks?q=SPIN&state=running&node={NODE}"));
    assert_eq!((&tasks["matching"], &tasks["tasks"][0]["task_id"]), (&json!(1), &json!("spin")));
    let images = ask(gateway, "/view/images");
    assert_eq!((&images["images"][0]["tasks"], &images["bytes"]), (&json!(1), &json!(bytes.len())));

    // The master's side, which knows where the log is.
    let seen = ask(master, &of_task);
    assert_eq!((&seen["task"]["state"], &seen["task"]["role"]), (&json!("TASK_RUNNING"), &json!("test")));
    assert_eq!(seen["log_at"], format!("http://{gateway}/view/log/{framework}/spin"));
    let overview = ask(master, "/view/overview");
    let role = overview["roles"].as_array().unwrap().iter().find(|role| role["role"] == "test").unwrap();
    assert_eq!(role["allocated"]["cpus"], 0.2);

    spin.kill().await;
    let statuses = spin.until_the_end().await;
    let over = until(gateway, &of_task, |shown| shown["task"]["state"] == "TASK_KILLED").await;
    assert_eq!(over["statuses"].as_array().unwrap().last().unwrap()["state"], "TASK_KILLED");
    assert!(!statuses.is_empty() && over["image"]["digest"] == digest, "what ran is still known");
    assert!(
        over["task"]["mem"]["peak_bytes"].as_u64() > Some(0)
            && !over["history"]["points"].as_array().unwrap().is_empty()
    );
    let fleet = until(gateway, "/view/fleet", |fleet| fleet["summary"]["cpu"]["granted_permille"] == 0).await;
    assert_eq!((&fleet["tenants"], &fleet["summary"]["tasks"]["killed"]), (&json!([]), &json!(1)));
    let events = ask(gateway, "/view/events?limit=1000");
    let texts: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["text"].as_str().unwrap()).collect();
    for wanted in [
        "the leading master is",
        "a new node registered",
        "the master took it in",
        "fetched ",
        "TASK_RUNNING",
        "TASK_KILLED",
    ] {
        assert!(texts.iter().any(|text| text.starts_with(wanted)), "{wanted}: {texts:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_while_it_is_written() {
    let system = System::start(0.0, 0.0, 0.0);
    let mut follower = Follower::launch(&system, "hello", &["exit=0", "gr\u{fc}n"], PLAIN).await;
    let framework = follower.client.framework_id().to_owned();
    let path = format!("/view/log/{framework}/hello");
    let gateway = system.gateway;
    let followed = path.clone();
    let stream = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(gateway).unwrap();
        let request =
            format!("GET {followed} HTTP/1.1\r\nHost: {gateway}\r\nAccept: text/event-stream\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut log, mut ids) = (String::new(), Vec::new());
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            if let Some(id) = line.strip_prefix("id: ") {
                ids.push(id.parse::<u64>().unwrap());
            }
            if let Some(data) = line.strip_prefix("data: ") {
                let piece: Value = serde_json::from_str(data).unwrap();
                assert_eq!(piece["offset"].as_u64().unwrap(), log.len() as u64, "piece by piece");
                log.push_str(piece["data"].as_str().unwrap());
                assert_eq!(
                    (piece["end"].as_u64(), ids.last().copied()),
                    (Some(log.len() as u64), Some(log.len() as u64))
                );
            }
            if log.contains("arg gr\u{fc}n\n") {
                break;
            }
        }
        log
    });
    follower.until_the_end().await;
    let log = stream.await.unwrap();
    assert!(log.contains("arg exit=0\n"), "{log}");
    let whole = ask(gateway, &path);
    assert_eq!(
        (&whole["offset"], &whole["data"].as_str().map(|text| text.starts_with(&log))),
        (&json!(0), &Some(true))
    );
    let rest = ask(gateway, &format!("{path}?offset=4"));
    assert_eq!((&rest["offset"], &rest["end"]), (&json!(4), &whole["end"]));
    let beyond = ask(gateway, &format!("{path}?offset=99999"));
    assert_eq!((&beyond["data"], &beyond["offset"]), (&json!(""), &whole["end"]));
}
