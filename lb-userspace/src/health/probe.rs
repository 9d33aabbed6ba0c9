//! One probe.
//!
//! A TCP probe proves that somebody accepts connections: the kernel does that even for a paused
//! container. An HTTP probe wants an answer.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::model::{HealthCheck, Probe};

/// Longest status line that is read.
const STATUS_LINE_MAX: usize = 1024;

/// Probes a backend; says why it failed.
pub async fn probe(backend: SocketAddr, check: &HealthCheck) -> Result<(), String> {
    let work = async {
        let stream = TcpStream::connect(backend).await.map_err(|error| name(&error))?;
        match &check.probe {
            Probe::Tcp => Ok(()),
            Probe::Http { path } => http(stream, backend, path).await,
        }
    };
    match tokio::time::timeout(check.timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {}", text(check.timeout))),
    }
}

async fn http(mut stream: TcpStream, backend: SocketAddr, path: &str) -> Result<(), String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {backend}\r\nUser-Agent: weir-health\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| name(&error))?;
    let mut line = Vec::new();
    let mut chunk = [0; 256];
    while !line.contains(&b'\n') && line.len() < STATUS_LINE_MAX {
        match stream.read(&mut chunk).await.map_err(|error| name(&error))? {
            0 => break,
            count => line.extend_from_slice(&chunk[..count]),
        }
    }
    match status(&line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("status {status}")),
        None if line.is_empty() => Err("closed without an answer".to_owned()),
        None => Err("not HTTP".to_owned()),
    }
}

/// The status of a status line (RFC 9112, section 4).
fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line.split(|byte| *byte == b'\n').next()?).ok()?;
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let digits = rest.get(..3)?;
    let ends = rest.as_bytes().get(3).is_none_or(|byte| matches!(byte, b' ' | b'\r'));
    if ends && digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn name(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset => "reset".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "unreachable".to_owned()
        }
        _ => error.to_string(),
    }
}

fn text(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn check(probe: Probe) -> HealthCheck {
        let (interval, timeout) = (Duration::from_secs(1), Duration::from_millis(300));
        HealthCheck { probe, interval, timeout, rise: 1, fall: 1, port: None }
    }

    /// A server that says `answer` to everybody and closes; `None` says nothing.
    async fn server(answer: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                match answer {
                    Some(answer) => {
                        let mut request = [0; 1024];
                        let _ = stream.read(&mut request).await;
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                    None => kept.push(stream),
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn http_wants_a_good_answer() {
        let huge: &'static str = Box::leak("x".repeat(4096).into_boxed_str());
        let rows = [
            (Some("HTTP/1.1 200 OK\r\n\r\n"), Ok(())),
            (Some("HTTP/1.0 204\r\n\r\n"), Ok(())),
            (Some("HTTP/1.1 302 Found\r\n\r\n"), Ok(())),
            (Some("HTTP/1.1 404 Not Found\r\n\r\n"), Err("status 404")),
            (Some("HTTP/1.1 503 Busy\r\n\r\n"), Err("status 503")),
            (Some("HTTP/1.1 2000 OK\r\n\r\n"), Err("not HTTP")),
            (Some("HTTP/1.1 \r\n\r\n"), Err("not HTTP")),
            (Some("SSH-2.0-OpenSSH\r\n"), Err("not HTTP")),
            (Some(huge), Err("not HTTP")),
            (Some(""), Err("closed without an answer")),
            (None, Err("no answer within 300 ms")),
        ];
        for (answer, expected) in rows {
            let backend = server(answer).await;
            let result = probe(backend, &check(Probe::Http { path: "/".to_owned() })).await;
            assert_eq!(result, expected.map_err(str::to_owned), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn tcp_wants_a_listener_only() {
        assert_eq!(probe(server(None).await, &check(Probe::Tcp)).await, Ok(()));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(probe(closed, &check(Probe::Tcp)).await, Err("refused".to_owned()));
    }
}
