//! The file of a configuration: read it, and hear of its changes.
//!
//! Files change in three ways. Somebody writes into them; somebody renames a new one over them, as
//! most editors do; or a symbolic link on the way to them is replaced, as Kubernetes does with
//! `..data` of a mounted `ConfigMap`. Directories are therefore watched, not the file: the one it is
//! in, and each one that holds a link on the way.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{ModifyKind, RenameMode},
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, error::TrySendError},
    time::{Instant, timeout},
};

use super::{BYTES_MAX, error::LoadError};

/// Changes closer to each other are one.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// A directory that never rests is looked at all the same, after this many times [`DEBOUNCE`].
const DEBOUNCES_MAX: u32 = 10;
/// Links on the way to a file before the kernel gives up, too.
const LINKS_MAX: u32 = 40;

/// Reads the whole file, if it is a text of a sensible size.
pub(super) fn read(path: &Path) -> Result<String, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // Read one byte more than is allowed: the size of a pipe is not known before.
    let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > BYTES_MAX {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let text = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = text.split(|byte| *byte == b'\n').count();
        LoadError::NotText { path: path.to_owned(), line }
    })
}

/// Why a file cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {}: {source}", path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

/// Yields after each change of the file, until the receiver is dropped. Changes that nobody
/// has taken yet are one. Needs a tokio runtime.
pub fn watch(path: &Path) -> Result<Receiver<()>, WatchError> {
    let failed = |source| WatchError { path: path.to_owned(), source };
    let path = std::path::absolute(path).map_err(|error| failed(notify::Error::io(error)))?;
    let (to_task, hints) = mpsc::unbounded_channel();
    let name = path.file_name().map(OsString::from);
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if let Some(hint) = hint(event, name.as_ref()) {
            // The task is gone when nobody listens any more.
            to_task.send(hint).ok();
        }
    })
    .map_err(failed)?;
    let mut file = Watched { path, watcher, directories: BTreeSet::new(), seen: None };
    file.follow_links().map_err(failed)?;
    file.seen = fingerprint(&file.path);
    let (changes, receiver) = mpsc::channel(1);
    tokio::spawn(run(file, hints, changes));
    Ok(receiver)
}

/// What an event says about the file, the surest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    /// It may have changed.
    Look,
    /// It changed.
    Changed,
    /// Another file took its place, which was whole before: there is nothing to wait for.
    Replaced,
}

/// Reading is no change: the daemon's own reading would start the next one.
fn hint(event: notify::Result<Event>, name: Option<&OsString>) -> Option<Hint> {
    let Ok(event) = event else { return Some(Hint::Look) };
    if event.kind.is_access() {
        return None;
    }
    let of_it = || event.paths.iter().any(|path| path.file_name() == name.map(OsString::as_os_str));
    if matches!(event.kind, EventKind::Modify(ModifyKind::Name(RenameMode::To))) && of_it() {
        return Some(Hint::Replaced);
    }
    // Two writes of one size within a tick of the file system's clock leave the same fingerprint.
    Some(if event.kind.is_modify() && of_it() { Hint::Changed } else { Hint::Look })
}

async fn run(mut file: Watched, mut hints: UnboundedReceiver<Hint>, changes: Sender<()>) {
    loop {
        let first = tokio::select! {
            () = changes.closed() => return,
            hint = hints.recv() => hint,
        };
        let Some(mut strongest) = first else { return };
        let limit = Instant::now() + DEBOUNCE * DEBOUNCES_MAX;
        while strongest != Hint::Replaced && Instant::now() < limit {
            match timeout(DEBOUNCE, hints.recv()).await {
                Ok(Some(hint)) => strongest = strongest.max(hint),
                Ok(None) | Err(_) => break,
            }
        }
        if file.has_changed(strongest)
            && let Err(TrySendError::Closed(())) = changes.try_send(())
        {
            return;
        }
    }
}

struct Watched {
    path: PathBuf,
    watcher: RecommendedWatcher,
    directories: BTreeSet<PathBuf>,
    seen: Option<Fingerprint>,
}

impl Watched {
    /// A file that is gone has not changed: it may be about to be replaced.
    fn has_changed(&mut self, hint: Hint) -> bool {
        // A directory that cannot be watched at this moment is tried again at the next event.
        self.follow_links().ok();
        let Some(found) = fingerprint(&self.path) else { return false };
        let changed = hint != Hint::Look || self.seen != Some(found);
        self.seen = Some(found);
        changed
    }

    /// Watches the directories that matter since the links were last followed.
    fn follow_links(&mut self) -> notify::Result<()> {
        let directories = directories(&self.path);
        for old in self.directories.difference(&directories) {
            // The watch of a directory that was removed is gone already.
            self.watcher.unwatch(old).ok();
        }
        self.directories.retain(|known| directories.contains(known));
        for new in directories {
            if !self.directories.contains(&new) {
                self.watcher.watch(&new, RecursiveMode::NonRecursive)?;
                self.directories.insert(new);
            }
        }
        Ok(())
    }
}

/// The directory of the file and those of all links on the way to it. `path` is absolute.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut links = 0;
    let mut here = PathBuf::from("/");
    let mut ahead: VecDeque<OsString> = names(path).collect();
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let target = fs::read_link(&next).ok().filter(|_| links < LINKS_MAX);
        if ahead.is_empty() || target.is_some() {
            directories.insert(here.clone());
        }
        match target {
            None => here = next,
            Some(target) => {
                links += 1;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                ahead = names(&target).chain(ahead).collect();
            }
        }
    }
    directories
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// What tells one state of a file from the next without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let found: io::Result<fs::Metadata> = fs::metadata(path);
    found.ok().map(|found| Fingerprint {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.size(),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}
