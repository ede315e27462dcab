//! The compiled tables against a plain evaluation of the objects, for random clusters, policies and packets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

mod agreement;
mod limits;
mod scale;
mod world;
