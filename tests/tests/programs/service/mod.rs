//! Services in the programs: what a pod sends to one, and what it is answered.

mod across;
mod apply;
mod cases;
mod clash;
mod errors;
mod traffic;
mod world;
