//! One look at a backend.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    load::report::{self, OrcaError, OrcaReport},
    model::{HealthCheck, Probe},
};

/// A status line that is longer is none.
const STATUS_LINE_MAX: usize = 1024;
/// A load report further on is not looked for: its headers are short, and most servers write all of
/// them at once.
const HEADERS_MAX: usize = 8192;
/// Headers that are not there so long after the status line are not waited for.
const HEADERS_PATIENCE: Duration = Duration::from_millis(50);

/// What came of a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// An error is a reason for people.
    pub result: Result<(), String>,
    /// What an HTTP server says of its load on the way, right or wrong.
    pub load: Option<Result<OrcaReport, OrcaError>>,
}

/// Connects, and asks if the check says so.
pub async fn probe(endpoint: SocketAddr, check: &HealthCheck) -> Probed {
    let target = SocketAddr::new(endpoint.ip(), check.port.unwrap_or(endpoint.port()));
    let attempt = async {
        let stream = TcpStream::connect(target).await.map_err(|error| reason(&error))?;
        match &check.probe {
            Probe::Tcp => Ok(None),
            Probe::Http { path } => get(stream, target, path).await.map(Some),
        }
    };
    let late = || Err(format!("no answer within {}", seconds(check.timeout)));
    match timeout(check.timeout, attempt).await.unwrap_or_else(|_| late()) {
        Ok(None) => Probed { result: Ok(()), load: None },
        // The verdict is known; what follows may be late or never come.
        Ok(Some(answer)) => {
            let result = match status(answer.line()) {
                Some(200..=399) => Ok(()),
                Some(other) => Err(format!("status {other}")),
                None => Err("not HTTP".to_owned()),
            };
            Probed { result, load: answer.load().await }
        }
        Err(why) => Probed { result: Err(why), load: None },
    }
}

async fn get(mut stream: TcpStream, target: SocketAddr, path: &str) -> Result<Answer, String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: weir\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| reason(&error))?;
    let mut answer = Answer { stream, read: Vec::new() };
    while !answer.read.contains(&b'\n') && answer.read.len() < STATUS_LINE_MAX {
        if answer.more().await.map_err(|error| reason(&error))? == 0 {
            let nothing = answer.read.is_empty();
            return Err(if nothing { "closed without answer" } else { "not HTTP" }.into());
        }
    }
    // A line that has no end so far is none.
    let start = &answer.read[..answer.read.len().min(STATUS_LINE_MAX)];
    if start.contains(&b'\n') { Ok(answer) } else { Err("not HTTP".to_owned()) }
}

/// What has been read of an answer.
struct Answer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Answer {
    async fn more(&mut self) -> io::Result<usize> {
        let room = HEADERS_MAX.saturating_sub(self.read.len());
        (&mut self.stream).take(room as u64).read_buf(&mut self.read).await
    }

    /// The first line, without its end.
    fn line(&self) -> &[u8] {
        self.read.split(|&byte| byte == b'\n').next().unwrap_or_default()
    }

    /// The load report in its headers.
    async fn load(mut self) -> Option<Result<OrcaReport, OrcaError>> {
        let rest =
            async { while !ends(&self.read) && self.more().await.is_ok_and(|read| read > 0) {} };
        // What is there by then is looked at.
        drop(timeout(HEADERS_PATIENCE, rest).await);
        report::in_headers(&self.read)
    }
}

/// Whether the headers are all there.
fn ends(read: &[u8]) -> bool {
    read.windows(4).any(|end| end == b"\r\n\r\n") || read.windows(2).any(|end| end == b"\n\n")
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
        let result = probe(address, check).await.result;
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
    async fn a_load_report_may_be_among_the_headers() {
        let ok = "HTTP/1.1 200 OK\r\n";
        let load = "endpoint-load-metrics: cpu_utilization=0.25";
        let far = "x: y\r\n".repeat(2000);
        #[rustfmt::skip]
        let table = [
            (format!("{ok}{load}\r\n\r\n"),                            "Some(0.25)"),
            (format!("{ok}Date: x\r\nEndpoint-Load-Metrics:TEXT eps=1, cpu_utilization=0.5\r\n\r\nbody"), "Some(0.5)"),
            (format!("{ok}{load}\nendpoint-load-metrics-json: {{\"cpu_utilization\":1}}\n\n"), "Some(1.0)"),
            // Refused, for a reason.
            (format!("HTTP/1.1 503 No\r\n{load}\r\n\r\n"),             "Some(0.25)"),
            // The end of the headers never comes, that of the line did.
            (format!("{ok}{load}\r\nx: "),                             "Some(0.25)"),
            (format!("{ok}{load}"),                                    "none"),
            (format!("{ok}\r\n{load}\r\n\r\n"),                       "none"),
            (format!("{load}\r\n{ok}\r\n"),                           "none"),
            (format!("{ok}x-{load}\r\n\r\n"),                          "none"),
            (format!("{ok}{far}{load}\r\n\r\n"),                       "none"),
            (format!("{ok}endpoint-load-metrics: NaN\r\n\r\n"),        "the load report is not understood: \"NaN\""),
            (format!("{ok}endpoint-load-metrics: cpu_utilization=-1\r\n\r\n"),
             "cpu_utilization is -1 in the load report, and not a number from 0 upwards"),
        ];
        for (answer, expected) in table {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let written = answer.clone();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(written.as_bytes()).await.ok();
                // It does not close: what is missing is not waited for.
                tokio::time::sleep(LONG).await;
            });
            let probed = probe(address, &http(LONG)).await;
            let load = match probed.load {
                None => "none".to_owned(),
                Some(Ok(load)) => format!("{:?}", load.utilisation()),
                Some(Err(error)) => error.to_string(),
            };
            assert_eq!(load, expected, "{answer:.100}");
            assert_eq!(probed.result.is_ok(), answer.starts_with(ok), "{answer:.100}");
            server.abort();
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
            assert_eq!(probe(address, &check).await.result, Err("refused".to_owned()));
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up() {
        // The kernel completes the handshake, nobody accepts.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let result = probe(listener.local_addr().unwrap(), &http(SHORT)).await.result;
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
        let result = probe(address, &http(SHORT)).await.result;
        assert_eq!(result, Err("no answer within 0.1s".to_owned()));
        server.abort();
    }

    #[tokio::test]
    async fn another_port_can_be_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = Some(listener.local_addr().unwrap().port());
        let check = HealthCheck { port, ..check(Probe::Tcp, LONG) };
        assert_eq!(probe("127.0.0.1:1".parse().unwrap(), &check).await.result, Ok(()));
    }

    #[test]
    fn durations_read_well() {
        let table = [(1000, "1s"), (1500, "1.5s"), (250, "0.25s"), (20, "0.02s"), (60_000, "60s")];
        for (millis, text) in table {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
