//! Error numbers of the kernel, as naru prints them.

use std::fmt;

/// An error number of the kernel, printed as the text of `strerror` in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Errno(pub i32);

impl Errno {
    /// Returns the text of a system call's error in this form.
    #[must_use]
    pub fn of(error: &std::io::Error) -> String {
        error.raw_os_error().map_or_else(|| error.to_string(), |number| Self(number).to_string())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or(&text);
        let mut letters = text.chars();
        match letters.next() {
            Some(first) => write!(f, "{}{}", first.to_lowercase(), letters.as_str()),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_reads_in_lower_case_without_its_number() {
        assert_eq!(Errno(libc::EPERM).to_string(), "operation not permitted");
        assert_eq!(Errno(libc::EADDRINUSE).to_string(), "address already in use");
    }
}
