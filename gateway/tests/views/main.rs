//! The operator's documents of a gateway that runs: what is in them, and who gets them.

mod rig;

use node_proto::{News, Power, Vitals};
use rig::{Rig, eui64, get, raw};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn vitals(uptime_s: u32, frames: u32) -> News {
    News::Vitals(Vitals {
        uptime_s,
        frames_out: frames,
        frames_in: frames,
        cpu_ms: 1_000,
        ..Vitals::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_summed_filtered_sorted_and_cut() {
    let mut rig = Rig::start(|_| {}).await;
    for number in 1..=5 {
        let power = if number < 4 { Power::Battery(10 * number) } else { Power::Mains };
        rig.register(number, power).await;
    }
    let fleet = get(rig.address, "/view/fleet").await;
    assert_eq!((&fleet["total"], &fleet["matching"], &fleet["offset"]), (&json!(5), &json!(5), &json!(0)));
    let summary = &fleet["summary"];
    for (name, expected) in
        [("nodes", 5), ("live", 5), ("registered", 0), ("away", 0), ("draining", 0), ("battery_low", 1)]
    {
        assert_eq!(summary[name], expected, "{name}");
    }
    let nodes = fleet["nodes"].as_array().unwrap();
    for (kind, part) in [("cpu", "total_permille"), ("mem", "total_bytes"), ("cpu", "granted_permille")] {
        let sum: u64 = nodes.iter().map(|node| node[kind][part].as_u64().unwrap()).sum();
        assert_eq!(summary[kind][part], sum, "{kind} {part}");
    }
    assert_eq!(summary["tasks"], json!({ "staging": 0, "starting": 0, "running": 0, "killing": 0 }));
    let first = &nodes[0];
    assert_eq!(
        (&first["node"], &first["board"], &first["state"], &first["live"]),
        (&json!(eui64(1)), &json!("fake"), &json!("registering"), &json!(true))
    );
    assert_eq!(first["hostname"], format!("{}.micro", eui64(1)));
    assert_eq!(first["power"], json!({ "source": "battery", "percent": 10 }));
    assert_eq!(first["agent_id"], Value::Null);
    let at = fleet["at"].as_u64().unwrap();
    assert!(first["heard_ms"].as_u64().is_some_and(|heard| heard <= at && heard + 60_000 > at));

    let numbers = |fleet: &Value| -> Vec<u64> {
        let nodes = fleet["nodes"].as_array().unwrap().iter();
        nodes.map(|node| u64::from_str_radix(node["node"].as_str().unwrap(), 16).unwrap() & 0xff).collect()
    };
    for (query, matching, expected) in [
        ("power=battery", 3, vec![1, 2, 3]),
        ("power=mains&limit=1", 2, vec![4]),
        ("sort=battery&offset=2", 5, vec![3, 4, 5]),
        ("state=live&limit=0", 5, vec![]),
        ("state=registered", 0, vec![]),
        ("role=nobody", 0, vec![]),
        ("q=FAKE&offset=4", 5, vec![5]),
        ("q=03.micro", 1, vec![3]),
        ("q=nothing", 0, vec![]),
    ] {
        let fleet = get(rig.address, &format!("/view/fleet?{query}")).await;
        assert_eq!((fleet["matching"].as_u64(), numbers(&fleet)), (Some(matching), expected), "{query}");
        assert_eq!(fleet["total"], 5, "{query}");
    }
    for query in ["sort=x", "state=x", "power=x", "limit=x", "offset=-1"] {
        let refused = raw(rig.address, "GET", &format!("/view/fleet?{query}"), "").await;
        assert!(refused.status == 400 && refused.json()["error"].is_string(), "{query}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_its_link_and_its_course() {
    let mut rig = Rig::start(|_| {}).await;
    rig.register(1, Power::Battery(80)).await;
    rig.poll(1, Power::Battery(80), vitals(100, 50)).await;
    // Of the twenty frames that it sends, ten arrive.
    for heartbeat in 1..=10 {
        rig.poll(1, Power::Battery(79), vitals(100 + heartbeat, 50 + 2 * heartbeat)).await;
    }
    let node = get(rig.address, &format!("/view/node/{}", eui64(1))).await;
    assert_eq!(node["node"]["power"], json!({ "source": "battery", "percent": 79 }));
    assert_eq!(node["node"]["link"]["uplink_lost_permille"], 500);
    assert_eq!(node["node"]["link"]["quality_percent"], 50);
    assert_eq!((&node["vitals"]["uptime_s"], &node["vitals"]["frames_out"]), (&json!(110), &json!(70)));
    assert!(node["energy"]["mah"].is_number() && node["node"]["life_days"].is_number());
    assert_eq!(node["attributes"]["board"], "fake");
    let cpus = node["resources"].as_array().unwrap().iter().find(|held| held["name"] == "cpus").unwrap();
    assert_eq!(cpus, &json!({ "name": "cpus", "total": 1.0, "granted": {} }));
    let points = node["history"]["points"].as_array().unwrap();
    assert_eq!(points.len(), 1, "the others are of the same ten seconds");
    assert_eq!((&points[0]["battery_percent"], &points[0]["frames_out"]), (&json!(79), &json!(2)));
    for unknown in
        ["/view/node/0200000000000009", "/view/node/x", "/view/node/..%2F..%2Fetc", "/view/nothing", "/view/"]
    {
        let refused = raw(rig.address, "GET", unknown, "").await;
        assert!(refused.status == 404 && refused.json()["error"].is_string(), "{unknown}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_and_what_is_refused_is_counted() {
    let rig = Rig::start(|config| config.sessions.insecure = false).await;
    for _ in 0..50 {
        rig.send(7, b"\x40\x02\x12\x34nonsense").await;
        rig.send(7, b"\x42\x02\x12\x34\x01\x02\xb1r\xff\x01").await; // a POST to /r without protection
    }
    let security = rig
        .until("/view/security", |security| {
            let counters = security["counters"].as_array().unwrap();
            counters
                .iter()
                .any(|counter| counter["name"] == "oscore/unprotected" && counter["value"].as_u64() > Some(0))
        })
        .await;
    assert_eq!((&security["insecure"], &security["trust"]), (&json!(false), &Value::Null));
    assert_eq!(security["keys"], json!({ "commissioned": 0, "revoked": 0 }));
    let told = rig
        .until("/view/events?kind=security", |events| !events["events"].as_array().unwrap().is_empty())
        .await;
    let event = &told["events"][0];
    assert_eq!((&event["kind"], &event["severity"]), (&json!("security"), &json!("warning")));
    assert!(event["text"].as_str().unwrap().starts_with("messages without protection, dropped: "));
    assert_eq!(told["events"].as_array().unwrap().len(), 1, "a flood is one event");
    let next = told["next"].as_u64().unwrap();
    assert!(next > event["seq"].as_u64().unwrap());
    assert_eq!(get(rig.address, &format!("/view/events?since={next}")).await["events"], json!([]));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_a_token_opens_what_is_the_gateways_own_and_nothing_of_an_agents() {
    let mut rig = Rig::start(|config| config.listen = "0.0.0.0:0".parse().unwrap()).await;
    rig.register(1, Power::Mains).await;
    let token = std::fs::read_to_string(rig.state().join("token")).unwrap();
    let right = format!("Authorization: Bearer {}\r\n", token.trim());
    assert_eq!(rig.page(), format!("http://{}/page/#token={}", rig.address, token.trim()));
    for path in ["/view/about", "/view/fleet", "/view/nothing", "/nodes", "/logs?task=x", "/metrics"] {
        let refused = raw(rig.address, "GET", path, "").await;
        assert_eq!(refused.status, 401, "{path}");
        assert!(
            refused.has("www-authenticate: bearer") && !refused.has("access-control-allow-origin"),
            "{path}"
        );
        assert_ne!(raw(rig.address, "GET", path, &right).await.status, 401, "{path}");
        let wrong = right.replace(&token[..8], "00000000");
        assert_eq!(raw(rig.address, "HEAD", path, &wrong).await.status, 401, "{path}");
    }
    for path in
        ["/page/", "/slave(1)/state", "/state", "/version", "/health", "/metrics/snapshot", "/slave(1)/flags"]
    {
        assert_eq!(raw(rig.address, "GET", path, "").await.status, 200, "{path}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_no_token_is_asked_for_but_no_foreign_name_is_answered() {
    let mut rig = Rig::start(|_| {}).await;
    rig.register(1, Power::Mains).await;
    assert!(!rig.state().join("token").exists());
    for path in ["/view/about", "/nodes"] {
        assert_eq!(raw(rig.address, "GET", path, "Host: evil.example:5051\r\n").await.status, 403, "{path}");
        assert_eq!(raw(rig.address, "GET", path, "Host: localhost:5051\r\n").await.status, 200, "{path}");
    }
    let hostname = format!("Host: {}.micro\r\n", eui64(1));
    assert_eq!(
        raw(rig.address, "GET", "/state", &hostname).await.status,
        200,
        "an agent is called by its name"
    );
    for path in ["/view/about", "/nodes", "/metrics"] {
        let shown = raw(rig.address, "GET", path, "Origin: http://evil.example\r\n").await;
        assert!(shown.status == 200 && !shown.has("access-control-allow-origin"), "{path}");
    }
    assert_eq!(raw(rig.address, "GET", "/nodes?jsonp=steal", "").await.status, 400);
    let about = raw(rig.address, "GET", "/view/about", "").await;
    assert!(!about.has("access-control-allow-origin") && about.has("cache-control: no-store"));
    let document = about.json();
    assert_eq!(
        (&document["kind"], &document["insecure"], &document["master"]),
        (&json!("gateway"), &json!(true), &json!("127.0.0.1:1"))
    );
    let head = raw(rig.address, "HEAD", "/view/about", "").await;
    assert!(head.status == 200 && head.body.is_empty());
    assert_eq!(raw(rig.address, "POST", "/view/about", "").await.status, 405);
    let browser = raw(rig.address, "GET", "/", "Accept: text/html,*/*\r\n").await;
    assert!(browser.status == 302 && browser.has("location: /page/"));
    assert_eq!(raw(rig.address, "GET", "/", "").await.status, 404);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_and_reads_nothing_holds_nobody_up() {
    let mut rig = Rig::start(|_| {}).await;
    rig.register(1, Power::Mains).await;
    let mut slow = Vec::new();
    for number in 0..page::STREAMS_MAX {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        let request = format!(
            "GET /view/fleet?offset={number} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        slow.push(stream);
    }
    let refused = raw(rig.address, "GET", "/view/fleet", "Accept: text/event-stream\r\n").await;
    assert!(refused.status == 503 && refused.has("retry-after"));
    for number in 2..=200 {
        rig.register(number, Power::Mains).await; // the driver answers nodes as ever
    }
    assert_eq!(get(rig.address, "/view/fleet?limit=1").await["total"], 200);
    drop(slow);
    let free = async {
        while raw_stream(&rig, "/view/fleet").await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), free).await.expect("the places are free again");
    rig.stop().await;
}

/// The first event of a stream, if there is a place for it.
async fn raw_stream(rig: &Rig, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    loop {
        let mut bytes = vec![0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if count == 0 || text.starts_with("HTTP/1.1 503") {
            return None;
        }
        if text.contains("event: view") {
            return Some(text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_of_a_node_that_comes() {
    let mut rig = Rig::start(|_| {}).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let request = "GET /view/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    rig.register(3, Power::Mains).await;
    let told = async {
        let mut text = String::new();
        while !text.contains("a new node registered") {
            let mut bytes = vec![0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        text
    };
    let text = tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
    assert!(text.contains("event: event\nid: ") && text.contains(&eui64(3)), "{text}");
    rig.stop().await;
}
