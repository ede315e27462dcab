use serde::Deserialize;

/// Longest item that is accepted: far above the API's limit for an object.
const LONGEST: usize = 16 << 20;

/// The items of a list, one by one from pieces of any size: a list of a thousand nodes is ten megabytes, one node ten
/// kilobytes.
#[derive(Default)]
pub struct Items {
    /// The list without its items.
    frame: Vec<u8>,
    /// The item that is being read.
    item: Vec<u8>,
    depth: usize,
    is_in_items: bool,
    is_in_string: bool,
    is_escaped: bool,
}

/// The end of a page.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The state that the list shows.
    pub resource_version: String,
    /// The token of the next page; empty or absent on the last.
    #[serde(default)]
    pub r#continue: Option<String>,
}

#[derive(Deserialize)]
struct Frame {
    metadata: Page,
    items: Option<Vec<serde::de::IgnoredAny>>,
}

impl Items {
    /// Calls `each` with every item that `piece` completes. Returns false if an item has no end.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(&[u8])) -> bool {
        for byte in piece {
            self.take(*byte, &mut each);
        }
        self.item.len() <= LONGEST && self.frame.len() <= LONGEST
    }

    fn take(&mut self, byte: u8, each: &mut impl FnMut(&[u8])) {
        let is_text = self.is_in_string;
        self.track(byte);
        if !self.is_in_items {
            self.frame.push(byte);
            self.is_in_items = !is_text && byte == b'[' && self.depth == 2 && self.is_at_items();
            return;
        }
        // Within the array: an item's bytes are at its depth or deeper; text between items is not kept.
        if self.depth < 2 {
            self.is_in_items = false;
            self.frame.push(byte);
        } else if self.depth > 2 || !self.item.is_empty() {
            self.item.push(byte);
            if self.depth == 2 {
                each(&self.item);
                self.item.clear();
            }
        } else if byte != b',' && !byte.is_ascii_whitespace() {
            // No object: the end of the list will tell.
            self.frame.push(byte);
        }
    }

    /// Follows strings, braces and brackets.
    const fn track(&mut self, byte: u8) {
        if self.is_in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.is_in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Returns true if the array that begins at the end of the frame is the value of `items`.
    fn is_at_items(&self) -> bool {
        let before = self.frame[..self.frame.len() - 1].trim_ascii_end();
        before.strip_suffix(b":").is_some_and(|key| key.trim_ascii_end().ends_with(b"\"items\""))
    }

    /// The end of the page; an error if the text is not a whole list.
    ///
    /// # Errors
    /// The parser's words.
    pub fn end(self) -> Result<Page, String> {
        let frame: Frame =
            serde_json::from_slice(&self.frame).map_err(|error| format!("not a list: {error}"))?;
        match frame.items {
            Some(items) if items.is_empty() => Ok(frame.metadata),
            None if self.depth == 0 => Ok(frame.metadata),
            _ => Err("not a list: its items are not objects".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, size: usize) -> (Vec<String>, Result<Page, String>) {
        let (mut items, mut found) = (Items::default(), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            assert!(items.push(piece, |item| found.push(String::from_utf8(item.to_vec()).unwrap())));
        }
        (found, items.end())
    }

    #[test]
    fn items_are_found_wherever_they_stand_and_however_they_are_cut() {
        let page = Page { resource_version: "7".into(), r#continue: Some("x".into()) };
        let item = r#"{"a":"[{\"}\\","items":[{"b":[1,{}]}]}"#;
        for text in [
            format!(
                r#"{{"kind":"L","metadata":{{"resourceVersion":"7","continue":"x"}},"items":[{item}, {item}]}}"#
            ),
            format!(
                r#"{{"items" : [ {item},{item} ] , "metadata":{{"continue":"x","resourceVersion":"7"}}}}"#
            ),
        ] {
            for size in [1, 2, 3, 7, 64, 4096] {
                let (found, end) = read(&text, size);
                assert_eq!(found, [item, item]);
                assert_eq!(end.unwrap(), page);
            }
        }
    }

    #[test]
    fn an_empty_list_has_no_items_and_a_state() {
        for text in [
            r#"{"metadata":{"resourceVersion":"7"},"items":[]}"#,
            r#"{"metadata":{"resourceVersion":"7"},"items":null}"#,
        ] {
            let (found, end) = read(text, 5);
            assert_eq!((found.len(), end.unwrap().resource_version), (0, "7".into()));
        }
    }

    #[test]
    fn a_list_that_is_cut_anywhere_is_no_list() {
        let text = r#"{"metadata":{"resourceVersion":"7"},"items":[{"a":1},{"b":2}]}"#;
        for length in 0..text.len() {
            assert!(read(&text[..length], 4).1.is_err(), "{}", &text[..length]);
        }
        assert!(read("<html>", 4).1.is_err());
        assert!(read(r#"{"kind":"Status"}"#, 4).1.is_err());
        assert!(read(r#"{"metadata":{"resourceVersion":"7"},"items":[1,2]}"#, 4).1.is_err());
    }
}
