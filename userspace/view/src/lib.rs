//! A node as people and programs look at it: what it is, and what is wrong with it. One model for every face: `naru
//! status` prints it, and whatever else shows a node reads the same. Looks only; nothing is changed.

mod agent;
mod code;
mod fill;
mod finding;
mod findings;
mod programs;
mod service_list;
mod services;
mod shortcut;
mod status;

pub use agent::{AgentReport, ServicesReport};
pub use code::Code;
pub use finding::Finding;
pub use findings::{findings, lost_identities};
pub use programs::Programs;
pub use service_list::{BackendView, FrontendView, LeftView, ServiceList};
pub use services::{FrontendNote, ServiceNote};
pub use status::{Amount, Status};
