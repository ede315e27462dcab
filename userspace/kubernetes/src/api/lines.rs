/// Longest event that is accepted: far above the API's limit for an object.
const LONGEST: usize = 16 << 20;

/// Lines of a watch, from pieces of any size.
#[derive(Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Calls `each` with every line that `piece` completes.
    ///
    /// # Errors
    /// A line has no end.
    pub fn push<E>(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            if self.pending.is_empty() {
                each(line)?;
            } else {
                self.pending.extend_from_slice(line);
                let whole = std::mem::take(&mut self.pending);
                each(&whole)?;
            }
            piece = rest;
        }
        self.pending.extend_from_slice(piece);
        Ok(self.pending.len() <= LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let text = b"one\ntwo two\n\nthree\nrest";
        for size in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                let whole = lines.push(piece, |line| -> Result<(), ()> {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                    Ok(())
                });
                assert_eq!(whole, Ok(true));
            }
            assert_eq!(found, ["one", "two two", "", "three"], "pieces of {size}");
        }
    }
}
