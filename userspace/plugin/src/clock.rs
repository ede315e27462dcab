//! What is noted, and what is newer than what, goes by the node's one clock.

pub(crate) use naru_node::host::now;
