//! A node as people and programs look at it: what it is, and what is wrong with it. One model for every face: `naru
//! status` prints it, and whatever else shows a node reads the same. Looks only; nothing is changed.

mod agent;
mod code;
mod fill;
mod finding;
mod findings;
mod programs;
mod status;

pub use agent::AgentReport;
pub use code::Code;
pub use finding::Finding;
pub use findings::{findings, lost_identities};
pub use programs::Programs;
pub use status::{Amount, Status};
