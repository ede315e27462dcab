//! Services in the programs: what a pod sends to one, and what it is answered.

mod traffic;
mod world;
