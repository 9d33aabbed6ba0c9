//! A report as one page that needs nothing but itself: no script, no font, no address.

use std::fmt::{self, Write as _};

use super::{Report, Row, Series, Verdict, figure, strip::Axis};
use crate::stats::{Interval, Spread};

const STYLE: &str = include_str!("page.css");

/// The page.
pub(super) fn of(report: &Report) -> String {
    let mut page = head(&format!("weir-bench {}", report.bench));
    // A string takes everything.
    let written = write_all(&mut page, report);
    debug_assert!(written.is_ok(), "a string takes everything");
    page.push_str("</body>\n</html>\n");
    page
}

/// Everything up to the content.
pub(super) fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(title)
    )
}

fn write_all(page: &mut String, report: &Report) -> fmt::Result {
    summary(page, report)?;
    rows(page, &report.rows)?;
    for plot in &report.plots {
        write!(page, "<h2>{}</h2>\n<figure>{}</figure>\n", escape(&plot.title), plot.svg)?;
    }
    for table in &report.tables {
        let (title, text) = (escape(&table.title), escape(table.text.trim_end()));
        write!(page, "<h2>{title}</h2>\n<pre>{text}</pre>\n")?;
    }
    series(page, &report.series)?;
    peers(page, report)?;
    machine(page, report)
}

fn summary(page: &mut String, report: &Report) -> fmt::Result {
    let Report { bench, rounds, seed, run, .. } = report;
    writeln!(page, "<h1>weir-bench {}</h1>", escape(bench))?;
    writeln!(
        page,
        "<p class=\"faint\">{}, commit {}, {rounds} rounds, seed {seed}, {:.0} s<br>{}</p>",
        escape(&run.date),
        escape(&run.commit),
        run.seconds,
        escape(&run.machine.line())
    )?;
    page.push_str("<p>");
    for (verdict, class, text) in [
        (Verdict::Aim, "aim", "reach their aim"),
        (Verdict::Must, "must", "reach what they must"),
        (Verdict::Missed, "missed", "miss their bar"),
        (Verdict::Open, "faint", "have no bar"),
    ] {
        let count = report.rows.iter().filter(|row| row.verdict == verdict).count();
        writeln!(page, "<span class=\"count {class}\"><b>{count}</b> rows {text}</span>")?;
    }
    page.push_str("</p>\n");
    if let Some((low, high)) = report.noise() {
        writeln!(
            page,
            "<p>Noise: what was measured twice beside itself should be 1, and is {low:.3} .. {high:.3}. \
             Closer differences mean nothing here.</p>"
        )?;
    }
    for note in &report.notes {
        writeln!(page, "<p>Note: {}</p>", escape(note))?;
    }
    Ok(())
}

const ROWS_HEAD: &str = "<h2>Rows</h2>\n<p class=\"faint\">A ratio is that of figures of the same round; \
the row has the median of these ratios, where that median is with a probability of 95 % (bootstrap), and the ends of all. \
<i>best</i> is the ratio of the best figures of all rounds. The picture has a dot a round, the interval as a bar, \
a dashed line at 1, red at <i>must</i>, green at <i>aim</i>; its axis is one of logarithms and the same in all rows. \
No row is left out for what it says.</p>\n<div class=\"wide\"><table>\n<tr><th class=\"l\">row</th><th class=\"l\">what</th>\
<th>median</th><th>95 % interval</th><th>lowest .. highest</th><th>best</th><th class=\"l\">picture</th><th>must</th><th>aim</th>\
<th class=\"l\">verdict</th><th class=\"l\">samples</th></tr>\n";

fn rows(page: &mut String, rows: &[Row]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let axis = Axis::of(rows);
    page.push_str(ROWS_HEAD);
    for row in rows {
        let limit = |limit: Option<f64>| {
            let (Some(bar), Some(limit)) = (row.bar, limit) else { return String::new() };
            escape(&format!("{} {limit}", bar.sign()))
        };
        write!(
            page,
            "<tr><td class=\"l\">{}</td><td class=\"l what\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"l\">{}</td><td>{}</td><td>{}</td>",
            escape(row.id),
            escape(&row.what),
            figure(row.value.median),
            between(row.interval),
            ends(&row.value),
            row.of_minima.map_or_else(String::new, figure),
            axis.picture(row),
            limit(row.bar.and_then(|bar| bar.must)),
            limit(row.bar.and_then(|bar| bar.aim)),
        )?;
        let (class, word) = verdict(row.verdict);
        write!(page, "<td class=\"l {class}\">{word}</td>")?;
        samples(page, &row.samples)?;
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
    Ok(())
}

pub(super) const fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    let class = match verdict {
        Verdict::Aim => "aim",
        Verdict::Must => "must",
        Verdict::Missed => "missed",
        Verdict::Open => "faint",
    };
    (class, verdict.word())
}

fn between(interval: Option<Interval>) -> String {
    interval.map_or_else(String::new, |it| format!("{} .. {}", figure(it.low), figure(it.high)))
}

fn ends(spread: &Spread) -> String {
    format!("{} .. {}", figure(spread.min), figure(spread.max))
}

/// A cell with the figures of all rounds, folded.
fn samples(page: &mut String, samples: &[f64]) -> fmt::Result {
    let all: Vec<String> = samples.iter().copied().map(figure).collect();
    let count = all.len();
    write!(page, "<td><details><summary>{count}</summary>{}</details></td>", all.join(", "))
}

const SERIES_HEAD: &str = "<h2>Series</h2>\n<p class=\"faint\">What was measured, with units: figures of this machine and this day. \
Carry the ratios above, not these.</p>\n<div class=\"wide\"><table>\n<tr><th class=\"l\">what</th><th class=\"l\">unit</th><th>median</th>\
<th>95 % interval</th><th>lowest .. highest</th><th class=\"l\">samples</th></tr>\n";

fn series(page: &mut String, series: &[Series]) -> fmt::Result {
    if series.is_empty() {
        return Ok(());
    }
    page.push_str(SERIES_HEAD);
    for Series { name, unit, samples: all } in series {
        let Some(spread) = Spread::of(all) else { continue };
        write!(
            page,
            "<tr><td class=\"l what\">{}</td><td class=\"l\">{}</td><td>{}</td><td>{}</td><td>{}</td>",
            escape(name),
            escape(unit),
            figure(spread.median),
            between(Interval::of_median(all)),
            ends(&spread),
        )?;
        samples(page, all)?;
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn peers(page: &mut String, report: &Report) -> fmt::Result {
    if report.peers.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>What was compared, and how it was set up</h2>\n");
    for peer in &report.peers {
        writeln!(
            page,
            "<details><summary><b>{}</b> <span class=\"faint\">{}</span></summary><pre>{}</pre></details>",
            escape(&peer.name),
            escape(&peer.version),
            escape(peer.config.trim_end())
        )?;
    }
    Ok(())
}

fn machine(page: &mut String, report: &Report) -> fmt::Result {
    let run = &report.run;
    let machine = &run.machine;
    page.push_str("<h2>Machine and command</h2>\n<dl>\n");
    let kind = if machine.is_virtual { "virtual" } else { "bare metal, as far as it says" };
    let load = format!("{:.2} before, {:.2} after", run.load_before, run.load_after);
    let facts = [
        ("command", run.command.clone()),
        ("processor", format!("{} x {} ({kind})", machine.processors, machine.cpu)),
        ("memory", format!("{} MiB", machine.memory_mib)),
        ("kernel", machine.kernel.clone()),
        ("BPF", machine.jit.clone()),
        ("clock, governor", format!("{}, {}", machine.clock, machine.governor)),
        ("load", load),
    ];
    let mitigations = machine.mitigations.iter().map(|it| ("mitigation", it.clone()));
    for (name, value) in facts.into_iter().chain(mitigations) {
        writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&value))?;
    }
    page.push_str("</dl>\n");
    Ok(())
}

/// Text that is no markup.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Bar, Peer, Plot, Table};

    fn full() -> Report {
        let mut report = Report::for_test("a < b", 3, 1);
        let bar = Some(Bar::at_most(1.5, 1.05));
        let rows = [
            Row::quotient("P1", "won & lost", &[2.0, 2.1], &[1.0, 1.0], bar),
            Row::quotient("A/A", "the same", &[1.0, 1.1], &[1.0, 1.0], None),
        ];
        report.rows = rows.into_iter().flatten().collect();
        report.series.push(Series { name: "<dnat>".to_owned(), unit: "ns", samples: vec![5.0] });
        report.plots.push(Plot { title: "plot".to_owned(), svg: "<svg></svg>".to_owned() });
        report.tables.push(Table { title: "table".to_owned(), text: "a > b".to_owned() });
        report.peers.push(Peer::ours("peer", "rule \"x\" & <y>"));
        report.notes.push("no <engine>".to_owned());
        report
    }

    #[test]
    fn a_page_has_everything_and_asks_nobody() {
        let page = of(&full());
        for part in [
            "won &amp; lost",
            "NOT MET",
            "&lt;dnat&gt;",
            "<figure><svg></svg></figure>",
            "<pre>a &gt; b</pre>",
            "rule &quot;x&quot; &amp; &lt;y&gt;",
            "no &lt;engine&gt;",
            "1.000 .. 1.100",
            "2.000, 2.100",
            "prefers-color-scheme",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for outside in ["http:", "https:", "<script", "<link", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        for tag in ["table", "details", "pre", "dl", "figure", "div", "p", "tr"] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let page = of(&Report::for_test("nothing", 0, 1));
        assert!(page.contains("<b>0</b> rows miss their bar"));
        assert!(!page.contains("<table"));
    }
}
