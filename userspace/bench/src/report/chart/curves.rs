use plotters::prelude::*;

use super::page::{self, Area, EDGE, FAINT, HEAD, HPos, TEXT, VPos, bold, style};

/// Height of a panel and of a line of the legend in pixels; panels stand side by side in twos.
const PANEL: u32 = 290;
const ENTRY: u32 = 20;
/// Names of the legend beside each other.
const ENTRIES: usize = 3;

/// A line through points, from left to right.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The name in the legend; curves of one name have one colour in all panels.
    pub name: String,
    /// The points.
    pub points: Vec<(f64, f64)>,
    /// The point that a gate allows, if any.
    pub gate: Option<(f64, f64)>,
}

/// A panel with axes of its own, the abscissa logarithmic.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The line above it.
    pub title: String,
    /// The abscissa's values that are written below it; chosen by the chart if there are none.
    pub ticks: Vec<f64>,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// A chart of all panels with one legend.
///
/// # Errors
/// An axis cannot be drawn.
pub fn chart(title: (&str, &str), panels: &[Panel]) -> anyhow::Result<String> {
    let names = names(panels);
    let rows = panels.len().div_ceil(2);
    let legend = names.len().div_ceil(ENTRIES) as u32 * ENTRY;
    let height = HEAD as u32 + legend + rows as u32 * PANEL + 10;
    page::draw(height, title, |area| {
        let (_, below) = area.split_vertically(HEAD);
        let (above, below) = below.split_vertically(legend);
        draw_legend(&above, &names)?;
        let (below, _) = below.split_vertically(rows as u32 * PANEL);
        for (panel, part) in panels.iter().zip(below.split_evenly((rows, 2))) {
            draw_panel(&part, panel, &names)?;
        }
        Ok(())
    })
}

/// Names of the curves, each once.
fn names(panels: &[Panel]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for curve in panels.iter().flat_map(|panel| &panel.curves) {
        if !names.contains(&curve.name.as_str()) {
            names.push(&curve.name);
        }
    }
    names
}

fn draw_legend(area: &Area<'_>, names: &[&str]) -> anyhow::Result<()> {
    let column = (page::WIDTH as i32 - 2 * EDGE) / ENTRIES as i32;
    for (number, name) in names.iter().enumerate() {
        let x = EDGE + column * (number % ENTRIES) as i32;
        let y = (number / ENTRIES) as i32 * ENTRY as i32 + ENTRY as i32 / 2;
        area.draw(&PathElement::new([(x, y), (x + 24, y)], page::colour(number).stroke_width(3)))?;
        area.draw_text(name, &style(TEXT, &BLACK, (HPos::Left, VPos::Center)), (x + 30, y))?;
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel, names: &[&str]) -> anyhow::Result<()> {
    let x = Abscissa::of(panel);
    let most = most(panel);
    area.draw_text(&panel.title, &bold(TEXT, &BLACK, (HPos::Left, VPos::Top)), (EDGE, 8))?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_left(EDGE)
        .margin_right(30)
        .margin_bottom(8)
        .y_label_area_size(page::width(&short(most), TEXT) + 8)
        .x_label_area_size(24)
        .build_cartesian_2d((x.first..x.last).log_scale().with_key_points(x.ticks), 0.0..most)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .y_labels(6)
        .bold_line_style(FAINT)
        .axis_style(BLACK.mix(0.4))
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .x_label_style(style(TEXT, &BLACK, (HPos::Center, VPos::Top)))
        .y_label_style(style(TEXT, &BLACK, (HPos::Right, VPos::Center)))
        .draw()?;
    for curve in &panel.curves {
        let number = names.iter().position(|name| *name == curve.name).unwrap_or_default();
        let colour = page::colour(number);
        chart.draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?;
        // A gate is a short bar of the curve's colour with a black edge.
        for (gate, (edge, colour)) in
            curve.gate.iter().flat_map(|gate| [(gate, (1, BLACK)), (gate, (0, colour))])
        {
            let bar = [(-11 - edge, -2 - edge), (7 + edge, 2 + edge)];
            chart.draw_series([EmptyElement::at(*gate) + Rectangle::new(bar, colour.filled())])?;
        }
    }
    Ok(())
}

/// The range of an abscissa and the values written below it.
struct Abscissa {
    first: f64,
    last: f64,
    ticks: Vec<f64>,
}

impl Abscissa {
    fn of(panel: &Panel) -> Self {
        let values = || panel.curves.iter().flat_map(|curve| &curve.points).map(|point| point.0);
        let first = values().fold(f64::INFINITY, f64::min).clamp(1e-9, 1e12);
        let last = values().fold(first * 1.01, f64::max);
        if !panel.ticks.is_empty() {
            return Self { first, last, ticks: panel.ticks.clone() };
        }
        let ticks = rounds(first, last);
        let (first, last) = (ticks.first().copied().unwrap_or(first), ticks.last().copied().unwrap_or(last));
        Self { first, last, ticks }
    }
}

/// The values 1, 2 and 5 times a power of ten around `first` and `last`, which are the first and last but one of them
/// at least.
fn rounds(first: f64, last: f64) -> Vec<f64> {
    let decade = first.log10().floor() as i32;
    let all = (decade..decade + 40).flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)));
    let mut rounds: Vec<f64> = Vec::new();
    for value in all {
        if value <= first {
            rounds.clear();
        }
        rounds.push(value);
        if value >= last {
            break;
        }
    }
    rounds
}

/// The end of an ordinate: the largest value, gates included, with some room above.
fn most(panel: &Panel) -> f64 {
    let points = panel.curves.iter().flat_map(|curve| curve.points.iter().chain(&curve.gate));
    points.map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max) * 1.04
}

fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        10e3.. => format!("{}k", (value / 1e3).round()),
        10.0.. => format!("{value:.0}"),
        _ => format!("{}", (value * 100.0).round() / 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abscissa_begins_and_ends_with_a_round_value() {
        assert_eq!(rounds(3.1, 47.0), [2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(rounds(10.0, 10.1), [10.0, 20.0]);
    }

    #[test]
    fn large_numbers_are_short() {
        assert_eq!([0.5, 5.0, 100.0, 60_000.0, 1e6].map(short), ["0.5", "5", "100", "60k", "1M"]);
    }
}
