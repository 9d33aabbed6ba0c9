//! Reports of servers on loopback, most of them bad ones.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    sync::mpsc,
    time::timeout,
};

use super::{Asker, FetchError, Report, fetch};
use crate::model::{Endpoint, Protocol, ReportBy, SelfReport};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn http() -> ReportBy {
    ReportBy::Http { path: "/load?x=1".to_owned() }
}

/// Asks a server that reads a request, if one is to be expected, writes `answer` and closes.
async fn answered(source: &ReportBy, answer: &[u8]) -> (Result<Report, FetchError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, asks) = (answer.to_vec(), *source != ReportBy::Agent);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while asks && !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await.unwrap() == 0 {
                break;
            }
        }
        // Who asked may stop reading early: a failed write is not the server's mistake.
        stream.write_all(&answer).await.ok();
        String::from_utf8(request).unwrap()
    });
    let report = fetch(address, source, LONG).await;
    (report, server.await.unwrap())
}

/// What came of it, in a word or two.
fn word(report: Result<Report, FetchError>) -> String {
    match report {
        Ok(Report::Agent(agent)) => format!("{:?}", agent.percent),
        Ok(Report::Orca(orca)) => format!("{:?}", orca.utilisation()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn an_agent_says_a_line() {
    let long = vec![b'x'; 100_000];
    #[rustfmt::skip]
    let table: [(&[u8], &str); 7] = [
        (b"75%\n",               "Some(75)"),
        (b"75%",                 "Some(75)"),
        (b"75%\r\nmore 3%\n",    "Some(75)"),
        (b"",                    "the agent said nothing"),
        (b"\n",                  "the agent said nothing"),
        (b"SSH-2.0-x\r\n",       "the agent's answer is not understood: \"SSH-2.0-x\""),
        (&long,                  "the agent's answer is longer than 1024 bytes"),
    ];
    for (answer, expected) in table {
        let (report, _) = answered(&ReportBy::Agent, answer).await;
        assert_eq!(word(report), expected);
    }
}

#[tokio::test]
async fn a_report_is_in_a_header_or_in_the_body() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let report = r#"{"cpu_utilization":0.5}"#;
    #[rustfmt::skip]
    let table = [
        (format!("{ok}Content-Length: 23\r\n\r\n{report}"),                    "Some(0.5)"),
        (format!("{ok}\r\n{report}"),                                          "Some(0.5)"),
        (format!("{ok}Transfer-Encoding: chunked\r\n\r\n17\r\n{report}\r\n0\r\n\r\n"), "Some(0.5)"),
        (format!("{ok}Endpoint-Load-Metrics: cpu_utilization=0.25\r\n\r\nhello"), "Some(0.25)"),
        (format!("{ok}endpoint-load-metrics-json: JSON {report}\r\n\r\nhello"), "Some(0.5)"),
        // An overloaded server refuses, and says why.
        ("HTTP/1.1 503 No\r\nendpoint-load-metrics: TEXT cpu_utilization=1\r\n\r\n".to_owned(), "Some(1.0)"),
        (format!("HTTP/1.1 404 None\r\n\r\n{report}"),                         "status 404"),
        (format!("HTTP/1.1 302 Found\r\n\r\n{report}"),                        "status 302"),
        (format!("{ok}\r\n"),                                                  "the load report is not understood"),
        (format!("{ok}\r\n<html>"),                                            "the load report is not understood"),
        (format!("{ok}endpoint-load-metrics: cpu_utilization=NaN\r\n\r\n{report}"), "cpu_utilization is NaN"),
        (format!("{ok}\r\n{}", " ".repeat(100_000)),                           "the body of the answer is no report"),
        (format!("{ok}Content-Length: 99\r\n\r\n{report}"),                    "the body of the answer is no report"),
        (format!("{ok}x: {}\r\n\r\n{report}", "x".repeat(100_000)),            "the answer is not HTTP"),
        (format!("{ok}{}\r\n{report}", "x: y\r\n".repeat(200)),                "the answer is not HTTP"),
        ("HTTP/9 what\r\n\r\n".to_owned(),                                     "the answer is not HTTP"),
        ("75%\n".to_owned(),                                                   "the answer is not HTTP"),
        (String::new(),                                                        "the answer is not HTTP"),
    ];
    for (answer, expected) in table {
        let (report, request) = answered(&http(), answer.as_bytes()).await;
        let found = word(report);
        assert!(found.starts_with(expected), "{found}, and not {expected}");
        assert!(request.starts_with("GET /load?x=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up() {
    for source in [ReportBy::Agent, http()] {
        // The kernel completes the handshake, nobody accepts.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let report = fetch(listener.local_addr().unwrap(), &source, SHORT).await;
        assert_eq!(word(report), "no report within 0.1s");
    }
}

#[tokio::test]
async fn a_server_that_dribbles_is_given_up() {
    for (source, start) in [(ReportBy::Agent, ""), (http(), "HTTP/1.1 200 OK\r\n\r\n")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(start.as_bytes()).await.ok();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        assert_eq!(word(fetch(address, &source, SHORT).await), "no report within 0.1s");
        server.abort();
    }
}

#[tokio::test]
async fn nobody_listening_is_said() {
    // Bound but not listening: nobody else can get the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    for source in [ReportBy::Agent, http()] {
        let found = word(fetch(address, &source, LONG).await);
        assert!(found.starts_with("cannot ask for a report: "), "{found}");
    }
}

#[tokio::test]
async fn a_path_that_is_none_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for path in ["not a path", "/\r\nx: y", ""] {
        let source = ReportBy::Http { path: path.to_owned() };
        let found = word(fetch(listener.local_addr().unwrap(), &source, LONG).await);
        assert_eq!(found, format!("cannot ask for the path {path:?}"));
    }
}

#[tokio::test]
async fn backends_are_asked_again_and_again_and_no_longer_than_wanted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"75%\n").await.ok();
        }
    });
    let endpoint = Endpoint { address: address.ip(), port: 1, protocol: Protocol::Tcp };
    let interval = Duration::from_millis(10);
    let port = Some(address.port());
    let report = SelfReport { by: ReportBy::Agent, port, interval };
    let (sender, mut said) = mpsc::channel(8);
    let mut asker = Asker::new(sender);
    asker.sync(&BTreeMap::from([(endpoint, &report)]));
    for _ in 0..3 {
        let (of, report) = timeout(LONG, said.recv()).await.unwrap().unwrap();
        assert_eq!((of, word(report)), (endpoint, "Some(75)".to_owned()));
    }
    // Nobody is there any more: that is told, too.
    server.abort();
    while timeout(LONG, said.recv()).await.unwrap().unwrap().1.is_ok() {}
    // Nobody is asked any more, so nobody keeps the channel open but the asker.
    asker.sync(&BTreeMap::new());
    drop(asker);
    while timeout(LONG, said.recv()).await.unwrap().is_some() {}
}
