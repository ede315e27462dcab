//! The state and the faults of a node, for people and programs. There is one model for every output: `naru status`
//! prints it, and everything else that shows a node reads the same. It only reads.

mod agent;
mod code;
mod fill;
mod finding;
mod findings;
mod policies;
mod programs;
mod service_list;
mod services;
mod shortcut;
mod status;

pub use agent::{AgentReport, PoliciesReport, ServicesReport};
pub use code::Code;
pub use finding::Finding;
pub use findings::{findings, lost_identities};
pub use policies::{PodNote, PolicyNote};
pub use programs::Programs;
pub use service_list::{BackendView, FrontendView, LeftView, ServiceList};
pub use services::{FrontendNote, ServiceNote};
pub use status::{Amount, Status};
