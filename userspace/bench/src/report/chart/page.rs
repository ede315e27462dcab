pub use plotters::style::text_anchor::{HPos, VPos};
use plotters::{coord::Shift, prelude::*, style::text_anchor::Pos};

/// Width of every chart in pixels.
pub const WIDTH: u32 = 900;
/// Height of text in pixels.
pub const TEXT: f64 = 12.0;
/// Height of a title.
pub const TITLE: f64 = 16.0;
/// Room for the title and the line below it.
pub const HEAD: i32 = 58;
/// Left and right edge.
pub const EDGE: i32 = 14;

/// A picture, or a part of one, in pixels.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colours that are told apart on white, also by most of those who see fewer.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 120, 0),
    RGBColor(0, 140, 90),
    RGBColor(200, 80, 150),
    RGBColor(110, 70, 30),
    RGBColor(70, 175, 225),
    RGBColor(110, 80, 190),
    RGBColor(150, 150, 20),
    RGBColor(100, 100, 100),
];
/// Red, of missed gates alone.
pub const MISSED: RGBColor = RGBColor(200, 0, 0);
/// The lines of a grid.
pub const FAINT: RGBColor = RGBColor(215, 215, 215);

/// The colour of a series by its number: each has another, however many there are.
pub fn colour(number: usize) -> RGBColor {
    let RGBColor(red, green, blue) = COLOURS[number % COLOURS.len()];
    // Every further turn is darker by a fifth of what is left.
    let shade = 0.8f64.powi(i32::try_from(number / COLOURS.len()).unwrap_or(i32::MAX));
    let dim = |part: u8| (f64::from(part) * shade) as u8;
    RGBColor(dim(red), dim(green), dim(blue))
}

/// Text of `height` pixels in a colour, its anchor where `at` says.
pub fn style(height: f64, colour: &RGBColor, at: (HPos, VPos)) -> TextStyle<'static> {
    // The backend divides a font's size by this factor.
    FontDesc::new(FontFamily::SansSerif, height * 1.24, FontStyle::Normal)
        .color(colour)
        .pos(Pos::new(at.0, at.1))
}

/// Bold text of `height` pixels in a colour.
pub fn bold(height: f64, colour: &RGBColor, at: (HPos, VPos)) -> TextStyle<'static> {
    let plain = style(height, colour, at);
    TextStyle { font: plain.font.style(FontStyle::Bold), ..plain }
}

/// Pixels that a text takes at most: no glyph of a usual font is much wider than this on average.
pub fn width(text: &str, height: f64) -> u32 {
    (text.chars().count() as f64 * height * 0.64).ceil() as u32
}

/// Draws a picture on white under a title and a line that explains the marks.
///
/// # Errors
/// An axis cannot be drawn.
pub fn draw(
    height: u32,
    (title, key): (&str, &str),
    paint: impl FnOnce(&Area<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw_text(title, &bold(TITLE, &BLACK, (HPos::Left, VPos::Top)), (EDGE, 12))?;
    area.draw_text(key, &style(TEXT, &RGBColor(70, 70, 70), (HPos::Left, VPos::Top)), (EDGE, 36))?;
    paint(&area)?;
    area.present()?;
    drop(area);
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_series_share_a_colour_and_none_looks_like_a_missed_gate() {
        let colours: BTreeSet<_> = (0..40).map(colour).map(|RGBColor(r, g, b)| (r, g, b)).collect();
        assert_eq!(colours.len(), 40);
        assert!(!colours.contains(&(MISSED.0, MISSED.1, MISSED.2)));
    }
}
