//! Every sample as a line, for spreadsheets and statistics programs.

use anyhow::{Context as _, Result};

use super::Report;

/// The lines, a ratio of a row or a figure of a series each.
pub(super) fn of(report: &Report) -> Result<String> {
    let mut sheet = csv::Writer::from_writer(Vec::new());
    sheet.write_record(["bench", "kind", "id", "name", "unit", "sample", "value"])?;
    let mut add = |kind: &str, id: &str, name: &str, unit: &str, samples: &[f64]| {
        for (number, value) in samples.iter().enumerate() {
            let (number, value) = ((number + 1).to_string(), value.to_string());
            sheet.write_record([report.bench, kind, id, name, unit, &number, &value])?;
        }
        Ok::<_, csv::Error>(())
    };
    for row in &report.rows {
        add("row", row.id, &row.what, "", &row.samples)?;
    }
    for series in &report.series {
        add("series", "", &series.name, series.unit, &series.samples)?;
    }
    let bytes = sheet.into_inner().context("a sheet in memory")?;
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Row, Series};

    #[test]
    fn a_line_a_sample() {
        let mut report = Report::for_test("program", 2, 1);
        let row = Row::quotient("P1", "established, \"v4\"", &[3.0, 3.0], &[2.0, 1.0], None);
        report.rows.extend(row);
        let samples = vec![38.5, f64::NAN];
        report.series.push(Series { name: "dnat".to_owned(), unit: "ns", samples });
        let expected = "\
bench,kind,id,name,unit,sample,value
program,row,P1,\"established, \"\"v4\"\"\",,1,1.5
program,row,P1,\"established, \"\"v4\"\"\",,2,3
program,series,,dnat,ns,1,38.5
program,series,,dnat,ns,2,NaN
";
        assert_eq!(of(&report).unwrap(), expected);
    }
}
