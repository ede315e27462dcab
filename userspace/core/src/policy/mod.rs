//! NetworkPolicy: the objects, a plain evaluation of them, and the tables that each node compiles for itself.
//!
//! [`model`] has the objects and the events that change them. [`oracle`] judges a packet by the objects alone.
//! [`compile`] keeps the tables of `naru_abi::policy` up to date: facts in, [`compile::Plan`]s out. [`tables`] reads
//! tables as the programs do. [`local`] knows the addresses of the node's own pods, [`lent`]
//! those of others' that the source does not say yet. [`explain`], [`reach`] and
//! [`review`] answer questions of people.

pub mod compile;
pub mod explain;
pub mod lent;
pub mod local;
pub mod model;
pub mod oracle;
pub mod reach;
pub mod review;
pub mod tables;
