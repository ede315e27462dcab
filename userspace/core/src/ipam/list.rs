use std::fmt;
use std::net::IpAddr;

use super::{Range, Row};
use crate::ids::{AttachmentId, PodName};

/// One line of `naru ipam list`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// First address of the line.
    pub first: IpAddr,
    /// Last address of the line: the first one again unless the line is a span of free addresses.
    pub last: IpAddr,
    /// `ASSIGNED`, `COOLING`, `RESERVED` or `FREE`.
    pub status: &'static str,
    /// The pod, where one holds or held the address.
    pub pod: PodName,
    /// The attachment, where one holds or held the address.
    pub owner: Option<AttachmentId>,
    /// Why it is reserved, else empty.
    pub note: String,
}

impl Listed {
    /// The address, or `first-last` of a span.
    #[must_use]
    pub fn ip(&self) -> String {
        String::new()
    }
}

/// Every address of the ranges in order: one line for each that is held, one for each span of free ones.
/// `rows` may be of any order and domain; those outside the ranges come last.
#[must_use]
pub fn list(_ranges: &[Range], _rows: &[Row]) -> Vec<Listed> {
    Vec::new()
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.ip(), self.status, self.pod)
    }
}
