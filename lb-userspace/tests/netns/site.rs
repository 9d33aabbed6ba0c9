//! nginx as the backends, and programs whose end is taken care of.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use lb_userspace::{
    lab::{LabPlan, Netns},
    model::{Attach, Config, Policy},
};

use super::world::{BACKEND_PORT, World, eventually};

/// A process that does not outlive the value.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // SIGKILL, which nothing survives.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A laboratory whose backends are nginx processes.
pub(crate) struct Site {
    /// One a backend, in their order; dropping one kills it.
    pub(crate) servers: Vec<Option<Guarded>>,
    pub(crate) world: World,
    pub(crate) files: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new(
        plan: LabPlan,
        attach: Attach,
        policy: Policy,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::take_over(World::with(plan, attach, policy, change))
    }

    /// Puts nginx where the built-in servers were.
    pub(crate) fn take_over(mut world: World) -> Self {
        world.servers.clear();
        let servers = world.lab.backends().iter().map(|_| None).collect();
        let mut site = Self { servers, world, files: tempfile::tempdir().unwrap() };
        (0..site.servers.len()).for_each(|index| site.start(index));
        site
    }

    /// Starts the nginx of a backend and waits until it listens on both families.
    pub(crate) fn start(&mut self, index: usize) {
        let backend = &self.world.lab.backends()[index];
        let root = self.files.path().join(format!("b{}", index + 1));
        fs::create_dir_all(root.join("www")).unwrap();
        let listen = [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)]
            .map(|address| format!("listen {};", SocketAddr::new(address, BACKEND_PORT)));
        let settings = settings(&root, &format!("b{}", index + 1), &listen.concat());
        fs::write(root.join("nginx.conf"), settings).unwrap();
        let mut command = backend.netns.command("nginx");
        command.arg("-c").arg(root.join("nginx.conf"));
        command.arg("-e").arg(root.join("error.log"));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        self.servers[index] = Some(Guarded(child));
        eventually("nginx listens", || listeners(&backend.netns, BACKEND_PORT) == 2);
    }

    /// A file that all backends serve.
    pub(crate) fn publish(&self, name: &str, content: &[u8]) {
        for index in 0..self.servers.len() {
            fs::write(self.published(index, name), content).unwrap();
        }
    }

    /// Where a backend keeps a file.
    pub(crate) fn published(&self, index: usize, name: &str) -> PathBuf {
        self.files.path().join(format!("b{}/www", index + 1)).join(name)
    }

    /// curl in the client's namespace.
    pub(crate) fn curl(&self, arguments: &[&str]) -> Output {
        let mut curl = self.world.lab.client().command("curl");
        curl.args(["-sS", "--max-time", "60"]).args(arguments);
        curl.stdin(Stdio::null()).output().unwrap()
    }
}

/// One process a server, so that killing it kills all there is of it.
fn settings(root: &Path, name: &str, listen: &str) -> String {
    let root = root.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {root}/{what};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {root}/pid;\nworker_rlimit_nofile 16384;\n\
         events {{ worker_connections 16000; }}\n\
         http {{\n{temporary}access_log off;\nkeepalive_timeout 600s;\n\
         keepalive_requests 1000000;\nclient_max_body_size 100m;\n\
         server {{\n{listen}\nadd_header X-Backend {name};\n\
         location = / {{ return 200 {name}; }}\n\
         location / {{ root {root}/www; dav_methods PUT; }}\n}}\n}}\n"
    )
}

/// How many sockets listen for TCP on a port of a namespace.
pub(crate) fn listeners(netns: &Netns, port: u16) -> usize {
    const LISTEN: &str = "0A";
    let read =
        || ["tcp", "tcp6"].map(|it| fs::read_to_string(format!("/proc/thread-self/net/{it}")));
    let port = format!(":{port:04X}");
    // Columns: number, local address, remote address, state.
    let listens = |line: &&str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
        columns.get(1).is_some_and(|local| local.ends_with(&port)) && columns[3] == LISTEN
    };
    let tables = netns.in_netns(read).unwrap().map(Result::unwrap);
    tables.iter().map(|table| table.lines().filter(listens).count()).sum()
}

/// Bytes that no two places of have in common, so that a piece lost, doubled or moved is seen.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    // SplitMix64.
    let mut state = 0_u64;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// What `sha256sum` says of a file.
pub(crate) fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg("--").arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_ascii_whitespace().next().unwrap().to_owned()
}
