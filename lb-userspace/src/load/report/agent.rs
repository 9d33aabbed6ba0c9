//! The line of an agent check, as `HAProxy`'s configuration manual (`agent-check`) has it.
//!
//! Words in any order and any case, between blanks, tabs or commas: a percentage (`75%`), `up`,
//! `down`, `stopped`, `fail`, `ready`, `drain`, `maint`, `maxconn:N`. What follows `#` is for
//! people. What is not said is not changed; of two words about one thing the last one counts.

use super::shown;

/// The longest line that is looked at.
pub(super) const LINE_MAX: usize = 1024;
/// The longest remark that is kept.
const REMARK_MAX: usize = 200;

/// Why a line is not an agent's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// Nothing was said.
    #[error("the agent said nothing")]
    Empty,
    /// No word of it is known.
    #[error("the agent's answer is not understood: {0}")]
    NotUnderstood(String),
    /// Too much was said.
    #[error("the agent's answer is longer than {LINE_MAX} bytes")]
    TooLong,
}

/// What an agent asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentReport {
    /// Share of the configured weight, which may be more than all of it. 0 takes no new flows.
    pub percent: Option<u16>,
    /// The administrator's wish.
    pub administrative: Option<Administrative>,
    /// The service's state.
    pub operational: Option<Operational>,
    /// Connections that the backend wants at most.
    pub connections_max: Option<u32>,
    /// A remark for people.
    pub remark: Option<String>,
    /// The first word that is not known, while others are.
    pub unknown: Option<String>,
}

/// The administrator's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Administrative {
    /// Takes new flows: ends the other two.
    Ready,
    /// Keeps its flows, takes no new ones.
    Drain,
    /// Takes nothing.
    Maintenance,
}

/// The service's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operational {
    /// It serves, if health checks agree.
    Up,
    /// It does not: `down`.
    Down,
    /// Somebody stopped it: `stopped`.
    Stopped,
    /// It is broken: `fail`.
    Failed,
}

impl AgentReport {
    /// Reads the first line of an answer.
    pub fn parse(answer: &[u8]) -> Result<Self, AgentError> {
        let end = answer.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = &answer[..end.unwrap_or(answer.len())];
        if line.len() > LINE_MAX {
            return Err(AgentError::TooLong);
        }
        let sharp = line.iter().position(|&byte| byte == b'#');
        let (words, remark) = line.split_at(sharp.unwrap_or(line.len()));
        let mut report = Self { remark: remark_of(remark), ..Self::default() };
        let mut understood = false;
        let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
        for word in words.split(separates).filter(|word| !word.is_empty()) {
            if report.apply(&word.to_ascii_lowercase()) {
                understood = true;
            } else {
                report.unknown.get_or_insert_with(|| shown(word));
            }
        }
        match report.unknown {
            _ if understood => Ok(report),
            Some(_) => Err(AgentError::NotUnderstood(shown(line))),
            None => Err(AgentError::Empty),
        }
    }

    /// Whether the word is known.
    fn apply(&mut self, word: &[u8]) -> bool {
        match word {
            b"ready" => self.administrative = Some(Administrative::Ready),
            b"drain" => self.administrative = Some(Administrative::Drain),
            b"maint" => self.administrative = Some(Administrative::Maintenance),
            b"up" => self.operational = Some(Operational::Up),
            b"down" => self.operational = Some(Operational::Down),
            b"stopped" => self.operational = Some(Operational::Stopped),
            b"fail" => self.operational = Some(Operational::Failed),
            other => return self.apply_number(other),
        }
        true
    }

    fn apply_number(&mut self, word: &[u8]) -> bool {
        if let Some(percent) = word.strip_suffix(b"%").and_then(number) {
            self.percent = Some(percent);
        } else if let Some(most) = word.strip_prefix(b"maxconn:").and_then(number) {
            self.connections_max = Some(most);
        } else {
            return false;
        }
        true
    }
}

/// Digits only: `parse` alone would take a sign.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let digits = std::str::from_utf8(text).ok()?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Without control characters, which a terminal might obey.
fn remark_of(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text.strip_prefix(b"#")?);
    let clean: String =
        text.trim().chars().filter(|character| !character.is_control()).take(REMARK_MAX).collect();
    if clean.is_empty() { None } else { Some(clean) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn none() -> AgentReport {
        AgentReport::default()
    }

    #[test]
    fn words_come_in_any_order_and_case() {
        let percent = |percent| AgentReport { percent: Some(percent), ..none() };
        let is = |operational| AgentReport { operational: Some(operational), ..none() };
        let wants = |it| AgentReport { administrative: Some(it), ..none() };
        let remark = |text: &str, report| AgentReport { remark: Some(text.to_owned()), ..report };
        #[rustfmt::skip]
        let table: [(&[u8], AgentReport); 19] = [
            (b"75%\n",             percent(75)),
            (b"0%\r\n",            percent(0)),
            (b"250%",              percent(250)),
            (b"up\n",              is(Operational::Up)),
            (b"UP\n",              is(Operational::Up)),
            (b"down\n",            is(Operational::Down)),
            (b"stopped\n",         is(Operational::Stopped)),
            (b"fail\n",            is(Operational::Failed)),
            (b"ready\n",           wants(Administrative::Ready)),
            (b"drain\n",           wants(Administrative::Drain)),
            (b"maint\n",           wants(Administrative::Maintenance)),
            (b"maxconn:30\n",      AgentReport { connections_max: Some(30), ..none() }),
            (b"down #disk full\n", remark("disk full", is(Operational::Down))),
            (b"down#  up 5%\n",    remark("up 5%", is(Operational::Down))),
            (b"75% #\n",           percent(75)),
            (b"up # \x1b[31mred\n", remark("[31mred", is(Operational::Up))),
            (b"75%\nmaint\n",      percent(75)),
            (b"10% 20%\n",         percent(20)),
            (b" \t,ready,,up 50%\tmaxconn:7\n", AgentReport {
                percent: Some(50), administrative: Some(Administrative::Ready),
                operational: Some(Operational::Up), connections_max: Some(7), ..none() }),
        ];
        for (line, expected) in table {
            assert_eq!(AgentReport::parse(line), Ok(expected), "{}", shown(line));
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        #[rustfmt::skip]
        let table: [&[u8]; 21] = [
            b"75\n", b"%\n", b"-5%\n", b"+5%\n", b"7 5 %\n", b"75 %\n", b"65536%\n", b"1.5%\n", b"75%%\n",
            b"maxconn:\n", b"maxconn: 5\n", b"maxconn:-1\n", b"maxconn:4294967296\n", b"maxconn=5\n",
            b"upp\n", b"\"up\"\n", b"u p\n", b"\xff\xfe\n", b"\0up\n", b"HTTP/1.1 200 OK\r\n", b"{\"up\":1}\n",
        ];
        for line in table {
            let error = AgentReport::parse(line).unwrap_err();
            assert!(matches!(error, AgentError::NotUnderstood(_)), "{}: {error}", shown(line));
        }
        for line in [&b""[..], b"\n", b"\r\n", b" ,\t\n", b"\nup\n", b"# up\n"] {
            assert_eq!(AgentReport::parse(line), Err(AgentError::Empty), "{}", shown(line));
        }
    }

    #[test]
    fn an_unknown_word_does_not_hide_the_known_ones() {
        let found = AgentReport::parse(b"sideways drain backwards 5%\n").unwrap();
        assert_eq!(found.administrative, Some(Administrative::Drain));
        assert_eq!((found.percent, found.unknown.as_deref()), (Some(5), Some("\"sideways\"")));
    }

    #[test]
    fn a_line_has_an_end() {
        let line = |length: usize| [&b"up "[..], &vec![b' '; length - 3]].concat();
        assert!(AgentReport::parse(&line(1024)).is_ok());
        assert_eq!(AgentReport::parse(&line(1025)), Err(AgentError::TooLong));
        let long = [&b"up #"[..], &[b'x'; 1000]].concat();
        assert_eq!(AgentReport::parse(&long).unwrap().remark.map(|text| text.len()), Some(200));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(line in prop::collection::vec(any::<u8>(), 0..1500)) {
            if let Ok(report) = AgentReport::parse(&line) {
                let texts = report.remark.iter().chain(&report.unknown);
                prop_assert!(texts.clone().all(|text| !text.chars().any(char::is_control)));
                prop_assert!(texts.clone().all(|text| text.chars().count() <= 400));
            }
        }

        #[test]
        fn what_is_written_is_read(percent: u16, most: u32, gap in "[ ,\t]{1,3}") {
            let line = format!("maxconn:{most}{gap}{percent}%{gap}drain\n");
            let report = AgentReport::parse(line.as_bytes()).unwrap();
            prop_assert_eq!(report.percent, Some(percent));
            prop_assert_eq!(report.connections_max, Some(most));
            prop_assert_eq!(report.administrative, Some(Administrative::Drain));
        }
    }
}
