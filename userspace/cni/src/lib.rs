//! The Container Network Interface as data: the input from a runtime (environment and standard input) and the output
//! to it (results and errors), in the shape of every published version.
//!
//! The crate is pure: it touches no file, no environment and no process; callers pass bytes and variables. Source:
//! the CNI specification, <https://github.com/containernetworking/cni/blob/main/SPEC.md>, and its older versions
//! under `spec-v<N>` tags.

mod conf;
mod delegate;
mod environment;
mod error;
mod fields;
mod pod_args;
mod reply;
mod result;
mod version;

pub use conf::{
    Addressing, Attachment, Ipam, NaruKeys, Network, NetworkConf, Range, RangeSet, RuntimeConfig,
    SourceCheck, Unserved,
};
pub use delegate::{delegate_error, delegate_result};
pub use environment::{Call, Target};
pub use error::{Code, Error};
pub use pod_args::PodArgs;
pub use reply::{gc_input, read_stdin, version_reply};
pub use result::{CniResult, Dns, Interface, Ip, Route};
pub use version::{UnknownVersion, Version};
