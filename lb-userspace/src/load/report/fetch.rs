//! Asks one backend for its report.

use std::{io, net::SocketAddr, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, header};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use super::{
    HEADERS,
    agent::{AgentError, AgentReport, LINE_MAX},
    orca::{OrcaError, OrcaReport, REPORT_MAX},
};
use crate::model::ReportBy;

/// What a backend reported.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Its agent.
    Agent(AgentReport),
    /// Itself.
    Orca(OrcaReport),
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It took too long.
    #[error("no report within {}s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The connection failed.
    #[error("cannot ask for a report: {0}")]
    Connection(#[from] io::Error),
    /// The answer is not HTTP, or ends early.
    #[error("the answer is not HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The path cannot be asked for.
    #[error("cannot ask for the path {0:?}")]
    Path(String),
    /// The answer is an error, and has no report in its headers.
    #[error("status {}", .0.as_u16())]
    Status(StatusCode),
    /// The body is longer than any report, or broken.
    #[error("the body of the answer is no report: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The agent's line.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The report.
    #[error(transparent)]
    Orca(#[from] OrcaError),
}

/// Connects, asks, and reads no more than a report can be, all within `limit`.
pub async fn fetch(
    address: SocketAddr,
    by: &ReportBy,
    limit: Duration,
) -> Result<Report, FetchError> {
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        match by {
            ReportBy::Agent => Ok(Report::Agent(AgentReport::parse(&line(stream).await?)?)),
            ReportBy::Http { path } => get(stream, address, path).await.map(Report::Orca),
        }
    };
    timeout(limit, asked).await.unwrap_or(Err(FetchError::Timeout(limit)))
}

/// One line, without waiting for the connection to end; a byte more than fits shows that it does
/// not.
async fn line(stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut stream = stream.take(LINE_MAX as u64 + 1);
    let mut line = Vec::new();
    while !line.contains(&b'\n') && stream.read_buf(&mut line).await? > 0 {}
    Ok(line)
}

async fn get(stream: TcpStream, host: SocketAddr, path: &str) -> Result<OrcaReport, FetchError> {
    let request = Request::get(path)
        .header(header::HOST, host.to_string())
        .header(header::USER_AGENT, "weir")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Path(path.to_owned()))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(REPORT_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    let answer = async { report(sender.send_request(request).await?).await };
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        report = &mut answer => report,
        // All has arrived, or what went wrong has been told to who waits for the answer.
        _ = &mut connection => answer.await,
    }
}

async fn report(answer: Response<Incoming>) -> Result<OrcaReport, FetchError> {
    if let Some(value) = HEADERS.iter().find_map(|&name| answer.headers().get(name)) {
        return Ok(OrcaReport::parse_header(value.as_bytes())?);
    }
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status()));
    }
    let body = Limited::new(answer.into_body(), REPORT_MAX).collect().await;
    Ok(OrcaReport::parse_json(&body.map_err(FetchError::Body)?.to_bytes())?)
}
