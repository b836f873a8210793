//! What a request asks for: its path, its parameters, and which page of a list.

use crate::document::Seq;
use crate::reply::Refusal;
use bytes::Bytes;
use http::{Request, header};
use libprocess::percent_decode;

/// Parameters looked at.
const PARAMETERS_MAX: usize = 32;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parameters of `a=1&b=2`; what cannot be decoded is left out.
    pub fn of(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((percent_decode(name)?, percent_decode(&value.replace('+', " "))?))
        });
        Self(pairs.take(PARAMETERS_MAX).collect())
    }

    /// A parameter; one that is empty is as good as none.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Refusal::bad(format!("{name}: expected a number of 0 or more")))
        };
        self.text(name).map(parse).transpose()
    }

    /// A parameter that is one of these words.
    pub fn choice(&self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|word| **word == text);
        found
            .copied()
            .map(Some)
            .ok_or_else(|| Refusal::bad(format!("{name}: expected one of {}", words.join(", "))))
    }

    /// Which page of a list.
    pub fn paging(&self, default: usize, most: usize) -> Result<Paging, Refusal> {
        let whole = |number: Option<u64>| number.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let offset = whole(self.number("offset")?).unwrap_or(0);
        let limit = whole(self.number("limit")?).unwrap_or(default).min(most);
        Ok(Paging { offset, limit })
    }
}

/// A page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// How many come before it.
    pub offset: usize,
    /// How many it has at most.
    pub limit: usize,
}

impl Paging {
    /// The page of a list, in order; nothing else is sorted.
    pub fn cut<T: Ord>(&self, mut list: Vec<T>) -> Vec<T> {
        if self.offset >= list.len() || self.limit == 0 {
            return Vec::new();
        }
        if self.offset > 0 {
            list.select_nth_unstable(self.offset);
            list.drain(..self.offset);
        }
        if self.limit < list.len() {
            list.select_nth_unstable(self.limit);
            list.truncate(self.limit);
        }
        list.sort_unstable();
        list
    }
}

/// A request for a document.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What comes after `/view/`, decoded.
    pub path: Vec<String>,
    /// The parameters.
    pub query: Query,
    /// It is asked for as a stream.
    pub stream: bool,
    /// The number of the last piece that the reader had before it lost the stream, as it says.
    pub had: Option<u64>,
    /// Where a stream of pieces goes on, as the answer before said; counts before [`Asked::had`].
    pub after: Option<Seq>,
    /// What tells this question from others.
    pub(crate) key: String,
}

impl Asked {
    /// Reads a request for something below `/view/`.
    pub fn of(request: &Request<Bytes>) -> Result<Self, Refusal> {
        let rest = request.uri().path().strip_prefix("/view/").unwrap_or_default();
        let path: Option<Vec<String>> = rest.trim_end_matches('/').split('/').map(percent_decode).collect();
        let path = path.ok_or_else(|| Refusal::bad("the path is not well encoded"))?;
        let text =
            |name| request.headers().get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let accept = text(header::ACCEPT).unwrap_or_default();
        let stream = accept
            .split(',')
            .any(|range| range.split(';').next().unwrap_or_default().trim() == "text/event-stream");
        let had = text(header::HeaderName::from_static("last-event-id")).and_then(|id| id.parse().ok());
        let key = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
        Ok(Self {
            path,
            query: Query::of(request.uri().query().unwrap_or_default()),
            stream,
            had,
            after: None,
            key,
        })
    }

    /// The parts of the path.
    pub fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

/// A text as one part of a path.
pub fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Whether a list's entry is looked for: some of its texts contains this one, which is in small letters.
pub fn finds(wanted: &str, texts: &[&str]) -> bool {
    wanted.is_empty() || texts.iter().any(|text| text.to_ascii_lowercase().contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(uri: &str, headers: &[(&str, &str)]) -> Result<Asked, Refusal> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Asked::of(&request.body(Bytes::new()).unwrap())
    }

    #[test]
    fn a_request_is_taken_apart() {
        let it = asked("/view/task/f-1/a%2Fb?q=Temp%20x+y&state=&limit=500&offset=3", &[]).unwrap();
        assert_eq!(it.parts(), ["task", "f-1", "a/b"]);
        assert_eq!(
            (it.query.text("q"), it.query.text("state"), it.query.text("none")),
            (Some("Temp x y"), None, None)
        );
        assert_eq!(it.query.paging(100, 200), Ok(Paging { offset: 3, limit: 200 }));
        assert!(!it.stream && it.had.is_none());
        assert_eq!(it.query.choice("q", &["a"]).unwrap_err().status, 400);
        let it =
            asked("/view/events", &[("accept", "text/event-stream;q=1"), ("last-event-id", "17")]).unwrap();
        assert!(it.stream && it.had == Some(17) && it.after.is_none());
        assert!(asked("/view/%zz", &[]).is_err());
        assert!(asked("/view/fleet?offset=-1", &[]).unwrap().query.paging(1, 1).is_err());
    }

    proptest! {
        #[test]
        fn a_page_is_what_sorting_all_would_give(mut list in prop::collection::vec(0u8..50, 0..60), offset in 0usize..70, limit in 0usize..70) {
            let page = Paging { offset, limit }.cut(list.clone());
            list.sort_unstable();
            let expected: Vec<u8> = list.into_iter().skip(offset).take(limit).collect();
            prop_assert_eq!(page, expected);
        }

        #[test]
        fn a_part_of_a_path_comes_back(part in ".{1,20}") {
            let it = asked(&format!("/view/{}/x", encode(&part)), &[]).unwrap();
            prop_assert_eq!(it.parts(), [part.as_str(), "x"]);
        }

        #[test]
        fn any_request_is_survived(path in "[ -~]{0,30}", query in "[ -~]{0,40}") {
            if let Ok(uri) = format!("/view/{path}?{query}").parse::<http::Uri>() {
                let request = Request::builder().uri(uri).body(Bytes::new()).unwrap();
                if let Ok(asked) = Asked::of(&request) {
                    let _ = asked.query.paging(100, 200);
                }
            }
        }
    }
}
