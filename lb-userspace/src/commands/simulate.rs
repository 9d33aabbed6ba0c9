//! `weir simulate`: packets through the real program, in the kernel, touching no interface.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write as _},
};

use anyhow::{Context as _, bail};
use lb_common::pipeline::verdict::{Class, Reason};

use crate::{
    cli::{SimulateArgs, SimulateMode, output::Output},
    config, daemon,
    dataplane::{
        Dataplane, LoadOptions,
        testrun::{Mode, Outcome},
    },
    maps::LbMaps as _,
    model::Config,
    pcap::{CaptureWriter, Frame, FrameError, SimulationLine, read_capture, read_hex, to_hex},
};

/// Runs all packets and prints a line for each.
pub fn run(args: &SimulateArgs, out: &mut Output<'_>) -> anyhow::Result<()> {
    let config = config::load(&args.config)?.config;
    let mode = match args.mode {
        SimulateMode::Xdp => Mode::Xdp,
        SimulateMode::Tc => Mode::Tc,
    };
    let mut simulation = Simulation::new(config)?;
    let mut capture = match &args.out {
        Some(path) => {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            Some(CaptureWriter::new(file)?)
        }
        None => None,
    };
    for frame in frames(args)? {
        let frame = frame?;
        let (line, outgoing) = simulation.packet(mode, &frame)?;
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        if let (Some(capture), Some(bytes)) = (&mut capture, &outgoing) {
            capture.write(bytes)?;
        }
    }
    if let Some(capture) = capture {
        capture.finish()?;
    }
    Ok(out.flush()?)
}

/// All packets of the input.
fn frames(
    args: &SimulateArgs,
) -> anyhow::Result<Box<dyn Iterator<Item = Result<Frame, FrameError>>>> {
    let open = |path: &std::path::Path| -> anyhow::Result<Box<dyn Read>> {
        if path.as_os_str() == "-" {
            return Ok(Box::new(io::stdin()));
        }
        Ok(Box::new(File::open(path).with_context(|| path.display().to_string())?))
    };
    match (&args.pcap, &args.hex) {
        (Some(path), _) => Ok(Box::new(read_capture(open(path)?)?)),
        (None, Some(path)) => Ok(Box::new(read_hex(BufReader::new(open(path)?)))),
        (None, None) => bail!("nothing to simulate: name a file with --pcap or --hex"),
    }
}

/// A dataplane of its own, attached to nothing.
struct Simulation {
    dataplane: Dataplane,
    names: daemon::Names,
}

impl Simulation {
    fn new(config: Config) -> anyhow::Result<Self> {
        let options = LoadOptions { limits: config.limits, bpffs: None, trace: true };
        let mut dataplane = Dataplane::load(&options)?;
        let ticks_per_second = dataplane.ticks_per_second()?;
        let writes = daemon::writes_for(config, ticks_per_second)?;
        for write in &writes.writes {
            dataplane.maps.write(write)?;
        }
        Ok(Self { dataplane, names: writes.names })
    }

    /// One packet: its line, and the frame as it leaves.
    fn packet(
        &mut self,
        mode: Mode,
        frame: &Frame,
    ) -> anyhow::Result<(SimulationLine, Option<Vec<u8>>)> {
        let Outcome { returned, trace, bytes } = self.dataplane.test_run(mode, &frame.bytes)?;
        let reason = Reason::from_number(trace.reason).context("the program gave no reason")?;
        let action = action(mode, returned);
        let outgoing = (reason.class() != Class::Drop).then_some(bytes);
        let line = SimulationLine {
            n: frame.number,
            action: action.to_owned(),
            reason: reason.name().to_owned(),
            service: self.names.service(trace.service),
            backend: self.names.backend(trace.backend),
            out: outgoing.as_deref().map(to_hex),
        };
        Ok((line, outgoing))
    }
}

/// What the kernel was told, in the words of the documentation.
const fn action(mode: Mode, returned: i32) -> &'static str {
    match (mode, returned) {
        (Mode::Xdp, 1) | (Mode::Tc, 2) => "drop",
        (Mode::Xdp, 3) => "tx",
        (Mode::Xdp, 4) | (Mode::Tc, 7) => "redirect",
        _ => "pass",
    }
}
