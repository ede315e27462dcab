use std::fmt;

use serde::Serialize;

use crate::Code;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The kind.
    pub code: Code,
    /// The subject: a device, an address, a file.
    pub subject: String,
    /// The evidence.
    pub evidence: String,
    /// The remedy.
    pub remedy: &'static str,
}

impl Finding {
    /// A finding of that kind.
    #[must_use]
    pub fn new(code: Code, subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { code, subject: subject.into(), evidence: evidence.into(), remedy: code.remedy() }
    }
}

/// Subject and evidence in one line: `naru-vx: the tunnel device is gone`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.evidence)
    }
}
