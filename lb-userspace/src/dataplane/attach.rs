//! Putting the program on interfaces, taking over what an earlier daemon left, and letting go.

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf};

use aya::programs::{
    ProgramError, TcAttachType, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{SchedClassifierLink, qdisc_add_clsact},
    xdp::XdpLink,
};
use serde::Serialize;

use super::{
    Dataplane, LoadError, host,
    loader::LEAVE,
    pins::{Removed, let_go},
};

/// A hook of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// XDP in the driver.
    Xdp,
    /// XDP in the stack.
    XdpGeneric,
    /// TC ingress.
    Tc,
    /// TC egress: replies of this host's own processes.
    TcEgress,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc => "tc",
            Self::TcEgress => "tc-egress",
        })
    }
}

/// Why the program is not on an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The hook is taken.
    #[error(
        "{interface}: another program is on the {hook} hook; take it off first (\"ip link show {interface}\" names it), or use attach: tc"
    )]
    Taken {
        /// Where.
        interface: String,
        /// Which hook.
        hook: Hook,
    },
    /// The driver cannot.
    #[error(
        "{interface}: the driver does not support native XDP; use attach: auto, xdp-generic or tc"
    )]
    Unsupported {
        /// Where.
        interface: String,
    },
    /// The driver will not. Most keep a frame in one page with native XDP.
    #[error(
        "{interface}: the driver refuses native XDP, which takes no frames longer than a page: use a smaller MTU, or attach: auto, xdp-generic or tc"
    )]
    Refused {
        /// Where.
        interface: String,
    },
    /// Anything else.
    #[error("{interface}: cannot attach to {hook}: {source}")]
    Kernel {
        /// Where.
        interface: String,
        /// Which hook.
        hook: Hook,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The program itself is missing.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// An interface with the program on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    ifindex: u32,
    hook: Hook,
}

/// What holds a program on its hook; dropping it lets go, unless it is pinned.
#[derive(Debug)]
enum Held {
    Pinned(PinnedLink),
    Fd(#[expect(dead_code, reason = "held for its drop")] FdLink),
    Tc(SchedClassifierLink),
    Xdp(XdpLink),
}

/// All interfaces with the program on them.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    held: BTreeMap<Place, (String, Held)>,
}

impl Dataplane {
    /// Attaches the program to `interface` of this network namespace; again is harmless.
    pub fn attach(&mut self, interface: &str, ifindex: u32, hook: Hook) -> Result<(), AttachError> {
        let place = Place { ifindex, hook };
        if self.attachments.held.contains_key(&place) {
            return Ok(());
        }
        let pin = self.pin_path(interface, ifindex, hook);
        let old = pin.as_ref().filter(|path| path.exists());
        let old = old.and_then(|path| PinnedLink::from_pin(path).ok()).map(FdLink::from);
        let error = |source| explain(interface, hook, source);
        let held = match (self.take_hook(interface, &place, old), &pin) {
            // The link was on another interface of this name and number, which is gone.
            (Err(severed), Some(pin)) if errno(&*severed) == Some(libc::ENOLINK) => {
                fs::remove_file(pin).map_err(|source| error(source.into()))?;
                self.take_hook(interface, &place, None)
            }
            (held, _) => held,
        };
        let held = held.and_then(|held| keep(held, pin)).map_err(error)?;
        self.attachments.held.insert(place, (interface.to_owned(), held));
        Ok(())
    }

    /// Puts the program on a hook, in place of the one that an old link holds there.
    fn take_hook(
        &mut self,
        interface: &str,
        place: &Place,
        old: Option<FdLink>,
    ) -> Result<Held, Failure> {
        match place.hook {
            Hook::Tc => self.attach_tc(interface, ("weir_tc", TcAttachType::Ingress), old),
            Hook::TcEgress => self.attach_tc(interface, (LEAVE, TcAttachType::Egress), old),
            Hook::Xdp => self.attach_xdp(place.ifindex, XdpMode::Driver, old),
            Hook::XdpGeneric => self.attach_xdp(place.ifindex, XdpMode::Skb, old),
        }
    }

    fn attach_tc(
        &mut self,
        interface: &str,
        (name, side): (&'static str, TcAttachType),
        old: Option<FdLink>,
    ) -> Result<Held, Failure> {
        let program = self.classifier(name)?;
        let id = if let Some(Ok(link)) = old.map(SchedClassifierLink::try_from) {
            program.attach_to_link(link)?
        } else {
            if !host::has_tcx() {
                // The qdisc may be there already; the attachment tells whether it works.
                drop(qdisc_add_clsact(interface));
            }
            program.attach(interface, side)?
        };
        Ok(Held::Tc(program.take_link(id)?))
    }

    fn attach_xdp(
        &mut self,
        ifindex: u32,
        mode: XdpMode,
        old: Option<FdLink>,
    ) -> Result<Held, Failure> {
        let program = self.xdp()?;
        let id = match old.map(XdpLink::try_from) {
            Some(Ok(link)) => program.attach_to_link(link)?,
            Some(Err(_)) | None => program.attach_to_if_index(ifindex, mode)?,
        };
        Ok(Held::Xdp(program.take_link(id)?))
    }

    fn pin_path(&self, interface: &str, ifindex: u32, hook: Hook) -> Option<PathBuf> {
        // A dot is not allowed in the names of a BPF filesystem, but in those of interfaces.
        let name = format!("{hook}-{ifindex}-{}", interface.replace('.', "_"));
        self.pins.as_ref().map(|pins| pins.links().join(name))
    }

    /// The interfaces with the program on them, by name.
    #[must_use]
    pub fn attached(&self) -> Vec<(String, u32, Hook)> {
        let places = self.attachments.held.iter();
        places.map(|(place, (name, _))| (name.clone(), place.ifindex, place.hook)).collect()
    }

    /// Takes the program off all interfaces for which `keep` says no, also those that an earlier
    /// daemon left behind.
    pub fn retain(&mut self, keep: impl Fn(u32, Hook) -> bool) -> io::Result<()> {
        let places = std::mem::take(&mut self.attachments.held);
        for (place, (name, held)) in places {
            if keep(place.ifindex, place.hook) {
                self.attachments.held.insert(place, (name, held));
            } else if let Held::Pinned(link) = held {
                let_go(link)?;
            }
        }
        self.remove_strays()
    }

    /// Removes pinned links that nothing in this process holds: husks of interfaces that are gone.
    fn remove_strays(&self) -> io::Result<()> {
        let Some(pins) = &self.pins else { return Ok(()) };
        let places = self.attachments.held.iter();
        let known: Vec<_> = places
            .filter_map(|(place, (name, _))| self.pin_path(name, place.ifindex, place.hook))
            .chain(self.sockets.pins())
            .collect();
        for name in pins.link_names() {
            let path = pins.links().join(name);
            if !known.contains(&path) {
                let_go(PinnedLink::from_pin(&path).map_err(io::Error::other)?)?;
            }
        }
        Ok(())
    }

    /// Undoes a start that failed. If an earlier daemon left links behind, they and their maps go
    /// on balancing, and what was attached beside them goes.
    pub fn give_up(mut self, left: &[PathBuf]) -> io::Result<()> {
        if left.is_empty() {
            return self.detach().map(drop);
        }
        for (place, (name, held)) in std::mem::take(&mut self.attachments.held) {
            let pin = self.pin_path(&name, place.ifindex, place.hook);
            if let Held::Pinned(link) = held
                && pin.is_some_and(|pin| !left.contains(&pin))
            {
                let_go(link)?;
            }
        }
        Ok(())
    }

    /// Takes everything off this host: programs, links, maps, pins.
    pub fn detach(mut self) -> io::Result<Removed> {
        let links = self.attachments.held.len() + self.sockets.count();
        self.detach_sockets()?;
        self.retain(|_, _| false)?;
        match &self.pins {
            Some(pins) => pins.remove().map(|removed| Removed { links, ..removed }),
            None => Ok(Removed { links, maps: 0 }),
        }
    }
}

/// Whatever went wrong on the way.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Pins what can be pinned; an adopted link is pinned already.
fn keep(held: Held, pin: Option<PathBuf>) -> Result<Held, Failure> {
    let link: Result<FdLink, Held> = match held {
        // Attached by netlink on an older kernel: there is nothing to pin.
        other @ Held::Tc(_) if !host::has_tcx() => Err(other),
        Held::Tc(link) => Ok(FdLink::try_from(link)?),
        Held::Xdp(link) => Ok(FdLink::try_from(link)?),
        other @ (Held::Pinned(_) | Held::Fd(_)) => Err(other),
    };
    match (link, pin) {
        (Ok(link), Some(path)) if path.exists() => {
            drop(link);
            Ok(Held::Pinned(PinnedLink::from_pin(path)?))
        }
        (Ok(link), Some(path)) => Ok(Held::Pinned(link.pin(path)?)),
        (Ok(link), None) => Ok(Held::Fd(link)),
        (Err(held), _) => Ok(held),
    }
}

fn explain(interface: &str, hook: Hook, source: Failure) -> AttachError {
    let interface = interface.to_owned();
    match errno(&*source) {
        Some(libc::EBUSY | libc::EEXIST) => AttachError::Taken { interface, hook },
        Some(libc::EOPNOTSUPP) if hook == Hook::Xdp => AttachError::Unsupported { interface },
        // What drivers say of an MTU that is too large, veth the former.
        Some(libc::ERANGE | libc::EINVAL) if hook == Hook::Xdp => {
            AttachError::Refused { interface }
        }
        _ => AttachError::Kernel { interface, hook, source },
    }
}

/// The kernel's error number behind an error.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    if let Some(ProgramError::SyscallError(error)) = error.downcast_ref() {
        return error.io_error.raw_os_error();
    }
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        next = error.source();
    }
    None
}
