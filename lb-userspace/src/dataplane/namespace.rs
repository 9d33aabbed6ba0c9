//! Which network namespace a thread is in.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
};

/// A number of the calling thread's network namespace that no other one gets before the host
/// starts anew, and pins do not outlive that. The inode number will not do: the kernel gives it to
/// the next namespace as soon as it is free.
pub(super) fn cookie() -> io::Result<u64> {
    // Any socket will do: it stands for its namespace.
    let socket = UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    #[expect(clippy::cast_possible_truncation, reason = "8 bytes")]
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: SO_NETNS_COOKIE writes at most `length` bytes to `cookie`, and both live until the
    // call returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
