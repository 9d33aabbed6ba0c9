//! A placement as a picture: what is used of each node, a bar a dimension.

use plotters::{
    prelude::{
        Color as _, DrawingAreaErrorKind, DrawingBackend, IntoDrawingArea as _, IntoFont as _,
        PathElement, RGBColor, Rectangle, SVGBackend, Text, WHITE,
    },
    style::{
        FontTransform, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use thiserror::Error;

use super::{
    amount::{DIMENSIONS, Dimension, count},
    problem::Problem,
    search::Outcome,
};

/// Why there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the placement cannot be drawn: {0}")]
pub struct DrawError(String);

/// Pixels from top to bottom; the width grows with the nodes.
const HEIGHT: i32 = 420;
const WIDTH_MIN: u32 = 640;
const WIDTH_MAX: u32 = 4000;
/// Where the bars begin and end.
const LEFT: i32 = 50;
const RIGHT: i32 = 20;
const TOP: i32 = 60;
const BOTTOM: i32 = 330;
const NODE_PIXELS: u32 = 56;
/// The part of a node's room that its bars take.
const BARS_PART: f64 = 0.8;
/// Names closer than this would cover each other: they are left out.
const NAME_PIXELS: f64 = 14.0;
/// Longer names are cut.
const NAME_CHARS: usize = 14;
const TITLE_PIXELS: i32 = 17;
const TEXT_PIXELS: i32 = 12;
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Of the dimensions; people who see red and green alike tell them apart (Okabe and Ito, "Color
/// universal design", 2008).
const COLOURS: [RGBColor; DIMENSIONS] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Draws an outcome as SVG.
pub fn draw(problem: &Problem, outcome: &Outcome) -> Result<String, DrawError> {
    let mut svg = String::new();
    let nodes = u32::try_from(problem.nodes()).unwrap_or(u32::MAX);
    let width = nodes.saturating_mul(NODE_PIXELS).clamp(WIDTH_MIN, WIDTH_MAX);
    let backend = SVGBackend::with_string(&mut svg, (width, HEIGHT.unsigned_abs()));
    paint(backend, problem, outcome).map_err(|error| DrawError(error.to_string()))?;
    Ok(svg)
}

fn paint<B: DrawingBackend>(
    backend: B,
    problem: &Problem,
    outcome: &Outcome,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let paper = backend.into_drawing_area();
    paper.fill(&WHITE)?;
    let right = i32::try_from(paper.dim_in_pixel().0).unwrap_or(i32::MAX) - RIGHT;
    let plain = |pixels| TextStyle::from(("sans-serif", pixels).into_font()).color(&INK);
    let title =
        format!("objective {:.4}, {} unplaced", outcome.score.objective(), outcome.score.unplaced);
    paper.draw(&Text::new(title, (LEFT, 14), plain(TITLE_PIXELS)))?;
    for percent in [0, 25, 50, 75, 100] {
        let y = height(f64::from(percent) / 100.0);
        paper.draw(&PathElement::new([(LEFT, y), (right, y)], GRID))?;
        let style = plain(TEXT_PIXELS).pos(Pos::new(HPos::Right, VPos::Center));
        paper.draw(&Text::new(format!("{percent}%"), (LEFT - 6, y), style))?;
    }
    let dimensions: Vec<Dimension> = problem.dimensions().collect();
    for (index, dimension) in (0..).zip(&dimensions) {
        let (x, colour) = (LEFT + 90 * index, COLOURS[dimension.index()]);
        paper.draw(&Rectangle::new([(x, 40), (x + 10, 50)], colour.filled()))?;
        paper.draw(&Text::new(dimension.name(), (x + 15, 40), plain(TEXT_PIXELS)))?;
        let average = height(problem.average[dimension.index()].min(1.0));
        paper.draw(&PathElement::new([(LEFT, average), (right, average)], colour.mix(0.5)))?;
    }
    let room = f64::from(right - LEFT) / count(problem.nodes());
    let name_style = plain(TEXT_PIXELS)
        .transform(FontTransform::Rotate90)
        .pos(Pos::new(HPos::Left, VPos::Center));
    for (node, used) in problem.used(&outcome.homes).iter().enumerate() {
        let load = problem.utilisation(node, used);
        let at = |part: f64| LEFT + pixels((count(node) + part) * room);
        for (index, dimension) in dimensions.iter().enumerate() {
            let d = dimension.index();
            let edge = |index: usize| {
                (1.0 - BARS_PART) / 2.0 + BARS_PART * count(index) / count(dimensions.len())
            };
            let corners = [(at(edge(index)), height(load[d])), (at(edge(index + 1)), BOTTOM)];
            paper.draw(&Rectangle::new(corners, COLOURS[d].filled()))?;
        }
        if room >= NAME_PIXELS {
            let name: String = problem.node_name(node).chars().take(NAME_CHARS).collect();
            paper.draw(&Text::new(name, (at(0.5), BOTTOM + 6), name_style.clone()))?;
        }
    }
    paper.present()
}

/// Where a part of a node is.
fn height(part: f64) -> i32 {
    BOTTOM - pixels(part * f64::from(BOTTOM - TOP))
}

#[expect(clippy::cast_possible_truncation, reason = "pictures are at most 4000 pixels wide")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{Budget, Method, Node, Search, Workload, place};

    fn picture(nodes: usize, name: &str) -> String {
        let node = |index| Node {
            name: format!("{name}{index}"),
            capacity: [4000, 8 << 30, 0, 0],
            ..Node::default()
        };
        let nodes: Vec<Node> = (0..nodes).map(node).collect();
        let workload = Workload {
            name: "w".to_owned(),
            replicas: 1,
            request: [2000, 2 << 30, 0, 0],
            ..Workload::default()
        };
        let problem = Problem::new(&nodes, &[workload]).unwrap();
        let budget = Budget::iterations(0);
        let search = Search { method: Method::WorstFit, seed: 1, threads: 1, budget };
        draw(&problem, &place(&problem, &search, &mut |_| {})).unwrap()
    }

    #[test]
    fn each_node_has_a_bar_for_each_dimension() {
        let svg = picture(3, "node-");
        // The paper, two of the legend, and two of each node.
        assert_eq!(svg.matches("<rect").count(), 1 + 2 + 3 * 2, "{svg}");
        for text in ["node-0", "node-2", "cpu", "memory", "100%", "1 unplaced"] {
            assert_eq!(svg.contains(text), text != "1 unplaced", "{text}");
        }
        // Half of 270 pixels for the processor, a quarter for memory.
        assert!(svg.contains("height=\"135\"") && svg.contains("height=\"68\""), "{svg}");
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let svg = picture(1, "<script>&\"");
        assert!(!svg.contains("<script>"), "{svg}");
    }

    #[test]
    fn many_nodes_have_no_names_and_an_end() {
        let svg = picture(2000, "node-");
        assert!(!svg.contains("node-1"));
        assert!(svg.starts_with("<svg width=\"4000\""), "{}", &svg[..80]);
    }
}
