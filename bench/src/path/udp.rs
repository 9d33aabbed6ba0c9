//! Datagrams: one thread sends a batch into the client's namespace and takes it out of the
//! backends' sockets before the next. The kernel delivers in the sender's own context, so the
//! thread's CPU time is the price of the whole path, and nobody is woken up.

use std::{
    io,
    mem::zeroed,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    cpu::Meter,
    plane::{DATAGRAMS, Plane},
};

/// Flows at a time.
const FLOWS: usize = 64;
/// Datagrams of a batch, all of one flow: less than a socket's buffer holds.
const BATCH: u32 = 32;
const PAYLOAD: usize = 64;

/// Microseconds of CPU a datagram, over about `count` of them.
pub(crate) fn cpu_us(plane: &Plane, meter: &Meter, count: usize) -> Result<f64> {
    let mut receivers = Vec::new();
    for backend in plane.lab.backends() {
        let address = SocketAddr::from((backend.v4, DATAGRAMS.backend_port));
        receivers.push(backend.netns.in_netns(|| receiver(address))??);
    }
    let targets = plane.targets(DATAGRAMS);
    let sockets = plane.lab.client().in_netns(|| senders(&targets))??;
    let (mut out, mut into) = (Batch::new(), Batch::new());
    // The first datagrams wait for neighbours to be found.
    for socket in &sockets {
        out.send(socket)?;
    }
    thread::sleep(Duration::from_millis(100));
    drain(&receivers, &mut into)?;
    let (cpu, deferred) = (thread_seconds()?, meter.deferred()?);
    let (mut sent, mut arrived) = (0, 0);
    for socket in sockets.iter().cycle().take(count / BATCH as usize) {
        sent += out.send(socket)?;
        arrived += drain(&receivers, &mut into)?;
    }
    let seconds = thread_seconds()? - cpu + meter.deferred()? - deferred;
    // A softirq thread may have held the last ones back.
    thread::sleep(Duration::from_millis(20));
    arrived += drain(&receivers, &mut into)?;
    let lost = sent - arrived.min(sent);
    ensure!(lost * 1_000 <= sent, "{:?}: {lost} of {sent} datagrams were lost", plane.kind);
    #[expect(clippy::cast_precision_loss, reason = "millions at most")]
    let each = seconds / arrived as f64;
    Ok(each * 1e6)
}

fn receiver(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn senders(targets: &[SocketAddr]) -> io::Result<Vec<UdpSocket>> {
    let one = |target: &SocketAddr| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(target)?;
        Ok(socket)
    };
    targets.iter().cycle().take(FLOWS).map(one).collect()
}

fn drain(receivers: &[UdpSocket], into: &mut Batch) -> Result<usize> {
    let mut received = 0;
    for receiver in receivers {
        loop {
            let count = into.receive(receiver)?;
            received += count;
            if count < BATCH as usize {
                break;
            }
        }
    }
    Ok(received)
}

/// The headers of a batch, which all name one buffer: nobody reads what is in it.
struct Batch {
    headers: Vec<libc::mmsghdr>,
    // The headers point here.
    _vector: Box<libc::iovec>,
    _payload: Box<[u8; PAYLOAD]>,
}

impl Batch {
    fn new() -> Self {
        let mut payload = Box::new([0x57; PAYLOAD]);
        let base = payload.as_mut_ptr().cast();
        let mut vector = Box::new(libc::iovec { iov_base: base, iov_len: PAYLOAD });
        // SAFETY: the type is made of integers and pointers, for which zero is a value.
        let mut header: libc::mmsghdr = unsafe { zeroed() };
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        Self { headers: vec![header; BATCH as usize], _vector: vector, _payload: payload }
    }

    /// Sends the whole batch.
    fn send(&mut self, socket: &UdpSocket) -> Result<usize> {
        let (fd, headers) = (socket.as_raw_fd(), self.headers.as_mut_ptr());
        // SAFETY: the headers, and what they point to, live as long as `self`.
        let sent = unsafe { libc::sendmmsg(fd, headers, BATCH, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error()).context("sendmmsg")
    }

    /// Takes what is there, at most a batch.
    fn receive(&mut self, socket: &UdpSocket) -> Result<usize> {
        let (fd, headers) = (socket.as_raw_fd(), self.headers.as_mut_ptr());
        let (flags, forever) = (libc::MSG_DONTWAIT, std::ptr::null_mut());
        // SAFETY: as above; the kernel writes into the headers and the one buffer.
        let received = unsafe { libc::recvmmsg(fd, headers, BATCH, flags, forever) };
        match usize::try_from(received) {
            Ok(received) => Ok(received),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error).context("recvmmsg"),
            },
        }
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
