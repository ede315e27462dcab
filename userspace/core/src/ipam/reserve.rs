use std::net::IpAddr;

use super::assign::refuse_taken;
use super::pick::Ranges;
use super::ranges::keep;
use super::{Domain, IpamError, Ledger, Millis, Reservation, Row, State, row_of};

/// Keeps an address from everybody, or for one pod, from now on. An address that the pod holds already stays with it
/// and is kept for it afterwards. It is an error if anybody else has the address or if it has a different
/// reservation.
pub fn reserve<L: Ledger>(
    ledger: &mut L,
    domain: &Domain,
    reservation: &Reservation,
    now: Millis,
) -> Result<(), IpamError<L::Error>> {
    let row = row_of(ledger, domain, reservation.address)?;
    let is_open = |row: &Row| match row.state {
        State::Assigned => reservation.pod.is_same(&row.pod),
        State::Reserved => row.note == reservation.note && row.pod == reservation.pod,
        State::Cooling | State::Quarantined => false,
    };
    if let Some(row) = row.as_ref().filter(|row| !is_open(row)) {
        refuse_taken(row)?;
    }
    let ranges = Ranges::read(ledger, domain)?;
    Ok(keep(ledger, &ranges, (row.as_ref(), domain, reservation), now)?)
}

/// Ends a reservation: the address becomes free, or, while its pod holds it, when the pod gives it back. Returns true
/// if anything changed.
pub fn unreserve<L: Ledger>(ledger: &mut L, domain: &Domain, address: IpAddr) -> Result<bool, L::Error> {
    match row_of(ledger, domain, address)? {
        Some(row) if row.state == State::Reserved => {
            ledger.set_row(domain, address, None)?;
            Ranges::read(ledger, domain)?.mark(ledger, address, false)?;
        }
        Some(row) if row.is_kept() => {
            let row = Row { note: String::new(), ..row };
            ledger.set_row(domain, address, Some(&row))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AttachmentId, Generation, NetnsId, PodName};
    use crate::ipam::memory::MemoryLedger;
    use crate::ipam::{AddressRequest, Adoption, PoolSpec, adopt, assign, release, set_ranges};

    fn pod(name: &str) -> PodName {
        PodName { namespace: "default".into(), name: name.into(), uid: String::new() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn kept(address: &str, for_pod: &str) -> Reservation {
        let pod = if for_pod.is_empty() { PodName::default() } else { pod(for_pod) };
        Reservation { address: ip(address), note: "static".into(), pod }
    }

    fn spec() -> PoolSpec {
        PoolSpec::routed(
            Domain::naru(),
            "p",
            vec!["10.0.0.0/29".parse().unwrap(), "fd00::/125".parse().unwrap()],
        )
    }

    fn ledger() -> MemoryLedger {
        let mut ledger = MemoryLedger::default();
        set_ranges(&mut ledger, &spec(), 0).unwrap();
        ledger
    }

    fn request(container: &str, for_pod: &str) -> AddressRequest {
        let owner = AttachmentId::new("naru", container, "eth0").unwrap();
        let uid = format!("uid-of-{container}");
        let netns = Some(NetnsId::Cookie(container.bytes().map(u64::from).sum()));
        AddressRequest {
            pod: PodName { uid, ..pod(for_pod) },
            netns,
            ..AddressRequest::new(Domain::naru(), "p", owner)
        }
    }

    fn add(ledger: &mut MemoryLedger, request: &AddressRequest) -> Result<Vec<String>, String> {
        let assigned = ledger.transact(|ledger| assign(ledger, request, 1000));
        let texts = |addresses: Vec<IpAddr>| addresses.iter().map(ToString::to_string).collect();
        assigned.map(|assigned| texts(assigned.addresses)).map_err(|error| error.to_string())
    }

    fn del(ledger: &mut MemoryLedger, request: &AddressRequest) {
        release(ledger, &Domain::naru(), &request.owner, 2000).unwrap();
    }

    #[test]
    fn a_pod_gets_what_is_reserved_for_it_again_and_again_and_nobody_else_does() {
        let mut ledger = ledger();
        reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.5", "db-0"), 0).unwrap();
        for container in ["c1", "c2", "c3"] {
            let own = request(container, "db-0");
            assert_eq!(add(&mut ledger, &own).unwrap()[0], "10.0.0.5");
            del(&mut ledger, &own);
        }
        for number in 0..7 {
            let other = add(&mut ledger, &request(&format!("o{number}"), "web")).unwrap();
            assert_ne!(other[0], "10.0.0.5");
        }
        assert!(add(&mut ledger, &request("o8", "web")).unwrap_err().contains("no ipv4 address left"));
        assert_eq!(
            add(
                &mut ledger,
                &AddressRequest { families: vec![super::super::Family::V4], ..request("c4", "db-0") }
            )
            .unwrap(),
            ["10.0.0.5"]
        );
    }

    #[test]
    fn an_address_for_one_pod_is_refused_to_another_by_name() {
        let mut ledger = ledger();
        reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.5", "db-0"), 0).unwrap();
        let asks = AddressRequest { addresses: vec![ip("10.0.0.5")], ..request("c1", "web") };
        assert_eq!(
            add(&mut ledger, &asks).unwrap_err(),
            "address 10.0.0.5: reserved (for pod default/db-0: static)"
        );
        let asks = AddressRequest { addresses: vec![ip("10.0.0.5")], ..request("c2", "db-0") };
        assert_eq!(add(&mut ledger, &asks).unwrap()[0], "10.0.0.5");
        del(&mut ledger, &asks);
        assert_eq!(ledger.row(&Domain::naru(), ip("10.0.0.5")).unwrap().unwrap().state, State::Reserved);
    }

    #[test]
    fn while_the_old_container_holds_it_the_new_one_waits() {
        let mut ledger = ledger();
        reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.5", "db-0"), 0).unwrap();
        let (old, new) = (request("c1", "db-0"), request("c2", "db-0"));
        add(&mut ledger, &old).unwrap();
        let error = add(&mut ledger, &new).unwrap_err();
        assert_eq!(error, "address 10.0.0.5: held by pod default/db-0 (naru/c1/eth0)");
        del(&mut ledger, &old);
        assert_eq!(add(&mut ledger, &new).unwrap()[0], "10.0.0.5");
    }

    #[test]
    fn a_second_interface_of_the_pod_gets_an_address_of_its_own() {
        let mut ledger = ledger();
        reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.5", "db-0"), 0).unwrap();
        let first = request("c1", "db-0");
        let second =
            AddressRequest { owner: AttachmentId::new("naru", "c1", "net1").unwrap(), ..first.clone() };
        assert_eq!(add(&mut ledger, &first).unwrap()[0], "10.0.0.5");
        assert_eq!(add(&mut ledger, &second).unwrap()[0], "10.0.0.0");
    }

    #[test]
    fn what_somebody_holds_or_another_reservation_keeps_is_not_reserved() {
        let mut ledger = ledger();
        let held = add(&mut ledger, &request("c1", "web")).unwrap();
        let error = reserve(&mut ledger, &Domain::naru(), &kept(&held[0], "db-0"), 0).unwrap_err();
        assert_eq!(error.to_string(), "address 10.0.0.0: held by pod default/web (naru/c1/eth0)");
        reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.5", ""), 0).unwrap();
        let error = reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.5", "db-0"), 0).unwrap_err();
        assert_eq!(error.to_string(), "address 10.0.0.5: reserved (static)");
        reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.5", ""), 9).unwrap();
    }

    #[test]
    fn a_reservation_of_what_the_pod_holds_counts_from_its_end_on_and_ends_as_it_began() {
        let mut ledger = ledger();
        let own = request("c1", "db-0");
        add(&mut ledger, &own).unwrap();
        reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.0", "db-0"), 0).unwrap();
        del(&mut ledger, &own);
        let row = ledger.row(&Domain::naru(), ip("10.0.0.0")).unwrap().unwrap();
        assert_eq!((row.state, row.pod, row.owner), (State::Reserved, pod("db-0"), None));
        assert!(unreserve(&mut ledger, &Domain::naru(), ip("10.0.0.0")).unwrap());
        assert!(!unreserve(&mut ledger, &Domain::naru(), ip("10.0.0.0")).unwrap());
        assert_eq!(ledger.row(&Domain::naru(), ip("10.0.0.0")).unwrap(), None);
        add(&mut ledger, &AddressRequest { addresses: vec![ip("10.0.0.0")], ..request("c2", "web") })
            .unwrap();
    }

    #[test]
    fn an_unreserved_address_cools_like_any_other_when_its_pod_goes() {
        let mut ledger = ledger();
        reserve(&mut ledger, &Domain::naru(), &kept("10.0.0.5", "db-0"), 0).unwrap();
        let own = request("c1", "db-0");
        add(&mut ledger, &own).unwrap();
        assert!(unreserve(&mut ledger, &Domain::naru(), ip("10.0.0.5")).unwrap());
        del(&mut ledger, &own);
        assert_eq!(ledger.row(&Domain::naru(), ip("10.0.0.5")).unwrap().unwrap().state, State::Cooling);
    }

    #[test]
    fn a_store_that_lost_its_rows_knows_reservation_and_live_pod_again() {
        let mut ledger = MemoryLedger::default();
        let with = PoolSpec { reserved: vec![kept("10.0.0.5", "db-0")], ..spec() };
        set_ranges(&mut ledger, &with, 0).unwrap();
        let own = request("c1", "db-0");
        let adoption = Adoption {
            domain: Domain::naru(),
            owner: own.owner.clone(),
            pod: PodName::default(),
            addresses: vec![ip("10.0.0.5")],
            netns: own.netns,
            ifindex: 7,
            generation: Generation(3),
        };
        assert!(adopt(&mut ledger, &adoption, 0).unwrap());
        assert_eq!(ledger.row(&Domain::naru(), ip("10.0.0.5")).unwrap().unwrap().pod, pod("db-0"));
        let changes = set_ranges(&mut ledger, &with, 1).unwrap();
        assert!(changes.conflicts.is_empty());
        del(&mut ledger, &own);
        assert_eq!(add(&mut ledger, &request("c2", "db-0")).unwrap()[0], "10.0.0.5");
    }
}
