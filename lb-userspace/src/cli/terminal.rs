//! What the terminal behind a file says of itself.

use std::os::fd::{AsFd, AsRawFd as _};

/// The width of a terminal in columns; none if it is no terminal, or does not tell.
pub fn width(file: &impl AsFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let descriptor = file.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ writes a winsize, which lives until the call returns.
    let result = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
