//! GRO at the far end of a veth, which is in another network namespace.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::UdpSocket,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    path::PathBuf,
    thread,
};

use futures_util::StreamExt as _;
use nix::sched::{CloneFlags, setns};
use rtnetlink::{
    Handle,
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        nsid::{NsidAttribute, NsidMessage},
    },
};

use super::netlink;
use crate::privileges::let_this_thread_enter_namespaces;

/// `ETHTOOL_GGRO` and `ETHTOOL_SGRO` of `linux/ethtool.h`.
const GET_GRO: u32 = 0x2b;
const SET_GRO: u32 = 0x2c;

/// Switches GRO on and says whether it is on.
pub(super) async fn enable_at_peer(handle: &Handle, host_veth: u32) -> io::Result<bool> {
    let links = netlink::links(handle).await.map_err(io::Error::other)?;
    let peer = links.get(&host_veth).and_then(|link| link.peer);
    let peer = peer.ok_or_else(|| not_found("no veth into another namespace has this index"))?;
    let link = netlink::peer(handle, peer).await.map_err(io::Error::other)?;
    let name = netlink::name(&link).ok_or_else(|| not_found("the far end has no name"))?;
    for namespace in namespaces() {
        if number(handle, &namespace).await == Some(peer.netns) {
            return inside(&namespace, || enable(&name));
        }
    }
    Err(not_found("no process and no name holds the far end's namespace"))
}

fn not_found(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, why)
}

/// Every network namespace that a process or a name holds, once.
fn namespaces() -> impl Iterator<Item = File> {
    let named = listing("/run/netns").chain(listing("/run/docker/netns"));
    let of_processes = listing("/proc").map(|process| process.join("ns/net"));
    let mut seen = BTreeSet::new();
    named.chain(of_processes).filter_map(move |path| {
        // Processes end while they are listed, and a directory of names need not exist.
        let metadata = fs::metadata(&path).ok()?;
        seen.insert((metadata.dev(), metadata.ino())).then(|| File::open(path).ok()).flatten()
    })
}

fn listing(directory: &str) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The number that a namespace has in ours, which is how the kernel names the one of a far end.
async fn number(handle: &Handle, namespace: &File) -> Option<i32> {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(u32::try_from(namespace.as_raw_fd()).ok()?));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
    request.header.flags = NLM_F_REQUEST;
    let answer = handle.clone().request(request).ok()?.next().await?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) = answer.payload else {
        return None;
    };
    message.attributes.iter().find_map(|attribute| {
        if let NsidAttribute::Id(number) = attribute { Some(*number) } else { None }
    })
}

/// Runs the work on a thread of its own, so that no other code ever finds itself elsewhere.
fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let_this_thread_enter_namespaces();
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            work()
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

fn enable(link: &str) -> io::Result<bool> {
    ethtool(link, SET_GRO, 1)?;
    Ok(ethtool(link, GET_GRO, 0)? != 0)
}

/// `struct ethtool_value` of `linux/ethtool.h`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

fn ethtool(link: &str, command: u32, data: u32) -> io::Result<u32> {
    // Any socket will do: it stands for its namespace.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut ifr_name = [0; libc::IFNAMSIZ];
    if link.is_empty() || link.len() >= ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("link name {link:?}")));
    }
    for (to, from) in ifr_name.iter_mut().zip(link.bytes()) {
        *to = from.cast_signed();
    }
    let mut value = EthtoolValue { command, data };
    let mut request = libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() },
    };
    // SAFETY: SIOCETHTOOL takes an ifreq whose data points to the structure of the command, which
    // is an ethtool_value for both commands; both live until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(value.data) } else { Err(io::Error::last_os_error()) }
}
