//! Plots as SVG text, all in one style: white paper, thin grid, colours that people who see red and
//! green alike tell apart (Okabe and Ito, "Color universal design", 2008).

use std::ops::Range;

use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, DashedLineSeries, DrawingArea, IntoDrawingArea as _, LineSeries,
        PathElement, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
    },
    style::{Color as _, IntoFont as _, ShapeStyle, TextStyle},
};

/// What a plot is drawn on.
pub type Paper<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width and height of a plot of a usual size, in pixels.
pub const SIZE: (u32, u32) = (960, 540);
/// Text, and what was measured.
pub const INK: RGBColor = RGBColor(40, 40, 40);
/// Lines behind everything.
pub const GRID: RGBColor = RGBColor(225, 225, 225);
/// What is neither measured nor ours.
pub const GREY: RGBColor = RGBColor(150, 150, 150);
/// First of the colours for series.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
/// Second.
pub const ORANGE: RGBColor = RGBColor(213, 94, 0);
/// Third.
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
/// Fourth.
pub const PURPLE: RGBColor = RGBColor(204, 121, 167);
/// All of them, in this order.
pub const SERIES: [RGBColor; 4] = [BLUE, ORANGE, GREEN, PURPLE];

const FONT: &str = "sans-serif";
const TITLE_PIXELS: i32 = 20;
const TEXT_PIXELS: i32 = 13;
/// Room above the highest and below the lowest value, as a part of what is between them.
const MARGIN: f64 = 0.06;

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw: {0}")]
pub struct PlotError(String);

impl PlotError {
    /// What the drawing library says; its errors carry types that lead nowhere else.
    pub fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// White paper of this size, with what `draw` draws on it, as the text of an SVG file.
pub fn svg(
    size: (u32, u32),
    draw: impl FnOnce(&Paper<'_>) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let mut text = String::new();
    {
        let paper = SVGBackend::with_string(&mut text, size).into_drawing_area();
        paper.fill(&WHITE).map_err(PlotError::of)?;
        draw(&paper)?;
        paper.present().map_err(PlotError::of)?;
    }
    Ok(text)
}

/// The text of titles.
#[must_use]
pub fn title_text() -> TextStyle<'static> {
    (FONT, TITLE_PIXELS).into_font().color(&INK)
}

/// The text of axes and legends.
#[must_use]
pub fn small_text() -> TextStyle<'static> {
    (FONT, TEXT_PIXELS).into_font().color(&INK)
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A line with a dot at each value.
    Dotted,
    /// A line.
    Solid,
    /// A thin line of dashes.
    Dashed,
}

/// A named series of points.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its place in the legend.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// How it is drawn.
    pub stroke: Stroke,
    /// From left to right. Points that are no numbers are left out.
    pub points: Vec<(f64, f64)>,
}

/// Lines over a common axis.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Above the plot.
    pub title: String,
    /// Below the horizontal axis.
    pub x: String,
    /// Beside the vertical axis.
    pub y: String,
    /// Later ones cover earlier ones.
    pub lines: Vec<Line>,
}

impl Lines {
    /// The plot as the text of an SVG file.
    pub fn svg(&self) -> Result<String, PlotError> {
        svg(SIZE, |paper| self.draw(paper))
    }

    /// Draws it on a paper, or a part of one.
    pub fn draw(&self, paper: &Paper<'_>) -> Result<(), PlotError> {
        let points = || self.lines.iter().flat_map(|line| finite(&line.points));
        let across = range(points().map(|(x, _)| x), 0.0);
        let up = range(points().map(|(_, y)| y), MARGIN);
        let mut chart = ChartBuilder::on(paper)
            .caption(&self.title, title_text())
            .margin(14)
            .x_label_area_size(40)
            .y_label_area_size(72)
            .build_cartesian_2d(across, up)
            .map_err(PlotError::of)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(GREY)
            .label_style(small_text())
            .x_desc(&self.x)
            .y_desc(&self.y)
            .y_label_formatter(&|value| label(*value))
            .x_label_formatter(&|value| label(*value))
            .draw()
            .map_err(PlotError::of)?;
        for line in &self.lines {
            let style = line.style();
            let series = match line.stroke {
                Stroke::Dotted | Stroke::Solid => chart
                    .draw_series(LineSeries::new(finite(&line.points), style))
                    .map_err(PlotError::of)?,
                Stroke::Dashed => chart
                    .draw_series(DashedLineSeries::new(finite(&line.points), 6, 4, style))
                    .map_err(PlotError::of)?,
            };
            series
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
            if line.stroke == Stroke::Dotted {
                let dots = finite(&line.points).map(|point| Circle::new(point, 3, style.filled()));
                chart.draw_series(dots).map_err(PlotError::of)?;
            }
        }
        chart
            .configure_series_labels()
            .position(self.legend())
            .margin(12)
            .legend_area_size(30)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .label_font(small_text())
            .draw()
            .map_err(PlotError::of)
    }
}

impl Lines {
    /// The upper corner at the side where the lines do not go as high.
    fn legend(&self) -> SeriesLabelPosition {
        let points = || self.lines.iter().flat_map(|line| finite(&line.points));
        let across = range(points().map(|(x, _)| x), 0.0);
        let middle = f64::midpoint(across.start, across.end);
        let highest = |right: bool| {
            let side = points().filter(|(x, _)| (*x > middle) == right);
            side.map(|(_, y)| y).fold(f64::NEG_INFINITY, f64::max)
        };
        if highest(false) > highest(true) {
            SeriesLabelPosition::UpperRight
        } else {
            SeriesLabelPosition::UpperLeft
        }
    }
}

impl Line {
    fn style(&self) -> ShapeStyle {
        let width = if self.stroke == Stroke::Dashed { 1 } else { 2 };
        self.colour.stroke_width(width)
    }
}

fn finite(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + Clone {
    points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
}

/// From the least to the largest of the values, and a margin; never empty.
fn range(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return 0.0..1.0;
    }
    // Half the width, so that the two ends of the range of numbers do not overflow.
    let half = high / 2.0 - low / 2.0;
    let room = if half > 0.0 { 2.0 * (margin * half) } else { (high.abs() * MARGIN).max(1.0) };
    (low - room).max(f64::MIN / 4.0)..(high + room).min(f64::MAX / 4.0)
}

/// A number at an axis: whole where it is large, short everywhere.
fn label(value: f64) -> String {
    match value.abs() {
        1e7.. => format!("{value:.1e}"),
        100.0.. => format!("{value:.0}"),
        1.0.. | 0.0 => trimmed(value, 2),
        _ => trimmed(value, 4),
    }
}

fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: &[(f64, f64)]) -> String {
        let line = |name: &str, stroke| Line {
            name: name.to_owned(),
            colour: BLUE,
            stroke,
            points: points.to_vec(),
        };
        let lines = vec![
            line("solid", Stroke::Solid),
            line("dashed", Stroke::Dashed),
            line("a < b & c", Stroke::Dotted),
        ];
        let (title, x, y) = ("title".to_owned(), "across".to_owned(), "up".to_owned());
        Lines { title, x, y, lines }.svg().unwrap()
    }

    #[test]
    fn a_plot_is_one_svg_document_that_names_everything() {
        let text = plot(&[(0.0, 1.0), (1.0, 5.0), (2.0, 3.0)]);
        assert!(text.starts_with("<svg "), "{text}");
        assert!(text.ends_with("</svg>\n"), "{text}");
        for part in ["title", "across", "up", "solid", "dashed", "a &lt; b &amp; c", "#0072B2"] {
            assert!(text.contains(part), "{part}");
        }
        assert_eq!(text.matches("<circle").count(), 3);
        assert!(text.contains("width=\"960\" height=\"540\""));
    }

    #[test]
    fn whatever_the_points_there_is_a_plot() {
        for points in [
            &[][..],
            &[(1.0, 1.0)],
            &[(0.0, 0.0), (1.0, 0.0)],
            &[(0.0, 7.0), (1.0, 7.0)],
            &[(0.0, f64::NAN), (1.0, f64::INFINITY), (f64::NAN, 1.0)],
            &[(0.0, -1e300), (1.0, 1e300)],
            &[(0.0, 1e-300), (1.0, 2e-300)],
        ] {
            let text = plot(points);
            assert!(!text.contains("NaN") && !text.contains("inf"), "{points:?}: {text}");
        }
    }

    #[test]
    fn the_legend_keeps_out_of_the_way() {
        for (points, right) in [
            (&[][..], false),
            (&[(0.0, 1.0), (1.0, 2.0)], false),
            (&[(0.0, 2.0), (1.0, 1.0)], true),
            (&[(0.0, 2.0), (1.0, f64::NAN), (4.0, 1.0)], true),
            (&[(0.0, 1.0), (4.0, 1.0)], false),
        ] {
            let line = Line {
                name: String::new(),
                colour: BLUE,
                stroke: Stroke::Solid,
                points: points.to_vec(),
            };
            let [title, x, y] = [const { String::new() }; 3];
            let place = Lines { title, x, y, lines: vec![line] }.legend();
            assert_eq!(matches!(place, SeriesLabelPosition::UpperRight), right, "{points:?}");
        }
    }

    #[test]
    fn ranges_are_never_empty() {
        for (values, expected) in [
            (&[][..], 0.0..1.0),
            (&[0.0], -1.0..1.0),
            (&[100.0, 100.0], 94.0..106.0),
            (&[0.0, 100.0], -6.0..106.0),
        ] {
            assert_eq!(range(values.iter().copied(), MARGIN), expected, "{values:?}");
        }
        assert_eq!(range([2.0, 4.0].into_iter(), 0.0), 2.0..4.0);
    }

    #[test]
    fn labels_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (0.123_456, "0.1235"),
            (1.0, "1"),
            (2.5, "2.5"),
            (-99.123, "-99.12"),
            (1234.5, "1234"),
            (2.5e7, "2.5e7"),
        ] {
            assert_eq!(label(value), text);
        }
    }
}
