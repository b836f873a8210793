//! A master or an agent that takes requests and answers as the test says.

use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

/// What a request is answered with.
enum Reply {
    /// Status, further header lines, body.
    Whole(u16, String, String),
    /// Pieces of a body, each a chunk of its own, until the sender is dropped.
    Stream(mpsc::UnboundedReceiver<Vec<u8>>),
}

/// A request that waits for its answer.
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
    reply: oneshot::Sender<Reply>,
}

/// Where the events of a subscription are written. Dropping it ends the subscription.
pub struct Events(mpsc::UnboundedSender<Vec<u8>>);

impl Events {
    /// One event as RecordIO.
    pub fn send(&self, json: &str) {
        self.piece(format!("{}\n{json}", json.len()).into_bytes());
    }

    pub fn piece(&self, bytes: Vec<u8>) {
        self.0.send(bytes).unwrap();
    }
}

impl Request {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The name of the call.
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub fn answer(self, status: u16) {
        self.answer_with(status, "", "");
    }

    pub fn answer_with(self, status: u16, headers: &str, body: &str) {
        // The client may have gone.
        let _ = self.reply.send(Reply::Whole(status, headers.to_owned(), body.to_owned()));
    }

    pub fn stream(self) -> Events {
        let (pieces, body) = mpsc::unbounded_channel();
        let _ = self.reply.send(Reply::Stream(body));
        Events(pieces)
    }
}

/// A server on a port of its own.
pub struct Peer {
    pub at: SocketAddr,
    requests: mpsc::Receiver<Request>,
}

impl Peer {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that speaks TLS alone.
    pub async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (tell, requests) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tell, tls) = (tell.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        // A client that does not trust this one breaks off.
                        Some(tls) => serve(tls.accept(stream).await.ok()?, tell).await,
                        None => serve(stream, tell).await,
                    }
                });
            }
        });
        Self { at, requests }
    }

    /// One on a socket in the file system; `at` means nothing.
    pub fn start_unix(path: &std::path::Path) -> Self {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let (tell, requests) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tell.clone()));
            }
        });
        Self { at: ([0, 0, 0, 0], 0).into(), requests }
    }

    pub async fn next(&mut self) -> Request {
        super::in_time(self.requests.recv()).await.unwrap()
    }

    /// The next call, which has to be of this kind; taken.
    pub async fn takes(&mut self, kind: &str) -> serde_json::Value {
        let request = self.next().await;
        let json = request.json();
        assert_eq!(json["type"], kind, "{json}");
        request.answer(202);
        json
    }

    /// The next call, which has to be SUBSCRIBE, answered with a stream.
    pub async fn subscribed(&mut self) -> (serde_json::Value, Events) {
        let request = self.next().await;
        let json = request.json();
        assert_eq!(json["type"], "SUBSCRIBE", "{json}");
        (json, request.stream())
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, tell: mpsc::Sender<Request>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body).await.ok()?;
        let (reply, answer) = oneshot::channel();
        tell.send(Request { head, body, reply }).await.ok()?;
        match answer.await.ok()? {
            Reply::Whole(status, headers, body) => {
                let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.ok()?;
            }
            Reply::Stream(mut pieces) => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
                            Mesos-Stream-Id: stream-1\r\n\r\n";
                stream.write_all(head.as_bytes()).await.ok()?;
                loop {
                    let mut byte = [0];
                    tokio::select! {
                        piece = pieces.recv() => {
                            let piece = piece?;
                            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
                            stream.write_all(&piece).await.ok()?;
                            stream.write_all(b"\r\n").await.ok()?;
                        }
                        // The client has gone.
                        _ = stream.read(&mut byte) => return None,
                    }
                }
            }
        }
    }
}
