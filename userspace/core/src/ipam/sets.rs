//! Addresses for other main plugins: one address of every set, in the terms of host-local's configurations.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::assign::{choose, hold, refuse_taken};
use super::pick::Ranges;
use super::{
    AddressRequest, Assignment, Domain, Family, IpamError, Ledger, MAX_RANGE, Millis, PoolSpec, Row, cool,
    row_of, set_ranges, sweep,
};
use crate::ids::Generation;

/// A subnet, or a part of one, from which addresses are given out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subnet {
    /// The subnet; its prefix length is that of the addresses.
    pub net: IpNet,
    /// The first address that may be given out.
    pub first: IpAddr,
    /// The last one.
    pub last: IpAddr,
    /// The subnet's gateway, never given out.
    pub gateway: Option<IpAddr>,
}

/// Subnets of one family that are alternatives to each other; an attachment gets one address of every set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressSet {
    /// The alternatives, at least one.
    pub subnets: Vec<Subnet>,
}

impl Subnet {
    /// The whole of a subnet.
    #[must_use]
    pub fn whole(net: IpNet, gateway: Option<IpAddr>) -> Self {
        Self { net, first: net.network(), last: net.broadcast(), gateway }
    }

    /// Returns true if the limits allow the address to be given out.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same_family = address.is_ipv4() == self.first.is_ipv4();
        same_family && self.first <= address && address <= self.last
    }

    /// The fewest blocks that hold exactly the addresses between the limits, of which the first 2^20 are used.
    fn blocks(&self) -> Vec<IpNet> {
        if (self.first, self.last) == (self.net.network(), self.net.broadcast()) {
            return vec![self.net];
        }
        let mut room = u128::from(MAX_RANGE);
        let has_room = |block: &IpNet| {
            let before = room;
            room = room.saturating_sub(1 << (block.max_prefix_len() - block.prefix_len()).min(127));
            before > 0
        };
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::V4).take_while(has_room).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::V6).take_while(has_room).collect()
            }
            // Limits of two different families enclose no address.
            _ => Vec::new(),
        }
    }

    /// Addresses that are given to nobody, with the reason: network and broadcast of IPv4, the anycast address of
    /// IPv6 routers, the gateway.
    fn kept(&self) -> Vec<(IpAddr, &'static str)> {
        let single = self.net.max_prefix_len() - self.net.prefix_len() <= 1;
        let mut kept = match (Family::of(self.first), single) {
            (_, true) => Vec::new(),
            (Family::V4, false) => {
                vec![(self.net.network(), "network"), (self.net.broadcast(), "broadcast")]
            }
            (Family::V6, false) => vec![(self.net.network(), "subnet-router anycast")],
        };
        kept.extend(self.gateway.map(|gateway| (gateway, "gateway")));
        kept
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) == (self.net.network(), self.net.broadcast()) {
            true => write!(f, "{}", self.net)?,
            false => write!(f, "{}-{}/{}", self.first, self.last, self.net.prefix_len())?,
        }
        self.gateway.map_or(Ok(()), |gateway| write!(f, " (gateway {gateway})"))
    }
}

impl AddressSet {
    /// The name of the set's pool: another definition is another pool.
    #[must_use]
    pub fn pool(&self) -> String {
        self.subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The subnet from which an address was given out.
    #[must_use]
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.contains(address))
    }

    /// The family of its addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        self.subnets.first().map_or(Family::V4, |subnet| Family::of(subnet.first))
    }

    fn spec(&self, domain: &Domain) -> PoolSpec {
        let ranges = self.subnets.iter().flat_map(Subnet::blocks).collect();
        let spec = PoolSpec { keep_anycast: false, ..PoolSpec::routed(domain.clone(), self.pool(), ranges) };
        let kept = self.subnets.iter().flat_map(Subnet::kept);
        kept.fold(spec, |spec, (address, note)| spec.reserve(address, note))
    }
}

/// Assigns one address of every set, in the order of the sets. An attachment that asks again from the same namespace
/// keeps its addresses; others get new ones, or none at all. `request.pool` and `request.families` have no effect.
/// Missing pools of the sets are made; the domain's other pools then give out nothing more.
pub fn assign_from_each<L: Ledger>(
    ledger: &mut L,
    request: &AddressRequest,
    sets: &[AddressSet],
    now: Millis,
) -> Result<Assignment, IpamError<L::Error>> {
    sweep(ledger, &request.domain, request.cooling, now)?;
    let held = ledger.held_by(&request.domain, &request.owner)?;
    if let Some(assignment) = keep(ledger, request, sets, &held)? {
        return Ok(assignment);
    }
    for row in &held {
        cool(ledger, row, now)?;
    }
    let ranges = pools_of(ledger, &request.domain, sets, now)?;
    let generation = ledger.next_generation(Generation(0))?;
    let mut asked = request.addresses.clone();
    let mut addresses = Vec::new();
    for set in sets {
        let of_set = AddressRequest { pool: set.pool(), ..request.clone() };
        let address = match take_asked(&mut asked, set) {
            Some(address) => exactly(ledger, &ranges, &of_set, address)?,
            None => choose(ledger, &ranges, &of_set, (set.family(), generation))?,
        };
        hold(ledger, &ranges, &of_set, (address, generation, now))?;
        addresses.push(address);
    }
    match asked.first() {
        Some(&address) => Err(IpamError::Outside { address, pool: names(sets) }),
        None => Ok(Assignment { addresses, generation, reused: false, superseded: held }),
    }
}

/// The addresses that the attachment holds, if they are one of every set and all that it asks for.
fn keep<L: Ledger>(
    ledger: &mut L,
    request: &AddressRequest,
    sets: &[AddressSet],
    held: &[Row],
) -> Result<Option<Assignment>, L::Error> {
    let same_netns = |row: &Row| row.netns.is_none() || row.netns == request.netns;
    let of_set = |set: &AddressSet| held.iter().find(|row| set.subnet_of(row.address).is_some());
    let rows: Option<Vec<&Row>> = sets.iter().map(of_set).collect();
    let rows = rows.filter(|rows| rows.len() == held.len() && held.iter().all(same_netns));
    let asked_for =
        |rows: &Vec<&Row>| request.addresses.iter().all(|asked| rows.iter().any(|row| row.address == *asked));
    let Some(rows) = rows.filter(asked_for) else { return Ok(None) };
    let Some(generation) = rows.first().map(|row| row.generation) else { return Ok(None) };
    for row in rows.iter().filter(|row| row.netns != request.netns) {
        let row = Row { netns: request.netns, ..(*row).clone() };
        ledger.set_row(&row.domain, row.address, Some(&row))?;
    }
    let addresses = rows.iter().map(|row| row.address).collect();
    Ok(Some(Assignment { addresses, generation, reused: true, superseded: Vec::new() }))
}

/// The domain's ranges, including those of the sets.
fn pools_of<L: Ledger>(
    ledger: &mut L,
    domain: &Domain,
    sets: &[AddressSet],
    now: Millis,
) -> Result<Ranges, L::Error> {
    let ranges = Ranges::read(ledger, domain)?;
    let pools: Vec<String> = sets.iter().map(AddressSet::pool).collect();
    if pools.iter().all(|pool| ranges.active(pool).next().is_some()) {
        return Ok(ranges);
    }
    for stale in ranges.pools().filter(|pool| !pools.iter().any(|wanted| wanted == pool)) {
        set_ranges(ledger, &PoolSpec::routed(domain.clone(), stale, Vec::new()), now)?;
    }
    for set in sets {
        set_ranges(ledger, &set.spec(domain), now)?;
    }
    Ranges::read(ledger, domain)
}

/// Takes the first requested address that the set can give.
fn take_asked(asked: &mut Vec<IpAddr>, set: &AddressSet) -> Option<IpAddr> {
    let at = asked.iter().position(|address| set.subnet_of(*address).is_some())?;
    Some(asked.remove(at))
}

fn exactly<L: Ledger>(
    ledger: &L,
    ranges: &Ranges,
    request: &AddressRequest,
    address: IpAddr,
) -> Result<IpAddr, IpamError<L::Error>> {
    if !ranges.active(&request.pool).any(|range| range.offset_of(address).is_some()) {
        return Err(IpamError::Outside { address, pool: request.pool.clone() });
    }
    match row_of(ledger, &request.domain, address)? {
        Some(row) => refuse_taken(&row).map(|()| address),
        None => Ok(address),
    }
}

fn names(sets: &[AddressSet]) -> String {
    sets.iter().map(AddressSet::pool).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
