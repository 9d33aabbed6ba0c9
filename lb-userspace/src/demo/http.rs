//! As much of HTTP/1.1 (RFC 9112) as the built-in server and client say to each other.
//!
//! Pure: bytes in, heads out. Both sides are strict, because a load balancer's test traffic that
//! forgives would hide what the balancer breaks.

use std::{fmt, time::Duration};

/// A head that is not complete after this many bytes is refused.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;
const WORK_MAX: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The header that names the backend which answered.
pub(super) const BACKEND_HEADER: &str = "X-Backend";

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Syntax,
    HeadTooLarge,
    Method,
    Version,
    Body,
    Number,
}

impl Bad {
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Syntax | Self::Number => "400 Bad Request",
            Self::Method => "405 Method Not Allowed",
            Self::Body => "413 Content Too Large",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// `/healthz`: an answer at once, beside the queue.
    Health,
    /// `/work?us=N`: an answer after this service time.
    Work(Duration),
    /// `/bytes/N`: a body of this size.
    Bytes(u64),
    /// Any other path: an answer after the server's own service time.
    Page,
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) keep_alive: bool,
    /// `HEAD`: the answer has no body.
    pub(super) head_only: bool,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) backend: Option<String>,
    pub(super) body_bytes: u64,
    pub(super) keep_alive: bool,
}

/// The first request in the bytes and its length; `None` if more bytes are needed.
pub(super) fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, Bad> {
    let Some((line, fields, length)) = head(bytes)? else { return Ok(None) };
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Bad::Syntax);
    };
    let modern = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        other if other.starts_with("HTTP/") => return Err(Bad::Version),
        _ => return Err(Bad::Syntax),
    };
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        other if is_token(other) => return Err(Bad::Method),
        _ => return Err(Bad::Syntax),
    };
    if modern && fields.hosts != 1 {
        return Err(Bad::Syntax);
    }
    if fields.chunked || fields.body_bytes.is_some_and(|n| n > 0) {
        return Err(Bad::Body);
    }
    let request = Request { ask: ask(target)?, keep_alive: fields.keep_alive(modern), head_only };
    Ok(Some((request, length)))
}

/// The first response in the bytes and the length of its head; `None` if more bytes are needed.
pub(super) fn response(bytes: &[u8]) -> Result<Option<(Response, usize)>, Bad> {
    let Some((line, fields, length)) = head(bytes)? else { return Ok(None) };
    let rest = line.strip_prefix("HTTP/1.1 ").ok_or(Bad::Version)?;
    let status = rest.split(' ').next().filter(|digits| digits.len() == 3);
    let status = status.and_then(|digits| digits.parse().ok()).ok_or(Bad::Syntax)?;
    if fields.chunked {
        return Err(Bad::Body);
    }
    let body_bytes = fields.body_bytes.ok_or(Bad::Body)?;
    let keep_alive = fields.keep_alive(true);
    Ok(Some((Response { status, backend: fields.backend, body_bytes, keep_alive }, length)))
}

/// The server's side of [`response`].
pub(super) fn write_head(status: &str, backend: &str, body_bytes: u64, keep_alive: bool) -> String {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    format!(
        "HTTP/1.1 {status}\r\n{BACKEND_HEADER}: {backend}\r\nContent-Type: text/plain\r\n\
         Content-Length: {body_bytes}\r\nConnection: {connection}\r\n\r\n"
    )
}

/// The client's side of [`request`].
pub(super) fn write_get(host: impl fmt::Display, path: &str, keep_alive: bool) -> String {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n")
}

fn ask(target: &str) -> Result<Ask, Bad> {
    if !target.starts_with('/') || !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Bad::Syntax);
    }
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| Bad::Number);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path == "/healthz" {
        Ok(Ask::Health)
    } else if let Some(digits) = path.strip_prefix("/bytes/") {
        let bytes = number(digits)?;
        if bytes <= BODY_BYTES_MAX { Ok(Ask::Bytes(bytes)) } else { Err(Bad::Number) }
    } else if path == "/work" {
        let time = Duration::from_micros(number(query.strip_prefix("us=").ok_or(Bad::Number)?)?);
        if time <= WORK_MAX { Ok(Ask::Work(time)) } else { Err(Bad::Number) }
    } else {
        Ok(Ask::Page)
    }
}

/// The header fields that matter here.
#[derive(Default)]
struct Fields {
    hosts: usize,
    body_bytes: Option<u64>,
    chunked: bool,
    close: bool,
    keep: bool,
    backend: Option<String>,
}

impl Fields {
    /// RFC 9112, 9.3.
    fn keep_alive(&self, modern: bool) -> bool {
        !self.close && (modern || self.keep)
    }

    fn read(&mut self, line: &str) -> Result<(), Bad> {
        let (name, value) = line.split_once(':').ok_or(Bad::Syntax)?;
        let value = value.trim_matches([' ', '\t']);
        if !is_token(name) || value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return Err(Bad::Syntax);
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => self.hosts += 1,
            "content-length" => {
                // A second length, or a signed one, is how requests are smuggled.
                if self.body_bytes.is_some() || !value.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(Bad::Syntax);
                }
                self.body_bytes = Some(value.parse().map_err(|_| Bad::Syntax)?);
            }
            "transfer-encoding" => self.chunked = true,
            "connection" => {
                let mut options = value.split(',').map(str::trim);
                self.close |= options.clone().any(|o| o.eq_ignore_ascii_case("close"));
                self.keep |= options.any(|o| o.eq_ignore_ascii_case("keep-alive"));
            }
            "x-backend" => self.backend = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// First line, fields and length of a complete head.
fn head(bytes: &[u8]) -> Result<Option<(&str, Fields, usize)>, Bad> {
    let end = bytes.windows(4).take(HEAD_BYTES_MAX).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        return if bytes.len() > HEAD_BYTES_MAX { Err(Bad::HeadTooLarge) } else { Ok(None) };
    };
    let text = bytes.get(..end).and_then(|head| str::from_utf8(head).ok()).ok_or(Bad::Syntax)?;
    let mut lines = text.split("\r\n");
    let first = lines.next().ok_or(Bad::Syntax)?;
    if first.bytes().any(|b| b.is_ascii_control()) {
        return Err(Bad::Syntax);
    }
    let mut fields = Fields::default();
    for line in lines {
        fields.read(line)?;
    }
    Ok(Some((first, fields, end + 4)))
}

/// `token` of RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    }

    #[test]
    fn targets_choose_what_is_done() {
        let rows = [
            ("/", Ask::Page),
            ("/any/path?x=1", Ask::Page),
            ("/healthz", Ask::Health),
            ("/work?us=1500", Ask::Work(Duration::from_micros(1500))),
            ("/bytes/0", Ask::Bytes(0)),
            ("/bytes/67108864", Ask::Bytes(BODY_BYTES_MAX)),
        ];
        for (target, wanted) in rows {
            let bytes = get(target);
            let (request, length) = request(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!((request.ask, length), (wanted, bytes.len()), "{target}");
        }
    }

    #[test]
    fn bad_requests_have_a_status_each() {
        let rows = [
            ("no version", "GET /\r\nHost: x\r\n\r\n", Bad::Syntax),
            ("four words", "GET / x HTTP/1.1\r\nHost: x\r\n\r\n", Bad::Syntax),
            ("not HTTP", "GET / SMTP\r\nHost: x\r\n\r\n", Bad::Syntax),
            ("HTTP/2", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", Bad::Version),
            ("method", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", Bad::Method),
            ("no method", "G\u{e9}T / HTTP/1.1\r\nHost: x\r\n\r\n", Bad::Syntax),
            ("empty line first", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", Bad::Syntax),
            ("no host", "GET / HTTP/1.1\r\n\r\n", Bad::Syntax),
            ("two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", Bad::Syntax),
            ("no colon", "GET / HTTP/1.1\r\nHost x\r\n\r\n", Bad::Syntax),
            ("blank before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", Bad::Syntax),
            ("folded line", "GET / HTTP/1.1\r\nHost: x\r\n y: z\r\n\r\n", Bad::Syntax),
            ("bare line feed", "GET / HTTP/1.1\nHost: x\r\n\r\n", Bad::Syntax),
            ("NUL in a value", "GET / HTTP/1.1\r\nHost: x\0\r\n\r\n", Bad::Syntax),
            ("absolute target", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", Bad::Syntax),
            ("body", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", Bad::Body),
            (
                "chunks",
                "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                Bad::Body,
            ),
            ("signed", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n", Bad::Syntax),
            (
                "two lengths",
                "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
                Bad::Syntax,
            ),
            ("no number", &get("/bytes/"), Bad::Number),
            ("negative", &get("/bytes/-1"), Bad::Number),
            ("too many bytes", &get("/bytes/67108865"), Bad::Number),
            ("no time", &get("/work"), Bad::Number),
            ("wrong unit", &get("/work?ms=1"), Bad::Number),
            ("too long", &get("/work?us=10000001"), Bad::Number),
            ("overflow", &get("/work?us=99999999999999999999"), Bad::Number),
        ];
        for (name, bytes, wanted) in rows {
            assert_eq!(request(bytes.as_bytes()), Err(wanted), "{name}");
        }
    }

    #[test]
    fn connections_stay_open_as_asked() {
        let rows = [
            ("HTTP/1.1\r\nHost: x", true),
            ("HTTP/1.1\r\nHost: x\r\nConnection: close", false),
            ("HTTP/1.1\r\nHost: x\r\nConnection: Foo, CLOSE", false),
            ("HTTP/1.1\r\nHost: x\r\nConnection: closed", true),
            ("HTTP/1.0", false),
            ("HTTP/1.0\r\nConnection: keep-alive", true),
        ];
        for (rest, wanted) in rows {
            let bytes = format!("GET / {rest}\r\n\r\n");
            let (request, _) = request(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!(request.keep_alive, wanted, "{rest}");
        }
    }

    #[test]
    fn heads_end_in_time() {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: ".to_vec();
        assert_eq!(request(&bytes), Ok(None));
        bytes.resize(HEAD_BYTES_MAX, b'x');
        assert_eq!(request(&bytes), Ok(None));
        bytes.push(b'x');
        assert_eq!(request(&bytes), Err(Bad::HeadTooLarge));
    }

    #[test]
    fn what_the_server_writes_the_client_reads() {
        let bytes = write_head("200 OK", "fast", 7, false);
        let wanted = Response {
            status: 200,
            backend: Some("fast".to_owned()),
            body_bytes: 7,
            keep_alive: false,
        };
        assert_eq!(response(bytes.as_bytes()), Ok(Some((wanted, bytes.len()))));
        let bytes = write_get("[fd00::1]:80", "/work?us=3", true);
        let (request, length) = request(bytes.as_bytes()).unwrap().unwrap();
        assert_eq!((request.keep_alive, length), (true, bytes.len()));
    }

    #[test]
    fn bad_responses_are_refused() {
        let rows = [
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Bad::Version),
            ("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", Bad::Syntax),
            ("HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", Bad::Syntax),
            ("HTTP/1.1 200 OK\r\n\r\n", Bad::Body),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Bad::Body),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Bad::Syntax),
        ];
        for (bytes, wanted) in rows {
            assert_eq!(response(bytes.as_bytes()), Err(wanted), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for length in [request(&bytes).map(|r| r.map(|r| r.1)), response(&bytes).map(|r| r.map(|r| r.1))] {
                prop_assert!(length.is_ok_and(|l| l.is_none_or(|l| l <= bytes.len())) || length.is_err());
            }
        }
    }
}
