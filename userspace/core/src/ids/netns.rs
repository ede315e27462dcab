use std::fmt;
use std::str::FromStr;

/// The kernel's identifier of a network namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NetnsId {
    /// `SO_NETNS_COOKIE` (Linux 5.14 and later), which is never reused while the machine runs.
    Cookie(u64),
    /// Inode number of the namespace file, which may be reused as soon as the namespace is gone.
    Inode(u64),
}

/// A text that names no network namespace.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("network namespace {0:?}: expected cookie:<number> or inode:<number>")]
pub struct InvalidNetnsId(pub String);

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(number) => write!(f, "cookie:{number}"),
            Self::Inode(number) => write!(f, "inode:{number}"),
        }
    }
}

impl FromStr for NetnsId {
    type Err = InvalidNetnsId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidNetnsId(text.to_owned());
        let (kind, number) = text.split_once(':').ok_or_else(invalid)?;
        let number = number.parse().map_err(|_| invalid())?;
        match kind {
            "cookie" => Ok(Self::Cookie(number)),
            "inode" => Ok(Self::Inode(number)),
            _ => Err(invalid()),
        }
    }
}

/// Number of an assignment. No two assignments of a node share one while the node runs, so facts about an older
/// assignment never act on a newer one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_survives_being_written_down() {
        for id in [NetnsId::Cookie(u64::MAX), NetnsId::Inode(4_026_531_840)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn a_text_that_names_no_namespace_is_refused() {
        for bad in ["", "cookie", "cookie:", "cookie:x", "file:1", "inode:-1"] {
            assert_eq!(bad.parse::<NetnsId>(), Err(InvalidNetnsId(bad.into())));
        }
    }

    #[test]
    fn generations_only_grow() {
        assert_eq!(Generation(7).next(), Generation(8));
        assert_eq!(Generation(u64::MAX).next(), Generation(u64::MAX));
    }
}
