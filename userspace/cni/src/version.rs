use std::{fmt, str::FromStr};

/// A published version of the specification that this crate supports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// 0.1.0: one `ip4` and one `ip6`. A configuration without `cniVersion` has this version.
    V0_1_0,
    /// 0.2.0: as 0.1.0, with the VERSION command.
    V0_2_0,
    /// 0.3.0: lists of interfaces, addresses and routes.
    V0_3_0,
    /// 0.3.1: as 0.3.0, but every address names its interface.
    V0_3_1,
    /// 0.4.0: as 0.3.1, with the CHECK command.
    V0_4_0,
    /// 1.0.0: addresses no longer carry their family.
    V1_0_0,
    /// 1.1.0: GC, STATUS, MTU and socket of an interface, metrics of a route.
    V1_1_0,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version.
    pub const LATEST: Self = Self::V1_1_0;

    /// The spelling in `cniVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no supported version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cniVersion: {0:?} is not supported")]
pub struct UnknownVersion(pub String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        let known = Self::ALL.into_iter().find(|version| version.as_str() == text);
        known.ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_read_back_from_its_own_text() {
        for version in Version::ALL {
            assert_eq!(version.as_str().parse::<Version>().unwrap(), version);
        }
    }

    #[test]
    fn no_version_means_the_first_one() {
        assert_eq!("".parse::<Version>().unwrap(), Version::V0_1_0);
    }

    #[test]
    fn an_unknown_version_is_named() {
        let error = "9.9.9".parse::<Version>().unwrap_err();
        assert_eq!(error.to_string(), r#"cniVersion: "9.9.9" is not supported"#);
    }
}
