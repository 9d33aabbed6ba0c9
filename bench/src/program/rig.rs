//! The test bed of the kernel: drivers, floors, and one timed run.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, ProgramArray, xdp::DevMap},
    programs::{
        Program, ProgramError, ProgramFd, SchedClassifier, TestRun, TestRunAttrs, TestRunOptions,
        TestRunResult, Xdp,
    },
};

use super::{
    frame::Frame,
    layout::{Backend, FRAME_LEN, ListenKey, Plan, Service, Traffic},
};
use crate::weir::Hook;

/// The loaded floors and drivers. Floors of one rig share a flow table.
pub(crate) struct Rig {
    ebpf: Ebpf,
    plan: Array<MapData, Plan>,
    xdp_target: ProgramArray<MapData>,
    tc_target: ProgramArray<MapData>,
    links: DevMap<MapData>,
}

/// What the kernel says of a run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Whole nanoseconds a packet, with the driver.
    pub(crate) ns: f64,
    pub(crate) returned: u32,
    /// The last packet as the program left it.
    pub(crate) last: Frame,
}

impl Rig {
    /// Loads the floors with a flow table of `capacity`; packets leave by `ifindex`.
    pub(crate) fn load(object: &Path, capacity: u32, ifindex: u32) -> Result<Self> {
        let bytes = fs::read(object)
            .with_context(|| format!("cannot read the floor programs {}", object.display()))?;
        let loader = &mut EbpfLoader::new();
        let mut ebpf = loader.map_max_entries("FLOWS", capacity).load(&bytes)?;
        for (name, program) in ebpf.programs_mut() {
            let outcome = if let Program::Xdp(program) = program {
                program.load()
            } else {
                <&mut SchedClassifier>::try_from(program).and_then(SchedClassifier::load)
            };
            outcome.with_context(|| name.to_owned())?;
        }
        let mut take = |name| ebpf.take_map(name).ok_or_else(|| anyhow!("no map {name}"));
        let plan = take("PLAN")?.try_into()?;
        let xdp_target = take("XDP_TARGET")?.try_into()?;
        let tc_target = take("TC_TARGET")?.try_into()?;
        let links = take("LINKS")?.try_into()?;
        let mut rig = Self { ebpf, plan, xdp_target, tc_target, links };
        rig.leave_by([ifindex])?;
        Ok(rig)
    }

    /// The links that packets leave by, three at most.
    pub(crate) fn leave_by(&mut self, links: impl IntoIterator<Item = u32>) -> Result<()> {
        for (index, link) in (0..).zip(links) {
            self.links.set(index, link, None, 0)?;
        }
        Ok(())
    }

    /// Writes the one service and its one backend.
    pub(crate) fn serve(&mut self, listen: ListenKey, backend: Backend) -> Result<()> {
        let mut listens: HashMap<_, ListenKey, Service> =
            map(&mut self.ebpf, "LISTEN")?.try_into()?;
        listens.insert(listen, Service { id: 1, slots: 256 }, 0)?;
        let mut slots: Array<_, u32> = map(&mut self.ebpf, "SLOTS")?.try_into()?;
        for slot in 0..256 {
            slots.set(slot, 1, 0)?;
        }
        let mut backends: Array<_, Backend> = map(&mut self.ebpf, "BACKENDS")?.try_into()?;
        backends.set(1, backend, 0)?;
        Ok(())
    }

    /// Packets that the floors sent to the backend so far.
    pub(crate) fn delivered(&self) -> Result<u64> {
        let map = self.ebpf.map("BACKEND_STATS").context("no map BACKEND_STATS")?;
        let map: PerCpuArray<_, Traffic> = map.try_into()?;
        Ok(map.get(&1, 0)?.iter().map(|traffic| traffic.packets).sum())
    }

    /// A program of this object for a tail call.
    pub(crate) fn fd(&self, name: &str) -> Result<ProgramFd> {
        let program = self.ebpf.program(name).ok_or_else(|| anyhow!("no program {name}"))?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Sends packets of this plan in turn with those of the next run's.
    pub(crate) fn answer_with(&mut self, plan: Plan) -> Result<()> {
        Ok(self.plan.set(1, plan, 0)?)
    }

    /// Sends `count` packets into a program; they come in by `ifindex`, or by the loopback
    /// interface if that is 0 (TC only). Fails if the driver did not send as many.
    pub(crate) fn run(
        &mut self,
        hook: Hook,
        target: &ProgramFd,
        plan: Plan,
        count: u32,
        ifindex: u32,
    ) -> Result<Run> {
        self.plan.set(0, plan, 0)?;
        let run = match hook {
            Hook::Xdp => {
                self.xdp_target.set(0, target, 0).context("this XDP program is no tail call")?;
                let driver = self.ebpf.program("drive_xdp").context("no XDP driver")?;
                let driver: &Xdp = driver.try_into()?;
                test_run(driver, count, None)?
            }
            Hook::Tc => {
                self.tc_target.set(0, target, 0).context("this TC program is no tail call")?;
                let driver = self.ebpf.program("drive_tc").context("no TC driver")?;
                let driver: &SchedClassifier = driver.try_into()?;
                let context = (ifindex != 0).then(|| skb(ifindex));
                test_run(driver, count, context.as_ref())?
            }
        };
        let driven = self.plan.get(&0, 0)?.counter;
        ensure!(driven == count, "the driver sent {driven} packets, not {count}");
        Ok(run)
    }
}

impl Rig {
    /// Sends `count` frames into an XDP program, or into the network stack if there is none, as if
    /// they came in by `ifindex` of this thread's network namespace. What the program decides is
    /// done.
    pub(crate) fn inject(
        &mut self,
        target: Option<&ProgramFd>,
        plan: Plan,
        count: u32,
        ifindex: u32,
    ) -> Result<()> {
        /// Frames that the stack gets at a time, as from a driver.
        const BATCH: u32 = 64;
        self.plan.set(0, plan, 0)?;
        let pass = self.fd("pass")?;
        self.xdp_target.set(0, target.unwrap_or(&pass), 0)?;
        let driver = self.ebpf.program("drive_xdp").context("no XDP driver")?;
        let driver: &Xdp = driver.try_into()?;
        let (input, context) = ([0; FRAME_LEN], xdp_md(ifindex));
        let mut options = TestRunOptions::new();
        options.data_in = Some(&input);
        options.ctx_in = Some(&context);
        options.repeat = count;
        options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        driver.test_run(options).context("the kernel refused live frames")?;
        Ok(())
    }
}

/// A `struct xdp_md` of a frame without metadata.
fn xdp_md(ifindex: u32) -> [u8; 24] {
    #[expect(clippy::cast_possible_truncation, reason = "a frame is short")]
    const DATA_END: u32 = FRAME_LEN as u32;
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&DATA_END.to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name).ok_or_else(|| anyhow!("no map {name}"))
}

/// The beginning of a `struct __sk_buff` with its `ifindex`: the only field that is set.
fn skb(ifindex: u32) -> [u8; 44] {
    let mut context = [0; 44];
    context[40..].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

fn test_run<P>(program: &P, repeat: u32, context: Option<&[u8; 44]>) -> Result<Run>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let (input, mut last) = ([0; FRAME_LEN], [0; FRAME_LEN]);
    let mut options = TestRunOptions::new();
    options.data_in = Some(&input);
    options.data_out = Some(&mut last);
    options.ctx_in = context.map(<[u8; 44]>::as_slice);
    options.repeat = repeat;
    let result = program.test_run(options).map_err(|error: ProgramError| {
        anyhow::Error::new(error).context("the kernel refused the test run")
    })?;
    ensure!(
        result.data_size_out as usize == FRAME_LEN,
        "the frame left with {} bytes",
        result.data_size_out
    );
    #[expect(clippy::cast_precision_loss, reason = "a few seconds at most")]
    let ns = result.duration.as_nanos() as f64;
    Ok(Run { ns, returned: result.return_value, last })
}
