//! The older endpoints for maintenance.

use super::*;

async fn ask(addr: SocketAddrV4, head: &str, body: &str) -> (u16, String) {
    let (status, _, body) = http(addr, &format!("{head} HTTP/1.1"), body.as_bytes()).await;
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_planned_taken_down_and_brought_up() {
    let master = start().await;
    let addr = master.addr;
    let machine = json!({"hostname": "node", "ip": "127.0.0.1"});
    let window = json!({"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": 7}}});
    let plan = json!({"windows": [window]});
    let machines = json!([machine]).to_string();
    let document = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let empty = ask(addr, "GET /maintenance/schedule", "").await;
    assert_eq!((empty.0, document(empty.1)), (200, json!({})));
    assert_eq!(ask(addr, "POST /master/maintenance/schedule", &plan.to_string()).await, (200, String::new()));
    let (_, shown) = ask(addr, "GET /maintenance/schedule", "").await;
    assert_eq!(document(shown), plan);
    assert_eq!(ask(addr, "POST /machine/down", &machines).await.0, 200);
    let (_, status) = ask(addr, "GET /maintenance/status", "").await;
    assert_eq!(document(status), json!({"down_machines": [machine]}));
    let (status, why) = ask(addr, "POST /machine/down", &machines).await;
    assert!(status == 400 && why.contains("not in DRAINING mode"), "{why}");
    assert_eq!(ask(addr, "POST /machine/up", &machines).await.0, 200);
    let (_, shown) = ask(addr, "GET /maintenance/schedule", "").await;
    assert_eq!(document(shown), json!({}));
    for (head, body, expected) in [
        ("GET /machine/down", "", 405),
        ("POST /maintenance/status", "", 405),
        ("POST /machine/up", "{}", 400),
        ("POST /machine/up", "[{\"ip\": 3}]", 400),
        ("POST /maintenance/schedule", "[]", 400),
        ("GET /maintenance/nothing", "", 404),
    ] {
        assert_eq!(ask(addr, head, body).await.0, expected, "{head}");
    }
}
