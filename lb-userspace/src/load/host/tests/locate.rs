//! Where cgroups are, on hosts of all kinds.

use std::path::Path;

use proptest::prelude::*;

use super::super::locate::{Kind, LocateError, Mounts};

/// All controllers in v1, the unified hierarchy beside them; the order of old systemd hosts.
const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/blkio rw,relatime shared:1 master:2 - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";
const PURE: &str =
    "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,memory_recursiveprot\n";

fn directory(mounts: &str, cgroup: &str, kind: Kind) -> Result<Option<String>, LocateError> {
    let places = Mounts::parse(mounts.as_bytes()).of_process(cgroup.as_bytes())?;
    let found = places.v1_or_unified(kind);
    Ok(found
        .map(|(v1, place)| format!("{} {}", if v1 { 1 } else { 2 }, place.directory().display())))
}

#[test]
fn every_driver_and_version_is_found() {
    const HYBRID_DOCKER: &str = "5:memory:/docker/0a1b\n2:cpu,cpuacct:/docker/0a1b\n1:name=systemd:/docker/0a1b\n0::/docker/0a1b\n";
    const SCOPE: &str = "0::/system.slice/docker-0a1b.scope\n";
    #[rustfmt::skip]
    let table = [
        ("v1, cgroupfs", HYBRID, HYBRID_DOCKER, Kind::Cpu, Some("1 /sys/fs/cgroup/cpu,cpuacct/docker/0a1b")),
        ("v1, second of a mount", HYBRID, HYBRID_DOCKER, Kind::Cpuacct, Some("1 /sys/fs/cgroup/cpu,cpuacct/docker/0a1b")),
        ("v1, unified beside it", HYBRID, HYBRID_DOCKER, Kind::Unified, Some("1 /sys/fs/cgroup/unified/docker/0a1b")),
        ("v1, systemd", HYBRID, "5:memory:/system.slice/docker-0a1b.scope\n", Kind::Memory,
            Some("1 /sys/fs/cgroup/memory/system.slice/docker-0a1b.scope")),
        ("v2, systemd", PURE, SCOPE, Kind::Cpu, Some("2 /sys/fs/cgroup/system.slice/docker-0a1b.scope")),
        ("v2, cgroupfs", PURE, "0::/docker/0a1b\n", Kind::Memory, Some("2 /sys/fs/cgroup/docker/0a1b")),
        ("v2, plain", PURE, "0::/\n", Kind::Memory, Some("2 /sys/fs/cgroup/")),
        ("a controller that only v2 has", HYBRID, "2:cpu:/a\n0::/b\n", Kind::Memory,
            Some("2 /sys/fs/cgroup/unified/b")),
        ("colons in a path", PURE, "0::/a:b:c\n", Kind::Cpu, Some("2 /sys/fs/cgroup/a:b:c")),
        ("a controller nobody has", HYBRID, "2:cpu:/a\n", Kind::Memory, None),
    ];
    for (name, mounts, cgroup, kind, expected) in table {
        let expected = Ok(expected.map(str::to_owned));
        assert_eq!(directory(mounts, cgroup, kind), expected, "{name}");
    }
}

/// Mounts of part of a hierarchy, as containers that run an engine have.
#[test]
fn a_mount_may_show_a_part_only() {
    #[rustfmt::skip]
    let table = [
        ("of the container", "/docker/me", "/docker/me/docker/inner", Ok("2 /c/docker/inner")),
        ("itself", "/docker/me", "/docker/me", Ok("2 /c/")),
        ("outside of the namespace, both", "/../..", "/../../docker/other", Ok("2 /c/docker/other")),
        ("another container", "/docker/me", "/docker/you", Err(LocateError::NotMounted("/docker/you".into()))),
        ("begins alike", "/docker/me", "/docker/melon", Err(LocateError::NotMounted("/docker/melon".into()))),
        ("outside", "/", "/../x", Err(LocateError::Outside("/../x".into()))),
        ("outside by a detour", "/", "/a/../../x", Err(LocateError::Outside("/a/../../x".into()))),
        ("removed", "/", "/docker/x (deleted)", Err(LocateError::Removed("/docker/x (deleted)".into()))),
    ];
    for (name, root, path, expected) in table {
        let mounts = format!("30 23 0:26 {root} /c rw - cgroup2 none rw\n");
        let found = directory(&mounts, &format!("0::{path}\n"), Kind::Cpu);
        assert_eq!(found, expected.map(|text| Some(text.to_owned())), "{name}");
    }
    let both = "1 2 0:26 /docker/me /part rw - cgroup2 x rw\n3 2 0:26 / /whole rw - cgroup2 x rw\n";
    let found = directory(both, "0::/docker/you\n", Kind::Cpu);
    assert_eq!(found, Ok(Some("2 /whole/docker/you".to_owned())), "the mount that has it");
}

#[test]
fn what_is_not_understood_is_passed_over() {
    let none = LocateError::None;
    #[rustfmt::skip]
    let table = [
        (PURE, "",                  none.clone()),
        (PURE, "\n\n",              none.clone()),
        (PURE, "0:/a\n",            none.clone()),
        (PURE, "garbage",           none.clone()),
        (PURE, "3:pids:/a\n",       none),
        (PURE, "0::relative\n",     LocateError::NotMounted("relative".into())),
        ("",   "0::/a\n",           LocateError::NotMounted("/a".into())),
        ("1 2 0:1 / /x rw - ext4 /dev/vda rw\n",    "0::/a\n", LocateError::NotMounted("/a".into())),
        ("1 2 0:1 / /x rw cgroup2 none rw\n",       "0::/a\n", LocateError::NotMounted("/a".into())),
        ("1 2 0:1 / /x rw - cgroup2\n",             "0::/a\n", LocateError::NotMounted("/a".into())),
        ("1 2 0:1\n",                               "0::/a\n", LocateError::NotMounted("/a".into())),
    ];
    for (mounts, cgroup, expected) in table {
        assert_eq!(directory(mounts, cgroup, Kind::Cpu), Err(expected), "{mounts}{cgroup}");
    }
}

#[test]
fn blanks_in_mount_points_are_escaped() {
    for (escaped, plain) in [
        ("/a\\040b", "/a b"),
        ("/a\\134b", "/a\\b"),
        ("/a\\04", "/a\\04"),
        ("/a\\999b", "/a\\999b"),
        ("/a\\", "/a\\"),
    ] {
        let mounts = format!("1 2 0:1 / {escaped} rw - cgroup2 x rw\n");
        let found = directory(&mounts, "0::/c\n", Kind::Cpu);
        assert_eq!(found, Ok(Some(format!("2 {plain}/c"))));
    }
}

#[test]
fn a_path_is_one_of_the_hierarchy_or_of_its_directory() {
    let of_path = |mounts: &str, path: &str| {
        let places = Mounts::parse(mounts.as_bytes()).of_path(Path::new(path))?;
        let (_, place) = places.v1_or_unified(Kind::Memory).unwrap();
        Ok(place.directory().display().to_string())
    };
    let memory = "/sys/fs/cgroup/memory/system.slice/nginx.service";
    for (mounts, path, expected) in [
        (HYBRID, "/system.slice/nginx.service", memory),
        (HYBRID, memory, memory),
        (HYBRID, "/sys/fs/cgroup/cpu,cpuacct/system.slice/nginx.service", memory),
        (PURE, "/a", "/sys/fs/cgroup/a"),
        (PURE, "/sys/fs/cgroup/a", "/sys/fs/cgroup/a"),
    ] {
        assert_eq!(of_path(mounts, path), Ok(expected.to_owned()), "{path}");
    }
    let outside = LocateError::Outside("/a/../../x".into());
    assert_eq!(of_path(PURE, "/a/../../x"), Err(outside));
    assert_eq!(of_path(PURE, "a"), Err(LocateError::NotMounted("a".into())));
    assert_eq!(of_path("", "/a"), Err(LocateError::NotMounted("/a".into())));
}

#[test]
fn the_levels_of_a_path_end_at_the_mount() {
    let places = Mounts::parse(PURE.as_bytes()).of_process(b"0::/a/b/c\n").unwrap();
    let levels: Vec<_> = places.get(Kind::Unified).unwrap().levels().collect();
    let expected = [(0, "/a/b/c"), (1, "/a/b"), (2, "/a"), (3, "")];
    let path = |below: &str| std::path::PathBuf::from(format!("/sys/fs/cgroup{below}"));
    assert_eq!(levels, expected.map(|(depth, below)| (depth, path(below))));
}

#[test]
fn a_hierarchy_that_tells_fewer_groups_apart_is_shared() {
    #[rustfmt::skip]
    let table = [
        ("all alike",            "2:cpu:/a/b\n1:memory:/a/b\n0::/a/b\n", [false, false, false]),
        ("left with the parent", "2:cpu:/a\n1:memory:/a/b\n0::/a/b\n",   [true, false, false]),
        ("left at the root",     "2:cpu:/a/b\n1:memory:/a/b\n0::/\n",    [false, false, true]),
        ("all at the root",      "2:cpu:/\n1:memory:/\n0::/\n",          [false, false, false]),
        ("elsewhere",            "2:cpu:/a/b\n1:memory:/c\n0::/a/bc\n",  [false, false, false]),
    ];
    for (name, cgroup, expected) in table {
        let places = Mounts::parse(HYBRID.as_bytes()).of_process(cgroup.as_bytes()).unwrap();
        let kinds = [Kind::Cpu, Kind::Memory, Kind::Unified];
        assert_eq!(kinds.map(|kind| places.get(kind).unwrap().shared), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(mounts: Vec<u8>, cgroup: Vec<u8>) {
        // An error or not: both are answers.
        drop(Mounts::parse(&mounts).of_process(&cgroup));
        drop(Mounts::parse(PURE.as_bytes()).of_process(&cgroup));
    }

    /// No path leads out of the mount.
    #[test]
    fn paths_stay_below_the_mount(path in "(/(\\.\\.|\\.|a|b)){0,6}") {
        let cgroup = format!("0::{path}\n");
        if let Ok(Some(found)) = directory(PURE, &cgroup, Kind::Cpu) {
            prop_assert!(!found.contains(".."), "{}", found);
            prop_assert!(found.starts_with("2 /sys/fs/cgroup"), "{}", found);
        }
    }
}
