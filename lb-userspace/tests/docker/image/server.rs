//! All that is in the test's image: a server that says who answers, and its health.
//!
//! `server serve PORT` (or the ports in the variable `PORT`), `server check` (exit code 0: healthy),
//! `server sick`, `server well`, `server burn SECONDS`, `server get ADDRESS` (prints an answer). As process 1 of a container it ignores SIGTERM and serves on until the grace period is over, as
//! programs do that wait for their balancer.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::exit,
    thread,
    time::{Duration, Instant},
};

const SICK: &str = "/sick";

fn main() {
    let words: Vec<String> = env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[1..] {
        ["serve", port] => {
            let ports = env::var("PORT").unwrap_or_else(|_| port.to_owned());
            let ports = ports.split(',').map(|port| port.parse().unwrap());
            let servers: Vec<_> = ports.map(|port| thread::spawn(move || serve(port))).collect();
            servers.into_iter().for_each(|server| server.join().unwrap());
        }
        ["burn", seconds] => burn(Duration::from_secs(seconds.parse().unwrap())),
        ["check"] => exit(i32::from(Path::new(SICK).exists())),
        ["get", address] => print!("{}", get(address)),
        ["sick"] => fs::write(SICK, "").unwrap(),
        ["well"] => fs::remove_file(SICK).unwrap(),
        _ => exit(2),
    }
}

/// Takes all the CPU there is for a while.
fn burn(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn serve(port: u16) {
    let name = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = name.trim().to_owned();
    for stream in TcpListener::bind(("0.0.0.0", port)).unwrap().incoming().flatten() {
        let name = name.clone();
        thread::spawn(move || answer(&stream, &name));
    }
}

/// Answers one request after the other until the client has enough.
fn answer(mut stream: &TcpStream, name: &str) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        lines.next()?.ok()?;
        let mut close = false;
        loop {
            let line = lines.next()?.ok()?;
            close |= line.eq_ignore_ascii_case("connection: close");
            if line.is_empty() {
                break;
            }
        }
        let connection = if close { "close" } else { "keep-alive" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nContent-Length: 3\r\n\
             Connection: {connection}\r\n\r\nok\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        if close {
            return None;
        }
    }
}
