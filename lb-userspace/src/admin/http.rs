//! Metrics, health and reports over HTTP: reading only, loopback only, the same questions to the
//! daemon's loop as over the socket.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    protocol::{Data, Question, Request, Response},
    socket::ask,
};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Clients at a time; more of them wait in the kernel's queue.
const CLIENTS_MAX: usize = 64;
/// How long the head of a request may take; also how long a kept connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection lives: one that reads no answers must not keep its place.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Shorter than the usual patience of a scraper or a probe.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(5);

type Answer = hyper::Response<Full<Bytes>>;

/// Why there is no HTTP listener.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Other hosts could read what runs here.
    #[error("admin http {0} is not a loopback address: use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The address cannot be had.
    #[error("admin http {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Listens at a loopback address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    if !address.ip().is_loopback() {
        return Err(HttpError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| HttpError::Bind { address, source })
}

/// Serves until it is dropped; its clients go with it.
pub async fn serve(listener: TcpListener, daemon: mpsc::Sender<Question>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut clients = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                clients.spawn(converse(stream, daemon.clone(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "the admin HTTP listener takes no client");
                sleep(Duration::from_millis(100)).await;
            }
        }
        while clients.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, daemon: mpsc::Sender<Question>, _place: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let daemon = daemon.clone();
        async move { Ok::<_, Infallible>(respond(&request, &daemon).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::trace!(%error, "an HTTP client went wrong"),
    }
}

async fn respond(request: &hyper::Request<Incoming>, daemon: &mpsc::Sender<Question>) -> Answer {
    if !names_this_host(request.headers().get(header::HOST)) {
        return text(StatusCode::FORBIDDEN, "ask for localhost or a loopback address\n");
    }
    let question = match request.uri().path() {
        "/metrics" => Request::Metrics,
        "/healthz" => Request::Health,
        "/api/status" => Request::Status,
        "/api/services" => Request::Services,
        "/api/backends" => Request::Backends,
        _ => {
            let known = "/metrics, /healthz, /api/status, /api/services, /api/backends";
            return text(StatusCode::NOT_FOUND, format!("there is {known}\n"));
        }
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "this listener is for reading\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    present(ask(daemon, question, DAEMON_TIMEOUT).await)
}

/// A browser that is led here under a foreign name must not read for the page that led it.
fn names_this_host(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host.and_then(|host| host.to_str().ok()) else { return host.is_none() };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn present(response: Response) -> Answer {
    match response {
        Response::Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Response::Ok(Data::Metrics(metrics)) => answer(StatusCode::OK, OPENMETRICS, metrics),
        Response::Ok(Data::Health(health)) if health.reasons.is_empty() => {
            text(StatusCode::OK, "ok\n")
        }
        Response::Ok(Data::Health(health)) => {
            text(StatusCode::SERVICE_UNAVAILABLE, health.reasons.join("\n") + "\n")
        }
        Response::Ok(
            data @ (Data::Status(_)
            | Data::Services(_)
            | Data::Backends(_)
            | Data::Flows(_)
            | Data::Explanation(_)
            | Data::Docker(_)
            | Data::Done(_)),
        ) => match serde_json::to_string(&data) {
            Ok(json) => answer(StatusCode::OK, JSON, json + "\n"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, TEXT, body)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = hyper::Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::admin::report::HealthReport;

    /// A listener whose daemon is healthy or not, and its address.
    async fn start(reasons: &[&str]) -> (SocketAddr, JoinSet<()>) {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let (sender, mut questions) = mpsc::channel::<Question>(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, sender));
        tasks.spawn(async move {
            while let Some((request, reply)) = questions.recv().await {
                let response = match request {
                    Request::Metrics => Response::Ok(Data::Metrics("weir_up 1\n# EOF\n".into())),
                    Request::Health => {
                        Response::Ok(Data::Health(HealthReport { reasons: reasons.clone() }))
                    }
                    Request::Services => Response::Ok(Data::Services(Vec::new())),
                    Request::Backends => Response::Err("the maps cannot be read".into()),
                    Request::Status => Response::done("status"),
                    Request::Flows { .. }
                    | Request::Drain { .. }
                    | Request::Undrain { .. }
                    | Request::Weight { .. }
                    | Request::Explain { .. }
                    | Request::Docker
                    | Request::Reload => Response::Err("not for HTTP".into()),
                };
                reply.send(response).unwrap();
            }
        });
        (address, tasks)
    }

    /// Status line, headers in lower case, body. The server may close before it has read all.
    async fn exchange(address: SocketAddr, request: &str) -> (String, String, String) {
        let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
        let request = request.to_owned();
        let sending = tokio::spawn(async move { writing.write_all(request.as_bytes()).await });
        let mut bytes = Vec::new();
        let read = reading.read_to_end(&mut bytes).await;
        assert!(read.is_ok() || !bytes.is_empty(), "{read:?}");
        drop(sending.await.unwrap());
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        (status.to_owned(), headers.to_lowercase(), body.to_owned())
    }

    fn request(method: &str, path: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn paths_answer_what_they_promise() {
        let (address, _tasks) = start(&[]).await;
        for (path, status, kind, body) in [
            ("/metrics", "200 OK", "application/openmetrics-text", "weir_up 1\n# EOF\n"),
            ("/healthz", "200 OK", "text/plain", "ok\n"),
            ("/healthz?verbose", "200 OK", "text/plain", "ok\n"),
            ("/api/status", "200 OK", "application/json", "{\"text\":\"status\"}\n"),
            ("/api/services", "200 OK", "application/json", "[]\n"),
            ("/api/backends", "503 Service Unavailable", "text/plain", "the maps cannot be read\n"),
        ] {
            let found = exchange(address, &request("GET", path)).await;
            assert_eq!(found.0, format!("HTTP/1.1 {status}"), "{path}");
            assert!(found.1.contains(&format!("content-type: {kind}")), "{path}: {}", found.1);
            assert_eq!(found.2, body, "{path}");
        }
        let (status, _, body) = exchange(address, &request("HEAD", "/healthz")).await;
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""));
    }

    #[tokio::test]
    async fn an_unhealthy_daemon_says_why() {
        let (address, _tasks) = start(&["no interface is attached", "2 maps are full"]).await;
        let (status, _, body) = exchange(address, &request("GET", "/healthz")).await;
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        assert_eq!(body, "no interface is attached\n2 maps are full\n");
    }

    #[tokio::test]
    async fn a_daemon_that_is_gone_is_not_healthy() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, questions) = mpsc::channel(1);
        drop(questions);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, sender));
        let (status, _, body) = exchange(address, &request("GET", "/healthz")).await;
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        assert_eq!(body, "the daemon is ending\n");
    }

    #[tokio::test]
    async fn what_is_not_for_reading_here_is_refused() {
        let (address, _tasks) = start(&[]).await;
        let host = |host: &str| {
            format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
        };
        for (sent, status) in [
            (request("GET", "/"), "404 Not Found"),
            (request("GET", "/api"), "404 Not Found"),
            (request("GET", "/api/flows"), "404 Not Found"),
            (request("GET", "/metrics/../healthz"), "404 Not Found"),
            (request("POST", "/api/status"), "405 Method Not Allowed"),
            (request("DELETE", "/api/backends"), "405 Method Not Allowed"),
            (host("evil.example"), "403 Forbidden"),
            (host("localhost.evil.example:9090"), "403 Forbidden"),
            (host("198.18.0.1:9090"), "403 Forbidden"),
            (host("127.0.0.1:9090"), "200 OK"),
            (host("[::1]:9090"), "200 OK"),
            ("nonsense\r\n\r\n".to_owned(), "400 Bad Request"),
            ("GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), "200 OK"),
            (
                format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)),
                "431 Request Header Fields Too Large",
            ),
        ] {
            let (found, ..) = exchange(address, &sent).await;
            assert_eq!(found, format!("HTTP/1.1 {status}"), "{}", &sent[..12]);
        }
    }

    #[tokio::test]
    async fn one_client_too_many_waits_for_a_place() {
        let (address, _tasks) = start(&[]).await;
        let mut idle = Vec::new();
        for _ in 0..CLIENTS_MAX {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let sent = request("GET", "/healthz");
        let mut late = Box::pin(exchange(address, &sent));
        assert!(timeout(Duration::from_millis(100), &mut late).await.is_err());
        drop(idle.pop());
        let (status, _, body) = late.await;
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "ok\n"));
    }

    #[tokio::test]
    async fn only_loopback_addresses_are_listened_on() {
        for address in ["0.0.0.0:0", "[::]:0", "198.18.0.1:0", "[fd00::1]:0"] {
            let error = bind(address.parse().unwrap()).await.unwrap_err();
            assert!(error.to_string().contains("is not a loopback address"), "{error}");
        }
        let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind(taken.local_addr().unwrap()).await.unwrap_err();
        assert!(matches!(error, HttpError::Bind { .. }), "{error}");
    }
}
