use std::fmt;

use serde::Serialize;

use crate::version::Version;

/// What an error means to the runtime; numbers below 100 are the specification's ("Error" section).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Code {
    /// `cniVersion` is none of ours.
    IncompatibleVersion = 1,
    /// A field that we do not support; the message holds its key and value.
    UnsupportedField = 2,
    /// The container is unknown or does not exist; the runtime need not clean up.
    UnknownContainer = 3,
    /// An environment variable is missing or invalid.
    InvalidEnvironment = 4,
    /// Reading or writing failed.
    Io = 5,
    /// Standard input is not a configuration.
    Decode = 6,
    /// The configuration contradicts itself or its field is invalid.
    InvalidConfig = 7,
    /// A passing condition; the runtime should try again.
    TryAgainLater = 11,
    /// STATUS: no ADD can be served.
    NotAvailable = 50,
    /// STATUS: no ADD can be served, and attached containers may lack connectivity.
    NotAvailableLimited = 51,
    /// The network namespace or an interface in it could not be set up.
    Attach = 100,
    /// The attachment could not be taken down.
    Detach = 101,
    /// CHECK: the attachment is not as ADD left it.
    NotAsAttached = 102,
    /// GC: part of what is stale could not be removed.
    Garbage = 103,
}

/// An error as the runtime reads it from standard output.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Error {
    /// What it means to the runtime.
    pub code: Code,
    /// One line that names the thing.
    pub msg: String,
    /// What else helps, may be empty.
    pub details: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, " ({})", self.details) }
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

    /// An invalid configuration.
    pub(crate) fn conf(msg: impl Into<String>) -> Self {
        Self::new(Code::InvalidConfig, msg)
    }

    /// The same error with `details`.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// The JSON object that goes to standard output; `version` is the configuration's, as far as it is known.
    #[must_use]
    pub fn to_json(&self, version: Option<Version>) -> String {
        let wire = Wire {
            cni_version: version.unwrap_or(Version::LATEST).as_str(),
            code: self.code as u32,
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
