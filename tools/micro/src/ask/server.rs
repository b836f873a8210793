//! How a gateway or master is asked: JSON over HTTP, with the operator's token, and streams of events. A failure says
//! what to do next.

use crate::exit::Trouble;
use crate::token::TokenArgs;
use anyhow::{Context, Result, anyhow, bail};
use http::Method;
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How long a server may take to answer in full.
const PATIENCE: Duration = Duration::from_secs(20);
/// A stream that says nothing for so long is dead: something is said each 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest line of a stream, bytes.
const LINE_MAX: u64 = 16 << 20;
/// Lines that wait for whoever reads.
const LINES_MAX: usize = 64;
/// Longest text of a refusal that is shown, characters.
const REASON_MAX: usize = 400;

/// A text as part of a path or query (RFC 3986, section 2.3).
pub fn encoded(text: &str) -> impl Display + '_ {
    const RESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, RESERVED)
}

/// Who is asked.
#[derive(Clone, Debug)]
pub struct Server {
    what: &'static str,
    address: SocketAddr,
    authorization: Option<String>,
}

/// One server-sent event.
#[derive(Debug)]
pub struct Sent {
    /// What the server calls it.
    pub event: String,
    /// Its document.
    pub data: Value,
}

impl Server {
    pub fn gateway(address: SocketAddr, token: &TokenArgs) -> Result<Self> {
        Ok(Self { what: "gateway", address, authorization: token.header()? })
    }

    pub fn master(address: SocketAddr, token: &TokenArgs) -> Result<Self> {
        Ok(Self { what: "master", address, authorization: token.header()? })
    }

    /// A document; `None` for 404.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        self.ask(Method::GET, path, None)
    }

    /// Any request; `None` for 404, null if nothing comes back.
    pub fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Option<Value>> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(self.url(path))
            .header("content-type", "application/json")
            .header("accept", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(body.map(Value::to_string).unwrap_or_default());
        let answer = self.agent(Some(PATIENCE)).run(request.context("a request that cannot be made")?);
        self.judge(path, answer.map_err(|error| self.silent(error))?)
    }

    /// A document that is there if the server is one of ours.
    pub fn document(&self, path: &str) -> Result<Value> {
        let none =
            || Trouble::Unreachable(format!("{} is no {} of this kind: no {path}", self.address, self.what));
        Ok(self.get(path)?.ok_or_else(none)?)
    }

    /// Follows a stream; `None` for 404.
    pub fn follow(&self, path: &str) -> Result<Option<Events>> {
        let mut request = self.agent(None).get(self.url(path)).header("accept", "text/event-stream");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let response = request.call().map_err(|error| self.silent(error))?;
        if response.status() != 200 {
            return match self.judge(path, response)? {
                None => Ok(None),
                Some(_) => bail!("the {} at {} sends no stream", self.what, self.address),
            };
        }
        Ok(Some(Events::of(response.into_body().into_reader())))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn agent(&self, all: Option<Duration>) -> ureq::Agent {
        let config = ureq::Agent::config_builder()
            .timeout_global(all)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .http_status_as_error(false);
        ureq::Agent::new_with_config(config.build())
    }

    fn silent(&self, error: impl Display) -> Trouble {
        let Self { what, address, .. } = self;
        let flag = if *what == "gateway" { "--gateway" } else { "--master" };
        Trouble::Unreachable(format!(
            "no {what} at {address}: {error}; is it running there? `micro {what}` starts one, {flag} names another"
        ))
    }

    fn judge(&self, path: &str, mut response: http::Response<ureq::Body>) -> Result<Option<Value>> {
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|error| self.silent(error))?;
        let parsed = serde_json::from_str::<Value>(&text);
        match status {
            400 => Err(Trouble::Senseless(self.said(status, parsed.ok(), &text)).into()),
            200..=299 if text.trim().is_empty() => Ok(Some(Value::Null)),
            200..=299 => Ok(Some(parsed.with_context(|| format!("{}{path}: not JSON", self.address))?)),
            404 => Ok(None),
            401 | 403 => {
                let said = self.said(status, parsed.ok(), &text);
                let why = "give its token: --token-file FILE, or MICRO_TOKEN";
                Err(Trouble::Refused(format!("{said}; {why}")).into())
            }
            _ => bail!(self.said(status, parsed.ok(), &text)),
        }
    }

    /// A refusal in the server's words.
    fn said(&self, status: u16, document: Option<Value>, text: &str) -> String {
        let said = document.and_then(|document| Some(document["error"].as_str()?.to_owned()));
        let said = said.unwrap_or_else(|| text.trim().to_owned());
        let said: String = said.chars().take(REASON_MAX).collect();
        format!("the {} at {} answers {status}: {said}", self.what, self.address)
    }
}

/// A stream of server-sent events (WHATWG HTML, section 9.2). It ends with an error if the server goes silent.
pub struct Events {
    lines: Receiver<io::Result<String>>,
    /// The event that is being read.
    event: String,
    data: String,
    /// When the server said something last.
    said: Instant,
}

impl Events {
    fn of(body: impl Read + Send + 'static) -> Self {
        let (send, lines) = sync_channel(LINES_MAX);
        // A thread, for a blocking read has no time-out of its own; it ends with the connection or with its reader.
        std::thread::spawn(move || {
            let mut body = BufReader::new(body);
            loop {
                let mut line = Vec::new();
                let read = body.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
                let line = match read {
                    Ok(0) => return,
                    Ok(_) if !line.ends_with(b"\n") => {
                        Err(io::Error::other("a line that is too long, or cut off"))
                    }
                    Ok(_) => Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()),
                    Err(error) => Err(error),
                };
                let last = line.is_err();
                if send.send(line).is_err() || last {
                    return;
                }
            }
        });
        Self { lines, event: String::new(), data: String::new(), said: Instant::now() }
    }

    /// The next event, if it comes within this time; `None` at the stream's end.
    pub fn within(&mut self, patience: Duration) -> Option<Result<Option<Sent>>> {
        let until = Instant::now() + patience;
        loop {
            let line = match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(line)) => line,
                Ok(Err(error)) => return Some(Err(error.into())),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.said.elapsed() >= SILENCE => {
                    return Some(Err(Trouble::Unreachable("the server has gone silent".into()).into()));
                }
                Err(RecvTimeoutError::Timeout) => return Some(Ok(None)),
            };
            self.said = Instant::now();
            match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value)))
            {
                Some(("event", value)) => self.event = value.to_owned(),
                Some(("data", value)) if (self.data.len() + value.len()) as u64 <= LINE_MAX => {
                    self.data += value
                }
                Some(("data", _)) => return Some(Err(anyhow!("an event that is too long"))),
                None if line.is_empty() && !self.data.is_empty() => {
                    let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
                    let data = serde_json::from_str(&data).context("an event that is not JSON");
                    return Some(data.map(|data| Some(Sent { event, data })));
                }
                _ => {} // comments, and fields that nobody needs
            }
        }
    }
}

impl Iterator for Events {
    type Item = Result<Sent>;

    fn next(&mut self) -> Option<Result<Sent>> {
        loop {
            match self.within(SILENCE)? {
                Ok(None) => {}
                Ok(Some(sent)) => return Some(Ok(sent)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_between_comments_and_an_end_is_an_end() {
        let body = b": here\n\nevent: view\nid: 7\ndata: {\"a\":\ndata: 1}\n\nevent: gone\ndata: {\"error\":\"x\"}\n\n";
        let sent: Vec<Sent> = Events::of(&body[..]).map(Result::unwrap).collect();
        assert_eq!(sent.len(), 2);
        assert_eq!((sent[0].event.as_str(), &sent[0].data["a"]), ("view", &Value::from(1)));
        assert_eq!(sent[1].event, "gone");
        let mut broken = Events::of(&b"data: {\n\n"[..]);
        assert!(broken.next().unwrap().is_err());
        let mut cut = Events::of(&b"data: 1"[..]);
        assert!(cut.next().unwrap().is_err());
    }
}
