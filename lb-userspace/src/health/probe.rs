//! One look at a backend.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::model::{HealthCheck, Probe};

/// A status line that is longer is none.
const STATUS_LINE_MAX: u64 = 1024;

/// Connects, and asks if the check says so. An error is a reason for people.
pub async fn probe(endpoint: SocketAddr, check: &HealthCheck) -> Result<(), String> {
    let target = SocketAddr::new(endpoint.ip(), check.port.unwrap_or(endpoint.port()));
    let attempt = async {
        let stream = TcpStream::connect(target).await.map_err(|error| reason(&error))?;
        match &check.probe {
            Probe::Tcp => Ok(()),
            Probe::Http { path } => get(stream, target, path).await,
        }
    };
    timeout(check.timeout, attempt)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}", seconds(check.timeout))))
}

async fn get(mut stream: TcpStream, target: SocketAddr, path: &str) -> Result<(), String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: weir\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| reason(&error))?;
    match status(&read_line(stream).await?) {
        Some(200..=399) => Ok(()),
        Some(other) => Err(format!("status {other}")),
        None => Err("not HTTP".to_owned()),
    }
}

/// The first line, without its end; what there is if it has none.
async fn read_line(stream: TcpStream) -> Result<Vec<u8>, String> {
    let mut stream = stream.take(STATUS_LINE_MAX);
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        let read = stream.read_buf(&mut line).await.map_err(|error| reason(&error))?;
        if read == 0 {
            return Err(if line.is_empty() { "closed without answer" } else { "not HTTP" }.into());
        }
    }
    line.truncate(line.iter().position(|&byte| byte == b'\n').unwrap_or(line.len()));
    Ok(line)
}

/// The code of `HTTP/1.x CODE reason`.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', code @ ..] = rest else { return None };
    let (code, after) = code.split_first_chunk::<3>()?;
    let code = std::str::from_utf8(code).ok().filter(|c| c.bytes().all(|b| b.is_ascii_digit()))?;
    let ends = matches!(after, [] | [b' ' | b'\r', ..]);
    code.parse().ok().filter(|&code| ends && code >= 100)
}

fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return "refused".to_owned();
    }
    error.to_string()
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::model::AllDown;

    fn check(probe: Probe, timeout: Duration) -> HealthCheck {
        HealthCheck {
            probe,
            interval: Duration::from_mins(1),
            timeout,
            rise: 1,
            fall: 1,
            port: None,
            all_down: AllDown::Try,
        }
    }

    fn http(timeout: Duration) -> HealthCheck {
        check(Probe::Http { path: "/health?full=1".to_owned() }, timeout)
    }

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(100);

    /// Probes a server that reads the request, writes `answer` and closes.
    async fn answered(answer: &[u8], check: &HealthCheck) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.to_vec();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            // The prober may stop reading early: a failed write is not the server's mistake.
            stream.write_all(&answer).await.ok();
            String::from_utf8(request).unwrap()
        });
        let result = probe(address, check).await;
        (result, server.await.unwrap())
    }

    #[tokio::test]
    async fn answers_are_judged_by_their_status_line() {
        #[rustfmt::skip]
        let table: [(&[u8], Result<(), &str>); 20] = [
            (b"HTTP/1.1 200 OK\r\n\r\n",        Ok(())),
            (b"HTTP/1.0 204 No Content\r\n",    Ok(())),
            (b"HTTP/1.1 399\n",                 Ok(())),
            (b"HTTP/1.1 302 Found\r\nx",        Ok(())),
            (b"HTTP/1.1 503 Unavailable\r\n",   Err("status 503")),
            (b"HTTP/1.1 400 Bad\r\n",           Err("status 400")),
            (b"HTTP/1.1 100 Continue\r\n",      Err("status 100")),
            (b"HTTP/1.1 199 x\r\n",             Err("status 199")),
            (b"HTTP/1.1 000 x\r\n",             Err("not HTTP")),
            (b"HTTP/1.1 +20 x\r\n",             Err("not HTTP")),
            (b"HTTP/1.1 2000 x\r\n",            Err("not HTTP")),
            (b"HTTP/1.1 20\r\n",                Err("not HTTP")),
            (b"HTTP/1.1  200\r\n",              Err("not HTTP")),
            (b"HTTP/2 200\r\n",                 Err("not HTTP")),
            (b"http/1.1 200 OK\r\n",            Err("not HTTP")),
            (b"HTTP/1.1 200 OK",                Err("not HTTP")),
            (b"SSH-2.0-OpenSSH_9.6\r\n",        Err("not HTTP")),
            (b"\xff\x00\xfe\n",                 Err("not HTTP")),
            (b"\n",                             Err("not HTTP")),
            (b"",                               Err("closed without answer")),
        ];
        for (answer, expected) in table {
            let (result, _) = answered(answer, &http(LONG)).await;
            let expected = expected.map_err(str::to_owned);
            assert_eq!(result, expected, "{}", String::from_utf8_lossy(answer));
        }
    }

    #[tokio::test]
    async fn a_status_line_has_an_end() {
        for (length, newline, fits) in [
            (1024, "\n", true),
            (1025, "\n", false),
            (1024, "", false),
            (60_000, "\n", false),
            (60_000, "", false),
        ] {
            let line =
                format!("{:x<width$}{newline}", "HTTP/1.1 200 ", width = length - newline.len());
            let (result, _) = answered(line.as_bytes(), &http(LONG)).await;
            let expected = if fits { Ok(()) } else { Err("not HTTP".to_owned()) };
            assert_eq!(result, expected, "{length} bytes, ends with {newline:?}");
        }
    }

    #[tokio::test]
    async fn the_request_is_one_that_servers_understand() {
        let (_, request) = answered(b"HTTP/1.1 200 OK\r\n", &http(LONG)).await;
        assert!(
            request.starts_with("GET /health?full=1 HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
        assert!(request.contains("\r\nConnection: close\r\n"), "{request}");
    }

    #[tokio::test]
    async fn tcp_asks_nothing_of_the_server() {
        let (result, request) = answered(b"", &check(Probe::Tcp, LONG)).await;
        assert_eq!((result, request), (Ok(()), String::new()));
    }

    #[tokio::test]
    async fn nobody_listening_is_refused() {
        // Bound but not listening: nobody else can get the port meanwhile.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        for check in [check(Probe::Tcp, LONG), http(LONG)] {
            assert_eq!(probe(address, &check).await, Err("refused".to_owned()));
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up() {
        // The kernel completes the handshake, nobody accepts.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let result = probe(listener.local_addr().unwrap(), &http(SHORT)).await;
        assert_eq!(result, Err("no answer within 0.1s".to_owned()));
    }

    #[tokio::test]
    async fn a_server_that_dribbles_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while stream.write_all(b"H").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        let result = probe(address, &http(SHORT)).await;
        assert_eq!(result, Err("no answer within 0.1s".to_owned()));
        server.abort();
    }

    #[tokio::test]
    async fn another_port_can_be_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = Some(listener.local_addr().unwrap().port());
        let check = HealthCheck { port, ..check(Probe::Tcp, LONG) };
        assert_eq!(probe("127.0.0.1:1".parse().unwrap(), &check).await, Ok(()));
    }

    #[test]
    fn durations_read_well() {
        let table = [(1000, "1s"), (1500, "1.5s"), (250, "0.25s"), (20, "0.02s"), (60_000, "60s")];
        for (millis, text) in table {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
