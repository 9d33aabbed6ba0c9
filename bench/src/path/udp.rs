//! Datagrams: the kernel makes frames and hands them to the balancer's uplink as a driver would; a
//! rule at the backends' links counts and drops them. All of it happens in one thread's context, so
//! that the thread's CPU time is the price of the way between.

use std::{
    io, io::Write as _, net::SocketAddr, path::Path, process::Stdio, thread, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::lab::{LB_MAC, LabBackend, Netns, UPLINK};
use nix::net::if_::if_nametoindex;

use super::{
    cpu::Meter,
    kind::Kind,
    plane::{DATAGRAMS, Plane},
};
use crate::program::{
    frame::{Flows, Packet},
    layout,
    rig::Rig,
};

/// Flows at a time, by addresses of 198.18.2.0/24, which are the client's.
pub(crate) const FEW: Flows = Flows::Among(0x0210, 64);
/// Every datagram is of another flow: from 198.18.32.0 on, by addresses and then by ports.
pub(crate) const NEW: Flows = Flows::Next(0x2000);
/// Datagrams of new flows at most: connection tracking of the others holds 262,144 flows.
pub(crate) const NEW_MAX: u32 = 150_000;

/// Microseconds of CPU a datagram, over `count` of them.
pub(crate) fn cpu_us(
    plane: &Plane,
    meter: &Meter,
    floors: &Path,
    flows: Flows,
    count: u32,
) -> Result<f64> {
    let sinks: Vec<Sink<'_>> = plane
        .lab
        .backends()
        .iter()
        .map(|backend| Sink::new(&backend.netns))
        .collect::<Result<_>>()?;
    let target = *plane.targets(DATAGRAMS).first().context("no target")?;
    let seconds =
        plane.lab.lb().in_netns(|| send(plane, meter, floors, target, flows, count))??;
    // A softirq thread may have held the last ones back.
    thread::sleep(Duration::from_millis(20));
    let arrived = sinks.iter().map(Sink::count).sum::<Result<u64>>()?;
    let lost = u64::from(count + WARM_UP).saturating_sub(arrived);
    ensure!(lost * 1_000 <= u64::from(count), "{:?}: {lost} of {count} were lost", plane.kind);
    Ok(seconds * 1e6 / f64::from(count))
}

/// Frames before the measured ones: they wait for neighbours to be found, and open the flows.
const WARM_UP: u32 = 64;

/// Seconds of CPU for `count` frames, in the balancer's namespace.
fn send(
    plane: &Plane,
    meter: &Meter,
    floors: &Path,
    target: SocketAddr,
    flows: Flows,
    count: u32,
) -> Result<f64> {
    let uplink = if_nametoindex(UPLINK)?;
    let mut rig = Rig::load(floors, 1, uplink)?;
    let plan = |flows| addressed(Packet::udp(target).plan(flows), LB_MAC.0);
    let at_xdp = if plane.kind == Kind::Redirect {
        let link = |backend: &LabBackend| if_nametoindex(backend.host_link.as_str());
        rig.leave_by(plane.lab.backends().iter().map(link).collect::<nix::Result<Vec<_>>>()?)?;
        Some(rig.fd("redirect")?)
    } else {
        plane.xdp()?
    };
    rig.inject(at_xdp.as_ref(), plan(FEW), WARM_UP, uplink)?;
    thread::sleep(Duration::from_millis(100));
    let (cpu, deferred) = (thread_seconds()?, meter.deferred()?);
    rig.inject(at_xdp.as_ref(), plan(flows), count, uplink)?;
    Ok(thread_seconds()? - cpu + meter.deferred()? - deferred)
}

/// The same frames to another MAC address.
fn addressed(plan: layout::Plan, to: [u8; 6]) -> layout::Plan {
    let mut start = plan.start.to_ne_bytes();
    start[..6].copy_from_slice(&to);
    layout::Plan { start: u64::from_ne_bytes(start), ..plan }
}

/// Where a backend's datagrams end, before its stack sees them.
struct Sink<'a> {
    netns: &'a Netns,
}

impl<'a> Sink<'a> {
    fn new(netns: &'a Netns) -> Result<Self> {
        let rules = format!(
            "table netdev sink {{ chain ingress {{ type filter hook ingress device eth0 priority 0; \
             udp dport {} counter drop; }}; }}",
            DATAGRAMS.backend_port
        );
        let mut child = netns.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("nft without input")?.write_all(rules.as_bytes())?;
        ensure!(child.wait()?.success(), "nft refused the sink:\n{rules}");
        Ok(Self { netns })
    }

    /// Datagrams so far.
    fn count(&self) -> Result<u64> {
        let mut nft = self.netns.command("nft");
        let output = nft.args(["list", "table", "netdev", "sink"]).output().context("nft")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let words = text.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        words.and_then(|word| word.parse().ok()).with_context(|| format!("no counter in:\n{text}"))
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        let mut nft = self.netns.command("nft");
        // The namespace goes soon, and the rule with it.
        drop(nft.args(["delete", "table", "netdev", "sink"]).status());
    }
}

/// CPU time of this thread, with the softirqs that ran on top of it.
fn thread_seconds() -> Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    ensure!(result == 0, "no CPU clock: {}", io::Error::last_os_error());
    let time = Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?);
    Ok(time.as_secs_f64())
}
