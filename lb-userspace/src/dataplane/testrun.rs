//! One packet through a loaded program, by `BPF_PROG_TEST_RUN`.

use aya::programs::{ProgramError, SchedClassifier, TestRun, TestRunOptions, TestRunResult};
use lb_common::abi::trace::Trace;

use super::{Dataplane, LoadError};

/// More than a program adds to a packet.
const ADDED_MAX: usize = 256;

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the program returned to the kernel.
    pub returned: i32,
    /// What it says it did.
    pub trace: Trace,
    /// The packet afterwards.
    pub bytes: Vec<u8>,
}

/// Which program to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The XDP program.
    Xdp,
    /// The TC program.
    Tc,
}

impl Dataplane {
    /// Runs a packet through the program; needs [`LoadOptions::trace`](super::LoadOptions::trace)
    /// to say what it did.
    pub fn test_run(&mut self, mode: Mode, packet: &[u8]) -> Result<Outcome, LoadError> {
        let (result, bytes) = match mode {
            Mode::Xdp => run_for(&*self.xdp()?, packet, "weir_xdp")?,
            Mode::Tc => run_for(&*self.classifier("weir_tc")?, packet, "weir_tc")?,
        };
        let trace = self.maps.trace()?;
        Ok(Outcome { returned: result.return_value.cast_signed(), trace, bytes })
    }
}

/// Runs a classifier for its effects on maps.
pub(super) fn run(program: &SchedClassifier, packet: &[u8]) -> Result<(), LoadError> {
    run_for(program, packet, "weir_clock").map(drop)
}

fn run_for<P>(
    program: &P,
    packet: &[u8],
    name: &'static str,
) -> Result<(TestRunResult, Vec<u8>), LoadError>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let mut out = vec![0; packet.len() + ADDED_MAX];
    let mut options = TestRunOptions::new();
    options.data_in = Some(packet);
    options.data_out = Some(&mut out);
    let refused = |source: ProgramError| LoadError::Program { name, source: Box::new(source) };
    let result = program.test_run(options).map_err(refused)?;
    out.truncate(result.data_size_out as usize);
    Ok((result, out))
}
