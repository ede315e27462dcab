//! Translation of a byte of the file into what a person looks for: line and key.

/// Line of byte `offset`, from 1.
pub fn line(text: &str, offset: usize) -> usize {
    1 + before(text, offset).matches('\n').count()
}

/// The key whose value holds byte `offset`, with its table's name in front: `node.blocks`.
pub fn key(text: &str, offset: usize) -> String {
    let end =
        text[floor(text, offset)..].find('\n').map_or(text.len(), |length| floor(text, offset) + length);
    let lines: Vec<&str> = text[..end].lines().collect();
    let own = lines.iter().rposition(|line| key_of(line).is_some() || table_of(line).is_some());
    let Some(own) = own else { return "file".to_owned() };
    let table = lines[..=own].iter().rev().find_map(|line| table_of(line));
    match (table, key_of(lines[own])) {
        (Some(table), Some(key)) => format!("{table}.{key}"),
        (Some(table), None) => table.to_owned(),
        (None, key) => key.unwrap_or("file").to_owned(),
    }
}

/// The name in a line `[name]` or `[[name]]`.
fn table_of(line: &str) -> Option<&str> {
    let line = line.trim();
    let inside = line.strip_prefix('[')?.trim_start_matches('[');
    let name = inside.split(']').next()?.trim();
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    (is_name && !name.is_empty()).then_some(name)
}

/// The name in a line `name = value`.
fn key_of(line: &str) -> Option<&str> {
    let name = line.split_once('=')?.0.trim();
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    (is_name && !name.is_empty()).then_some(name)
}

fn before(text: &str, offset: usize) -> &str {
    &text[..floor(text, offset)]
}

/// `offset`, moved back to a character's first byte and into the text.
fn floor(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ranges = [\n  \"10.0.0.0/8\",\n]\n\n[tunnel]\nport = 1\n[[node]]\nname = \"ü\"\n";

    fn at(part: &str) -> usize {
        TEXT.find(part).unwrap()
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line(TEXT, 0), 1);
        assert_eq!(line(TEXT, at("10.0")), 2);
        assert_eq!(line(TEXT, at("port")), 6);
        assert_eq!(line(TEXT, usize::MAX), 9);
    }

    #[test]
    fn a_value_of_several_lines_belongs_to_the_key_above_it() {
        assert_eq!(key(TEXT, at("10.0")), "ranges");
    }

    #[test]
    fn a_key_of_a_table_carries_the_tables_name() {
        assert_eq!(key(TEXT, at("port =") + 7), "tunnel.port");
        assert_eq!(key(TEXT, at("name =") + 8), "node.name");
        assert_eq!(key(TEXT, at("[[node]]") + 1), "node");
    }

    #[test]
    fn an_offset_within_a_character_is_no_trouble() {
        assert_eq!(key(TEXT, at("ü") + 1), "node.name");
        assert_eq!(key("", 5), "file");
    }
}
