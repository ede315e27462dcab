use ipnet::IpNet;

use super::Domain;
use crate::ids::Generation;

/// A range of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// Where its addresses are unique.
    pub domain: Domain,
    /// The pool.
    pub pool: String,
    /// Its addresses, of which the first 2^20 are used.
    pub net: IpNet,
    /// Whether nothing is given out from it any more.
    pub draining: bool,
    /// The offset after the one given out last.
    pub cursor: u32,
    /// Generation of the assignment it gave out last; the pool goes on in its range with the largest.
    pub turn: Generation,
}
