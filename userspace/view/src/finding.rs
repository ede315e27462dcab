use std::fmt;

use serde::Serialize;

use crate::Code;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// What it is wrong with: a device, an address, a file.
    pub subject: String,
    /// What was seen.
    pub evidence: String,
    /// What somebody can do about it.
    pub remedy: &'static str,
}

impl Finding {
    pub(crate) fn new(code: Code, subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { code, subject: subject.into(), evidence: evidence.into(), remedy: code.remedy() }
    }
}

/// Subject and evidence in one line: `naru-vx: the tunnel device is gone`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.evidence)
    }
}
