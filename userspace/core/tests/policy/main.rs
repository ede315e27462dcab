//! The compiled tables against a plain evaluation of the objects, for random clusters, policies and packets.

mod agreement;
mod limits;
mod scale;
mod world;
