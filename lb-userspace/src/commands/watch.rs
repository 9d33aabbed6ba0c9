//! `--watch`: the same picture again each second.

use std::{io::Write as _, iter, thread, time::Duration};

use crate::cli::output::Output;

const PERIOD: Duration = Duration::from_secs(1);

/// Draws once, or each second without end.
pub(super) fn draw(
    watch: bool,
    output: &mut Output<'_>,
    mut picture: impl FnMut(&mut Output<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if watch {
        let seconds = iter::repeat_with(|| thread::sleep(PERIOD));
        return draw_at(iter::once(()).chain(seconds), output, picture);
    }
    picture(output)?;
    Ok(output.flush()?)
}

/// A page at each moment, sent as a whole: the terminal shows nothing half drawn.
fn draw_at(
    moments: impl Iterator<Item = ()>,
    output: &mut Output<'_>,
    mut picture: impl FnMut(&mut Output<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (index, ()) in moments.enumerate() {
        output.next_page(index == 0)?;
        picture(output)?;
        output.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(moments: usize) -> (String, anyhow::Result<()>) {
        let mut bytes = Vec::new();
        let mut output = Output::plain(&mut bytes);
        let mut pictures = 0;
        let drawn = draw_at(iter::repeat_n((), moments), &mut output, |output| {
            pictures += 1;
            anyhow::ensure!(pictures < 3, "gone");
            Ok(writeln!(output, "picture {pictures}")?)
        });
        drop(output);
        (String::from_utf8(bytes).unwrap(), drawn)
    }

    #[test]
    fn pictures_follow_each_other_until_one_fails() {
        assert_eq!(text(0).0, "");
        assert_eq!(text(1).0, "picture 1\n");
        assert_eq!(text(2).0, "picture 1\n\npicture 2\n");
        assert!(text(2).1.is_ok());
        assert_eq!(text(9).1.unwrap_err().to_string(), "gone");
    }
}
