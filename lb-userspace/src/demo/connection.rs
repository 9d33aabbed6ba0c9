//! One connection of the load, and one request over it.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    http::{self, Response},
    tally::Failure,
};

/// A connection to a VIP, and what was read from it and not yet used.
pub(super) struct Connection {
    stream: TcpStream,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// One request and its answer: which backend, and where the answer came from. The slot may hold a
/// connection from before, and holds one afterwards if it can be used again.
pub(super) async fn exchange(
    vip: SocketAddr,
    path: &str,
    keep_alive: bool,
    slot: &mut Option<Connection>,
) -> Result<(String, SocketAddr), Failure> {
    let mut connection = match slot.take() {
        Some(connection) => connection,
        None => Connection::open(vip).await?,
    };
    let request = http::write_get(vip, path, keep_alive);
    connection.stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let response = connection.read_response().await?;
    let from = connection.from;
    if keep_alive && response.keep_alive {
        *slot = Some(connection);
    }
    match response.status {
        200 => Ok((response.backend.unwrap_or_else(|| "unnamed".to_owned()), from)),
        status => Err(Failure::Status(status)),
    }
}

impl Connection {
    async fn open(vip: SocketAddr) -> Result<Self, Failure> {
        let connect = |error: io::Error| Failure::Connect(error.kind());
        let stream = TcpStream::connect(vip).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let from = stream.peer_addr().map_err(connect)?;
        Ok(Self { stream, from, bytes: Vec::new() })
    }

    async fn read_response(&mut self) -> Result<Response, Failure> {
        let (response, head_bytes) = loop {
            match http::response(&self.bytes) {
                Ok(Some(found)) => break found,
                Ok(None) => self.read_more().await?,
                Err(_) => return Err(Failure::Malformed),
            }
        };
        self.bytes.drain(..head_bytes);
        let mut missing = response.body_bytes;
        loop {
            let here = usize::try_from(missing).unwrap_or(usize::MAX).min(self.bytes.len());
            self.bytes.drain(..here);
            missing = missing.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
            if missing == 0 {
                // Bytes that nobody asked for belong to some other answer.
                return if self.bytes.is_empty() { Ok(response) } else { Err(Failure::Malformed) };
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.bytes).await {
            Ok(0) => Err(Failure::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(error)),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn broken(error: io::Error) -> Failure {
    Failure::Broken(error.kind())
}
