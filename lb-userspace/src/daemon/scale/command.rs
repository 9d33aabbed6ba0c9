//! A program that is told how many replicas there shall be.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

use super::act::{Job, Outcome};
use crate::{autoscale::fleet::pause, chain::one_line};

/// What is kept of its last words.
const WORDS_MAX: usize = 400;
/// What is remembered of them meanwhile.
const BYTES_MAX: usize = 8 * 1024;
/// How long they may come after its end.
const LATE: Duration = Duration::from_millis(200);

/// When the program is run.
#[derive(Debug, Default)]
pub(super) struct Hook {
    runs: bool,
    /// What it was told last, and did.
    told: Option<u32>,
    failures: u32,
    /// The last failure.
    failed: Option<(Instant, String)>,
    /// How often it was run, and how often it failed.
    pub(super) counts: (u64, u64),
}

impl Hook {
    /// Whether it has something to hear. Of a number that is true already it need not.
    pub(super) fn is_due(&mut self, now: Instant, current: u32, desired: u32) -> bool {
        if self.told.is_none() && current == desired {
            self.told = Some(desired);
        }
        !self.runs && self.told != Some(desired) && self.left(now).is_zero()
    }

    pub(super) fn begin(&mut self) {
        self.runs = true;
        self.counts.0 += 1;
    }

    pub(super) fn ran(&mut self, now: Instant, desired: u32, result: Result<(), String>) {
        self.runs = false;
        match result {
            Ok(()) => (self.told, self.failures, self.failed) = (Some(desired), 0, None),
            Err(why) => {
                self.counts.1 += 1;
                self.failures = self.failures.saturating_add(1);
                self.failed = Some((now, why));
            }
        }
    }

    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        let (_, why) = self.failed.as_ref()?;
        Some(format!("the command failed: {why}; tried again in {} s", self.left(now).as_secs()))
    }

    fn left(&self, now: Instant) -> Duration {
        let Some((at, _)) = &self.failed else { return Duration::ZERO };
        pause(self.failures).saturating_sub(now.saturating_duration_since(*at))
    }
}

/// Begins to run it, and tells the outcome.
pub(super) fn spawn(
    job: &Job<'_>,
    current: u32,
    (program, arguments): (&Path, &[String]),
    patience: Duration,
) {
    let mut command = Command::new(program);
    command.args(arguments);
    command.env("WEIR_SERVICE", job.name.as_str());
    command.env("WEIR_CURRENT", current.to_string());
    command.env("WEIR_DESIRED", job.desired.to_string());
    command.env("WEIR_REASON", &job.reason);
    // A group of its own: what it has started ends with it.
    command.process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (tell, service, desired) = (job.tell.clone(), job.name.clone(), job.desired);
    let program = program.to_owned();
    tokio::spawn(async move {
        let result = run(command, &program, patience).await;
        let result = result.map_err(|error| one_line(&error));
        // A daemon that has ended needs no answer.
        drop(tell.send((service, Outcome::Ran(desired, result))));
    });
}

async fn run(mut command: Command, program: &Path, patience: Duration) -> anyhow::Result<()> {
    let mut child = command.spawn().with_context(|| program.display().to_string())?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let words = child.stderr.take();
    let words = tokio::spawn(last_words(words));
    let Ok(status) = timeout(patience, child.wait()).await else {
        let ended = group.map(|group| killpg(group, Signal::SIGKILL));
        if let Some(Err(error)) = ended {
            tracing::debug!(%error, "it has ended just now");
        }
        bail!("it took longer than {patience:?}, and was ended");
    };
    let status = status?;
    if status.success() {
        return Ok(());
    }
    // What it leaves running may hold the pipe open.
    let words = timeout(LATE, words).await.ok().and_then(Result::ok).unwrap_or_default();
    if words.is_empty() {
        bail!("{status}");
    }
    bail!("{status}: {words}")
}

/// The end of what it complained, in one line.
async fn last_words(words: Option<impl AsyncRead + Unpin>) -> String {
    let (mut bytes, Some(mut words)) = (Vec::new(), words) else { return String::new() };
    // What was read before an error is told.
    while let Ok(1..) = words.read_buf(&mut bytes).await {
        let surplus = bytes.len().saturating_sub(BYTES_MAX);
        bytes.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env("WEIR_DESIRED", "3");
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    #[test]
    fn a_program_is_told_once_and_again_after_a_failure() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut hook = Hook::default();
        assert!(!hook.is_due(at(0), 2, 2), "so it is already");
        assert!(hook.is_due(at(1), 2, 4));
        hook.begin();
        assert!(!hook.is_due(at(2), 2, 5), "it runs");
        hook.ran(at(3), 4, Err("exit status: 1".to_owned()));
        let trouble = "the command failed: exit status: 1; tried again in 6 s";
        assert_eq!(hook.trouble(at(7)).as_deref(), Some(trouble));
        assert!(!hook.is_due(at(12), 2, 5) && hook.is_due(at(13), 2, 5));
        hook.begin();
        hook.ran(at(14), 5, Ok(()));
        assert!(hook.trouble(at(15)).is_none() && !hook.is_due(at(15), 2, 5));
        assert!(hook.is_due(at(15), 5, 2));
        assert_eq!(hook.counts, (2, 1));
    }

    #[test]
    fn what_nobody_knows_is_told() {
        let now = Instant::now();
        assert!(Hook::default().is_due(now, 0, 2));
    }

    #[tokio::test]
    async fn it_ends_well_or_says_why_not() {
        let patience = Duration::from_secs(5);
        let rows = [
            ("test \"$WEIR_DESIRED\" = 3", ""),
            ("exit 3", "exit status: 3"),
            ("echo one >&2; echo ' two' >&2; exit 1", "exit status: 1:  two"),
            ("kill -9 $$", "signal: 9 (SIGKILL)"),
        ];
        for (script, expected) in rows {
            let result = run(shell(script), Path::new("/bin/sh"), patience).await;
            let said = result.map_err(|error| one_line(&error)).err().unwrap_or_default();
            assert_eq!(said, expected, "{script}");
        }
        let nothing = Command::new("/nonexistent/program");
        let error = run(nothing, Path::new("/nonexistent/program"), patience).await.unwrap_err();
        assert!(one_line(&error).starts_with("/nonexistent/program: "), "{error:#}");
    }

    #[tokio::test]
    async fn it_and_what_it_started_end_with_their_time() {
        let patience = Duration::from_millis(300);
        let begun = Instant::now();
        let result = run(shell("sleep 60 & sleep 60"), Path::new("/bin/sh"), patience).await;
        assert!(result.unwrap_err().to_string().starts_with("it took longer than 300ms"));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
