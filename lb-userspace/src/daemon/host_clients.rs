//! Clients that are processes of this host: the socket hooks, where the configuration wants them.

use anyhow::Context as _;
use tracing::{info, warn};

use super::Daemon;
use crate::{
    admin::report::HostClientsReport, dataplane::sockets::cgroup_root, model::HostClients,
};

impl Daemon {
    /// Puts the socket hooks where they belong. A cgroup that is named must be there; without one
    /// the daemon does what it can.
    pub(super) fn attach_host_clients(&mut self) -> anyhow::Result<()> {
        match self.state.config.host_clients.clone() {
            HostClients::Off => self.no_host_clients("host-clients is off".to_owned()),
            HostClients::Cgroup(cgroup) => self.attach_sockets(&cgroup).context("host-clients"),
            HostClients::Auto => {
                let result = match cgroup_root() {
                    Some(root) => self.attach_sockets(&root),
                    None => Err(anyhow::anyhow!("there is no cgroup2 filesystem")),
                };
                result.or_else(|error| self.no_host_clients(format!("{error:#}")))
            }
        }
    }

    fn attach_sockets(&mut self, cgroup: &std::path::Path) -> anyhow::Result<()> {
        let before = self.dataplane.sockets().map(ToOwned::to_owned);
        self.dataplane.attach_sockets(cgroup)?;
        self.no_host_clients = None;
        if before.as_deref() != Some(cgroup) {
            info!(cgroup = %cgroup.display(), "balancing processes of this host");
            for hook in self.dataplane.missing_sockets() {
                warn!(hook, "this kernel refuses a socket hook");
            }
        }
        Ok(())
    }

    fn no_host_clients(&mut self, why: String) -> anyhow::Result<()> {
        self.dataplane.detach_sockets().context("cannot take the socket hooks off")?;
        if self.no_host_clients.as_ref() != Some(&why) {
            info!(why, "processes of this host are not balanced");
            self.no_host_clients = Some(why);
        }
        Ok(())
    }

    /// What `weir status` says of it.
    pub(super) fn host_clients_report(&self) -> HostClientsReport {
        let missing = match &self.no_host_clients {
            Some(why) => vec![why.clone()],
            None => self.dataplane.missing_sockets().to_vec(),
        };
        HostClientsReport { cgroup: self.dataplane.sockets().map(ToOwned::to_owned), missing }
    }
}
