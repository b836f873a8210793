//! Documents and streams as a reader gets them, in virtual time.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use libprocess::Body;
use page::{Answer, Asked, Document, Guard, Page, Piece, Refusal, STREAMS_MAX, Seq, Source, Token};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that the tests change, and how often it was asked for.
#[derive(Clone, Default)]
struct Numbers {
    number: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    gone: Arc<AtomicU64>,
}

impl Source for Numbers {
    async fn show(&self, asked: Asked) -> Result<Answer, Refusal> {
        self.asked.fetch_add(1, Relaxed);
        let number = self.number.load(Relaxed);
        match asked.parts()[..] {
            ["number"] if self.gone.load(Relaxed) == 0 => Ok(Answer::state(&json!({ "number": number }))),
            ["large"] => Ok(Answer::state(&json!({ "number": number, "text": "x".repeat(100_000) }))),
            ["count"] => {
                let from = asked.after.map(|after| after.0).or(asked.had.map(|had| had + 1)).unwrap_or(0);
                let piece = |id: u64| Piece { id, data: json!({ "seq": id }).to_string() };
                let whole = Document::of(&json!({ "next": number }));
                Ok(Answer::Sequence {
                    whole,
                    name: "event",
                    pieces: (from..number).map(piece).collect(),
                    after: Seq(number),
                })
            }
            _ => Err(Refusal::not_found("no such number")),
        }
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::new()).unwrap()
}

const STREAM: (&str, &str) = ("accept", "text/event-stream");

fn page() -> Page {
    Page::new(Guard::with(None))
}

async fn open(page: &Page, numbers: &Numbers, path: &str) -> Response<Body> {
    page.view(&request("GET", path, &[STREAM]), numbers.clone()).await
}

async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// The next piece of a stream that comes within so many seconds.
async fn next(stream: &mut Response<Body>, seconds: u64) -> Option<String> {
    let frame =
        tokio::time::timeout(Duration::from_secs(seconds), stream.body_mut().frame()).await.ok()??;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_stream_sends_at_once_then_what_has_changed_and_that_it_is_there() {
    let (page, numbers) = (page(), Numbers::default());
    let mut stream = open(&page, &numbers, "/view/number").await;
    assert_eq!(
        (stream.status(), &stream.headers()["content-type"]),
        (StatusCode::OK, &"text/event-stream".parse().unwrap())
    );
    let first = next(&mut stream, 1).await.unwrap();
    assert!(
        first.starts_with("event: view\ndata: {\"at\":") && first.ends_with(",\"number\":0}\n\n"),
        "{first}"
    );
    assert_eq!(next(&mut stream, 14).await, None, "nothing has changed");
    assert_eq!(next(&mut stream, 3).await.unwrap(), ": still here\n\n");
    numbers.number.store(7, Relaxed);
    let changed = next(&mut stream, 2).await.unwrap();
    assert!(changed.ends_with(",\"number\":7}\n\n"), "{changed}");
    numbers.gone.store(1, Relaxed);
    assert_eq!(next(&mut stream, 2).await.unwrap(), "event: gone\ndata: {\"error\":\"no such number\"}\n\n");
    assert_eq!(next(&mut stream, 100).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_sequence_is_sent_piece_by_piece_and_goes_on_where_the_reader_was() {
    let (page, numbers) = (page(), Numbers::default());
    numbers.number.store(2, Relaxed);
    let mut stream = open(&page, &numbers, "/view/count").await;
    let two = "event: event\nid: 0\ndata: {\"seq\":0}\n\nevent: event\nid: 1\ndata: {\"seq\":1}\n\n";
    assert_eq!(next(&mut stream, 1).await.unwrap(), two);
    numbers.number.store(3, Relaxed);
    let third = "event: event\nid: 2\ndata: {\"seq\":2}\n\n";
    assert_eq!(next(&mut stream, 2).await.unwrap(), third);
    let again = request("GET", "/view/count", &[STREAM, ("last-event-id", "1")]);
    assert_eq!(next(&mut page.view(&again, numbers.clone()).await, 1).await.unwrap(), third);
    assert_eq!(json_of(page.view(&request("GET", "/view/count", &[]), numbers).await).await["next"], 3);
}

#[tokio::test(start_paused = true)]
async fn places_are_few_and_those_who_leave_make_room() {
    let (page, numbers) = (page(), Numbers::default());
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(open(&page, &numbers, "/view/number").await);
    }
    let refused = open(&page, &numbers, "/view/number").await;
    assert_eq!(
        (refused.status(), refused.headers().contains_key("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, true)
    );
    assert!(json_of(refused).await["error"].is_string());
    let plain = page.view(&request("GET", "/view/number", &[]), numbers.clone()).await;
    assert_eq!(plain.status(), StatusCode::OK, "without a stream there is no limit");
    streams.pop();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(open(&page, &numbers, "/view/number").await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_the_same_are_one_question_a_second() {
    let (page, numbers) = (page(), Numbers::default());
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(open(&page, &numbers, "/view/number").await);
    }
    assert_eq!(numbers.asked.load(Relaxed), 1);
    for _ in 0..10 {
        numbers.number.fetch_add(1, Relaxed);
        for stream in &mut streams {
            assert!(next(stream, 3).await.is_some());
        }
    }
    assert!(numbers.asked.load(Relaxed) <= 25, "{}", numbers.asked.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_holds_little_and_loses_its_place() {
    let (page, numbers) = (page(), Numbers::default());
    let slow: Vec<_> = {
        let mut slow = Vec::new();
        for _ in 0..STREAMS_MAX {
            slow.push(open(&page, &numbers, "/view/large").await);
        }
        slow
    };
    for _ in 0..20 {
        numbers.number.fetch_add(1, Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let asked = numbers.asked.load(Relaxed);
    assert!(asked < 10, "nothing is made for who takes nothing: {asked}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut fresh = open(&page, &numbers, "/view/number").await;
    assert!(next(&mut fresh, 1).await.is_some(), "their places are free");
    for mut stream in slow {
        let mut held = 0;
        while next(&mut stream, 1).await.is_some() {
            held += 1;
        }
        assert!(held <= 1, "{held}");
    }
}

#[tokio::test]
async fn a_document_is_json_with_its_time_and_is_refused_as_json() {
    let (page, numbers) = (page(), Numbers::default());
    let shown = page.view(&request("GET", "/view/number", &[]), numbers.clone()).await;
    let headers = shown.headers().clone();
    assert_eq!(
        (&headers["content-type"], &headers["cache-control"]),
        (&"application/json".parse().unwrap(), &"no-store".parse().unwrap())
    );
    assert!(!headers.contains_key("access-control-allow-origin"));
    let document = json_of(shown).await;
    assert!(document["number"] == 0 && document["at"].as_u64().unwrap() > 1_600_000_000_000);
    let head = page.view(&request("HEAD", "/view/number", &[]), numbers.clone()).await;
    assert_eq!(head.headers()["content-length"], headers["content-length"]);
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
    for (method, path, status) in [
        ("GET", "/view/nothing", 404),
        ("GET", "/view/", 404),
        ("GET", "/view/%ff", 400),
        ("POST", "/view/number", 405),
    ] {
        let refused = page.view(&request(method, path, &[]), numbers.clone()).await;
        assert_eq!(refused.status(), status, "{path}");
        assert!(json_of(refused).await["error"].is_string(), "{path}");
    }
    let refused = page.view(&request("GET", "/view/nothing", &[STREAM]), numbers).await;
    assert_eq!(refused.status(), 404, "what is not there is no stream");
}

#[tokio::test]
async fn without_the_token_nothing_is_asked_of_the_source() {
    let token = Token::parse(&"a1".repeat(32)).unwrap();
    let (page, numbers) = (Page::new(Guard::with(Some(token))), Numbers::default());
    for headers in [vec![], vec![STREAM], vec![("authorization", "Bearer no")]] {
        let refused = page.view(&request("GET", "/view/number", &headers), numbers.clone()).await;
        assert_eq!(refused.status(), 401);
        assert!(json_of(refused).await["error"].as_str().unwrap().contains("--token-file"));
    }
    assert_eq!(numbers.asked.load(Relaxed), 0);
    let right = format!("Bearer {}", "a1".repeat(32));
    let shown = page.view(&request("GET", "/view/number", &[("authorization", &right)]), numbers).await;
    assert_eq!(shown.status(), 200);
}
