//! Names from outside (of pods, in notes, aliases and links) on their way to a terminal or a log: characters that would
//! command the one, or pretend to be a line of the other, are shown by their numbers.

use std::borrow::Cow;

/// The text on one line: every control character in it, the end of a line among them, as `\u001b`. The form is also
/// JSON's, so a document without such characters outside of strings means the same.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_command)
}

/// The same of several lines, whose ends stay.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character != '\n' && is_command(character))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_escaped(character) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Returns true for control characters, of eight bits too, and for those that end lines or turn the direction of the
/// text around (Unicode, UAX 9).
const fn is_command(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_command_a_terminal_are_shown_by_their_numbers() {
        for (text, shown) in [
            ("default/web-0", "default/web-0"),
            ("größe 웹 ☂", "größe 웹 ☂"),
            ("\x1b[31mred\x07", "\\u001b[31mred\\u0007"),
            ("a\nb\r\tc", "a\\u000ab\\u000d\\u0009c"),
            ("\u{9b}2J\x7f", "\\u009b2J\\u007f"),
            ("\u{202e}moc\u{2028}", "\\u202emoc\\u2028"),
        ] {
            assert_eq!(printable(text), shown);
            assert_eq!(printable(&printable(text)), shown, "once is enough");
        }
        assert_eq!(printable_lines("a\n\x1bb\n"), "a\n\\u001bb\n");
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
    }
}
