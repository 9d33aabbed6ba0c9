//! Files: what cannot be read, and the three ways in which a file changes.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::Path,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    sync::mpsc::{Receiver, error::TryRecvError},
    time::{sleep, timeout},
};

use super::super::{BYTES_MAX, LoadError, load, watch};

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn failure(path: &Path) -> LoadError {
    load(path).unwrap_err()
}

#[test]
fn a_file_is_read() {
    let directory = directory();
    let path = directory.path().join("weir.yaml");
    fs::write(&path, "services: []\n").unwrap();
    assert!(load(&path).unwrap().config.services.is_empty());
    fs::write(&path, "services: [\n").unwrap();
    let LoadError::Invalid(mistakes) = failure(&path) else { panic!() };
    assert!(mistakes.to_string().contains(&format!("{}:1:11", path.display())));
}

#[test]
fn a_file_that_is_not_there() {
    let path = directory().path().join("weir.yaml");
    let error = failure(&path);
    assert!(
        matches!(&error, LoadError::Read { source, .. } if source.kind() == ErrorKind::NotFound)
    );
    assert!(error.to_string().starts_with(&format!("cannot read {}: ", path.display())));
}

#[test]
fn a_directory_is_no_file() {
    let directory = directory();
    assert!(
        matches!(failure(directory.path()), LoadError::Read { source, .. } if source.kind() == ErrorKind::IsADirectory)
    );
}

#[test]
fn a_file_that_is_too_large() {
    let path = directory().keep().join("weir.yaml");
    let mut text = b"services: []\n".to_vec();
    text.resize(BYTES_MAX, b'\n');
    fs::write(&path, &text).unwrap();
    assert!(load(&path).is_ok());
    text.push(b'\n');
    fs::write(&path, &text).unwrap();
    assert!(matches!(failure(&path), LoadError::TooLarge { .. }));
    assert!(matches!(failure(Path::new("/dev/zero")), LoadError::TooLarge { .. }));
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn a_file_that_is_no_text() {
    let directory = directory();
    let path = directory.path().join("weir.yaml");
    fs::write(&path, b"services: []\n\n# \xff\n").unwrap();
    assert!(matches!(failure(&path), LoadError::NotText { line: 3, .. }));
}

/// Waits far longer than it takes.
async fn changed(changes: &mut Receiver<()>) {
    let change = timeout(Duration::from_secs(30), changes.recv()).await;
    assert_eq!(change.ok(), Some(Some(())), "no change was noticed");
}

/// A change that comes too late to be seen here does not make this fail.
async fn unchanged(changes: &mut Receiver<()>) {
    sleep(Duration::from_millis(400)).await;
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty), "no change was made");
}

#[tokio::test]
async fn a_file_is_written_to() {
    let directory = directory();
    let path = directory.path().join("weir.yaml");
    fs::write(&path, "1").unwrap();
    let mut changes = watch(&path).unwrap();
    unchanged(&mut changes).await;
    fs::write(&path, "2").unwrap();
    changed(&mut changes).await;
    fs::read(&path).unwrap();
    fs::write(directory.path().join("other"), "1").unwrap();
    unchanged(&mut changes).await;
    fs::write(&path, "3").unwrap();
    fs::write(&path, "4").unwrap();
    changed(&mut changes).await;
    unchanged(&mut changes).await;
}

#[tokio::test]
async fn a_file_is_replaced() -> io::Result<()> {
    let directory = directory();
    let path = directory.path().join("weir.yaml");
    fs::write(&path, "1")?;
    let mut changes = watch(&path).unwrap();
    for text in ["2", "3"] {
        fs::write(directory.path().join("new"), text)?;
        fs::rename(directory.path().join("new"), &path)?;
        changed(&mut changes).await;
    }
    fs::remove_file(&path)?;
    unchanged(&mut changes).await;
    fs::write(&path, "4")?;
    changed(&mut changes).await;
    Ok(())
}

/// As the kubelet does it: a directory of the new files, then a rename of the link `..data`.
fn publish(mount: &Path, version: &str) -> io::Result<()> {
    let old = fs::read_link(mount.join("..data")).ok();
    fs::create_dir(mount.join(version))?;
    fs::write(mount.join(version).join("weir.yaml"), version)?;
    symlink(version, mount.join("..data_tmp"))?;
    fs::rename(mount.join("..data_tmp"), mount.join("..data"))?;
    old.map_or(Ok(()), |old| fs::remove_dir_all(mount.join(old)))
}

#[tokio::test]
async fn a_config_map_is_updated() -> io::Result<()> {
    let directory = directory();
    let mount = directory.path();
    publish(mount, "..1")?;
    symlink("..data/weir.yaml", mount.join("weir.yaml"))?;
    let mut changes = watch(&mount.join("weir.yaml")).unwrap();
    for version in ["..2", "..3", "..4"] {
        publish(mount, version)?;
        changed(&mut changes).await;
    }
    unchanged(&mut changes).await;
    Ok(())
}

#[tokio::test]
async fn a_link_elsewhere_on_the_way_is_replaced() -> io::Result<()> {
    let directory = directory();
    let root = directory.path();
    for release in ["1", "2"] {
        fs::create_dir(root.join(release))?;
        fs::write(root.join(release).join("real.yaml"), release)?;
    }
    symlink("1", root.join("current"))?;
    fs::create_dir(root.join("etc"))?;
    symlink("../current/real.yaml", root.join("etc/weir.yaml"))?;
    let mut changes = watch(&root.join("etc/weir.yaml")).unwrap();
    symlink("2", root.join("next"))?;
    fs::rename(root.join("next"), root.join("current"))?;
    changed(&mut changes).await;
    fs::write(root.join("2/real.yaml"), "3")?;
    changed(&mut changes).await;
    Ok(())
}

#[tokio::test]
async fn links_in_a_circle_are_left() {
    let directory = directory();
    symlink("b", directory.path().join("a")).unwrap();
    symlink("a", directory.path().join("b")).unwrap();
    let mut changes = watch(&directory.path().join("a")).unwrap();
    unchanged(&mut changes).await;
}

#[tokio::test]
async fn a_directory_that_is_not_there() {
    let path = directory().path().join("gone/weir.yaml");
    let error = watch(&path).unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("cannot watch {}: ", path.display())),
        "{error}"
    );
}
