//! Everything that is written is read back by another connection.

use naru_core::ids::{Generation, NetnsId, PodName};
use naru_core::ipam::{AddressRequest, Adoption, Domain, Family, IpamError, PoolSpec, State};

use super::scene::{POOL, Scene, id, request, spec};

#[test]
fn an_attachment_goes_from_reserved_to_confirmed_to_cooling() {
    let (scene, mut store) = Scene::with_ranges(&["10.0.0.0/24", "fd00::/112"]);
    let pod = PodName { namespace: "default".into(), name: "web-0".into(), uid: "u-1".into() };
    let assignment = store.reserve(&AddressRequest { pod: pod.clone(), ..request("c1", 7) }, 50).unwrap();
    assert_eq!(
        assignment.addresses,
        ["10.0.0.0".parse::<std::net::IpAddr>().unwrap(), "fd00::1".parse().unwrap()]
    );

    let held = scene.open().lease_of(&Domain::naru(), &id("c1")).unwrap();
    assert_eq!(held.iter().map(|row| row.address).collect::<Vec<_>>(), assignment.addresses);
    for row in &held {
        assert_eq!((row.state, row.confirmed, row.since), (State::Assigned, false, 50));
        assert_eq!((row.netns, &row.pod), (Some(NetnsId::Cookie(7)), &pod));
    }

    scene.open().confirm(&Domain::naru(), &id("c1"), assignment.generation, 12).unwrap();
    let held = scene.open().lease_of(&Domain::naru(), &id("c1")).unwrap();
    assert!(held.iter().all(|row| row.confirmed && row.ifindex == 12));

    assert_eq!(scene.open().release(&Domain::naru(), &id("c1"), 90).unwrap(), held);
    assert!(store.lease_of(&Domain::naru(), &id("c1")).unwrap().is_empty());
    let cooling: Vec<_> = store.rows().unwrap().into_iter().filter(|row| row.owner.is_some()).collect();
    assert!(cooling.iter().all(|row| row.state == State::Cooling && row.since == 90 && row.pod == pod));
    assert_eq!(cooling.len(), 2);
}

#[test]
fn the_same_attachment_asking_again_through_another_connection_gets_the_same() {
    let (scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    let first = store.reserve(&request("c1", 7), 0).unwrap();
    let again = scene.open().reserve(&request("c1", 7), 1).unwrap();
    assert_eq!((again.addresses, again.generation, again.reused), (first.addresses, first.generation, true));
}

#[test]
fn giving_back_what_is_not_held_succeeds() {
    let (_scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    assert!(store.release(&Domain::naru(), &id("nobody"), 0).unwrap().is_empty());
}

#[test]
fn a_failed_reservation_leaves_nothing_behind() {
    let (_scene, mut store) = Scene::with_ranges(&["10.0.0.0/24", "fd00::/128"]);
    store.reserve(&AddressRequest { families: vec![Family::V6], ..request("c1", 1) }, 0).unwrap();
    let before = (store.rows().unwrap(), store.ranges().unwrap());
    let refused = store.reserve(&request("c2", 2), 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "pool default: no ipv6 address left: 1 assigned, 0 cooling, 0 reserved of 1"
    );
    assert_eq!((store.rows().unwrap(), store.ranges().unwrap()), before);
}

#[test]
fn a_large_range_is_walked_chunk_by_chunk_to_its_only_free_address() {
    let (_scene, mut store) = Scene::with_ranges(&["10.32.0.0/18"]);
    let adoption = |addresses| Adoption {
        domain: Domain::naru(),
        owner: id("all"),
        pod: PodName::default(),
        addresses,
        netns: None,
        ifindex: 1,
        generation: Generation(1),
    };
    let spared: std::net::IpAddr = "10.32.47.11".parse().unwrap();
    let net: ipnet::IpNet = "10.32.0.0/18".parse().unwrap();
    let hosts = std::iter::once(net.network()).chain(net.hosts()).chain([net.broadcast()]);
    store.adopt(&adoption(hosts.filter(|host| *host != spared).collect()), 0).unwrap();
    assert_eq!(store.reserve(&request("c1", 1), 0).unwrap().addresses, [spared]);
    let usage = store.usage(&Domain::naru(), POOL, Family::V4).unwrap();
    assert_eq!((usage.total, usage.assigned, usage.free()), (16384, 16384, 0));
}

#[test]
fn a_generation_that_moved_on_is_not_freed_by_the_old_number() {
    let (_scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    let old = store.reserve(&request("c1", 1), 0).unwrap();
    let new = store.reserve(&request("c1", 2), 0).unwrap();
    assert!(new.generation > old.generation);
    let mut free =
        |address, generation| store.free_if_generation(&Domain::naru(), address, generation, 5).unwrap();
    assert!(!free(new.addresses[0], old.generation));
    assert!(free(new.addresses[0], new.generation));
    assert!(!free(new.addresses[0], new.generation));
}

#[test]
fn domains_do_not_see_each_other() {
    let (_scene, mut store) = Scene::with_ranges(&["10.0.0.0/32"]);
    let foreign = Domain::ipam("bridge");
    let ranges = vec!["10.0.0.0/32".parse().unwrap()];
    store.set_ranges(&PoolSpec::routed(foreign.clone(), POOL, ranges), 0).unwrap();
    let ours = store.reserve(&request("c1", 1), 0).unwrap();
    let theirs = store.reserve(&AddressRequest { domain: foreign, ..request("c1", 1) }, 0).unwrap();
    assert_eq!(ours.addresses, theirs.addresses);
}

#[test]
fn a_quarantined_address_is_adopted_once_one_holder_is_left() {
    let (_scene, mut store) = Scene::with_ranges(&["10.0.0.0/32"]);
    let address = "10.0.0.0".parse().unwrap();
    assert!(store.quarantine(&Domain::naru(), address, "held by a and b", 0).unwrap());
    assert!(!store.quarantine(&Domain::naru(), address, "held by a and b", 0).unwrap());
    assert!(matches!(store.reserve(&request("c1", 1), 0), Err(IpamError::Exhausted { .. })));
    let adoption = Adoption {
        domain: Domain::naru(),
        owner: id("a"),
        pod: PodName::default(),
        addresses: vec![address],
        netns: Some(NetnsId::Inode(9)),
        ifindex: 3,
        generation: Generation(77),
    };
    assert!(store.adopt(&adoption, 0).unwrap());
    assert!(!store.adopt(&adoption, 1).unwrap());
    let row = store.lease_of(&Domain::naru(), &id("a")).unwrap().remove(0);
    assert_eq!((row.netns, row.generation, row.confirmed), (Some(NetnsId::Inode(9)), Generation(77), true));
    assert!(store.reserve(&request("c2", 2), 0).is_err());
}

#[test]
fn ranges_come_and_go_with_their_reservations() {
    let (_scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    let gateway = "10.0.1.1".parse().unwrap();
    let changes = store.set_ranges(&spec(&["10.0.1.0/30"]).reserve(gateway, "gateway"), 0).unwrap();
    assert_eq!(changes.added, ["10.0.1.0/30".parse().unwrap()]);
    assert_eq!(changes.removed, ["10.0.0.0/24".parse().unwrap()]);
    let rows = store.rows().unwrap();
    assert_eq!((rows.len(), rows[0].address, rows[0].note.as_str()), (1, gateway, "gateway"));
    assert_eq!(store.ranges().unwrap().len(), 1);
}

#[test]
fn cooled_addresses_are_freed_by_a_sweep() {
    let (_scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    store.reserve(&request("c1", 1), 0).unwrap();
    store.release(&Domain::naru(), &id("c1"), 100).unwrap();
    assert_eq!(store.sweep(&Domain::naru(), 1000, 1099).unwrap(), 0);
    assert_eq!(store.sweep(&Domain::naru(), 1000, 1100).unwrap(), 1);
    assert!(store.rows().unwrap().is_empty());
}

#[test]
fn a_sweep_of_everything_frees_what_has_cooled_in_every_domain() {
    let (_scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    let foreign = Domain::ipam("bridge");
    store
        .set_ranges(&PoolSpec::routed(foreign.clone(), POOL, vec!["10.0.0.0/24".parse().unwrap()]), 0)
        .unwrap();
    for number in 0..40 {
        let name = format!("c{number}");
        store.reserve(&AddressRequest { domain: foreign.clone(), ..request(&name, 1) }, 0).unwrap();
        store.reserve(&request(&name, 1), 0).unwrap();
        store.release(&foreign, &id(&name), 100).unwrap();
        store.release(&Domain::naru(), &id(&name), if number == 7 { 500 } else { 100 }).unwrap();
    }
    assert_eq!(store.sweep_all(1000, 1099).unwrap(), 0);
    assert_eq!(store.sweep_all(1000, 1100).unwrap(), 79);
    assert_eq!(store.rows().unwrap().len(), 1, "it was given back later");
}
