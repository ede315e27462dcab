//! One file a command.

pub mod agent;
pub mod cluster;
pub mod endpoints;
pub mod flows;
pub mod init;
pub mod install;
pub mod ipam;
pub mod node;
pub mod policy;
pub mod routes;
mod runtime;
pub mod service;
pub mod stats;
pub mod status;
pub mod uninstall;
