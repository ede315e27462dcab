//! Just enough of SVG for bars and lines.

use std::fmt::Write;

use crate::spread::Spread;

/// Width of a chart.
const WIDTH: f64 = 1000.0;
/// Where bars begin, right of their names; and what stays free at the right for figures.
const NAMES: f64 = 420.0;
const FREE: f64 = 60.0;
/// Height of a bar with its distance, of the title, and of the area of lines.
const ROW: f64 = 20.0;
const TITLE: f64 = 40.0;
const AREA: f64 = 420.0;
const COLOURS: [&str; 8] =
    ["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f"];

/// A chart under construction.
pub struct Plot {
    body: String,
    height: f64,
}

impl Plot {
    /// An empty chart.
    pub fn new(title: &str) -> Self {
        let mut plot = Self { body: String::new(), height: TITLE };
        plot.text(10.0, 24.0, "start", 16, title);
        plot
    }

    /// A bar for each name, its quartiles as a thin line over it, a tick at its limit.
    pub fn bars<'a>(&mut self, bars: impl Iterator<Item = (&'a str, Spread, Option<f64>)>) {
        let bars: Vec<_> = bars.collect();
        let reach =
            |(_, spread, limit): &(&str, Spread, Option<f64>)| spread.high.max(limit.unwrap_or_default());
        let most = bars.iter().map(reach).fold(1.0, f64::max);
        let x = |value: f64| NAMES + value / most * (WIDTH - NAMES - FREE);
        for (name, spread, limit) in bars {
            let (top, middle) = (self.height, self.height + ROW / 2.0);
            let good = limit.is_none_or(|limit| spread.median >= limit);
            let colour = if good { COLOURS[0] } else { COLOURS[1] };
            self.rectangle(NAMES, top + 3.0, x(spread.median) - NAMES, ROW - 6.0, colour);
            self.line(&[(x(spread.low), middle), (x(spread.high), middle)], "#000000", 1.5);
            if let Some(limit) = limit {
                self.line(&[(x(limit), top + 1.0), (x(limit), top + ROW - 1.0)], "#000000", 2.5);
            }
            self.text(NAMES - 8.0, middle + 4.0, "end", 12, name);
            self.text(
                x(spread.high.max(limit.unwrap_or_default())) + 6.0,
                middle + 4.0,
                "start",
                12,
                &format!("{:.2}", spread.median),
            );
            self.height += ROW;
        }
        self.line(&[(x(1.0), TITLE), (x(1.0), self.height)], "#999999", 1.0);
    }

    /// A line for each name over a logarithmic abscissa, with a legend below.
    pub fn logarithmic(&mut self, lines: Vec<(&str, Vec<(f64, f64)>)>) {
        let points = || lines.iter().flat_map(|(_, points)| points);
        let first = points().map(|point| point.0).fold(f64::INFINITY, f64::min).max(1e-9).log10();
        let last = points().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max).log10().max(first + 1e-3);
        let most = points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
        let x =
            |value: f64| 60.0 + (value.max(1e-9).log10() - first) / (last - first) * (WIDTH - 60.0 - FREE);
        let bottom = self.height + AREA;
        let y = |value: f64| bottom - value / most * (AREA - 20.0);
        for step in 0..=4 {
            let value = most * f64::from(step) / 4.0;
            self.line(&[(60.0, y(value)), (WIDTH - FREE, y(value))], "#dddddd", 1.0);
            self.text(54.0, y(value) + 4.0, "end", 11, &short(value));
            let abscissa = 10f64.powf(first + (last - first) * f64::from(step) / 4.0);
            self.text(x(abscissa), bottom + 16.0, "middle", 11, &short(abscissa));
        }
        self.height = bottom + 34.0;
        for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let line: Vec<_> = points.iter().map(|point| (x(point.0), y(point.1))).collect();
            self.line(&line, colour, 2.0);
            self.rectangle(60.0, self.height - 9.0, 20.0, 10.0, colour);
            self.text(88.0, self.height, "start", 12, name);
            self.height += ROW;
        }
    }

    /// The whole document.
    pub fn svg(&self) -> String {
        let height = self.height + 10.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
        );
    }

    fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let width = width.max(0.0);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
            points.join(" ")
        );
    }
}

fn short(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
