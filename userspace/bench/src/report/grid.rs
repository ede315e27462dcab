use std::fmt::Write;

/// A cell of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// True if the figure misses its gate.
    pub missed: bool,
}

/// Rows and columns that grow as cells are set; what was not set stays blank.
#[derive(Default, Debug)]
pub struct Grid {
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    /// Column number and cell.
    cells: Vec<(usize, Cell)>,
}

impl Grid {
    /// Sets the cell of `row` and `column`, both new where they are not known.
    pub fn set(&mut self, row: &str, column: &str, cell: Cell) {
        let number = self.columns.iter().position(|known| known == column).unwrap_or_else(|| {
            self.columns.push(column.to_owned());
            self.columns.len() - 1
        });
        match self.rows.iter_mut().find(|known| known.name == row) {
            Some(known) => known.cells.push((number, cell)),
            None => self.rows.push(Row { name: row.to_owned(), cells: vec![(number, cell)] }),
        }
    }

    /// The grid as text, each line indented: rows with a missed gate first, otherwise in the order they were set.
    pub fn text(&self) -> String {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| !row.cells.iter().any(|(_, cell)| cell.missed));
        let first = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let mut text = String::new();
        for level in 0..self.depth() {
            let words = self.columns.iter().map(|column| self.word(column, level));
            line(&mut text, ("", first), words, &widths);
        }
        for row in rows {
            let cells = (0..self.columns.len()).map(|column| row.text(column));
            line(&mut text, (&row.name, first), cells, &widths);
        }
        text
    }

    /// The number of lines that the heads take.
    fn depth(&self) -> usize {
        self.columns.iter().map(|column| pieces(column).len()).max().unwrap_or_default()
    }

    /// A head's word in one of the lines of heads; heads stand on the last one.
    fn word<'a>(&self, column: &'a str, level: usize) -> &'a str {
        let pieces = pieces(column);
        let blank = self.depth() - pieces.len();
        level.checked_sub(blank).and_then(|place| pieces.get(place).copied()).unwrap_or_default()
    }

    fn width(&self, column: usize) -> usize {
        let head = pieces(&self.columns[column]).iter().map(|piece| piece.chars().count()).max();
        let cells = self.rows.iter().map(|row| row.text(column).chars().count()).max();
        head.max(cells).unwrap_or_default()
    }
}

impl Row {
    fn text(&self, column: usize) -> &str {
        self.cells.iter().rfind(|(known, _)| *known == column).map_or("", |(_, cell)| cell.text.as_str())
    }
}

/// A head in lines of about eight columns, so that it is hardly wider than a number.
fn pieces(head: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = head;
    while let Some((blank, _)) = rest.match_indices(' ').rfind(|(place, _)| *place <= 8) {
        if rest.len() <= 8 {
            break;
        }
        pieces.push(&rest[..blank]);
        rest = &rest[blank + 1..];
    }
    pieces.push(rest);
    pieces
}

fn line<'a>(
    text: &mut String,
    (name, first): (&str, usize),
    cells: impl Iterator<Item = &'a str>,
    widths: &[usize],
) {
    let mut line = format!("  {name:<first$}");
    for (cell, width) in cells.zip(widths) {
        let _ = write!(line, "  {cell:>width$}");
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str, missed: bool) -> Cell {
        Cell { text: text.to_owned(), missed }
    }

    #[test]
    fn rows_with_a_missed_gate_come_first_and_gaps_stay_blank() {
        let mut grid = Grid::default();
        grid.set("good", "TCP_RR", cell("1.000", false));
        grid.set("good", "stream", cell("1.100", false));
        grid.set("bad path", "stream", cell("0.900!", true));
        let expected = concat!(
            "            TCP_RR  stream\n",
            "  bad path          0.900!\n",
            "  good       1.000   1.100\n",
        );
        assert_eq!(grid.text(), expected);
    }

    #[test]
    fn long_heads_are_broken_at_blanks() {
        assert_eq!(pieces("packets on two CPUs"), ["packets", "on two", "CPUs"]);
        assert_eq!(pieces("wire, no GRO"), ["wire, no", "GRO"]);
        assert_eq!(pieces("wire GB/s"), ["wire", "GB/s"]);
        assert_eq!(pieces("ADD"), ["ADD"]);
        assert_eq!(pieces("undividedly long"), ["undividedly long"]);
    }
}
