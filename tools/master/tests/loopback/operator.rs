//! The operator API over HTTP: media types, statuses, both forms of documents, and a stream of events.

use super::*;
use mesos_proto::v1::master as api;

const OPERATOR: &str = "POST /api/v1 HTTP/1.1";

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_in_the_form_that_is_asked_for() {
    let master = start().await;
    let addr = master.addr;
    let mut agent = Agent::start(addr).await;
    agent.register().await;
    let json = "Content-Type: application/json";
    let call = br#"{"type": "GET_STATE"}"#;
    for path in ["/api/v1", "/master/api/v1", "/api/v1/operator"] {
        let head = format!("POST {path} HTTP/1.1\r\n{json}\r\nAccept: application/json");
        let (status, head, body) = http(addr, &head, call).await;
        assert_eq!(status, 200, "{path}");
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        let json_body = body;
        let by_json: api::Response = mesos_proto::json::from_json(&json_body).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\n{json}\r\nAccept: application/x-protobuf");
        let (_, head, body) = http(addr, &head, call).await;
        assert!(head.to_lowercase().contains("content-type: application/x-protobuf"), "{head}");
        let by_protobuf = api::Response::decode(body.as_slice()).unwrap();
        assert_eq!(by_json, by_protobuf);
        let plain: Value = serde_json::from_slice(&json_body).unwrap();
        assert_eq!(
            plain["get_state"]["get_tasks"]["tasks"],
            json!([]),
            "a list is there even if it is empty"
        );
        assert_eq!(by_json.get_state.unwrap().get_agents.unwrap().agents[0].agent_info.hostname, "node");
    }
    let protobuf = encode::<api::Call>(&json!({"type": "GET_VERSION"}), false);
    let head = format!("{OPERATOR}\r\nContent-Type: application/x-protobuf");
    let (status, _, body) = http(addr, &head, &protobuf).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["type"]), (200, &json!("GET_VERSION")));
    assert_eq!(body["get_version"]["version_info"]["version"], master::MESOS_VERSION);

    for (head, body, expected) in [
        ("GET /api/v1 HTTP/1.1".to_owned(), &b""[..], 405),
        (OPERATOR.to_owned(), b"{}", 400),
        (format!("{OPERATOR}\r\nContent-Type: text/plain"), b"{}", 415),
        (format!("{OPERATOR}\r\n{json}"), b"not json", 400),
        (format!("{OPERATOR}\r\n{json}"), b"{}", 400),
        (format!("{OPERATOR}\r\n{json}"), br#"{"type": "TEARDOWN", "teardown": {}}"#, 400),
        (format!("{OPERATOR}\r\nContent-Type: application/x-protobuf"), b"\xff\xff\xff\xff", 400),
        (format!("{OPERATOR}\r\n{json}\r\nAccept: text/html"), call, 406),
        (format!("{OPERATOR}\r\n{json}"), br#"{"type": "UPDATE_QUOTA", "update_quota": {}}"#, 501),
    ] {
        let (status, _, why) = http(addr, &head, body).await;
        assert_eq!(status, expected, "{head}");
        assert!(!why.is_empty(), "{head}: a refusal says why");
    }
}

async fn watch(json: bool) {
    use api::event::Type;
    let master = start().await;
    let addr = master.addr;
    let subscribe = encode::<api::Call>(&json!({"type": "SUBSCRIBE"}), json);
    let (_, mut records) = Records::open(addr, OPERATOR, &subscribe, json).await;
    let first: api::Event = records.next().await.unwrap();
    assert!(first.subscribed.unwrap().get_state.unwrap().get_agents.unwrap().agents.is_empty());
    let mut agent = Agent::start(addr).await;
    let id = agent.register().await;
    let search = async {
        let mut beats = 0;
        loop {
            let event: api::Event = records.next().await.expect("the stream ended");
            match event.r#type() {
                Type::Heartbeat => beats += 1,
                Type::AgentAdded => {
                    assert!(beats > 0, "a heartbeat follows SUBSCRIBED at once");
                    return event.agent_added.unwrap().agent.agent_info.id.unwrap().value;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(LIMIT, search).await.unwrap(), id);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_watches_by_json() {
    watch(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_watches_by_protobuf() {
    watch(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_need_the_token_and_what_is_read_does_not() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("token");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen, token_file: Some(file.clone()), ..Config::default() };
    let master = run(config).await.unwrap();
    let addr = master.addr;
    let token = std::fs::read_to_string(file).unwrap();
    let bearer = format!("\r\nAuthorization: Bearer {}", token.trim());
    let basic = format!("\r\nAuthorization: Basic {}", STANDARD.encode(format!("me:{}", token.trim())));
    let call = format!("{OPERATOR}\r\nContent-Type: application/json");
    let teardown = br#"{"type": "TEARDOWN", "teardown": {"framework_id": {"value": "x"}}}"#;
    let form = "POST /teardown HTTP/1.1".to_owned();
    let toggle = "GET /logging/toggle?level=1&duration=1secs HTTP/1.1".to_owned();
    // With the token they are answered, if only that there is nothing to be done.
    for (head, body, answered) in
        [(&call, &teardown[..], 400), (&form, &b"frameworkId=x"[..], 400), (&toggle, &b""[..], 501)]
    {
        let (status, refused, why) = http(addr, head, body).await;
        assert_eq!(status, 401, "{head}");
        assert!(refused.to_lowercase().contains("www-authenticate: bearer"), "{refused}");
        assert!(String::from_utf8_lossy(&why).contains("--token-file"), "{head}");
        for right in [&bearer, &basic] {
            assert_eq!(http(addr, &format!("{head}{right}"), body).await.0, answered, "{head}");
        }
    }
    assert_eq!(http(addr, &call, br#"{"type": "GET_STATE"}"#).await.0, 200);
    assert_eq!(http(addr, "GET /state HTTP/1.1", b"").await.0, 200);
    assert_eq!(http(addr, "GET /logging/toggle HTTP/1.1", b"").await.0, 200);
    let foreign = "\r\nOrigin: http://elsewhere.example";
    let open = start().await;
    for head in [&call, &form] {
        assert_eq!(http(open.addr, &format!("{head}{foreign}"), teardown).await.0, 403, "{head}");
    }
}
