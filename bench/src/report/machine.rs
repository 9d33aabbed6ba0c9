//! Where and when a run took place: what another machine would do otherwise.

use std::{
    env, fs,
    process::{Command, Stdio},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// A run of the bench.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    /// UTC.
    pub(crate) date: String,
    /// Of the source beside this program; "-dirty" if files differ from it.
    pub(crate) commit: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    /// Processes that wanted a processor, on average of the minute before.
    pub(crate) load_before: f64,
    /// Of the last minute; the bench itself is in it.
    pub(crate) load_after: f64,
    pub(crate) seconds: f64,
    #[serde(skip)]
    began: Instant,
}

/// What does not change from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) memory_mib: u64,
    pub(crate) is_virtual: bool,
    pub(crate) kernel: String,
    /// `net.core.bpf_jit_enable` and `bpf_jit_harden`.
    pub(crate) jit: String,
    /// What the kernel does against flaws of the processor.
    pub(crate) mitigations: Vec<String>,
    pub(crate) clock: String,
    pub(crate) governor: String,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            date: String::new(),
            commit: String::new(),
            command: String::new(),
            machine: Machine::default(),
            load_before: 0.0,
            load_after: 0.0,
            seconds: 0.0,
            began: Instant::now(),
        }
    }
}

impl Run {
    pub(super) fn begin() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            date: utc(since.as_secs()),
            commit: commit(),
            command: command_line(env::args()),
            machine: Machine::read(),
            load_before: load(),
            ..Self::default()
        }
    }

    pub(super) fn end(&mut self) {
        self.load_after = load();
        self.seconds = self.began.elapsed().as_secs_f64();
    }
}

impl Machine {
    fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpuinfo = read("/proc/cpuinfo");
        let or_none = |text: String| if text.is_empty() { "unknown".to_owned() } else { text };
        Self {
            cpu: or_none(field(&cpuinfo, "model name").unwrap_or_default().to_owned()),
            processors: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            is_virtual: field(&cpuinfo, "flags").is_some_and(|flags| flags.contains("hypervisor")),
            kernel: or_none(read("/proc/sys/kernel/osrelease")),
            jit: jit(
                &read("/proc/sys/net/core/bpf_jit_enable"),
                &read("/proc/sys/net/core/bpf_jit_harden"),
            ),
            mitigations: mitigations(),
            clock: or_none(read(
                "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            )),
            governor: or_none(read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let Self { cpu, processors, memory_mib, kernel, jit, .. } = self;
        let kind = if self.is_virtual { ", virtual" } else { "" };
        format!("{cpu}, {processors} processors{kind}, {memory_mib} MiB, Linux {kernel}, {jit}")
    }
}

/// The value of a line "name : value" of `/proc/cpuinfo`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn memory_mib(meminfo: &str) -> u64 {
    let total = field(meminfo, "MemTotal").and_then(|value| value.strip_suffix(" kB"));
    total.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn jit(enable: &str, harden: &str) -> String {
    let on = match enable {
        "0" => "JIT off",
        "1" => "JIT on",
        "2" => "JIT on, with its output in the log",
        _ => "JIT unknown",
    };
    match harden {
        "0" | "" => on.to_owned(),
        _ => format!("{on}, hardened"),
    }
}

/// A line each, but for what this processor has not.
fn mitigations() -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return found };
    for entry in entries.flatten() {
        let said = fs::read_to_string(entry.path()).unwrap_or_default();
        let said = said.trim();
        if !said.is_empty() && said != "Not affected" {
            found.push(format!("{}: {said}", entry.file_name().to_string_lossy()));
        }
    }
    found.sort_unstable();
    found
}

fn load() -> f64 {
    first_number(&fs::read_to_string("/proc/loadavg").unwrap_or_default())
}

fn first_number(text: &str) -> f64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

/// The commit of the source, whoever owns it.
pub(crate) fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "-C", env!("CARGO_MANIFEST_DIR")]);
    git.args(["describe", "--always", "--exclude=*", "--dirty", "--abbrev=12"]);
    let output = git.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let said = said.map(|said| String::from_utf8_lossy(&said).trim().to_owned());
    said.filter(|said| !said.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// The command as one would type it: the program without its directory, words with blanks quoted.
fn command_line(words: impl Iterator<Item = String>) -> String {
    let mut line = String::from("weir-bench");
    for word in words.skip(1) {
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=,%@+".contains(char);
        if !word.is_empty() && word.chars().all(plain) {
            line = line + " " + &word;
        } else {
            line = line + " '" + &word.replace('\'', r"'\''") + "'";
        }
    }
    line
}

/// Seconds since 1970 as a date (the days by Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
pub(crate) fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }

    #[test]
    fn the_command_can_be_typed_again() {
        let line = |words: &[&str]| {
            let words = ["/target/release/weir-bench"].iter().chain(words);
            command_line(words.map(|word| (*word).to_owned()))
        };
        for (words, expected) in [
            (&[][..], "weir-bench"),
            (
                &["program", "--quick", "--json", "/tmp/a.json"],
                "weir-bench program --quick --json /tmp/a.json",
            ),
            (&["program", "--only", "not ours"], "weir-bench program --only 'not ours'"),
            (&["it's", ""], r"weir-bench 'it'\''s' ''"),
        ] {
            assert_eq!(line(words), expected);
        }
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t\t: fpu hypervisor\n";
        assert_eq!(field(cpuinfo, "model name"), Some("AMD EPYC 7B13"));
        assert_eq!(field(cpuinfo, "model"), None);
        assert_eq!(memory_mib("MemTotal:       16398948 kB\nMemFree: 1 kB"), 16_014);
        for wrong in ["", "MemTotal: many kB", "MemTotal: 5 MB"] {
            assert_eq!(memory_mib(wrong), 0, "{wrong}");
        }
        assert!((first_number("0.52 0.58 0.59 1/389 12345") - 0.52).abs() < 1e-9);
        assert!(first_number("").is_nan() && first_number("much").is_nan());
        for (enable, harden, text) in [
            ("1", "0", "JIT on"),
            ("0", "0", "JIT off"),
            ("1", "2", "JIT on, hardened"),
            ("", "", "JIT unknown"),
        ] {
            assert_eq!(jit(enable, harden), text);
        }
    }
}
