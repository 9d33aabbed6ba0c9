//! A program of the user's, timed beside ours: any object that can be loaded without preparation.

use std::{fmt, fs, path::PathBuf, str::FromStr};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramFd, ProgramInfo},
};

use super::layout::FRAME_LEN;
use crate::weir::Hook;

/// The object and the name of the program in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) object: PathBuf,
    pub(crate) program: String,
}

impl FromStr for Named {
    type Err = String;

    /// `OBJECT:PROGRAM`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once(':') {
            Some((object, program)) if !object.is_empty() && !program.is_empty() => {
                Ok(Self { object: object.into(), program: program.to_owned() })
            }
            Some(_) | None => Err(format!("\"{text}\" is not OBJECT:PROGRAM")),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.object.display(), self.program)
    }
}

/// A frame that is sent as it is, in hexadecimal digits; padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Template(pub(crate) [u8; FRAME_LEN]);

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: Vec<char> = text.chars().filter(|char| !" :\n".contains(*char)).collect();
        let most = 2 * FRAME_LEN;
        let are_digits = digits.iter().all(char::is_ascii_hexdigit);
        if digits.is_empty()
            || !are_digits
            || !digits.len().is_multiple_of(2)
            || digits.len() > most
        {
            return Err(format!("a frame is pairs of hexadecimal digits, {most} at most"));
        }
        let mut frame = [0; FRAME_LEN];
        for (byte, pair) in frame.iter_mut().zip(digits.chunks(2)) {
            let pair: String = pair.iter().collect();
            *byte = u8::from_str_radix(&pair, 16).map_err(|_| format!("\"{pair}\" is no byte"))?;
        }
        Ok(Self(frame))
    }
}

/// The loaded program.
pub(crate) struct Beside {
    ebpf: Ebpf,
    pub(crate) named: Named,
    pub(crate) hook: Hook,
}

impl Beside {
    /// Loads the program and its maps, and nothing else of the object.
    pub(crate) fn load(named: &Named) -> Result<Self> {
        let bytes = fs::read(&named.object)
            .with_context(|| format!("cannot read {}", named.object.display()))?;
        let mut ebpf = EbpfLoader::new()
            .load(&bytes)
            .with_context(|| format!("cannot load {}", named.object.display()))?;
        let names: Vec<String> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
        let program = ebpf.program_mut(&named.program).ok_or_else(|| {
            anyhow!("{} has no program of this name: it has {}", named, names.join(", "))
        })?;
        let hook = if let Program::Xdp(program) = program {
            program.load().with_context(|| named.to_string())?;
            Hook::Xdp
        } else if let Program::SchedClassifier(program) = program {
            program.load().with_context(|| named.to_string())?;
            Hook::Tc
        } else {
            bail!("{named} is neither for XDP nor for TC: {:?}", program.prog_type());
        };
        Ok(Self { ebpf, named: named.clone(), hook })
    }

    pub(crate) fn fd(&self) -> Result<ProgramFd> {
        let program = self.ebpf.program(&self.named.program).context("no program")?;
        Ok(program.fd()?.try_clone()?)
    }

    /// What the kernel says of it.
    pub(crate) fn info(&self) -> Result<ProgramInfo> {
        Ok(self.ebpf.program(&self.named.program).context("no program")?.info()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_and_a_program_are_named() {
        let named = |object: &str, program: &str| Named {
            object: object.into(),
            program: program.to_owned(),
        };
        for (text, expected) in [
            ("a.o:prog", Some(named("a.o", "prog"))),
            ("/a:b/c.o:prog", Some(named("/a:b/c.o", "prog"))),
            ("a.o", None),
            (":prog", None),
            ("a.o:", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_frame_is_pairs_of_digits() {
        let Template(frame) = "02:00 00\n0a fF".parse().unwrap();
        assert_eq!(frame[..5], [2, 0, 0, 10, 255]);
        assert!(frame[5..].iter().all(|byte| *byte == 0));
        assert!("00".repeat(FRAME_LEN).parse::<Template>().is_ok());
        for wrong in ["", " ", "0", "000", "0g", "+1", "é0", &"00".repeat(FRAME_LEN + 1)] {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
    }
}
