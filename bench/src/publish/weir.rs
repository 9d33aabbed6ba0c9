//! Weir: a file, and the daemon that follows it.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_common::maps::MAPS;
use lb_userspace::{
    admin::{Request, client, report::StatusReport},
    config,
    daemon::{Options, background::Background},
};
use serde_json::Value;

use super::{
    Step, milliseconds, ports,
    site::{SERVER_PORT, Site},
};

/// A daemon that follows a file of its own.
struct Followed {
    daemon: Option<Background>,
    directory: PathBuf,
}

impl Followed {
    fn start(site: &Site) -> Result<Self> {
        let directory = env::temp_dir().join(format!("{}-weir", site.lab.lb().name()));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let mut followed = Self { daemon: None, directory };
        followed.write("[]\n")?;
        let file = followed.directory.join("weir.yaml");
        let text = fs::read_to_string(&file)?;
        let config = config::parse("weir.yaml", &text).map_err(|error| anyhow::anyhow!("{error}"));
        let options = Options { config: config?.config, file: Some(file), bpffs: None };
        followed.daemon = Some(Background::start(site.lab.lb(), options)?);
        Ok(followed)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("weir.sock")
    }

    /// Replaces the file, as editors do.
    fn write(&self, services: &str) -> Result<()> {
        let new = self.directory.join("new.yaml");
        fs::write(&new, file(&self.socket(), services))?;
        Ok(fs::rename(new, self.directory.join("weir.yaml"))?)
    }

    fn generation(&self) -> Result<u64> {
        let status: StatusReport = client::ask(&self.socket(), &Request::Status)?;
        let problems = status.problems.join("; ");
        ensure!(status.problems.is_empty(), "the daemon has a problem: {problems}");
        Ok(status.generation)
    }

    /// Waits until the daemon has taken another file than that of this generation.
    fn applied(&self, generation: u64) -> Result<()> {
        while self.generation()? == generation {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.daemon.take().map(Background::finish) {
            eprintln!("weir-bench: the daemon ended badly: {error:#}");
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("weir-bench: cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// A file of these services.
fn file(socket: &Path, services: &str) -> String {
    format!(
        "interfaces: [up0]\nattach: tc\nhost-clients: off\n\
         limits: {{ services: 16000, backends: 131072, pages: 32768 }}\n\
         admin: {{ socket: {}, http: false }}\nservices: {services}",
        socket.display()
    )
}

/// The file that publishes one port, or a range of them.
pub(super) fn example(site: &Site, as_range: bool) -> Result<String> {
    let (range, more) = ports(1);
    let port = range.start();
    let listen = if as_range { format!("{port}-{more}") } else { port.to_string() };
    let mut services = String::from("\n");
    service(&mut services, site, "web", &listen)?;
    Ok(file(Path::new("weir.sock"), &services))
}

/// A service on these ports.
fn service(text: &mut String, site: &Site, name: &str, listen: &str) -> Result<()> {
    let (vip, server) = (Site::vip(), site.server());
    Ok(writeln!(
        text,
        "  - {{ name: {name}, listen: [\"{vip}:{listen}\"], policy: round-robin, \
         backends: [{{ address: \"{server}:{SERVER_PORT}\" }}] }}"
    )?)
}

pub(super) fn measure(site: &Site, count: u16, as_range: bool) -> Result<Vec<(Step, f64)>> {
    let followed = Followed::start(site)?;
    let (range, more) = ports(count);
    let mut text = String::from("\n");
    if as_range {
        service(&mut text, site, "range", &format!("{}-{}", range.start(), range.end()))?;
    } else {
        for port in range {
            service(&mut text, site, &format!("p{port}"), &port.to_string())?;
        }
    }
    let mut one_more = text.clone();
    service(&mut one_more, site, "one-more", &more.to_string())?;
    let before = resident()?;
    let mut steps = Vec::new();
    for (step, services, port) in [(Step::Publish, &text, more - 1), (Step::Add, &one_more, more)] {
        let start = Instant::now();
        followed.write(services)?;
        site.connect(Site::vip(), port)?;
        steps.push((step, milliseconds(start)));
    }
    let entries = f64::from(if as_range { 0 } else { count });
    let memory = (resident()? - before).max(0.0) + entries * entry_bytes();
    steps.push((Step::Memory, memory / f64::from(count)));
    let generation = followed.generation()?;
    let start = Instant::now();
    followed.write("[]\n")?;
    followed.applied(generation)?;
    steps.push((Step::Remove, milliseconds(start)));
    Ok(steps)
}

/// Bytes of a listen address in the kernel: key, value, and what a hash table adds to each element
/// (`struct htab_elem`, 48 bytes), and its share of the table of buckets (16).
fn entry_bytes() -> f64 {
    let of = |name| MAPS.iter().find(|map| map.name == name);
    of("LISTEN").map_or(0.0, |map| {
        let bytes = map.key_size.next_multiple_of(8) + map.value_size + 48 + 16;
        u32::try_from(bytes).map_or(f64::NAN, f64::from)
    })
}

/// Bytes of this process that are in memory.
fn resident() -> Result<f64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_whitespace().nth(1).context("statm without a second field")?;
    Ok(pages.parse::<f64>()? * 4096.0)
}

/// Many services: the whole, and one change.
#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    pub(super) services: u16,
    pub(super) load_ms: Vec<f64>,
    pub(super) change_ms: Vec<f64>,
}

/// Backends of each of many services.
const BACKENDS: u16 = 10;

/// The daemon looks at everything once more in the second after a load, and a change in between does it
/// in its place.
const SETTLED: Duration = Duration::from_millis(2500);

/// Loads a file of many services with ten backends each, then drains a backend and brings it back.
pub(super) fn many(services: u16, rounds: usize) -> Result<Many> {
    let mut many = Many { services, ..Many::default() };
    let mut text = String::from("\n");
    let site = Site::new()?;
    let (vip, server) = (Site::vip(), site.server());
    for number in 0..services {
        let (listen, first) = (20_000 + number, 1_000 + number % 50_000);
        write!(
            text,
            "- {{name: s{number}, listen: [\"{vip}:{listen}\"], policy: round-robin, backends: ["
        )?;
        // Ten ports of the server for every service: all services have backends of their own.
        for n in 0..BACKENDS {
            let [_, _, _, host] = server.octets();
            write!(text, "{{address: \"198.18.10.{}:{first}\"}},", u16::from(host) + n)?;
        }
        text.push_str("]}\n");
    }
    drop(site);
    for _ in 0..rounds {
        let site = Site::new()?;
        let followed = Followed::start(&site)?;
        let generation = followed.generation()?;
        let start = Instant::now();
        followed.write(&text)?;
        followed.applied(generation)?;
        many.load_ms.push(milliseconds(start));
        std::thread::sleep(SETTLED);
        let backend = format!("{server}:1000");
        for request in ["drain", "undrain"] {
            let request: Request = serde_json::from_value(
                serde_json::json!({ "request": request, "backend": backend }),
            )?;
            let start = Instant::now();
            let _: Value = client::ask(&followed.socket(), &request)?;
            many.change_ms.push(milliseconds(start));
        }
    }
    Ok(many)
}
