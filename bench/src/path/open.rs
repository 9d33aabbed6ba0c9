//! A fixed rate, whatever the answers do. A request counts from the moment it was due: one slow
//! answer makes all late that should have been sent meanwhile, which a clock that starts at the
//! moment of sending would hide ("coordinated omission").
//!
//! Threads that sleep and block, because a runtime's timers are too coarse for microseconds.

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::prctl::set_timerslack;

use super::{
    plane::{HTTP, Plane},
    single,
};
use crate::stats;

/// Requests a second, of all connections: a tenth of what two processors can do, or less.
const RATE: u32 = 1_000;
const CONNECTIONS: u32 = 16;

/// Microseconds at the median, at 99 % and at 99.9 %.
pub(super) fn quantiles_us(plane: &Plane, seconds: u32) -> Result<[f64; 3]> {
    let target = plane.targets(HTTP).first().copied().context("nobody to ask")?;
    let times = plane.client().in_netns(|| ask(target, seconds))??;
    let due = usize::try_from(RATE * seconds)?;
    ensure!(times.len() == due, "{} of {due} requests were answered", times.len());
    let at = |q| stats::quantile_of(&times, q).context("no answers");
    Ok([at(0.5)?, at(0.99)?, at(0.999)?])
}

fn ask(target: SocketAddr, seconds: u32) -> Result<Vec<f64>> {
    // Time for all of them to connect.
    let begin = Instant::now() + Duration::from_millis(300);
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|number| thread::spawn(move || send(target, number, begin, seconds)))
        .collect();
    let mut times = Vec::new();
    for sender in senders {
        times.extend(sender.join().map_err(|_| anyhow!("a sender ended"))??);
    }
    Ok(times)
}

/// One connection: every so manieth request is its.
fn send(target: SocketAddr, number: u32, begin: Instant, seconds: u32) -> Result<Vec<f64>> {
    // A thread's sleep may be this much longer than asked for, in nanoseconds.
    set_timerslack(1)?;
    let mut stream: TcpStream = single::connect(target)?;
    let request = single::request(target);
    single::exchange(&mut stream, &request)?;
    let mut times = Vec::new();
    for request_number in (number..RATE * seconds).step_by(CONNECTIONS as usize) {
        let due = begin + due_after(request_number);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        single::exchange(&mut stream, &request)?;
        times.push(due.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

fn due_after(number: u32) -> Duration {
    Duration::from_secs(1) * number / RATE
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers requests, the first one of each connection after the second only so late.
    fn server(pause: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().take(CONNECTIONS as usize) {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut request = [0; 1024];
                    let mut number = 0;
                    while stream.read(&mut request).is_ok_and(|read| read > 0) {
                        number += 1;
                        if number == 3 {
                            thread::sleep(pause);
                        }
                        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nweir\n").unwrap();
                    }
                });
            }
        });
        address
    }

    #[test]
    fn a_pause_makes_all_late_that_were_due_meanwhile() {
        let times = ask(server(Duration::from_millis(400)), 1).unwrap();
        assert_eq!(times.len(), RATE as usize);
        // Sent one after the other they would be one slow answer a connection, 16 in all.
        let late = times.iter().filter(|us| **us > 50_000.0).count();
        assert!(late > 200, "{late}");
    }

    #[test]
    fn requests_are_due_evenly() {
        assert_eq!(due_after(0), Duration::ZERO);
        assert_eq!(due_after(RATE / 2), Duration::from_millis(500));
        assert_eq!(due_after(RATE), Duration::from_secs(1));
    }
}
