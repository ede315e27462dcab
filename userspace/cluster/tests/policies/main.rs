//! NetworkPolicy as objects of the API say it: a table of cases, each judged by the objects and by compiled tables.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

mod cases;
mod objects;
mod world;
