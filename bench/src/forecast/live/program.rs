//! The program of a replica in the live ramp: `PROGRAM SERVICE_MS START_MS` needs so long to start,
//! then answers one request after the other, each of which takes so long. It is compiled by
//! itself, into the image.

use std::{
    env,
    error::Error,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const PORT: u16 = 8080;
/// A client that says nothing must not hold up the others.
const SILENCE_MAX: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let mut times = env::args().skip(1);
    let mut time = || -> Result<Duration, Box<dyn Error>> {
        Ok(Duration::from_millis(times.next().ok_or("a time is missing")?.parse()?))
    };
    let (service, start) = (time()?, time()?);
    thread::sleep(start);
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    let mut done = Instant::now();
    for stream in listener.incoming().flatten() {
        // Whoever went away needs no answer.
        let _ = answer(stream, service, &mut done);
    }
    Ok(())
}

/// `done`: when the last answer was due. A sleep that was too long makes its answer late and the next
/// request's time no longer, so that a busy machine leaves the capacity what it is.
fn answer(mut stream: TcpStream, service: Duration, done: &mut Instant) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let (mut request, mut part) = (Vec::new(), [0; 512]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&part[..read]),
        }
    }
    let now = Instant::now();
    let begin = (*done).max(now.checked_sub(service).unwrap_or(now));
    *done = begin + service;
    thread::sleep(done.saturating_duration_since(now));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}
