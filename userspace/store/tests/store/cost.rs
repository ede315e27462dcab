//! The cost of a reservation as the store fills; it is printed and not judged.

use std::time::{Duration, Instant};

use naru_core::ids::{Generation, PodName};
use naru_core::ipam::{Adoption, Domain};
use naru_store::StateStore;

use super::scene::{BOOT, Scene, id, request};

#[test]
fn reserving_is_measured_with_nothing_and_with_ten_thousand_rows() {
    let (scene, store) = Scene::with_ranges(&["10.32.0.0/12", "fd00::/112"]);
    drop(store);
    let empty = median(&scene, 0);
    let addresses =
        (0..10_000_u32).map(|offset| std::net::IpAddr::from((0x0a28_0000 + offset).to_be_bytes()));
    let adoption = Adoption {
        domain: Domain::naru(),
        owner: id("many"),
        pod: PodName::default(),
        addresses: addresses.collect(),
        netns: None,
        ifindex: 1,
        generation: Generation(1),
    };
    scene.open().adopt(&adoption, 0).unwrap();
    let full = median(&scene, 1_000);
    println!("open + reserve + confirm, p50: {empty:?} with no rows, {full:?} with 10,000 rows");
    assert_eq!(scene.open().rows().unwrap().len(), 10_000 + 2 * 2 * 200 + 1);
}

/// Each time by a connection of its own, as processes do.
fn median(scene: &Scene, first: u32) -> Duration {
    let one = |number: u32| {
        let request = request(&format!("c{number}"), 1);
        let begun = Instant::now();
        let mut store = StateStore::open(&scene.path, BOOT).unwrap();
        let assignment = store.reserve(&request, 0).unwrap();
        store.confirm(&Domain::naru(), &request.owner, assignment.generation, 7).unwrap();
        drop(store);
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (first..first + 200).map(one).collect();
    times.sort_unstable();
    times[100]
}
