//! The older endpoints over HTTP: which there are, what is refused, and that what is there can be read by those who
//! read Mesos' own.

use super::console::with_a_task;
use super::*;

async fn status(addr: SocketAddrV4, request: &str, body: &[u8]) -> (u16, String, String) {
    let (status, head, body) = http(addr, &format!("{request} HTTP/1.1"), body).await;
    (status, head.to_lowercase(), String::from_utf8_lossy(&body).into_owned())
}

/// What `mesos agent list`, `task list` and `framework list` take out of the documents (src/python/cli_new).
#[tokio::test(flavor = "multi_thread")]
async fn the_mesos_command_finds_its_fields() {
    let (master, _agent, _scheduler, framework, agent_id) = with_a_task().await;
    let addr = master.addr;
    let agent = &get(addr, "/slaves").await["slaves"][0];
    assert_eq!(agent["id"], agent_id.as_str());
    assert_eq!(agent["hostname"], "node");
    assert_eq!(agent["active"], true);
    assert!(agent["pid"].as_str().unwrap().contains('@'));
    let tasks = get(addr, "/tasks?order=asc&limit=-1").await;
    let task = &tasks["tasks"][0];
    assert_eq!((&task["id"], &task["framework_id"]), (&json!("t"), &json!(framework)));
    assert_eq!(task["statuses"][0]["state"], "TASK_RUNNING");
    assert_eq!(task["executor_id"], "");
    assert_eq!(task["slave_id"], agent_id.as_str());
    let frameworks = get(addr, "/master/frameworks/").await;
    let shown = &frameworks["frameworks"][0];
    assert_eq!((&shown["id"], &shown["name"]), (&json!(framework), &json!("n")));
    assert_eq!(shown["active"], true);
    assert!(shown["hostname"].is_string() && shown["webui_url"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_selected_and_agree() {
    let (master, _agent, _scheduler, framework, agent_id) = with_a_task().await;
    let addr = master.addr;
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    let slaves = get(addr, &format!("/slaves?slave_id={agent_id}")).await;
    let slave = &slaves["slaves"][0];
    for name in ["cpus", "mem"] {
        let held = number(&slave["used_resources"][name]) + number(&slave["offered_resources"][name]);
        assert!(held <= number(&slave["resources"][name]) && held > 0.0, "{slave}");
    }
    assert_eq!(slave["used_resources_full"][0]["allocation_info"]["role"], "*");
    assert_eq!(slave["unreserved_resources_full"][0]["role"], "*");
    assert!(get(addr, "/slaves?slave_id=x").await["slaves"].as_array().unwrap().is_empty());
    let only = get(addr, &format!("/frameworks?framework_id={framework}")).await;
    assert_eq!(only["frameworks"][0]["tasks"][0]["id"], "t");
    assert!(get(addr, "/frameworks?framework_id=x").await["frameworks"].as_array().unwrap().is_empty());
    for (query, expected) in
        [("task_id=t", 1), ("task_id=u", 0), ("framework_id=x", 0), ("offset=1", 0), ("limit=0", 0)]
    {
        let tasks = get(addr, &format!("/tasks?{query}")).await;
        assert_eq!(tasks["tasks"].as_array().unwrap().len(), expected, "{query}");
    }
    let state = get(addr, "/state").await;
    assert_eq!(state["slaves"][0]["id"], agent_id.as_str());
    assert!(state["build_time"].as_f64().unwrap() > 0.0 && state["flags"]["port"].is_string());
    let summary = get(addr, "/state-summary").await;
    assert_eq!(summary["slaves"][0]["TASK_RUNNING"], 1);
    assert_eq!(summary["frameworks"][0]["slave_ids"], json!([agent_id]));
    assert_eq!(summary["slaves"][0]["framework_ids"], json!([framework]));
    let roles = get(addr, "/roles").await;
    assert_eq!(roles["roles"][0]["allocated"]["cpus"], 0.05);
    let metrics = get(addr, "/metrics/snapshot").await;
    assert_eq!(metrics["master/cpus_used"], 0.05);
    assert_eq!(metrics["master/tasks_running"], 1.0);
    assert_eq!(metrics["master/tasks_lost"], 0.0);
    assert!(metrics["system/cpus_total"].as_f64().unwrap() >= 1.0);
    assert!(metrics["registrar/state_store_ms/count"].as_f64().unwrap() >= 2.0, "an agent and a framework");
    assert!(metrics["allocator/mesos/allocation_runs"].as_f64().unwrap() >= 1.0);
    assert!(metrics["master/event_queue_http_requests"].is_number());
    assert_eq!(get(addr, "/flags").await["flags"]["allocation_policy"], "drf");
    assert_eq!(get(addr, "/weights").await, json!([]));
    assert_eq!(get(addr, "/quota").await, json!({}));
    assert_eq!(get(addr, "/files/debug").await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_says_what_it_takes() {
    let master = start().await;
    let addr = master.addr;
    for (request, body, expected) in [
        ("GET /health", "", 200),
        ("HEAD /state", "", 200),
        ("POST /state", "", 405),
        ("GET /teardown", "", 405),
        ("PUT /machine/down", "", 405),
        ("GET /nothing", "", 404),
        ("GET /master/nothing", "", 404),
        ("GET /redirect", "", 307),
        ("POST /teardown", "frameworkId=x", 400),
        ("POST /master/teardown", "", 400),
        ("POST /reserve", "slaveId=x&resources=%5B%5D", 400),
        ("POST /reserve", "slaveId=x", 400),
        ("PUT /weights", "{}", 400),
        ("POST /quota", r#"{"role": "ops", "guarantee": []}"#, 501),
        ("DELETE /quota/ops", "", 501),
        ("GET /files/browse", "", 400),
        ("GET /files/read?path=/log", "", 404),
        ("GET /logging/toggle", "", 200),
        ("GET /logging/toggle?level=1", "", 400),
        ("GET /logging/toggle?level=1&duration=10", "", 400),
        ("GET /logging/toggle?level=1&duration=10mins", "", 501),
    ] {
        let (status, head, why) = status(addr, request, body.as_bytes()).await;
        assert_eq!(status, expected, "{request}: {why}");
        assert_eq!(status == 405, head.contains("allow:"), "{request}: {head}");
        assert!(!head.contains("access-control"), "no other origin reads this: {head}");
    }
    let (_, head, body) = status(addr, "HEAD /state", b"").await;
    assert!(body.is_empty() && head.contains("content-length: "), "{head}");
    let (_, head, body) = status(addr, "GET /state?jsonp=a.b", b"").await;
    assert!(body.starts_with("a.b({") && head.contains("text/javascript"), "{head}");
    let (refused, ..) = status(addr, "GET /state?jsonp=alert(1)", b"").await;
    assert_eq!(refused, 400);
    let zipped = "GET /metrics/snapshot HTTP/1.1\r\nAccept-Encoding: gzip";
    let (_, head, body) = http(addr, zipped, b"").await;
    assert!(head.to_lowercase().contains("content-encoding: gzip") && body.starts_with(&[0x1f, 0x8b]));
}
