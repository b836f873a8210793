//! The operator's documents of a master that runs: what is in them, and who gets them.

use super::*;

/// A scheduler, an agent and a task that runs between them.
pub async fn with_a_task() -> (Handle, Agent, Scheduler, String, String) {
    let master = start().await;
    let mut agent = Agent::start(master.addr).await;
    let agent_id = agent.register().await;
    let mut scheduler = Scheduler::subscribe(master.addr, true).await;
    let subscribed = scheduler.wait(event::Type::Subscribed).await.subscribed.unwrap();
    let framework = subscribed.framework_id.value;
    let offers = scheduler.wait(event::Type::Offers).await.offers.unwrap().offers;
    let resources = json!([
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.05}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 0.125}},
    ]);
    let task = json!({"name": "Blink", "task_id": {"value": "t"}, "agent_id": {"value": agent_id},
        "command": {"value": "run"}, "resources": resources});
    let accept = json!({"type": "ACCEPT", "framework_id": {"value": framework}, "accept": {
        "offer_ids": [{"value": offers[0].id.value}],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}],
    }});
    assert_eq!(scheduler.call(accept).await, 202);
    agent.wait::<RunTaskMessage>().await;
    agent.status(&framework, &agent_id, TaskState::TaskRunning, 1);
    scheduler.wait(event::Type::Update).await;
    (master, agent, scheduler, framework, agent_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_summed_and_every_part_of_it_is_shown() {
    let (master, _agent, _scheduler, framework, agent) = with_a_task().await;
    let addr = master.addr;
    let overview = get(addr, "/view/overview").await;
    let summary = &overview["summary"];
    for (name, expected) in
        [("agents", 1), ("active", 1), ("unreachable", 0), ("gone", 0), ("draining", 0), ("frameworks", 1)]
    {
        assert_eq!(summary[name], expected, "{name}");
    }
    assert_eq!(summary["tasks"], json!({"staging": 0, "starting": 0, "running": 1, "killing": 0}));
    let cpus = summary["resources"].as_array().unwrap().iter().find(|one| one["name"] == "cpus").unwrap();
    assert_eq!((&cpus["total"], &cpus["used"]), (&json!(0.1), &json!(0.05)));
    let role = &overview["roles"][0];
    assert_eq!((&role["role"], &role["weight"], &role["frameworks"]), (&json!("*"), &json!(1.0), &json!(1)));
    assert!(role["dominant_share_permille"].as_u64().unwrap() >= 500);

    let agents = get(addr, "/view/agents").await;
    assert_eq!(
        (&agents["total"], &agents["matching"], &agents["agents"][0]["agent_id"]),
        (&json!(1), &json!(1), &json!(agent))
    );
    let one = &agents["agents"][0];
    assert_eq!(
        (&one["hostname"], &one["state"], &one["tasks"], &one["drain"]),
        (&json!("node"), &json!("active"), &json!(1), &Value::Null)
    );
    for (query, matching) in
        [("state=active", 1), ("state=draining", 0), ("state=unreachable", 0), ("q=NODE", 1), ("q=x-y", 0)]
    {
        assert_eq!(get(addr, &format!("/view/agents?{query}")).await["matching"], matching, "{query}");
    }
    let full = get(addr, &format!("/view/agent/{agent}")).await;
    assert_eq!((&full["agent"]["agent_id"], &full["tasks"][0]["task_id"]), (&json!(agent), &json!("t")));

    let frameworks = get(addr, "/view/frameworks").await;
    let shown = &frameworks["frameworks"][0];
    assert_eq!(
        (&shown["framework_id"], &shown["name"], &shown["connected"]),
        (&json!(framework), &json!("n"), &json!(true))
    );
    assert!(shown["allocated"]["cpus"].as_f64().unwrap() >= 0.05 && frameworks["completed"] == json!([]));

    for (query, matching) in [
        ("", 1),
        ("state=running", 1),
        ("state=TASK_KILLED", 0),
        ("q=blink", 1),
        ("role=*", 1),
        ("role=x", 0),
    ] {
        assert_eq!(get(addr, &format!("/view/tasks?{query}")).await["matching"], matching, "{query}");
    }
    let task = get(addr, &format!("/view/task/{framework}/t")).await;
    assert_eq!((&task["task"]["state"], &task["task"]["framework"]), (&json!("TASK_RUNNING"), &json!("n")));
    assert_eq!((&task["statuses"][0]["state"], &task["log_at"]), (&json!("TASK_RUNNING"), &Value::Null));

    let events = get(addr, "/view/events").await;
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["agent", "framework", "task", "task"]);
    let last = &events["events"][3];
    assert_eq!(
        (&last["text"], &last["task_id"], &last["agent_id"]),
        (&json!("TASK_RUNNING"), &json!("t"), &json!(agent))
    );

    for unknown in [
        "/view/agent/x",
        &format!("/view/task/{framework}/x"),
        "/view/task/x/t",
        "/view/nothing",
        "/view/..%2Fx",
    ] {
        let (status, _, body) = http(addr, &format!("GET {unknown} HTTP/1.1"), b"").await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(status == 404 && body["error"].is_string(), "{unknown}");
    }
    let (status, ..) = http(addr, "GET /view/tasks?state=x HTTP/1.1", b"").await;
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_sends_what_has_changed() {
    let master = start().await;
    let mut stream = TcpStream::connect(master.addr).await.unwrap();
    let request = "GET /view/overview HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut agent = Agent::start(master.addr).await;
    let search = async {
        let mut text = String::new();
        while !text.contains(r#""agents":1"#) {
            let mut bytes = vec![0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if text.contains(r#""agents":0"#) && agent.events.is_empty() {
                agent.register().await;
            }
        }
        text
    };
    let text = tokio::time::timeout(LIMIT, search).await.unwrap();
    assert!(
        text.contains("content-type: text/event-stream") && text.contains("event: view\ndata: {\"at\":"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_a_token_opens_what_is_not_mesos() {
    let state = tempfile::tempdir().unwrap();
    let config = Config {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        state: Some(state.path().to_owned()),
        ..Config::default()
    };
    let master = run(config).await.unwrap();
    let addr = master.addr;
    let token = std::fs::read_to_string(state.path().join("token")).unwrap();
    assert_eq!(master.page, format!("http://{addr}/page/#token={}", token.trim()));
    let right = format!("\r\nAuthorization: Bearer {}", token.trim());
    for path in ["/view/about", "/view/overview", "/view/nothing", "/view/jobs", "/jobs", "/jobs/x"] {
        let (status, head, _) = http(addr, &format!("GET {path} HTTP/1.1"), b"").await;
        assert!(status == 401 && head.to_lowercase().contains("www-authenticate: bearer"), "{path}");
        assert_ne!(http(addr, &format!("GET {path} HTTP/1.1{right}"), b"").await.0, 401, "{path}");
    }
    for path in ["/page/", "/state", "/health", "/metrics/snapshot"] {
        assert_eq!(http(addr, &format!("GET {path} HTTP/1.1"), b"").await.0, 200, "{path}");
    }
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_site_ends_a_framework() {
    let master = start().await;
    let evil = "POST /teardown HTTP/1.1\r\nOrigin: http://evil.example";
    assert_eq!(http(master.addr, evil, b"frameworkId=x").await.0, 403);
    assert_eq!(http(master.addr, "POST /teardown HTTP/1.1", b"frameworkId=x").await.0, 400);
    assert_eq!(get(master.addr, "/view/jobs").await["jobs"], json!([]));
    let (status, _, body) = http(master.addr, "GET /view/job/x HTTP/1.1", b"").await;
    assert!(status == 404 && String::from_utf8_lossy(&body).contains("micro job list"));
    let about = get(master.addr, "/view/about").await;
    assert_eq!((&about["kind"], &about["policy"]), (&json!("master"), &json!("drf")));
    let (status, head, _) = http(master.addr, "GET / HTTP/1.1\r\nAccept: text/html", b"").await;
    assert!(status == 302 && head.to_lowercase().contains("location: /page/"));
    assert_eq!(http(master.addr, "HEAD /view/about HTTP/1.1", b"").await.0, 200);
}
