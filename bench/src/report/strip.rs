//! A row as a picture of one line: a dot a round, a bar for where the median is with a probability
//! of 95 %, and what was to be reached. All rows of a report have one axis, of logarithms: twice as
//! good is as far from 1 as twice as bad.

use std::fmt::Write as _;

use super::{Row, row::Measure};

const WIDTH: f64 = 220.0;
const HEIGHT: f64 = 18.0;
/// Beyond this on either side of 1 a place at the edge says enough.
const EDGE: f64 = 16.0;

/// The common axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// As wide as the ratios and their bars want it, with 1 in it.
    pub(super) fn of(rows: &[Row]) -> Self {
        let ratios = rows.iter().filter(|row| row.measure == Measure::Ratio);
        let values = ratios.flat_map(|row| {
            let limits = row.bar.into_iter().flat_map(|bar| [bar.must, bar.aim]).flatten();
            limits.chain([row.value.min, row.value.max])
        });
        let usable = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) =
            usable.fold((0.8_f64, 1.25_f64), |(low, high), it| (low.min(it), high.max(it)));
        Self { low: low.max(1.0 / EDGE) / 1.05, high: high.min(EDGE) * 1.05 }
    }

    /// From the left edge to the right one.
    fn place(self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        if part.is_finite() { WIDTH * part.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The picture of a row; none of what is no ratio.
    pub(super) fn picture(self, row: &Row) -> String {
        let mut svg = String::new();
        if row.measure != Measure::Ratio || self.draw(&mut svg, row).is_err() {
            return String::new();
        }
        svg
    }

    fn draw(self, svg: &mut String, row: &Row) -> std::fmt::Result {
        write!(
            svg,
            "<svg class=\"strip\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"samples and interval\">"
        )?;
        let upright = |svg: &mut String, class: &str, value: f64| {
            let x = self.place(value);
            write!(
                svg,
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{HEIGHT}\"/>"
            )
        };
        upright(svg, "one", 1.0)?;
        for (class, limit) in
            row.bar.into_iter().flat_map(|it| [("must", it.must), ("aim", it.aim)])
        {
            if let Some(limit) = limit {
                upright(svg, class, limit)?;
            }
        }
        let middle = HEIGHT / 2.0;
        for sample in &row.samples {
            let x = self.place(*sample);
            write!(svg, "<circle cx=\"{x:.1}\" cy=\"{middle}\" r=\"2.2\"/>")?;
        }
        if let Some(interval) = row.interval {
            let (left, right) = (self.place(interval.low), self.place(interval.high));
            let (width, top) = ((right - left).max(1.0), middle - 2.0);
            write!(svg, "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"4\"/>")?;
        }
        let x = self.place(row.value.median);
        write!(
            svg,
            "<line class=\"median\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"3\" y2=\"{}\"/>",
            HEIGHT - 3.0
        )?;
        svg.push_str("</svg>");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Bar;

    fn row(of: &[f64], bar: Option<Bar>) -> Row {
        Row::quotient("E1", "it", of, &vec![1.0; of.len()], bar).unwrap()
    }

    #[test]
    fn twice_as_good_is_as_far_as_twice_as_bad() {
        let axis = Axis::of(&[row(&[0.5, 2.0], None)]);
        let [left, middle, right] = [0.5, 1.0, 2.0].map(|value| axis.place(value));
        assert!(((middle - left) - (right - middle)).abs() < 1e-9);
        assert!(0.0 < left && right < WIDTH);
    }

    #[test]
    fn whatever_the_values_the_axis_has_an_extent() {
        let rows = [
            vec![],
            vec![row(&[1.0], None)],
            vec![row(&[0.0, 1e12], Some(Bar::at_most(0.0, 0.0)))],
            vec![Row::new("E11", "ms", &[5_000.0], Some(Bar::at_most(10.0, 1.0))).unwrap()],
        ];
        for rows in rows {
            let axis = Axis::of(&rows);
            assert!(axis.low < 1.0 && axis.high > 1.0 && axis.high <= EDGE * 1.05, "{axis:?}");
            for value in [0.0, -1.0, f64::NAN, 1e300] {
                assert!((0.0..=WIDTH).contains(&axis.place(value)), "{value}");
            }
        }
    }

    #[test]
    fn a_picture_has_all_samples_and_both_bars() {
        let row = row(&[1.1, 1.2, 1.3], Some(Bar::at_most(1.5, 1.05)));
        let svg = Axis::of(std::slice::from_ref(&row)).picture(&row);
        assert_eq!(svg.matches("<circle").count(), 3);
        for part in ["class=\"must\"", "class=\"aim\"", "<rect", "</svg>"] {
            assert!(svg.contains(part), "{part}");
        }
        let figure = Row::new("E11", "ms", &[5.0], None).unwrap();
        assert_eq!(Axis::of(&[]).picture(&figure), "");
    }
}
