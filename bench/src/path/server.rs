//! The servers of a plane: nginx in every backend, iperf3 in the first.

use std::{
    env, fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lb_userspace::lab::Lab;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    cpu::Meter,
    plane::{BULK, HTTP},
};

/// What nginx answers.
pub(crate) const BODY: &str = "weir\n";

/// Bytes of a large answer.
const LARGE: usize = 64 * 1024;
/// Where it is.
pub(crate) const LARGE_PATH: &str = "/large";

/// Running servers. Dropping them ends them.
pub(crate) struct Servers {
    children: Vec<(&'static str, Child)>,
    directory: PathBuf,
}

impl Servers {
    pub(crate) fn start(lab: &Lab, meter: &Meter) -> Result<Self> {
        let directory = home_of(lab.lb().name());
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let mut servers = Self { children: Vec::new(), directory };
        for (number, backend) in lab.backends().iter().enumerate() {
            let home = servers.directory.join(number.to_string());
            fs::create_dir(&home)?;
            furnish(&home)?;
            let mut command = meter.command(&backend.netns, "nginx");
            command.arg("-p").arg(&home).args(["-c", "nginx.conf", "-e", "error.log"]);
            let child = command.stdin(Stdio::null()).spawn().context("cannot start nginx")?;
            servers.children.push(("nginx", child));
        }
        let first = lab.backends().first().context("a plane without backends")?;
        let mut command = meter.command(&first.netns, "iperf3");
        command.args(["-s", "-p", &BULK.backend_port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start iperf3")?;
        servers.children.push(("iperf3", child));
        for backend in lab.backends() {
            let address = (backend.v4, HTTP.backend_port).into();
            backend.netns.in_netns(|| wait_for(address))??;
        }
        Ok(servers)
    }

    /// Starts one more nginx, in a container.
    pub(crate) fn in_container(&mut self, lab: &Lab, meter: &Meter, pid: &str) -> Result<()> {
        let home = self.directory.join("container");
        fs::create_dir(&home)?;
        furnish(&home)?;
        let mut command = meter.command(lab.lb(), "nsenter");
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg("nginx");
        command.arg("-p").arg(&home).args(["-c", "nginx.conf", "-e", "error.log"]);
        let child = command.stdin(Stdio::null()).spawn().context("cannot start nginx")?;
        self.children.push(("nginx", child));
        Ok(())
    }

    /// Where a process of the balancer may keep its files.
    pub(crate) fn home(&self, name: &str) -> Result<PathBuf> {
        let home = self.directory.join(name);
        fs::create_dir(&home)?;
        Ok(home)
    }

    /// Starts a process that carries connections, where the balancer is.
    pub(crate) fn carry(
        &mut self,
        lab: &Lab,
        meter: &Meter,
        name: &'static str,
        arguments: &[&str],
    ) -> Result<()> {
        let mut command = meter.command(lab.lb(), "sh");
        // Two files a connection, and some.
        command.args(["-c", "ulimit -n 16384 && exec \"$0\" \"$@\"", name]).args(arguments);
        let child = command.stdin(Stdio::null()).spawn().with_context(|| name.to_owned())?;
        self.children.push((name, child));
        Ok(())
    }

    /// A server that ended would make a very fast plane.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended: {status}");
            }
        }
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // A process that is killed leaves its own workers behind; one that is asked to end does not.
        for (_, child) in &self.children {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).ok();
        }
        for (name, child) in &mut self.children {
            if let Err(error) = end(child) {
                eprintln!("weir-bench: cannot end {name}: {error}");
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("weir-bench: cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// Waits for a process that was asked to end; kills it if it does not.
fn end(child: &mut Child) -> io::Result<()> {
    for _ in 0..200 {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait().map(drop)
}

/// Where the servers of a plane keep their files.
fn home_of(namespace: &str) -> PathBuf {
    env::temp_dir().join(format!("{namespace}-servers"))
}

/// Removes the files of a plane whose bench was killed.
pub(crate) fn forget(namespace: &str) -> io::Result<()> {
    match fs::remove_dir_all(home_of(namespace)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn wait_for(address: SocketAddr) -> Result<()> {
    for _ in 0..300 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("nothing answers on {address}")
}

/// Configuration and files of a server.
fn furnish(home: &Path) -> io::Result<()> {
    fs::write(home.join("nginx.conf"), nginx_conf(home))?;
    // The server that runs as root reads it as somebody else.
    fs::write(home.join("large"), vec![b'w'; LARGE])
}

pub(crate) fn nginx_conf(home: &Path) -> String {
    let home = home.display();
    let places: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {home}/{what};\n"))
        .concat();
    let (port, body) = (HTTP.backend_port, BODY.trim_end());
    format!(
        "daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; {places}\
         server {{ listen {port} backlog=8192; listen [::]:{port} backlog=8192; root {home}; \
         location = {LARGE_PATH} {{ default_type text/plain; }} \
         location / {{ default_type text/plain; return 200 \"{body}\\n\"; }} }} }}\n"
    )
}
