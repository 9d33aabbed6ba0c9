//! Loading the object: checks first, then programs and maps, or nothing.

use std::{io, path::PathBuf};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{MapData, ProgramArray},
    programs::{ProgramError, SchedClassifier, Xdp},
};
use lb_common::maps::stage;

use super::{
    attach::Attachments,
    host,
    pins::{Lock, Pins},
    sockets::{self, SocketHooks},
};
use crate::{
    maps::{MapError, kernel, kernel::KernelMaps},
    model::Limits,
};

/// Why the dataplane did not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The build has no object in it.
    #[error("this build of weir carries no kernel program: build it with \"cargo xtask build\"")]
    NoObject,
    /// Capabilities are missing.
    #[error(
        "missing capabilities: {0}; run as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    Privileges(String),
    /// The kernel is too old.
    #[error("kernel {0} is too old: weir needs bpf_loop, which came with Linux 5.17")]
    Kernel(String),
    /// No BPF filesystem.
    #[error("no BPF filesystem at {}: mount one with \"mount -t bpf bpf {}\", or name another place with --bpffs", .0.display(), .0.display())]
    NoBpffs(PathBuf),
    /// The network namespace has no name.
    #[error("cannot tell this network namespace from others: {0}")]
    Netns(io::Error),
    /// A pin cannot be used.
    #[error("pin {}: {source}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon is at work.
    #[error(
        "another daemon{} balances in this network namespace and holds {}: stop it first",
        holder.map_or_else(String::new, |pid| format!(" (pid {pid})")),
        path.display()
    )]
    Held {
        /// The pins.
        path: PathBuf,
        /// Its process.
        holder: Option<u32>,
    },
    /// Another version is at work.
    #[error(
        "{}: a weir whose maps have layout {found} (this one: {}) left its programs at work here: start that version again, or take them off by \"weir detach\", which ends their flows",
        path.display(),
        lb_common::abi::ABI_VERSION
    )]
    OtherVersion {
        /// Its pins.
        path: PathBuf,
        /// Its layout.
        found: String,
    },
    /// Somebody took the pins away.
    #[error(
        "{} is gone: this process goes on, but balancing ends with it; mount the BPF filesystem and restart weir",
        path.display()
    )]
    PinsGone {
        /// The pins.
        path: PathBuf,
    },
    /// A pinned map does not fit.
    #[error(
        "pinned map {name} has key/value/entries {found}, this configuration needs {wanted}: \
         restore the limits, or start anew after \"weir detach\" (which ends all flows)"
    )]
    OtherMap {
        /// Which map.
        name: &'static str,
        /// What is there.
        found: String,
        /// What is needed.
        wanted: String,
    },
    /// The object or its maps were refused.
    #[error("the kernel refused the object: {0}")]
    Object(#[from] EbpfError),
    /// A program was refused.
    #[error("the kernel refused program {name}: {source}")]
    Program {
        /// Which.
        name: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// A map is not what it should be.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// What to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Table sizes.
    pub limits: Limits,
    /// The BPF filesystem to pin on; `None`: everything goes with this process.
    pub bpffs: Option<PathBuf>,
    /// Programs for test runs, which say what they did.
    pub trace: bool,
}

/// The loaded programs and their maps.
pub struct Dataplane {
    pub(super) ebpf: Ebpf,
    /// The kernel empties such an array when nobody holds it, neither a process nor a pin.
    _stages: [ProgramArray<MapData>; 2],
    /// The control maps.
    pub maps: KernelMaps,
    pub(super) pins: Option<Pins>,
    _lock: Option<Lock>,
    pub(super) attachments: Attachments,
    pub(super) sockets: SocketHooks,
}

/// The object this build carries.
fn object() -> Result<&'static [u8], LoadError> {
    static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-ebpf.o"));
    if OBJECT.is_empty() { Err(LoadError::NoObject) } else { Ok(OBJECT) }
}

impl Dataplane {
    /// Loads programs and maps, adopting the maps that an earlier daemon pinned. A failure leaves
    /// the BPF filesystem as it was.
    pub fn load(options: &LoadOptions) -> Result<Self, LoadError> {
        let object = object()?;
        host::check()?;
        let Some(bpffs) = &options.bpffs else { return Self::load_object(object, options, None) };
        host::check_bpffs(bpffs)?;
        let failed = |source| LoadError::Pin { path: bpffs.clone(), source };
        let pins = Pins::new(bpffs).map_err(failed)?;
        pins.check_versions()?;
        let adopted = pins.root().exists();
        pins.create().map_err(failed)?;
        let lock = pins.lock()?;
        let loaded = Self::load_object(object, options, Some((pins.clone(), lock)));
        if loaded.is_err() && !adopted {
            pins.remove().map_err(failed)?;
        }
        loaded
    }

    fn load_object(
        object: &[u8],
        options: &LoadOptions,
        pins: Option<(Pins, Lock)>,
    ) -> Result<Self, LoadError> {
        let sizes = sizes(&options.limits);
        let trace = u8::from(options.trace);
        let mut loader = EbpfLoader::new();
        loader.override_global("TRACE_ON", &trace, true);
        let netns = host::netns_cookie().map_err(LoadError::Netns)?;
        loader.override_global("HOST_NETNS", &netns, true);
        for (map, entries) in &sizes {
            loader.map_max_entries(map, *entries);
        }
        if let Some((pins, _)) = &pins {
            pins.check_maps(|name| sizes.iter().find(|(map, _)| *map == name).map(|(_, n)| *n))?;
            for spec in lb_common::maps::MAPS {
                loader.map_pin_path(spec.name, pins.map(spec.name));
            }
        }
        let mut ebpf = loader.load(object)?;
        load_programs(&mut ebpf)?;
        let stages = [join(&mut ebpf, &XDP)?, join(&mut ebpf, &TC)?];
        let maps = KernelMaps::take(&mut ebpf)?;
        let (pins, lock) = pins.unzip();
        let (attachments, sockets) = (Attachments::default(), SocketHooks::default());
        Ok(Self { ebpf, _stages: stages, maps, pins, _lock: lock, attachments, sockets })
    }

    /// What the programs cost, as far as they are loaded.
    pub fn program_sizes(&mut self) -> Result<Vec<ProgramSize>, LoadError> {
        let mut sizes = Vec::new();
        let programs = STAGES.iter().flat_map(Stages::programs).chain([LEAVE]);
        for name in programs.chain(sockets::PROGRAMS) {
            let program = self.ebpf.program(name).ok_or(LoadError::NoObject)?;
            if program.fd().is_err() {
                continue;
            }
            let info = program.info().map_err(refused(name))?;
            let verified = info.verified_instruction_count().unwrap_or(0);
            sizes.push(ProgramSize { name, verified, jited: info.size_jitted() });
        }
        Ok(sizes)
    }

    /// The XDP program.
    pub(super) fn xdp(&mut self) -> Result<&mut Xdp, LoadError> {
        program(&mut self.ebpf, "weir_xdp")
    }

    /// A TC program.
    pub(super) fn classifier(
        &mut self,
        name: &'static str,
    ) -> Result<&mut SchedClassifier, LoadError> {
        program(&mut self.ebpf, name)
    }
}

/// What a loaded program costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSize {
    /// Its name.
    pub name: &'static str,
    /// Instructions the verifier walked.
    pub verified: u32,
    /// Bytes of machine code.
    pub jited: u32,
}

/// Entries of the maps whose size is configured.
fn sizes(limits: &Limits) -> [(&'static str, u32); 13] {
    // Ids run from 1: element 0 of these arrays belongs to nobody.
    let (services, backends) = (limits.services + 1, limits.backends + 1);
    [
        ("CONNS4", limits.conns),
        ("CONNS6", limits.conns),
        ("EMBRYOS", limits.embryos),
        ("DATAGRAMS", limits.embryos),
        ("PAGES", limits.pages),
        ("CURSORS", services),
        ("RATES", services),
        ("SERVICE_STATS", services),
        ("BACKENDS", backends),
        ("BACKEND_LOAD", backends),
        ("BACKEND_STATS", backends),
        ("SIGNALS", backends),
        ("ORIGINS", backends),
    ]
}

/// The stages of the pipeline on one kind of hook: the program that is attached, then those that
/// it becomes by tail calls.
struct Stages {
    first: &'static str,
    later: &'static [&'static str],
    map: &'static str,
}

impl Stages {
    fn programs(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.first).chain(self.later.iter().copied())
    }
}

const XDP: Stages = Stages { first: "weir_xdp", later: &stage::XDP, map: "XDP_STAGES" };
const TC: Stages = Stages { first: "weir_tc", later: &stage::TC, map: "TC_STAGES" };
const STAGES: [Stages; 2] = [XDP, TC];
/// Beside the stages: for what leaves.
pub(super) const LEAVE: &str = "weir_tc_leave";

fn load_programs(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    for name in XDP.programs() {
        program::<Xdp>(ebpf, name)?.load().map_err(refused(name))?;
    }
    for name in TC.programs().chain([LEAVE, "weir_clock"]) {
        program::<SchedClassifier>(ebpf, name)?.load().map_err(refused(name))?;
    }
    Ok(())
}

/// Puts the later stages where the first one finds them. In an array that is pinned they take the
/// place of an earlier daemon's, while packets flow.
fn join(ebpf: &mut Ebpf, stages: &Stages) -> Result<ProgramArray<MapData>, LoadError> {
    let Stages { later, map, .. } = *stages;
    let array = ebpf.take_map(map).ok_or(MapError::Missing(map))?;
    let mut array = ProgramArray::try_from(array).map_err(kernel::error(map))?;
    for (place, name) in (0..).zip(later.iter().copied()) {
        let program = ebpf.program(name).ok_or(LoadError::NoObject)?;
        let fd = program.fd().map_err(refused(name))?;
        array.set(place, fd, 0).map_err(kernel::error(map))?;
    }
    Ok(array)
}

fn refused(name: &'static str) -> impl Fn(ProgramError) -> LoadError {
    move |source| LoadError::Program { name, source: Box::new(source) }
}

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(LoadError::NoObject)?;
    program.try_into().map_err(refused(name))
}
