//! One connection, one request at a time: how long an answer takes when nothing else is going on.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    plane::{HTTP, Plane},
    server::BODY,
};
use crate::stats;

/// The median time of an answer in microseconds, over `requests` of them.
pub(super) fn median_us(plane: &Plane, requests: usize) -> Result<f64> {
    let target = plane.targets(HTTP).first().copied().context("nobody to ask")?;
    let times = plane.client().in_netns(|| ask(target, requests))??;
    stats::median(&times).context("no answers")
}

fn ask(target: SocketAddr, requests: usize) -> Result<Vec<f64>> {
    let mut stream = connect(target)?;
    let request = request(target);
    let mut times = Vec::with_capacity(requests);
    // The first answers warm everything up.
    for number in 0..requests + 100 {
        let start = Instant::now();
        exchange(&mut stream, &request)?;
        if number >= 100 {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(times)
}

/// A connection that does not wait for anything but answers.
pub(super) fn connect(target: SocketAddr) -> Result<TcpStream> {
    let limit = Duration::from_secs(2);
    let stream = TcpStream::connect_timeout(&target, limit)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limit))?;
    Ok(stream)
}

pub(super) fn request(target: SocketAddr) -> String {
    format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// Asks, and reads the answer, which is short and ends with the body.
pub(super) fn exchange(stream: &mut TcpStream, request: &str) -> Result<()> {
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 1024];
    let mut length = 0;
    while !answer[..length].ends_with(BODY.as_bytes()) {
        let read = stream.read(&mut answer[length..])?;
        ensure!(read > 0, "the connection ended");
        length += read;
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "not an answer of the server");
    Ok(())
}
