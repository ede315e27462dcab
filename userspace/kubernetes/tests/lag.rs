//! A second, real API server whose way to the store is held up: its state is true, but out of date.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::time::{Duration, Instant};

use naru_kubernetes::{Access, KubernetesSource, Pace};

use bed::{Bed, Followed, names, node, wire::Wire};

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn nothing_is_done_by_the_view_of_a_server_that_lags_and_all_is_right_soon_after() {
    let mut bed = Bed::new();
    let store = bed.plane().etcd().trim_start_matches("http://").parse().unwrap();
    let wire = Wire::new(store);
    let second = bed.plane_mut().add_server(0, &format!("http://{}", wire.address())).unwrap();
    let file = bed.plane().kubeconfig("lag.kubeconfig", second).unwrap();
    let source = KubernetesSource { access: Access::Kubeconfig(file), pace: Pace::default(), ..bed.source() };
    (1..=3).for_each(|number| drop(bed.create(&node(number))));
    let mut followed = Followed::new(source.clone());
    followed.nodes(&[1, 2, 3]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    wire.hold(true);
    bed.delete(&["node002".into()]);
    bed.create(&node(4));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(names(&followed.views.borrow()), ["node001", "node002", "node003"], "it has not heard of it");
    // A new process must not take the past for the present.
    drop(followed);
    let mut followed = Followed::new(source);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(followed.views.borrow().cluster, None);
    wire.hold(false);
    let since = Instant::now();
    followed.nodes(&[1, 3, 4]).await;
    println!("right {:?} after the release", since.elapsed());
    let last = bed.plane().servers().len() - 1;
    bed.plane_mut().stop_server(last);
}
