//! What the master's web UI, exporters and the `mesos` command ask of an agent, asked of a running gateway.

mod support;

use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpStream;
use support::{Follower, PLAIN, System};

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn has(&self, header: &str) -> bool {
        self.head.to_ascii_lowercase().contains(&header.to_ascii_lowercase())
    }
}

/// One request as it is written here, over a connection of its own.
fn raw(system: &System, line: &str, headers: &str, body: &str) -> Answer {
    use std::io::Write;
    let mut stream = TcpStream::connect(system.gateway).unwrap();
    let length = body.len();
    let head =
        format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let head =
        if headers.contains("Host:") { head } else { head.replacen("\r\n", "\r\nHost: 127.0.0.1\r\n", 1) };
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("no head");
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[at + 4..].to_vec() }
}

fn get(system: &System, path: &str) -> Answer {
    raw(system, &format!("GET {path}"), "", "")
}

fn call(system: &System, path: &str, body: Value) -> Answer {
    raw(system, &format!("POST {path}"), "Content-Type: application/json\r\n", &body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_surface_of_a_real_agent_is_there() {
    let system = System::start(0.0, 0.0, 0.0);
    let mut follower = Follower::launch(&system, "hello", &["exit=0"], PLAIN).await;
    let framework = follower.client.framework_id().to_owned();
    let statuses = follower.until_the_end().await;
    assert!(!statuses.is_empty());
    // The last acknowledgement is on its way: then the task is over.
    let state = loop {
        let state = get(&system, "/slave(1)/state").json();
        if state["completed_frameworks"].as_array().is_some_and(|over| !over.is_empty()) {
            break state;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    tokio::task::spawn_blocking(move || surface(&system, &state, &framework)).await.unwrap();
}

fn surface(system: &System, state: &Value, framework: &str) {
    let agent = state["id"].as_str().unwrap();
    let hostname = state["hostname"].as_str().unwrap();
    assert_eq!(state["pid"], format!("slave(1)@{}", system.gateway));
    assert_eq!(state["resources"]["cpus"], 1.0);
    assert!(state["attributes"]["eui64"].is_string() && state["flags"]["port"].is_string());
    assert_eq!(state["capabilities"].as_array().unwrap().len(), 8);
    let executor = &state["completed_frameworks"][0]["completed_executors"][0];
    let task = &executor["completed_tasks"][0];
    assert_eq!((task["id"].as_str(), task["state"].as_str()), (Some("hello"), Some("TASK_FINISHED")));
    assert_eq!(state["completed_frameworks"][0]["id"], framework);

    // Whose: by prefix, raw or encoded, by host, by being the only one.
    for (line, headers) in [
        ("GET /slave%281%29/state", String::new()),
        ("GET /state", format!("Host: {hostname}:5051\r\n")),
        ("GET /state.json", String::new()),
    ] {
        assert_eq!(raw(system, line, &headers, "").json()["id"], agent, "{line}");
    }
    for path in ["/slave(2)/state", "/slave(01)/state", "/slave(x)/state", "/nothing"] {
        assert_eq!(get(system, path).status, 404, "{path}");
    }

    // The web UI is of another origin and asks with JSONP.
    let jsonp = get(system, "/slave(1)/state?jsonp=angular.callbacks._0");
    assert!(jsonp.text().starts_with("angular.callbacks._0({") && jsonp.text().ends_with(");"));
    assert!(jsonp.has("content-type: text/javascript") && jsonp.has("access-control-allow-origin: *"));
    assert_eq!(get(system, "/slave(1)/state?jsonp=alert(1)//").status, 400);
    let preflight = raw(system, "OPTIONS /slave(1)/state", "Origin: http://master:5050\r\n", "");
    assert!(preflight.status == 204 && preflight.has("access-control-allow-methods"));

    let packed = raw(system, "GET /slave(1)/state", "Accept-Encoding: deflate, gzip;q=0.5\r\n", "");
    assert!(packed.has("content-encoding: gzip") && packed.body.starts_with(&[0x1f, 0x8b]));
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut plain).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&plain).unwrap()["id"], agent);
    let head = raw(system, "HEAD /slave(1)/state", "", "");
    assert!(head.status == 200 && head.body.is_empty());
    let wrong = raw(system, "DELETE /slave(1)/state", "", "");
    assert!(wrong.status == 405 && wrong.has("allow: GET"));

    // The sandbox, found as the web UI finds it.
    let directory = executor["directory"].as_str().unwrap();
    let listed = get(system, &format!("/files/browse?path={directory}")).json();
    let paths: Vec<&str> =
        listed.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    let stdout = format!("{directory}/stdout");
    assert!(paths.contains(&stdout.as_str()), "{paths:?}");
    let one = get(system, &format!("/files/browse?path={directory}&offset=1&limit=1")).json();
    assert_eq!(one[0]["path"], paths[1]);
    let size = get(system, &format!("/files/read?path={stdout}&offset=-1")).json();
    let size = size["offset"].as_u64().unwrap();
    assert!(size > 0);
    let read = get(system, &format!("/files/read?path={stdout}&offset=2&length=3&jsonp=f"));
    let whole = get(system, &format!("/files/download?path={stdout}"));
    assert_eq!(whole.body.len() as u64, size);
    let three = String::from_utf8_lossy(&whole.body[2..5]).into_owned();
    assert_eq!(read.text(), format!("f({});", json!({ "data": three, "offset": 2 })));
    let range = raw(system, &format!("GET /files/download?path={stdout}"), "Range: bytes=2-4\r\n", "");
    assert!(range.status == 206 && range.has(&format!("content-range: bytes 2-4/{size}")));
    assert_eq!(range.body, &whole.body[2..5]);
    let beyond = raw(system, &format!("GET /files/download?path={stdout}"), "Range: bytes=99999-\r\n", "");
    assert_eq!(beyond.status, 416);
    let reported = get(system, &format!("/files/download?path={directory}/reported.json")).json();
    assert_eq!(reported["statuses"].as_array().unwrap().last().unwrap()["state"], "TASK_FINISHED");
    let climbing = format!("{directory}/../../../../../../etc/passwd");
    let encoded = climbing.replace("..", "%2e%2e").replace('/', "%2F");
    for path in [climbing.as_str(), &encoded, "/etc/passwd", &format!("{directory}/secret")] {
        assert_eq!(get(system, &format!("/files/download?path={path}")).status, 404, "{path}");
    }
    assert_eq!(get(system, "/files/read").status, 400);
    assert_eq!(get(system, &format!("/files/read?path={stdout}&offset=x")).status, 400);
    assert!(get(system, "/slave(1)/files/debug").json().is_object());

    // Figures.
    assert_eq!(get(system, "/slave(1)/metrics/snapshot").json()["slave/tasks_finished"], 1);
    let all = get(system, "/metrics/snapshot").json();
    assert_eq!((&all["slave/tasks_finished"], &all["gateway/nodes"]), (&json!(1), &json!(1)));
    let prometheus = get(system, "/metrics").text();
    for line in prometheus.lines() {
        let is_value = || {
            let (name, value) = line.split_once(' ').unwrap_or_default();
            name.starts_with("micro_") && !name.contains('/') && value.parse::<f64>().is_ok()
        };
        assert!(
            line.starts_with("# HELP micro_") || line.starts_with("# TYPE micro_") || is_value(),
            "{line}"
        );
    }
    assert!(prometheus.contains("micro_slave_tasks_finished_total 1\n"), "{prometheus}");

    // The rest that clients ask for.
    assert_eq!(get(system, "/slave(1)/containers").json(), json!([]));
    assert_eq!(get(system, "/slave(1)/monitor/statistics").json(), json!([]));
    assert!(get(system, "/slave(1)/flags").json()["flags"].is_object());
    assert_eq!(get(system, "/version").json()["version"], "1.11.0");
    assert_eq!(get(system, "/health").status, 200);
    assert_eq!(get(system, "/nodes?offset=1").json()["nodes"], json!([]));
    assert_eq!(get(system, "/nodes?limit=x").status, 400);

    // The operator API.
    let answered = |kind: &str| {
        let answer = call(system, "/slave(1)/api/v1", json!({ "type": kind }));
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["type"], kind);
        answer[kind.to_ascii_lowercase()].clone()
    };
    assert_eq!(answered("GET_HEALTH"), json!({ "healthy": true }));
    assert_eq!(answered("GET_AGENT")["agent_info"]["id"]["value"], agent);
    let tasks = answered("GET_TASKS");
    assert_eq!(tasks["completed_tasks"][0]["agent_id"]["value"], agent);
    assert_eq!(answered("GET_STATE")["get_tasks"], tasks);
    for kind in
        ["GET_VERSION", "GET_FLAGS", "GET_METRICS", "GET_EXECUTORS", "GET_FRAMEWORKS", "GET_CONTAINERS"]
    {
        assert!(answered(kind).is_object(), "{kind}");
    }
    assert!(answered("GET_OPERATIONS").is_object() && answered("GET_LOGGING_LEVEL").is_object());
    let files = call(system, "/api/v1", json!({ "type": "LIST_FILES", "list_files": { "path": directory } }));
    assert!(files.text().contains(&stdout));
    let asked = json!({ "type": "READ_FILE", "read_file": { "path": stdout, "offset": 0, "length": 2 } });
    assert_eq!(call(system, "/api/v1", asked).json()["read_file"]["size"], size);
    assert_eq!(call(system, "/api/v1", json!({ "type": "LAUNCH_NESTED_CONTAINER" })).status, 501);
    assert_eq!(call(system, "/api/v1", json!({})).status, 400);
    assert_eq!(raw(system, "POST /api/v1", "Content-Type: application/x-protobuf\r\n", "x").status, 415);
    assert_eq!(get(system, "/api/v1").status, 405);
}
