use plotters::prelude::*;

use super::page::{self, EDGE, FAINT, HEAD, HPos, TEXT, VPos, bold, style};
use crate::{
    figure::{Better, Limit},
    spread::Spread,
};

/// Height of a bar with its distance, and of the axis below all bars, in pixels.
const ROW: u32 = 18;
const AXIS: u32 = 30;
/// The part of a row that a bar fills.
const FILLED: f64 = 0.62;
/// Room for the figures right of the longest bar.
const FIGURES: u32 = 130;

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The metric, left of it.
    pub label: String,
    /// Its length, and the quartiles over it.
    pub spread: Spread,
    /// The figure's limit, if it has one.
    pub limit: Option<Limit>,
    /// The number of its colour.
    pub colour: usize,
}

impl Bar {
    fn gate(&self) -> Option<f64> {
        self.limit?.gate
    }

    fn is_missed(&self) -> bool {
        self.limit.is_some_and(|limit| limit.verdict(self.spread.median) == crate::figure::Verdict::Missed)
    }

    /// The figure; beside it the gate, if that is missed.
    fn text(&self) -> String {
        let value = format!("{:.2}", self.spread.median);
        let sign = |limit: &Limit| if limit.better == Better::More { '<' } else { '>' };
        match (self.limit, self.gate()) {
            (Some(limit), Some(gate)) if self.is_missed() => {
                format!("{:.3} {} gate {gate}", self.spread.median, sign(&limit))
            }
            _ => value,
        }
    }
}

/// A path, and a bar for each of its metrics.
#[derive(Clone, Debug)]
pub struct Section {
    /// The path.
    pub heading: String,
    /// The metrics.
    pub bars: Vec<Bar>,
}

/// A chart of all sections, one below the other.
///
/// # Errors
/// The axis cannot be drawn.
pub fn chart(title: (&str, &str), sections: &[Section]) -> anyhow::Result<String> {
    let bars = || sections.iter().flat_map(|section| &section.bars);
    let rows = sections.len() + bars().count();
    let reach = |bar: &Bar| bar.spread.high.max(bar.gate().unwrap_or_default());
    let most = bars().map(reach).fold(1.0, f64::max) * 1.02;
    let margin = bars().map(|bar| page::width(&bar.label, TEXT)).max().unwrap_or_default() + 12;
    let height = HEAD as u32 + rows as u32 * ROW + AXIS + 10;
    page::draw(height, title, |area| {
        let (_, below) = area.split_vertically(HEAD);
        let mut chart = ChartBuilder::on(&below)
            .margin_left(EDGE)
            .margin_right(FIGURES)
            .margin_bottom(10)
            .y_label_area_size(margin)
            .x_label_area_size(AXIS)
            .build_cartesian_2d(0.0..most, rows as f64..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_labels(10)
            .x_max_light_lines(0)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .x_label_formatter(&|value| format!("{value:.1}"))
            .label_style(style(TEXT, &BLACK, (HPos::Center, VPos::Top)))
            .draw()?;
        let line = [(1.0, 0.0), (1.0, rows as f64)];
        chart.draw_series([PathElement::new(line, BLACK.mix(0.5))])?;
        let mut row = 0.0;
        for section in sections {
            let heading = bold(TEXT, &BLACK, (HPos::Left, VPos::Center));
            let at = EmptyElement::at((0.0, row + 0.6));
            chart.draw_series([at + Text::new(section.heading.clone(), (4 - margin as i32, 0), heading)])?;
            row += 1.0;
            for bar in &section.bars {
                chart.draw_series([body(bar, row)])?;
                chart.draw_series(marks(bar, row))?;
                for Label { point, offset, text, style } in labels(bar, row) {
                    chart.draw_series([EmptyElement::at(point) + Text::new(text, offset, style)])?;
                }
                row += 1.0;
            }
        }
        Ok(())
    })
}

/// The bar.
fn body(bar: &Bar, row: f64) -> Rectangle<(f64, f64)> {
    let (top, bottom) = (row + (1.0 - FILLED) / 2.0, row + (1.0 + FILLED) / 2.0);
    Rectangle::new([(0.0, top), (bar.spread.median, bottom)], page::colour(bar.colour).filled())
}

/// The quartiles as a thin line along the bar, and the gate as a thick one across it.
fn marks(bar: &Bar, row: f64) -> impl Iterator<Item = PathElement<(f64, f64)>> + use<> {
    let middle = row + 0.5;
    let quartiles = [(bar.spread.low, middle), (bar.spread.high, middle)];
    let gate = bar.gate().map(|gate| [(gate, row + 0.04), (gate, row + 0.96)]);
    let gate = gate.map(|points| PathElement::new(points, BLACK.stroke_width(3)));
    std::iter::once(PathElement::new(quartiles, BLACK.stroke_width(1))).chain(gate)
}

/// A text beside a point.
struct Label {
    point: (f64, f64),
    offset: (i32, i32),
    text: String,
    style: TextStyle<'static>,
}

/// The metric left of the bar, and its figure right of all that is drawn of it.
fn labels(bar: &Bar, row: f64) -> [Label; 2] {
    let middle = row + 0.5;
    let end = bar.spread.high.max(bar.spread.median).max(bar.gate().unwrap_or_default());
    let figure = match bar.is_missed() {
        true => bold(TEXT, &page::MISSED, (HPos::Left, VPos::Center)),
        false => style(TEXT, &BLACK, (HPos::Left, VPos::Center)),
    };
    let metric = style(TEXT, &BLACK, (HPos::Right, VPos::Center));
    [
        Label { point: (0.0, middle), offset: (-6, 0), text: bar.label.clone(), style: metric },
        Label { point: (end, middle), offset: (7, 0), text: bar.text(), style: figure },
    ]
}
