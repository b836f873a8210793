//! The page's files, embedded. There is no file system behind a request: a path is looked up in a table.

use crate::reply;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use libprocess::{Body, full};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// Every file below `assets`: its path there, its bytes.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Where the page is.
pub const ROOT: &str = "/page/";

/// Nothing from elsewhere, nothing inline: what a task's log or name says can never become a script.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'";

/// One file as it is served.
struct Asset {
    path: &'static str,
    bytes: &'static [u8],
    kind: &'static str,
    /// Of the content: the page changes with the binary, and only then.
    tag: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |(path, bytes): &(&'static str, &'static [u8])| {
        let digest = Sha256::digest(bytes);
        let tag: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        Asset { path, bytes, kind: kind_of(path), tag: format!("\"{tag}\"") }
    };
    FILES.iter().map(asset).collect()
});

fn kind_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

pub(crate) fn answer(request: &Request<Bytes>) -> Option<Response<Body>> {
    let path = request.uri().path();
    let is_page = path == "/page" || path.starts_with(ROOT);
    let is_asked = is_page || (path == "/" && wants_html(request.headers()));
    if !is_asked {
        return None;
    }
    let head = request.method() == Method::HEAD;
    if !head && request.method() != Method::GET {
        return is_page.then(|| reply::error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD here"));
    }
    let Some(name) = path.strip_prefix(ROOT) else {
        let mut response = reply::empty(StatusCode::FOUND);
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(ROOT));
        return Some(response);
    };
    let name = if name.is_empty() { "index.html" } else { name };
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == name) else {
        return Some(reply::error(StatusCode::NOT_FOUND, "the page has no such file"));
    };
    Some(asset.answer(request.headers(), head))
}

impl Asset {
    fn answer(&self, asked: &HeaderMap, head: bool) -> Response<Body> {
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let known = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let is_known = known.into_iter().any(|tag| tag == self.tag || tag == "*");
        let mut response = match is_known {
            true => reply::empty(StatusCode::NOT_MODIFIED),
            false if head => reply::empty(StatusCode::OK),
            false => Response::new(full(self.bytes)),
        };
        let headers = response.headers_mut();
        if !is_known {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.bytes.len()));
        }
        // A browser asks each time, and is told in a few bytes that nothing has changed.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        reply::harden(headers);
        response
    }
}

/// True for a browser that opens an address, and not for a program that takes anything or wants JSON.
fn wants_html(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0"));
        match kind {
            "text/html" if !refused => return true,
            "application/json" if !refused => return false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Response<Body>> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(&request.body(Bytes::new()).unwrap())
    }

    async fn body(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn every_file_has_a_type_a_tag_and_a_policy() {
        assert!(ASSETS.iter().any(|asset| asset.path == "index.html"));
        for asset in ASSETS.iter() {
            assert_ne!(asset.kind, "application/octet-stream", "{}: what is it?", asset.path);
            let path = format!("{ROOT}{}", asset.path);
            let response = ask("GET", &path, &[]).unwrap();
            let headers = response.headers().clone();
            assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(body(response).await, asset.bytes);
            let tag = headers[header::ETAG].to_str().unwrap();
            let again = ask("GET", &path, &[("if-none-match", &format!("\"x\", W/{tag}"))]).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            assert!(body(again).await.is_empty());
            let head = ask("HEAD", &path, &[]).unwrap();
            assert_eq!(head.headers()[header::CONTENT_LENGTH], asset.bytes.len().to_string());
            assert!(body(head).await.is_empty());
        }
    }

    #[test]
    fn no_path_leads_out_of_the_table() {
        for path in [
            "/page/../Cargo.toml",
            "/page/%2e%2e/Cargo.toml",
            "/page//etc/passwd",
            "/page/src",
            "/page/./index.html",
        ] {
            assert_eq!(ask("GET", path, &[]).unwrap().status(), StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(ask("POST", "/page/", &[]).unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(ask("GET", "/pages", &[]).is_none() && ask("GET", "/view/about", &[]).is_none());
    }

    #[test]
    fn only_a_browser_is_led_to_the_page() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let led = ask("GET", "/", &[("accept", browser)]).unwrap();
        assert_eq!(
            (led.status(), &led.headers()[header::LOCATION]),
            (StatusCode::FOUND, &HeaderValue::from_static(ROOT))
        );
        for accept in ["*/*", "application/json, text/html", "text/html;q=0"] {
            assert!(ask("GET", "/", &[("accept", accept)]).is_none(), "{accept}");
        }
        assert!(ask("GET", "/", &[]).is_none());
        assert_eq!(ask("GET", "/page", &[]).unwrap().status(), StatusCode::FOUND);
    }
}
