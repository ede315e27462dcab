use std::net::IpAddr;

use super::assign::refuse_taken;
use super::pick::Ranges;
use super::{AddressRequest, Assignment, IpamError, Ledger, Millis, Row, State, cool, row_of, sweep};
use crate::ids::Generation;

/// Records addresses that another IPAM plugin gave to an attachment, whether or not they lie in a range. It is an
/// error if another attachment holds one, or if one is reserved. A repeated call changes nothing; other addresses of
/// the attachment are given back. The pool of the request has no effect.
pub fn claim<L: Ledger>(
    ledger: &mut L,
    request: &AddressRequest,
    now: Millis,
) -> Result<Assignment, IpamError<L::Error>> {
    sweep(ledger, &request.domain, request.cooling, now)?;
    let held = ledger.held_by(&request.domain, &request.owner)?;
    if let Some(generation) = same(request, &held) {
        let addresses = held.iter().map(|row| row.address).collect();
        return Ok(Assignment { addresses, generation, reused: true, superseded: Vec::new() });
    }
    for row in &held {
        cool(ledger, row, now)?;
    }
    let ranges = Ranges::read(ledger, &request.domain)?;
    let generation = ledger.next_generation(Generation(0))?;
    let mut addresses = request.addresses.clone();
    addresses.sort_unstable();
    addresses.dedup();
    for &address in &addresses {
        if let Some(row) = row_of(ledger, &request.domain, address)? {
            refuse_taken(&row)?;
        }
        ledger.set_row(&request.domain, address, Some(&claimed(request, address, generation, now)))?;
        ranges.mark(ledger, address, true)?;
    }
    Ok(Assignment { addresses, generation, reused: false, superseded: held })
}

/// The generation of the attachment's addresses, if they are exactly the claimed ones in the same namespace.
fn same(request: &AddressRequest, held: &[Row]) -> Option<Generation> {
    let generation = held.first()?.generation;
    let is_claimed = |row: &Row| {
        row.generation == generation
            && (row.netns.is_none() || row.netns == request.netns)
            && request.addresses.contains(&row.address)
    };
    let is_held = |address: &IpAddr| held.iter().any(|row| row.address == *address);
    (held.iter().all(is_claimed) && request.addresses.iter().all(is_held)).then_some(generation)
}

fn claimed(request: &AddressRequest, address: IpAddr, generation: Generation, now: Millis) -> Row {
    Row {
        state: State::Assigned,
        owner: Some(request.owner.clone()),
        pod: request.pod.clone(),
        netns: request.netns,
        generation,
        ..Row::reserved(request.domain.clone(), address, "", now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryLedger;
    use super::super::{Domain, PoolSpec, assign, release, set_ranges};
    use super::*;
    use crate::ids::{AttachmentId, NetnsId};

    fn request(container: &str, addresses: &[&str]) -> AddressRequest {
        let owner = AttachmentId::new("n", container, "eth0").unwrap();
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        AddressRequest {
            addresses,
            netns: Some(NetnsId::Cookie(1)),
            ..AddressRequest::new(Domain::naru(), "p", owner)
        }
    }

    #[test]
    fn an_address_outside_every_range_is_held_once() {
        let mut ledger = MemoryLedger::default();
        let first = claim(&mut ledger, &request("a", &["192.0.2.7", "2001:db8::7"]), 1).unwrap();
        assert_eq!(first.addresses.len(), 2);
        let error = claim(&mut ledger, &request("b", &["192.0.2.7"]), 2).unwrap_err();
        assert!(matches!(error, IpamError::Held { .. }), "{error:?}");
        let again = claim(&mut ledger, &request("a", &["192.0.2.7", "2001:db8::7"]), 3).unwrap();
        assert_eq!((again.reused, again.generation), (true, first.generation));
    }

    #[test]
    fn what_was_claimed_out_of_a_range_is_not_given_out_of_it() {
        let mut ledger = MemoryLedger::default();
        let spec = PoolSpec::routed(Domain::naru(), "p", vec!["192.0.2.0/31".parse().unwrap()]);
        set_ranges(&mut ledger, &spec, 0).unwrap();
        claim(&mut ledger, &request("a", &["192.0.2.0"]), 1).unwrap();
        let given = assign(&mut ledger, &request("b", &[]), 2).unwrap();
        assert_eq!(given.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert!(matches!(assign(&mut ledger, &request("c", &[]), 3), Err(IpamError::Exhausted { .. })));
    }

    #[test]
    fn another_claim_of_the_same_attachment_takes_the_place_of_the_first() {
        let mut ledger = MemoryLedger::default();
        claim(&mut ledger, &request("a", &["192.0.2.7"]), 1).unwrap();
        let second = claim(&mut ledger, &request("a", &["192.0.2.8"]), 2).unwrap();
        assert_eq!(second.superseded.len(), 1);
        claim(&mut ledger, &request("b", &["192.0.2.7"]), 3).unwrap();
    }

    #[test]
    fn the_delegate_may_give_an_address_again_while_it_cools() {
        let mut ledger = MemoryLedger::default();
        let one = request("a", &["192.0.2.7"]);
        claim(&mut ledger, &one, 1).unwrap();
        release(&mut ledger, &one.domain, &one.owner, 2).unwrap();
        assert!(claim(&mut ledger, &request("b", &["192.0.2.7"]), 3).is_ok());
    }
}
