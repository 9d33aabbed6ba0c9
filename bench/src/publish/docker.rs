//! `docker run -p`: one container, rules and a proxy process for each port.

use std::{fs, net::TcpListener, thread, time::Instant};

use anyhow::{Context as _, Result};
use lb_userspace::lab::LB_V4;
use nix::sched::{CloneFlags, setns};

use super::{
    Step, milliseconds, ports,
    site::{Site, accept_all},
};
use crate::engine::Engine;

pub(super) fn measure(site: &Site, count: u16) -> Result<Vec<(Step, f64)>> {
    let engine = Engine::start(&site.lab)?;
    let (range, more) = ports(count);
    let (first, last) = (range.start(), range.end());
    let mut steps = Vec::new();
    let all = format!("{first}-{last}:{first}-{last}");
    let one = format!("{more}:{more}");
    for (step, name, publish, port) in
        [(Step::Publish, "many", &all, *last), (Step::Add, "one", &one, more)]
    {
        let start = Instant::now();
        engine.run(name, &["-p", publish])?;
        let ran = milliseconds(start);
        listen(&engine, name, port)?;
        let start = Instant::now();
        site.connect(LB_V4.into(), port)?;
        steps.push((step, ran + milliseconds(start)));
    }
    steps.push((Step::Memory, proxies(&engine)? / f64::from(count + 1)));
    let start = Instant::now();
    engine.docker(&["rm", "-f", "many"])?;
    steps.push((Step::Remove, milliseconds(start)));
    Ok(steps)
}

/// Serves on a port of a container.
fn listen(engine: &Engine, container: &str, port: u16) -> Result<()> {
    let netns = engine.netns(container)?;
    let bound = thread::spawn(move || -> Result<TcpListener> {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        Ok(TcpListener::bind(("0.0.0.0", port))?)
    });
    let listener = bound.join().ok().context("the thread that listens ended")??;
    accept_all(listener);
    Ok(())
}

/// Bytes that the proxy processes have for themselves.
fn proxies(engine: &Engine) -> Result<f64> {
    let mut bytes = 0.0;
    for pid in engine.proxies()? {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let own = |line: &&str| line.starts_with("Private_");
        let kilobytes = rollup.lines().filter(own).filter_map(|line| {
            line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok())
        });
        bytes += kilobytes.sum::<f64>() * 1024.0;
    }
    Ok(bytes)
}
