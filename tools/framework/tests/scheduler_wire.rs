//! The scheduler's driver against a scripted master: recorded events in pieces of any size, and masters that misbehave.

mod support;

use framework::v1::scheduler::offer_constraints::{RoleConstraints, role_constraints};
use framework::v1::scheduler::{Event, OfferConstraints};
use framework::{Acknowledge, End, Error, Format, Scheduler, SchedulerDriver, recordio::Decoder};
use std::time::Duration;
use support::peer::{Events, Peer};
use support::{Running, Said, info};

/// The recorded events by name.
fn recorded() -> Vec<(String, String)> {
    let directory = format!("{}/tests/recorded/scheduler", env!("CARGO_MANIFEST_DIR"));
    let mut events: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    events.sort();
    events
}

fn of(name: &str) -> String {
    recorded().into_iter().find(|(stem, _)| stem.ends_with(name)).unwrap().1
}

fn start(
    peer: &Peer,
    with: impl FnOnce(SchedulerDriver<support::Recorder>) -> SchedulerDriver<support::Recorder>,
) -> Running {
    Running::start(info(), peer.at.to_string().parse().unwrap(), 0, |driver| {
        with(driver.format(Format::Json))
    })
}

/// A driver that is subscribed with a scripted master.
async fn subscribed(peer: &mut Peer) -> (Running, Events) {
    let mut running = start(peer, |driver| driver);
    let (_, events) = peer.subscribed().await;
    events.send(&of("subscribed"));
    assert_eq!(running.next().await, Said::Registered("m-0001".into()));
    (running, events)
}

#[test]
fn a_stream_cut_anywhere_is_the_same_stream() {
    let events = recorded();
    let mut stream = Vec::new();
    for (_, json) in &events {
        stream.extend_from_slice(format!("{}\n{json}", json.len()).as_bytes());
    }
    let read = |pieces: [&[u8]; 2]| {
        let (mut decoder, mut read) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.push(piece);
            while let Some(record) = decoder.next_record().unwrap() {
                read.push(record);
            }
        }
        read
    };
    let whole = read([&stream, &[]]);
    let kinds = whole.iter().map(|record| mesos_proto::json::from_json::<Event>(record).unwrap().r#type());
    let expected = recorded().into_iter().map(|(_, json)| {
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["type"].as_str().unwrap().to_owned()
    });
    assert!(kinds.map(|kind| kind.as_str_name().to_owned()).eq(expected));
    for at in 0..stream.len() {
        assert_eq!(read([&stream[..at], &stream[at..]]), whole, "cut at {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_documented_event_is_a_callback_though_it_comes_byte_by_byte() {
    let mut peer = Peer::start().await;
    let (mut running, events) = subscribed(&mut peer).await;
    for (_, json) in recorded().iter().filter(|(name, _)| !name.ends_with("subscribed")) {
        for byte in format!("{}\n{json}", json.len()).bytes() {
            events.piece(vec![byte]);
        }
    }
    let Said::Offers(offers) = running.next().await else { panic!("no offers") };
    assert_eq!(offers[0].resources[0].scalar.unwrap().value, 0.5);
    assert_eq!((offers[0].id.value.as_str(), offers[0].executor_ids.len()), ("m-O7", 1));
    assert!(matches!(running.next().await, Said::Rescinded(id) if id.value == "m-O7"));
    let Said::InverseOffers(offers) = running.next().await else { panic!("no inverse offers") };
    assert_eq!(offers[0].unavailability.duration.unwrap().nanoseconds, 3_600_000_000_000);
    assert!(matches!(running.next().await, Said::InverseRescinded(id) if id.value == "m-O8"));
    let Said::Status(status) = running.next().await else { panic!("no status") };
    assert_eq!(status.uuid(), (0..16).collect::<Vec<u8>>());
    let acknowledge = peer.takes("ACKNOWLEDGE").await;
    assert_eq!(acknowledge["acknowledge"]["uuid"], "AAECAwQFBgcICQoLDA0ODw==");
    assert_eq!(acknowledge["framework_id"]["value"], "m-0001");
    let Said::Operation(status) = running.next().await else { panic!("no operation") };
    assert_eq!(status.operation_id.unwrap().value, "reserve-1");
    let acknowledge = peer.takes("ACKNOWLEDGE_OPERATION_STATUS").await;
    assert_eq!(acknowledge["acknowledge_operation_status"]["resource_provider_id"]["value"], "provider-1");
    assert!(matches!(running.next().await, Said::Message(_, _, data) if data == b"pressure=4"));
    assert!(
        matches!(running.next().await, Said::ExecutorLost(Some(_), executor, Some(1)) if executor.value == "pump-executor")
    );
    assert!(matches!(running.next().await, Said::AgentLost(agent) if agent.value == "m-S3"));
    // The heartbeat is no callback; an error is the last one.
    assert!(matches!(running.next().await, Said::Error(why) if why.contains("Framework failed over")));
    assert!(matches!(running.end().await, Err(Error::Ended(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_scheduler_says_nothing_to_is_declined_and_acknowledged() {
    struct Idle;
    impl Scheduler for Idle {}
    let mut peer = Peer::start().await;
    let driver =
        SchedulerDriver::new(peer.at.to_string().parse().unwrap(), info(), Idle).format(Format::Json);
    let handle = driver.handle();
    let driver = tokio::spawn(driver.run());
    let (_, events) = peer.subscribed().await;
    events.send(&of("subscribed"));
    for name in ["01-offers", "03-inverse-offers", "05-update"] {
        events.send(&of(name));
    }
    assert_eq!(peer.takes("DECLINE").await["decline"]["offer_ids"][0]["value"], "m-O7");
    let declined = peer.takes("DECLINE_INVERSE_OFFERS").await;
    assert_eq!(declined["decline_inverse_offers"]["inverse_offer_ids"][0]["value"], "m-O8");
    peer.takes("ACKNOWLEDGE").await;
    handle.abort();
    assert_eq!(support::in_time(driver).await.unwrap().unwrap(), End::Aborted);
    assert!(matches!(handle.revive(&[]).await, Err(Error::Stopped)));
    assert!(matches!(handle.connected().await, Err(Error::Stopped)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_master_is_left_and_subscribed_with_again() {
    let mut peer = Peer::start().await;
    let mut running = start(&peer, |driver| driver.heartbeats_missed_max(3));
    let (_, events) = peer.subscribed().await;
    events.send(r#"{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"m-0001"},"heartbeat_interval_seconds":0.05}}"#);
    assert_eq!(running.next().await, Said::Registered("m-0001".into()));
    let silence = running.until(|said| match said {
        Said::Silence(silence) => Some(*silence),
        _ => None,
    });
    assert_eq!(silence.await, Duration::from_millis(150));
    assert_eq!(running.next().await, Said::Disconnected);
    let (call, again) = peer.subscribed().await;
    assert_eq!(call["framework_id"]["value"], "m-0001");
    assert_eq!(call["subscribe"]["framework_info"]["id"]["value"], "m-0001");
    again.send(&of("subscribed"));
    assert_eq!(running.next().await, Said::Reregistered("m-0001".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirection_leads_to_the_leading_master() {
    let (mut peer, mut leader) = (Peer::start().await, Peer::start().await);
    let mut running = start(&peer, |driver| driver);
    let location = format!("Location: //{}\r\n", leader.at);
    peer.next().await.answer_with(307, &location, "");
    let (_, events) = leader.subscribed().await;
    events.send(&of("subscribed"));
    running.next().await;
    let call = tokio::spawn({
        let handle = running.handle.clone();
        async move { handle.suppress(&[]).await }
    });
    leader.takes("SUPPRESS").await;
    call.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_that_lead_in_a_circle_are_left_after_a_few_rounds() {
    let mut peer = Peer::start().await;
    let running = start(&peer, |driver| driver);
    // Six requests make five redirections; what follows is another attempt.
    for _ in 0..12 {
        let location = format!("Location: //{}\r\n", peer.at);
        peer.next().await.answer_with(307, &location, "");
    }
    running.handle.abort();
    assert_eq!(running.end().await.unwrap(), End::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_not_ready_is_asked_again_and_one_that_refuses_is_not() {
    let mut peer = Peer::start().await;
    let mut running = start(&peer, |driver| driver.credential("works", "hush"));
    for status in [503, 404] {
        let request = peer.next().await;
        assert!(request.head.contains("authorization: Basic d29ya3M6aHVzaA=="), "{}", request.head);
        assert_eq!(request.json()["subscribe"]["framework_info"]["principal"], "works");
        request.answer(status);
    }
    // Neither SUBSCRIBED nor RecordIO.
    for garbage in ["9\nno events", "x\n", "20\n{\"type\":\"HEARTBEAT\"}", "99999999999"] {
        let (_, events) = peer.subscribed().await;
        events.piece(garbage.as_bytes().to_vec());
    }
    peer.next().await.answer_with(401, "", "who is there?");
    assert!(matches!(running.next().await, Said::Error(why) if why.contains("who is there?")));
    assert!(matches!(running.end().await, Err(Error::Unauthenticated { .. })));

    let running = start(&peer, |driver| driver);
    peer.next().await.answer_with(400, "", "no such role");
    let error = running.end().await.unwrap_err();
    assert!(error.to_string().contains("no such role"), "{error}");

    // A framework that was removed is told by an event.
    let with_id = |driver: SchedulerDriver<_>| {
        let store = framework::MemoryStore::default();
        framework::FrameworkIdStore::save(&store, "m-0001").unwrap();
        driver.store(store)
    };
    let running = start(&peer, with_id);
    let (call, events) = peer.subscribed().await;
    assert_eq!(call["framework_id"]["value"], "m-0001");
    events.send(r#"{"type":"ERROR","error":{"message":"Framework has been removed"}}"#);
    assert!(matches!(running.end().await, Err(Error::Removed { id, .. }) if id == "m-0001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_suppressed_stays_so_with_the_next_subscription() {
    let mut peer = Peer::start().await;
    let (mut running, events) = subscribed(&mut peer).await;
    let handle = running.handle.clone();
    let suppress = tokio::spawn(async move { handle.suppress(&[]).await });
    peer.takes("SUPPRESS").await;
    suppress.await.unwrap().unwrap();
    drop(events);
    assert_eq!(running.next().await, Said::Disconnected);
    assert!(matches!(running.handle.revive(&[]).await, Err(Error::Disconnected)));
    let (call, events) = peer.subscribed().await;
    assert_eq!(call["subscribe"]["suppressed_roles"], serde_json::json!(["test"]));
    events.send(&of("subscribed"));
    running.next().await;
    let handle = running.handle.clone();
    let revive = tokio::spawn(async move { handle.revive(&["test".into()]).await });
    peer.takes("REVIVE").await;
    revive.await.unwrap().unwrap();
    drop(events);
    let (call, events) = peer.subscribed().await;
    assert_eq!(call["subscribe"].get("suppressed_roles"), None);

    // So does what the framework was changed to.
    events.send(&of("subscribed"));
    running.until(|said| matches!(said, Said::Reregistered(_)).then_some(())).await;
    let handle = running.handle.clone();
    let groups = vec![role_constraints::Group::default()];
    let role_constraints = [("b".to_owned(), RoleConstraints { groups })].into();
    let update = tokio::spawn(async move {
        let changed = framework::v1::FrameworkInfo { roles: vec!["a".into(), "b".into()], ..info() };
        let constraints = Some(OfferConstraints { role_constraints });
        handle.update_framework(changed, &["a".into()], constraints).await
    });
    let call = peer.takes("UPDATE_FRAMEWORK").await;
    assert_eq!(call["update_framework"]["framework_info"]["id"]["value"], "m-0001");
    update.await.unwrap().unwrap();
    drop(events);
    let (call, _events) = peer.subscribed().await;
    let subscribe = &call["subscribe"];
    assert_eq!(subscribe["framework_info"]["roles"], serde_json::json!(["a", "b"]));
    assert_eq!(subscribe["suppressed_roles"], serde_json::json!(["a"]));
    assert_eq!(subscribe["offer_constraints"]["role_constraints"]["b"]["groups"], serde_json::json!([{}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_not_taken_is_not_acknowledged() {
    let mut peer = Peer::start().await;
    let spec = peer.at.to_string().parse().unwrap();
    let mut running = Running::start(info(), spec, 1, |driver| driver.format(Format::Json));
    let (_, events) = peer.subscribed().await;
    events.send(&of("subscribed"));
    let first = of("05-update").replace("pump-1", "refused");
    events.send(&first);
    events.send(&of("05-update"));
    let acknowledge = peer.takes("ACKNOWLEDGE").await;
    assert_eq!(acknowledge["acknowledge"]["task_id"]["value"], "pump-1");
    running.next().await;
    for task in ["refused", "pump-1"] {
        assert!(matches!(running.next().await, Said::Status(status) if status.task_id.value == task));
    }

    // Offers that were not taken are given back.
    events.send(&of("01-offers").replace("node-3.example", "hated"));
    assert_eq!(peer.takes("DECLINE").await["decline"]["offer_ids"][0]["value"], "m-O7");

    // Nor is one that is left to the scheduler, until that says so.
    let mut running = start(&peer, |driver| driver.acknowledge(Acknowledge::Explicit));
    let (_, events) = peer.subscribed().await;
    events.send(&of("subscribed"));
    events.send(&of("05-update"));
    running.next().await;
    let Said::Status(status) = running.next().await else { panic!("no status") };
    let handle = running.handle.clone();
    let calls = tokio::spawn(async move {
        handle.revive(&[]).await?;
        handle.acknowledge(&status).await
    });
    peer.takes("REVIVE").await;
    peer.takes("ACKNOWLEDGE").await;
    calls.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_says_why_and_a_teardown_ends_the_driver_once_it_is_taken() {
    let mut peer = Peer::start().await;
    let (running, events) = subscribed(&mut peer).await;
    let handle = running.handle.clone();
    let calls = tokio::spawn(async move {
        let refused = handle.reconcile(&[]).await;
        let busy = handle.teardown().await;
        (refused, busy, handle.teardown().await)
    });
    peer.next().await.answer_with(400, "", "no tasks");
    peer.next().await.answer_with(503, "", "busy");
    let teardown = peer.next().await;
    assert_eq!(teardown.kind(), "TEARDOWN");
    // The stream may end before the answer is there.
    drop(events);
    teardown.answer(202);
    let (refused, busy, torn) = calls.await.unwrap();
    assert!(matches!(refused, Err(Error::Refused { status: 400, reason, .. }) if reason == "no tasks"));
    assert!(matches!(busy, Err(Error::NotReady { status: 503, .. })));
    torn.unwrap();
    assert_eq!(running.end().await.unwrap(), End::TornDown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_with_tls_is_spoken_to_if_it_is_the_one() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio_rustls::rustls::{ServerConfig, pki_types::PrivateKeyDer};
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let acceptor = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config))
    };
    let config = framework::TlsClientConfig {
        authority: Some(file),
        verify: framework::Verify::Full,
        ..Default::default()
    };
    let tls = framework::TlsClient::load(&config).unwrap();

    let mut peer = Peer::start_with(Some(acceptor("127.0.0.1"))).await;
    let mut running = start(&peer, |driver| driver.tls(tls.clone()));
    let (_, events) = peer.subscribed().await;
    events.send(&of("subscribed"));
    running.next().await;
    let handle = running.handle.clone();
    let revive = tokio::spawn(async move { handle.revive(&[]).await });
    peer.takes("REVIVE").await;
    revive.await.unwrap().unwrap();

    // Another's certificate is not enough.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let master = listener.local_addr().unwrap().to_string().parse().unwrap();
    let running = Running::start(info(), master, 0, |driver| driver.tls(tls));
    let (stream, _) = support::in_time(listener.accept()).await.unwrap();
    let refused = support::in_time(acceptor("10.9.9.9").accept(stream)).await;
    assert!(refused.is_err() && !running.handle.is_connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_leading_master_is_followed() {
    let (mut first, mut second) = (Peer::start().await, Peer::start().await);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("master");
    std::fs::write(&file, first.at.to_string()).unwrap();
    let spec = format!("file://{}", file.display()).parse().unwrap();
    let mut running = Running::start(info(), spec, 0, |driver| driver.format(Format::Json));
    let (_, old) = first.subscribed().await;
    old.send(&of("subscribed"));
    assert_eq!(running.next().await, Said::Registered("m-0001".into()));
    std::fs::write(&file, second.at.to_string()).unwrap();
    assert_eq!(running.next().await, Said::Disconnected);
    let (call, new) = second.subscribed().await;
    assert_eq!(call["framework_id"]["value"], "m-0001");
    new.send(&of("subscribed"));
    assert_eq!(running.next().await, Said::Reregistered("m-0001".into()));

    // Who lets go of the driver lets go of the subscription.
    running.driver.abort();
    assert!(support::in_time(running.driver).await.unwrap_err().is_cancelled());
    assert!(matches!(running.handle.revive(&[]).await, Err(Error::Stopped)));
}
