//! Several reports as one: a page that leads to them, and a table for a README.

use std::fmt::{self, Write as _};

use super::{
    Saved, Verdict,
    compare::SavedRow,
    figure,
    html::{escape, head},
};

/// One report of several, or why there is none.
#[derive(Debug)]
pub(crate) struct Part {
    /// Of its files.
    pub(crate) name: &'static str,
    /// What went wrong.
    pub(crate) note: Option<String>,
    pub(crate) saved: Option<Saved>,
}

impl Part {
    fn count(&self, verdict: Verdict) -> usize {
        self.rows().iter().filter(|row| row.verdict == verdict).count()
    }

    fn rows(&self) -> &[SavedRow] {
        self.saved.as_ref().map_or(&[], |saved| &saved.rows)
    }

    /// What was measured twice: lowest and highest end.
    fn noise(&self) -> String {
        let twice = self.rows().iter().filter(|row| row.id == "A/A");
        let ends = twice.map(|row| {
            let middle = row.value.median;
            row.interval.map_or((middle, middle), |it| (it.low, it.high))
        });
        let all = ends.reduce(|(low, high), (min, max)| (low.min(min), high.max(max)));
        all.map_or_else(String::new, |(low, high)| format!("{low:.3} .. {high:.3}"))
    }
}

const VERDICTS: [(Verdict, &str); 4] = [
    (Verdict::Aim, "aim met"),
    (Verdict::Must, "must met"),
    (Verdict::Missed, "NOT MET"),
    (Verdict::Open, "no bar"),
];

/// The page that leads to the others.
pub(crate) fn page(parts: &[Part]) -> String {
    let mut page = head("weir-bench");
    let written = write_page(&mut page, parts);
    debug_assert!(written.is_ok(), "a string takes everything");
    page.push_str("</body>\n</html>\n");
    page
}

fn write_page(page: &mut String, parts: &[Part]) -> fmt::Result {
    page.push_str("<h1>weir-bench</h1>\n");
    if let Some(run) = parts.iter().find_map(|part| part.saved.as_ref()).map(|it| &it.run) {
        writeln!(page, "<p class=\"faint\">{}</p>", escape(&run.machine.line()))?;
    }
    page.push_str(
        "<div class=\"wide\"><table>\n<tr><th class=\"l\">report</th><th>aim met</th><th>must met</th>\
         <th>NOT MET</th><th>no bar</th><th>noise</th><th class=\"l\">begun</th><th class=\"l\">commit</th>\
         <th class=\"l\">files</th><th class=\"l\"></th></tr>\n",
    );
    for part in parts {
        let name = escape(part.name);
        let link = |kind: &str| format!("<a href=\"{name}.{kind}\">{kind}</a>");
        let (title, files) = if part.saved.is_some() {
            let files = ["html", "json", "csv"].map(link).join(" ");
            (format!("<a href=\"{name}.html\">{name}</a>"), files)
        } else {
            (name.clone(), String::new())
        };
        write!(page, "<tr><td class=\"l\">{title}</td>")?;
        for (verdict, _) in VERDICTS {
            write!(page, "<td>{}</td>", part.count(verdict))?;
        }
        let note = escape(part.note.as_deref().unwrap_or_default());
        let noise = part.noise();
        // Others may have been there before.
        let run = part.saved.as_ref().map(|saved| &saved.run);
        let [date, commit] = [run.map(|it| &it.date), run.map(|it| &it.commit)]
            .map(|it| escape(it.map_or("", String::as_str)));
        writeln!(
            page,
            "<td>{noise}</td><td class=\"l\">{date}</td><td class=\"l\">{commit}</td>\
             <td class=\"l\">{files}</td><td class=\"l missed\">{note}</td></tr>"
        )?;
    }
    page.push_str("</table></div>\n");
    for part in parts.iter().filter(|part| part.rows().iter().any(|row| row.bar.is_some())) {
        writeln!(page, "<h2><a href=\"{0}.html\">{0}</a></h2>", escape(part.name))?;
        rows(page, part.rows())?;
    }
    Ok(())
}

fn rows(page: &mut String, rows: &[SavedRow]) -> fmt::Result {
    page.push_str(
        "<div class=\"wide\"><table>\n<tr><th class=\"l\">row</th><th class=\"l\">what</th><th>median</th>\
         <th>95 % interval</th><th>must</th><th>aim</th><th class=\"l\">verdict</th></tr>\n",
    );
    for row in rows {
        let [median, sure, must, aim] = cells(row).map(|cell| escape(&cell));
        let (class, word) = super::html::verdict(row.verdict);
        writeln!(
            page,
            "<tr><td class=\"l\">{}</td><td class=\"l what\">{}</td><td>{median}</td><td>{sure}</td>\
             <td>{must}</td><td>{aim}</td><td class=\"l {class}\">{word}</td></tr>",
            escape(&row.id),
            escape(&row.what)
        )?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

/// Median, interval and bars.
fn cells(row: &SavedRow) -> [String; 4] {
    let sure = row.interval.map(|it| format!("{} .. {}", figure(it.low), figure(it.high)));
    let limit = |limit: Option<f64>| match (row.bar, limit) {
        (Some(bar), Some(limit)) => format!("{} {limit}", bar.sign()),
        (Some(_) | None, _) => String::new(),
    };
    let (must, aim) = (row.bar.and_then(|it| it.must), row.bar.and_then(|it| it.aim));
    [figure(row.value.median), sure.unwrap_or_default(), limit(must), limit(aim)]
}

/// What has a bar, in Markdown.
pub(crate) fn summary(parts: &[Part]) -> String {
    let mut text = String::new();
    for Part { name, note, saved } in parts {
        let note = note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
        text = format!("{text}## {name}{note}\n\n");
        let Some(saved) = saved else { continue };
        let (date, commit) = (&saved.run.date, &saved.run.commit);
        let machine = saved.run.machine.line();
        text = format!("{text}{date}, commit {commit}, {machine}\n\n");
        text.push_str("| row | what | median | 95 % interval | must | aim | |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for row in saved.rows.iter().filter(|row| row.verdict != Verdict::Open || row.id == "A/A") {
            let [median, sure, must, aim] = cells(row);
            let (id, what, word) = (&row.id, row.what.replace('|', "\\|"), row.verdict.word());
            text =
                format!("{text}| {id} | {what} | {median} | {sure} | {must} | {aim} | {word} |\n");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Bar, Report, Row};

    fn parts() -> Vec<Part> {
        let mut report = Report::for_test("program", 2, 1);
        let bar = Some(Bar::at_most(1.5, 1.05));
        let rows = [
            Row::quotient("P1", "lost <here>", &[2.0, 2.2], &[1.0, 1.0], bar),
            Row::quotient("P2", "won | once", &[1.0], &[1.0], bar),
            Row::quotient("A/A", "the same", &[1.0, 0.9], &[1.0, 1.0], None),
            Row::quotient("TC", "open", &[1.0], &[1.0], None),
        ];
        report.rows = rows.into_iter().flatten().collect();
        let text = serde_json::to_string(&report).unwrap();
        let saved = Saved::parse(&text).unwrap();
        let left_out = Some("left out: it needs root".to_owned());
        vec![
            Part { name: "program", note: None, saved: Some(saved) },
            Part { name: "path", note: left_out, saved: None },
        ]
    }

    #[test]
    fn a_page_leads_to_what_is_there_and_says_what_is_not() {
        let page = page(&parts());
        for part in [
            "<a href=\"program.html\">program</a>",
            "<a href=\"program.csv\">csv</a>",
            "<td>1</td><td>0</td><td>1</td><td>2</td><td>0.900 .. 1.000</td>",
            "lost &lt;here&gt;",
            "NOT MET",
            "left out: it needs root",
        ] {
            assert!(page.contains(part), "{part}:\n{page}");
        }
        assert!(!page.contains("href=\"path"));
    }

    #[test]
    fn a_summary_has_what_has_a_bar() {
        let expected = "\
## program

, commit ,  0 processors
| P1 | lost <here> | 2.100 | 2.000 .. 2.200 | <= 1.5 | <= 1.05 | NOT MET |
| P2 | won \\| once | 1.000 |  | <= 1.5 | <= 1.05 | aim met |
| A/A | the same | 0.950 | 0.900 .. 1.000 |  |  |  |

## path (left out: it needs root)

";
        let summary = summary(&parts());
        let without_heads: Vec<&str> = summary
            .lines()
            .filter(|line| !line.starts_with("| row") && !line.starts_with("| ---"))
            .collect();
        for line in expected.lines().filter(|line| line.starts_with('|') || line.starts_with('#')) {
            assert!(without_heads.contains(&line), "{line}:\n{summary}");
        }
        assert!(!summary.contains("| TC |"));
    }
}
