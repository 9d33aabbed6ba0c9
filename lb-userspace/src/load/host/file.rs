//! Files of cgroups: opened once, then read again and again with one system call.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

/// The longest file, `io.stat` of a host with many devices, fits; of a longer one the complete
/// lines that fit are used.
const TEXT_MAX: usize = 16 * 1024;

/// The cgroup of an open file was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Removed;

/// Where texts are read to: one for many cgroups.
#[derive(Debug)]
pub struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; TEXT_MAX].into_boxed_slice())
    }
}

/// An open file, or none where the kernel has none.
#[derive(Debug)]
pub(super) struct Kept(Option<File>);

impl Kept {
    pub(super) const fn absent() -> Self {
        Self(None)
    }

    /// A file that is not there, or that we may not read, shows nothing. Too many open files is
    /// not the cgroup's doing, and an error.
    pub(super) fn open(directory: &Path, name: &str) -> io::Result<Self> {
        match File::open(directory.join(name)) {
            Ok(file) => Ok(Self(Some(file))),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                Err(error)
            }
            Err(_) => Ok(Self(None)),
        }
    }

    /// Its text. `None` where there is no file, or the kernel refuses to show it: pressure that is
    /// switched off can be opened, but not read.
    pub(super) fn read<'a>(&self, scratch: &'a mut Scratch) -> Result<Option<&'a [u8]>, Removed> {
        let Some(file) = &self.0 else { return Ok(None) };
        match file.read_at(&mut scratch.0, 0) {
            Ok(length) => Ok(Some(complete_lines(&scratch.0, length))),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Err(Removed),
            Err(_) => Ok(None),
        }
    }
}

/// A file that is read now and then.
pub(super) fn once<'a>(
    directory: &Path,
    name: &str,
    scratch: &'a mut Scratch,
) -> io::Result<Option<&'a [u8]>> {
    // Removed meanwhile is as good as absent: the files that stay open will tell.
    Ok(Kept::open(directory, name)?.read(scratch).unwrap_or(None))
}

fn complete_lines(buffer: &[u8], length: usize) -> &[u8] {
    let text = buffer.get(..length).unwrap_or(buffer);
    if length < buffer.len() {
        return text;
    }
    let end = text.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_long_text_ends_with_a_line() {
        for (buffer, length, expected) in [
            (b"ab\ncd\n  ", 6, "ab\ncd\n"),
            (b"ab\ncd\nef", 8, "ab\ncd"),
            (b"abcdefgh", 8, ""),
            (b"        ", 0, ""),
        ] {
            assert_eq!(complete_lines(buffer, length), expected.as_bytes());
        }
    }

    #[test]
    fn what_is_not_there_shows_nothing_and_what_changes_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::default();
        let absent = Kept::open(directory.path(), "file").unwrap();
        fs::write(directory.path().join("file"), "12345").unwrap();
        assert_eq!(absent.read(&mut scratch), Ok(None));
        let kept = Kept::open(directory.path(), "file").unwrap();
        assert_eq!(kept.read(&mut scratch), Ok(Some(&b"12345"[..])));
        fs::write(directory.path().join("file"), "7").unwrap();
        assert_eq!(kept.read(&mut scratch), Ok(Some(&b"7"[..])));
        // A directory can be opened, and not read.
        assert_eq!(Kept::open(directory.path(), ".").unwrap().read(&mut scratch), Ok(None));
        let once = once(directory.path(), "none", &mut scratch);
        assert_eq!(once.unwrap(), None);
    }
}
