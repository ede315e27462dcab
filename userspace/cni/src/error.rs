use std::fmt;

use serde::Serialize;

use crate::version::{UnknownVersion, Version};

/// The meaning of an error to the runtime; numbers below 100 are the specification's (section "Error").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// The `cniVersion` is not supported.
    IncompatibleVersion,
    /// A field is not supported; the message holds its key and value.
    UnsupportedField,
    /// The container is unknown or does not exist; the runtime need not clean up.
    UnknownContainer,
    /// An environment variable is missing or invalid.
    InvalidEnvironment,
    /// Reading or writing failed.
    Io,
    /// Standard input is not a configuration.
    Decode,
    /// The configuration contradicts itself or its field is invalid.
    InvalidConfig,
    /// The network namespace is one that nothing may be attached in.
    InvalidNetns,
    /// A passing condition; the runtime should try again.
    TryAgainLater,
    /// STATUS: no ADD can be served.
    NotAvailable,
    /// STATUS: no ADD can be served, and attached containers may lack connectivity.
    NotAvailableLimited,
    /// The network namespace or an interface in it could not be set up.
    Attach,
    /// CHECK: the attachment is not as ADD left it.
    NotAsAttached,
    /// GC: some leftovers could not be removed.
    Garbage,
    /// The code of another plugin, passed on.
    Delegate(u32),
}

/// The codes with their numbers; those from 100 on are naru's own.
const NUMBERS: [(Code, u32); 14] = [
    (Code::IncompatibleVersion, 1),
    (Code::UnsupportedField, 2),
    (Code::UnknownContainer, 3),
    (Code::InvalidEnvironment, 4),
    (Code::Io, 5),
    (Code::Decode, 6),
    (Code::InvalidConfig, 7),
    (Code::InvalidNetns, 8),
    (Code::TryAgainLater, 11),
    (Code::NotAvailable, 50),
    (Code::NotAvailableLimited, 51),
    (Code::Attach, 100),
    (Code::NotAsAttached, 102),
    (Code::Garbage, 103),
];

impl Code {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Delegate(number) => number,
            own => NUMBERS.iter().find(|(code, _)| *code == own).map_or(0, |(_, number)| *number),
        }
    }

    /// The meaning of another plugin's number; its own codes, from 100 on, are not ours.
    #[must_use]
    pub fn of_delegate(number: u32) -> Self {
        let known = NUMBERS.iter().find(|(_, known)| *known == number && number < 100);
        known.map_or(Self::Delegate(number), |(code, _)| *code)
    }
}

/// An error, as the runtime reads it from standard output.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Error {
    /// Its meaning to the runtime.
    pub code: Code,
    /// One line that names the subject.
    pub msg: String,
    /// Further details; may be empty.
    pub details: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, " ({})", self.details) }
    }
}

impl From<UnknownVersion> for Error {
    fn from(unknown: UnknownVersion) -> Self {
        let all = Version::ALL.map(Version::as_str).join(", ");
        Self::new(Code::IncompatibleVersion, unknown.to_string()).with_details(format!("supported: {all}"))
    }
}

/// The error object on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    cni_version: &'a str,
    code: u32,
    msg: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    details: &'a str,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// The error for an invalid configuration.
    pub(crate) fn conf(msg: impl Into<String>) -> Self {
        Self::new(Code::InvalidConfig, msg)
    }

    /// The same error with `details`.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// The same error with the version of the configuration, if the error concerns the configuration.
    #[must_use]
    pub fn in_version(self, version: Version) -> Self {
        let is_about_conf = matches!(self.code, Code::UnsupportedField | Code::InvalidConfig);
        match is_about_conf && self.details.is_empty() {
            true => self.with_details(format!("cniVersion {version}")),
            false => self,
        }
    }

    /// The JSON object for standard output; `version` is the configuration's, if it is known.
    #[must_use]
    pub fn to_json(&self, version: Option<Version>) -> String {
        let wire = Wire {
            cni_version: version.unwrap_or(Version::LATEST).as_str(),
            code: self.code.number(),
            msg: &self.msg,
            details: &self.details,
        };
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_number_back() {
        for (code, number) in NUMBERS {
            assert_eq!(code.number(), number);
            assert_eq!(Code::of_delegate(number).number(), number);
        }
        assert_eq!(Code::of_delegate(100), Code::Delegate(100));
    }

    #[test]
    fn an_unknown_version_is_incompatible_and_those_supported_are_listed() {
        let error = Error::from("9.9.9".parse::<Version>().unwrap_err());
        assert_eq!(error.code, Code::IncompatibleVersion);
        assert!(error.details.starts_with("supported: 0.1.0, 0.2.0"), "{}", error.details);
    }

    #[test]
    fn an_error_carries_the_version_the_number_and_no_empty_details() {
        let error = Error::conf("mtu: 12 is too small");
        assert_eq!(
            error.to_json(Some(Version::V0_4_0)),
            r#"{"cniVersion":"0.4.0","code":7,"msg":"mtu: 12 is too small"}"#
        );
        assert_eq!(
            error.with_details("at least 68").to_json(None),
            r#"{"cniVersion":"1.1.0","code":7,"msg":"mtu: 12 is too small","details":"at least 68"}"#
        );
    }
}
