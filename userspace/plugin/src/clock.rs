//! Notes and ages use the node's one clock.

pub(crate) use naru_node::host::now;
