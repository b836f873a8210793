//! Who may ask: whoever has the token, where there is one; where there is none, whoever is on this machine, but no page
//! of somebody else's that a browser on this machine shows.

use crate::reply;
use crate::token::{Token, TokenError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use libprocess::Body;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Decides on requests before anything is done for them.
#[derive(Debug)]
pub struct Guard {
    token: Option<Token>,
    /// Names that this machine is called by.
    names: Vec<String>,
}

/// The name that the system has for this machine, if it has one.
pub fn own_hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

impl Guard {
    /// The guard of a listener. A token is asked for if `file` names one, or if the listener can be reached from other
    /// machines: then it is in `default`, or a new one at each start if there is no such place. A file that is not
    /// there is made.
    pub fn new(listen: SocketAddr, file: Option<&Path>, default: Option<&Path>) -> Result<Self, TokenError> {
        let local = listen.ip().to_canonical().is_loopback();
        let token = match file.or(default.filter(|_| !local)) {
            Some(path) => Some(Token::read_or_make(path)?),
            None if local => None,
            None => Some(Token::new()),
        };
        Ok(Self { token, names: own_hostname().into_iter().collect() })
    }

    /// A guard that asks for this token, or for none.
    pub fn with(token: Option<Token>) -> Self {
        Self { token, names: Vec::new() }
    }

    /// True if a token is asked for.
    pub fn asks(&self) -> bool {
        self.token.is_some()
    }

    /// Where the page is; with the token behind the `#`, which no browser sends to anyone.
    pub fn url(&self, scheme: &str, address: SocketAddr) -> String {
        let fragment = self.token.as_ref().map_or(String::new(), |token| format!("#token={}", token.text()));
        format!("{scheme}://{address}/page/{fragment}")
    }

    /// Passes a request, or gives the answer that refuses it. For everything that is the operator's own: documents and
    /// changes alike. Methods that change something are refused to pages of other origins even where nothing else is
    /// asked for.
    pub fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Box<Response<Body>>> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(token) = &self.token {
            let given = text(header::AUTHORIZATION).and_then(given);
            return match given {
                Some(given) if token.is(&given) => Ok(()),
                _ => Err(Box::new(unauthorized())),
            };
        }
        let host = text(header::HOST);
        if host.is_some_and(|host| !self.is_own(host)) {
            return Err(Box::new(reply::error(
                StatusCode::FORBIDDEN,
                "call this machine by an IP address, localhost or its own name: a page of another site may have sent you",
            )));
        }
        self.check_origin(method, headers)
    }

    /// Refuses a change that a page of another origin asks for. Enough by itself for what has to stay as open as in
    /// Mesos: it concerns nobody but browsers.
    pub fn check_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), Box<Response<Body>>> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let own = text(header::HOST);
        let foreign = text(header::ORIGIN)
            .is_some_and(|origin| origin.split_once("://").map(|(_, authority)| authority) != own);
        let across = text(header::HeaderName::from_static("sec-fetch-site")) == Some("cross-site");
        if changes && (foreign || across) {
            return Err(Box::new(reply::error(
                StatusCode::FORBIDDEN,
                "a page of another site asks for a change here: refused",
            )));
        }
        Ok(())
    }

    /// Whether a `Host` names this machine in a way that nobody else can make it: a name in somebody's DNS zone may
    /// be made to point here (DNS rebinding), an address or this machine's own name cannot.
    fn is_own(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            return rest.split_once(']').is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok());
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_end_matches('.');
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The token of an `Authorization`: after `Bearer`, or the password of whoever after `Basic`, which is all that tools made
/// for Mesos can send. Nobody is asked for the latter: a browser would ask its user by itself.
fn given(authorization: &str) -> Option<Vec<u8>> {
    let (scheme, value) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().as_bytes().to_vec());
    }
    let pair = STANDARD.decode(value.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

fn unauthorized() -> Response<Body> {
    let mut response = reply::error(
        StatusCode::UNAUTHORIZED,
        "a token is needed here (Authorization: Bearer TOKEN): it was printed at the start, and is in the file of \
         --token-file, or the file `token` in the state directory",
    );
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn status(guard: &Guard, method: Method, list: &[(&'static str, &str)]) -> u16 {
        guard.check(&method, &headers(list)).map_or_else(|refused| refused.status().as_u16(), |()| 200)
    }

    #[test]
    fn beyond_loopback_a_token_is_needed_and_made() {
        let dir = tempfile::tempdir().unwrap();
        let (default, other) = (dir.path().join("token"), dir.path().join("other"));
        for local in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(!Guard::new(local.parse().unwrap(), None, Some(&default)).unwrap().asks(), "{local}");
        }
        assert!(!default.exists());
        let given = Guard::new("127.0.0.1:1".parse().unwrap(), Some(&other), Some(&default)).unwrap();
        assert!(given.asks() && other.exists() && !default.exists());
        for open in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            assert!(Guard::new(open.parse().unwrap(), None, Some(&default)).unwrap().asks(), "{open}");
        }
        assert!(Guard::new("0.0.0.0:1".parse().unwrap(), None, None).unwrap().asks());
        let guard = Guard::new("0.0.0.0:1".parse().unwrap(), None, Some(&default)).unwrap();
        let token = Token::read(&default).unwrap();
        let right = format!("Bearer {}", token.text());
        assert_eq!(status(&guard, Method::GET, &[("authorization", &right)]), 200);
        assert_eq!(
            status(&guard, Method::POST, &[("authorization", &right), ("host", "proxy.example")]),
            200
        );
        for wrong in [
            "",
            "Bearer",
            "Bearer x",
            &right.replace("Bearer", "Basic"),
            &right[..right.len() - 1],
            token.text(),
        ] {
            assert_eq!(status(&guard, Method::GET, &[("authorization", wrong)]), 401, "{wrong}");
        }
        for (pair, expected) in [
            (format!("anyone:{}", token.text()), 200),
            (token.text().to_owned(), 401),
            (format!("{}:", token.text()), 401),
        ] {
            let basic = format!("Basic {}", STANDARD.encode(&pair));
            assert_eq!(status(&guard, Method::POST, &[("authorization", &basic)]), expected, "{pair}");
        }
        let refused = guard.check(&Method::GET, &HeaderMap::new()).unwrap_err();
        assert_eq!(refused.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let url = guard.url("http", "10.0.0.1:5051".parse().unwrap());
        assert_eq!(url, format!("http://10.0.0.1:5051/page/#token={}", token.text()));
    }

    #[test]
    fn without_a_token_a_name_of_somebody_elses_is_refused() {
        let guard = Guard { token: None, names: vec!["Gate".into()] };
        for own in [
            "127.0.0.1:5051",
            "192.0.2.7",
            "[::1]:5051",
            "[::1]",
            "localhost:80",
            "LOCALHOST",
            "gate:5051",
            "gate.",
        ] {
            assert_eq!(status(&guard, Method::GET, &[("host", own)]), 200, "{own}");
        }
        for foreign in
            ["evil.example", "evil.example:5051", "127.0.0.1.evil.example", "[evil]:1", "", "gate.evil"]
        {
            assert_eq!(status(&guard, Method::GET, &[("host", foreign)]), 403, "{foreign}");
        }
        assert_eq!(status(&guard, Method::GET, &[]), 200, "a browser always says whom it calls");
    }

    #[test]
    fn no_other_page_changes_anything() {
        let guard = Guard::with(None);
        let at = ("host", "127.0.0.1:5050");
        assert_eq!(status(&guard, Method::POST, &[at]), 200);
        assert_eq!(status(&guard, Method::POST, &[at, ("origin", "http://127.0.0.1:5050")]), 200);
        for origin in ["http://evil.example", "http://127.0.0.1:8080", "null"] {
            assert_eq!(status(&guard, Method::POST, &[at, ("origin", origin)]), 403, "{origin}");
            assert_eq!(
                status(&guard, Method::GET, &[at, ("origin", origin)]),
                200,
                "it gets no CORS to read it with"
            );
        }
        assert_eq!(status(&guard, Method::DELETE, &[at, ("sec-fetch-site", "cross-site")]), 403);
    }
}
