//! Names of actors and the form of messages.

use bytes::Bytes;
use http::{HeaderMap, Method};
use std::fmt;
use std::net::SocketAddrV4;
use std::str::FromStr;

/// An actor: `slave(7)@10.0.0.5:5051`. libprocess knows IPv4 only and looks hostnames up for each message, so there
/// are none here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Upid {
    /// Its name at the address.
    pub id: String,
    /// Where it is.
    pub addr: SocketAddrV4,
}

impl Upid {
    /// An actor at an address.
    pub fn new(id: impl Into<String>, addr: SocketAddrV4) -> Self {
        Self { id: id.into(), addr }
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.addr)
    }
}

/// Not `NAME@IPV4:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an actor: expected NAME@IPV4:PORT")]
pub struct UpidError(String);

impl FromStr for Upid {
    type Err = UpidError;

    fn from_str(text: &str) -> Result<Self, UpidError> {
        let error = || UpidError(text.chars().take(100).collect());
        let (id, addr) = text.split_once('@').ok_or_else(error)?;
        // HTTP schedulers have "@0.0.0.0:0", which is no actor.
        if id.is_empty() || id.contains(['/', '\r', '\n']) {
            return Err(error());
        }
        Ok(Self { id: id.to_owned(), addr: addr.parse().map_err(|_| error())? })
    }
}

/// A message as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it, if it says so.
    pub from: Option<Upid>,
    /// The actor here that it is for.
    pub to: String,
    /// Its name, such as `mesos.internal.PingSlaveMessage`.
    pub name: String,
    /// Its body, a protobuf.
    pub body: Bytes,
}

/// The bytes of a message. An empty body has neither length nor chunks, as libprocess has it (encoder.hpp).
pub fn encode(from: &Upid, to: &Upid, name: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST /{}/{name} HTTP/1.1\r\nUser-Agent: libprocess/{from}\r\nLibprocess-From: {from}\r\n\
         Connection: Keep-Alive\r\nHost: {}\r\n",
        to.id, to.addr
    )
    .into_bytes();
    if body.is_empty() {
        bytes.extend_from_slice(b"\r\n");
    } else {
        bytes.extend_from_slice(format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    }
    bytes
}

/// What a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message for an actor.
    Message {
        /// Who sent it, if that could be read.
        from: Option<Upid>,
        /// The actor.
        to: String,
        /// The message's name.
        name: String,
    },
    /// A message whose path is not `/ACTOR/NAME`.
    BadPath,
    /// An ordinary request.
    Http,
}

/// Tells messages from ordinary requests as libprocess does: a POST that names its sender (process.cpp, `parse`).
pub fn classify(method: &Method, path: &str, headers: &HeaderMap) -> Kind {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let agent = text("user-agent").and_then(|agent| agent.strip_prefix("libprocess/"));
    let Some(sender) = text("libprocess-from").or(agent).filter(|_| method == Method::POST) else {
        return Kind::Http;
    };
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (Some(to), Some(name)) = (parts.next(), parts.next()) else { return Kind::BadPath };
    match percent_decode(to) {
        Some(to) if !to.is_empty() && !name.is_empty() && !name.contains('/') => {
            Kind::Message { from: sender.trim().parse().ok(), to, name: name.to_owned() }
        }
        _ => Kind::BadPath,
    }
}

/// `slave%287%29` is `slave(7)`; `None` if it is cut off or no text.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upid(text: &str) -> Upid {
        text.parse().unwrap()
    }

    #[test]
    fn a_message_is_these_bytes() {
        let (from, to) = (upid("slave(7)@10.0.0.5:5051"), upid("master@10.0.0.1:5050"));
        let bytes = encode(&from, &to, "mesos.internal.X", b"\x08\x01");
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "POST /master/mesos.internal.X HTTP/1.1\r\nUser-Agent: libprocess/slave(7)@10.0.0.5:5051\r\n\
             Libprocess-From: slave(7)@10.0.0.5:5051\r\nConnection: Keep-Alive\r\nHost: 10.0.0.1:5050\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\n\x08\x01\r\n0\r\n\r\n"
        );
        let empty = String::from_utf8(encode(&from, &to, "mesos.internal.PongSlaveMessage", b"")).unwrap();
        assert!(empty.ends_with("Host: 10.0.0.1:5050\r\n\r\n"), "{empty}");
    }

    #[test]
    fn a_sender_makes_a_message_and_the_header_wins() {
        let mut headers = HeaderMap::new();
        assert_eq!(classify(&Method::POST, "/master/x", &headers), Kind::Http);
        headers.insert("user-agent", "libprocess/a@1.2.3.4:5".parse().unwrap());
        headers.insert("libprocess-from", "b@1.2.3.4:5".parse().unwrap());
        let kind = classify(&Method::POST, "/slave%287%29/mesos.internal.X", &headers);
        let expected = Kind::Message {
            from: Some(upid("b@1.2.3.4:5")),
            to: "slave(7)".into(),
            name: "mesos.internal.X".into(),
        };
        assert_eq!(kind, expected);
        assert_eq!(classify(&Method::GET, "/slave(7)/state", &headers), Kind::Http);
        assert_eq!(classify(&Method::POST, "/slave%2/x", &headers), Kind::BadPath);
        assert_eq!(classify(&Method::POST, "/x", &headers), Kind::BadPath);
    }

    #[test]
    fn the_pid_of_an_http_scheduler_is_none() {
        assert!("@0.0.0.0:0".parse::<Upid>().is_err());
        assert!("a@host:1".parse::<Upid>().is_err());
    }

    proptest! {
        #[test]
        fn any_path_is_classified(path in ".{0,60}", sender in "[ -~]{0,40}") {
            let mut headers = HeaderMap::new();
            headers.insert("libprocess-from", sender.parse().unwrap());
            let _ = classify(&Method::POST, &path, &headers);
        }
    }
}
