//! The fetcher against servers that break off, change their minds or say no.

use gateway::images::Fetcher;
use node_proto::Manifest;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a request asked: the path and where its range begins.
type Log = Arc<Mutex<Vec<(String, Option<usize>)>>>;

/// A server whose every answer `serve` gives, by the number of the request.
fn server(serve: impl Fn(usize, &str, Option<usize>, &mut TcpStream) + Send + 'static) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let log = Log::default();
    let seen = log.clone();
    std::thread::spawn(move || {
        let count = AtomicUsize::new(0);
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
            let mut from = None;
            for line in lines.take_while(|line| !line.is_empty()) {
                if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    from = range.trim_end_matches('-').parse().ok();
                }
            }
            seen.lock().unwrap().push((path.clone(), from));
            if path.contains(".manifest") {
                let _ = stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                continue;
            }
            serve(count.fetch_add(1, Ordering::Relaxed), &path, from, &mut stream);
        }
    });
    (at, log)
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, length: usize, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)); // the asker may be gone
}

fn module() -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    bytes.extend((0..50_000u32).map(|number| number as u8));
    bytes
}

fn fetcher(dir: &tempfile::TempDir) -> Fetcher {
    Fetcher::new(dir.path()).unwrap().with_pause(Duration::from_millis(1))
}

fn asked(log: &Log) -> Vec<Option<usize>> {
    let log = log.lock().unwrap();
    log.iter().filter(|(path, _)| !path.contains(".manifest")).map(|(_, from)| *from).collect()
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let (at, log) = server(|number, _, from, stream| {
        let (whole, from) = (module(), from.unwrap_or(0));
        let end = if number < 2 { from + 20_000 } else { whole.len() };
        let range =
            format!("ETag: \"v1\"\r\nContent-Range: bytes {from}-{}/{}\r\n", whole.len() - 1, whole.len());
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        answer(stream, status, &range, whole.len() - from, &whole[from..end]);
    });
    let dir = tempfile::tempdir().unwrap();
    let fetched = fetcher(&dir).fetch(&format!("{at}/a.wasm")).unwrap();
    assert_eq!(*fetched.bytes, *module());
    assert_eq!(asked(&log), [None, Some(20_000), Some(40_000)]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_restart_goes_on_too_and_a_changed_image_begins_anew() {
    // Every first answer breaks off; what it said to be has changed when it is asked again.
    let (at, log) = server(|number, _, from, stream| {
        let mut whole = module();
        let tag = if number < 5 { "ETag: \"v1\"\r\n" } else { "ETag: \"v2\"\r\n" };
        match (number, from) {
            (0..5, from) => {
                let from = from.unwrap_or(0);
                let range =
                    format!("{tag}Content-Range: bytes {from}-{}/{}\r\n", whole.len() - 1, whole.len());
                let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
                answer(stream, status, &range, whole.len() - from, &whole[from..from + 1_000]);
            }
            _ => {
                whole[9_000] ^= 1;
                answer(stream, "200 OK", tag, whole.len(), &whole);
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("{at}/a.wasm");
    let error = fetcher(&dir).fetch(&uri).unwrap_err().to_string();
    assert!(error.contains("5 attempts"), "{error}");
    let fetched = fetcher(&dir).fetch(&uri).unwrap();
    assert_ne!(*fetched.bytes, *module());
    assert_eq!(fetched.bytes.len(), module().len());
    assert_eq!(asked(&log).last(), Some(&Some(5_000)), "it asked for the rest");
}

#[test]
fn what_cannot_be_had_says_why_and_what_passes_is_tried_again() {
    let (at, log) = server(|number, path, _, stream| match (number, path) {
        (_, "/gone.wasm") => answer(stream, "404 Not Found", "", 0, b""),
        (_, "/big.wasm") => answer(stream, "200 OK", "", 5 << 20, b""),
        (_, "/page.wasm") => answer(stream, "200 OK", "", 6, b"<html>"),
        (0..2, _) => answer(stream, "503 Service Unavailable", "", 0, b""),
        _ => answer(stream, "200 OK", "", module().len(), &module()),
    });
    let dir = tempfile::tempdir().unwrap();
    let fetch = |path: &str| fetcher(&dir).fetch(&format!("{at}{path}"));
    assert!(fetch("/later.wasm").is_ok());
    assert_eq!(asked(&log).len(), 3);
    for (path, why) in [("/gone.wasm", "404"), ("/big.wasm", "larger"), ("/page.wasm", "neither")] {
        let before = asked(&log).len();
        let error = fetch(path).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(asked(&log).len(), before + 1, "{path} is not tried again");
    }
}

#[test]
fn files_and_inline_images_come_with_digest_and_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wasm");
    std::fs::write(&path, module()).unwrap();
    let path = path.display().to_string();
    let half = tempfile::tempdir().unwrap();
    let fetch = |uri: &str| fetcher(&half).fetch(uri);
    let plain = fetch(&path).unwrap();
    assert!(plain.manifest.is_none());
    let about = Manifest {
        name: "a",
        sequence: 1,
        publisher: [1; 8],
        digest: plain.digest,
        size: plain.bytes.len() as u32,
        kind: plain.kind,
        arch: None,
        board: "",
    };
    let sealed = about.seal(&[0xab; 64]).unwrap().to_vec();
    let digits: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(format!("{path}.manifest"), digits).unwrap();
    let hex: String = plain.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let signed = fetch(&format!("file://{path}#sha256={hex}")).unwrap();
    assert_eq!(signed.manifest, Some(sealed));
    let refused = |uri: &str| fetch(uri).unwrap_err().to_string();
    assert!(refused(&format!("{path}#sha256=00")).contains(&hex));
    assert_eq!(fetch("data:application/wasm;base64,AGFzbQEAAAA=").unwrap().bytes.len(), 8);
    assert_eq!(fetch("data:,%00asm%01%00%00%00").unwrap().bytes.len(), 8);
    for (uri, why) in [
        ("gopher://x/y.wasm", "unknown scheme 'gopher'"),
        ("y.wasm", "not a URI"),
        ("data:AGFzbQ", "comma"),
        ("data:;base64,*", "no base64"),
        ("data:,%0", "hexadecimal"),
        ("/nonexistent.wasm", "No such file"),
        ("file:///", "not a file"),
    ] {
        assert!(refused(uri).contains(why), "{uri}: {}", refused(uri));
    }
}
