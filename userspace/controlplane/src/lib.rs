//! A real Kubernetes control plane for tests and the lab: etcd and kube-apiserver as processes of this one, with
//! certificates, ports and directories of their own. Everything ends with its guard, also on a panic.
//!
//! The programs are those that `cargo xtask setup --kubernetes` builds; [`Programs::find`] says so where they are not.

mod authority;
mod plane;
mod process;
mod programs;

pub use authority::{Authority, Certificate};
pub use plane::{ControlPlane, Options, Server};
pub use process::Process;
pub use programs::Programs;
