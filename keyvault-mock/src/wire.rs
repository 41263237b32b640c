//! Requests as they are meant, whatever a client's habits of writing them are, and the replies to them.
//!
//! The SDKs write the same request differently: `api%2Dversion=` (JavaScript), `/keys/n//wrapkey` (Rust),
//! `/keys/n/` (Python), `wrapKey` and `wrapkey`. Everything behind this file sees one form.

use std::net::SocketAddr;

use serde::Serialize;

/// A request with its path in decoded segments, and its body read to the end.
#[derive(Debug)]
pub struct Request {
    /// The method in upper case, after `X-HTTP-METHOD` was heard.
    pub method: String,
    /// The decoded segments of the path, the empty ones left out.
    pub path: Vec<String>,
    /// The decoded query, in the order it was written.
    pub query: Vec<(String, String)>,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Where the request came from.
    pub peer: SocketAddr,
    /// The path and query as they were sent.
    pub target: String,
}

impl Request {
    /// Takes a request apart. `target` is the path and query as they came over the wire.
    pub fn new(
        method: &str,
        target: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        peer: SocketAddr,
    ) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Request {
            method: method.to_ascii_uppercase(),
            path: path
                .split('/')
                .map(percent_decoded)
                .filter(|segment| !segment.is_empty())
                .collect(),
            query: query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (percent_decoded(name), percent_decoded(value)))
                .collect(),
            headers,
            body,
            peer,
            target: target.to_owned(),
        };
        // A client behind a proxy that knows GET and POST alone says here what it means.
        if request.method == "POST"
            && let Some(meant) = request.header("x-http-method")
        {
            request.method = meant.trim().to_ascii_uppercase();
        }
        request
    }

    /// The first header called `name`, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of the query's `name`, in any case of letters.
    pub fn query_value(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(query, _)| query.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The host and port that the client asked for, as the `Host` header has them.
    pub fn host(&self) -> &str {
        self.header("host").unwrap_or("localhost")
    }

    /// The token of `Authorization: Bearer TOKEN`.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.trim().split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
    }

    /// The segments of the path, to be matched.
    pub fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

/// What is sent back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers besides the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply whose body is `value` in JSON.
    pub fn json(status: u16, value: &impl Serialize) -> Reply {
        let body =
            serde_json::to_vec(value).expect("a value of ours has string keys and finite numbers");
        Reply {
            status,
            headers: vec![(
                "content-type".into(),
                "application/json; charset=utf-8".into(),
            )],
            body,
        }
    }

    /// A reply without a body.
    pub fn empty(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A reply of plain text.
    pub fn text(status: u16, text: &str) -> Reply {
        Reply {
            status,
            headers: vec![("content-type".into(), "text/plain; charset=utf-8".into())],
            body: text.as_bytes().to_vec(),
        }
    }

    /// The same reply with one more header.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// `text` with its `%XX` resolved. What is no escape stays as it is; bytes that are not UTF-8 become U+FFFD, which
/// no name of ours holds.
pub fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| {
            bytes
                .get(at + offset)
                .and_then(|digit| (*digit as char).to_digit(16))
        };
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect();
        Request::new(
            method,
            target,
            headers,
            Vec::new(),
            ([127, 0, 0, 1], 1).into(),
        )
    }

    /// Goal: the habits of three SDKs come to the same thing.
    #[test]
    fn one_request_whatever_the_client_writes() {
        for target in [
            "/keys/n/wrapkey?api-version=7.4",
            "/keys/n//wrapkey?api%2Dversion=7.4",
            "//keys/n/wrapkey/?API-VERSION=7.4",
            "/k%65ys/n/wrapkey?&api-version=7.4",
        ] {
            let request = request("post", target, &[]);
            assert_eq!(request.segments(), ["keys", "n", "wrapkey"], "{target}");
            assert_eq!(request.query_value("api-version"), Some("7.4"), "{target}");
            assert_eq!(request.method, "POST");
        }
    }

    /// Goal: POST can mean another method, and nothing else can.
    #[test]
    fn x_http_method_is_heard_on_post_alone() {
        assert_eq!(
            request("POST", "/", &[("x-http-method", "patch")]).method,
            "PATCH"
        );
        assert_eq!(
            request("GET", "/", &[("x-http-method", "DELETE")]).method,
            "GET"
        );
    }

    /// Goal: broken escapes are text, not panics.
    #[test]
    fn broken_escapes_stay() {
        for (text, expected) in [
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%41%", "A%"),
            ("a%2Fb", "a/b"),
        ] {
            assert_eq!(percent_decoded(text), expected);
        }
        assert_eq!(percent_decoded("%ff"), "\u{fffd}");
    }

    /// Goal: a token is taken from a bearer header and from nothing else.
    #[test]
    fn bearer_tokens() {
        assert_eq!(
            request("GET", "/", &[("authorization", "bearer  t ")]).bearer(),
            Some("t")
        );
        for header in ["Basic dXNlcg==", "Bearer", "Bearer ", ""] {
            assert_eq!(
                request("GET", "/", &[("authorization", header)]).bearer(),
                None,
                "{header}"
            );
        }
        assert_eq!(request("GET", "/", &[]).bearer(), None);
    }
}
