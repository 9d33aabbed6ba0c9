//! All that is in the test's image: a server that says who answers, and its health.
//!
//! `server serve PORT` (or the port in the variable `PORT`), `server check` (exit code 0: healthy), `server sick`, `server well`. As
//! process 1 of a container it ignores SIGTERM and serves on until the grace period is over, as
//! programs do that wait for their balancer.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::exit,
    thread,
};

const SICK: &str = "/sick";

fn main() {
    let words: Vec<String> = env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[1..] {
        ["serve", port] => serve(env::var("PORT").as_deref().unwrap_or(port).parse().unwrap()),
        ["check"] => exit(i32::from(Path::new(SICK).exists())),
        ["sick"] => fs::write(SICK, "").unwrap(),
        ["well"] => fs::remove_file(SICK).unwrap(),
        _ => exit(2),
    }
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
