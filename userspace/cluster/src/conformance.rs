//! The duties of every [`Source`], as one suite that the tests of each source call with a [`Store`].
//!
//! # Panics
//! Everything here panics if the source fails in a duty.

use std::time::Duration;

use naru_core::cluster::{ClusterSpec, NodeSpec, TunnelSpec};
use tokio::{
    sync::watch::{self, Receiver},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{ClusterError, Contact, Source, View};

/// Time limit for a view, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The place that a source follows, in the hands of a test.
pub trait Store {
    /// A source that follows this store.
    fn source(&self) -> Box<dyn Source>;
    /// Makes the store say this cluster.
    fn put(&mut self, cluster: &ClusterSpec);
    /// Puts something into the store that is no valid cluster.
    fn spoil(&mut self);
    /// Makes the store unreachable. It is unreachable at first, and [`Store::put`] makes it reachable again.
    fn withdraw(&mut self);
}

/// Runs the whole suite, each case with a new store.
pub async fn all<S: Store>(store: impl Fn() -> S) {
    a_store_that_comes_later_is_complained_about_and_then_followed(store()).await;
    a_change_is_delivered_with_another_revision(store()).await;
    what_is_invalid_leaves_the_cluster_and_is_complained_about_until_it_is_mended(store()).await;
    a_store_that_goes_leaves_the_cluster_and_is_followed_when_it_is_back(store()).await;
    of_many_changes_the_last_is_delivered(store()).await;
    the_same_again_is_no_news(store()).await;
    a_source_without_a_listener_ends(store()).await;
}

/// A source at work, and what it delivers.
struct Followed {
    views: Receiver<View>,
    work: JoinHandle<()>,
}

impl Followed {
    fn new(store: &impl Store) -> Self {
        let (sender, views) = watch::channel(View::default());
        Self { views, work: tokio::spawn(store.source().follow(sender, Contact::default())) }
    }

    /// The first view for which `is_it` holds.
    async fn wait(&mut self, what: &str, is_it: impl Fn(&View) -> bool) -> View {
        let found =
            timeout(PATIENCE, self.views.wait_for(is_it)).await.map(|found| found.map(|view| view.clone()));
        match found {
            Ok(Ok(view)) => view,
            Ok(Err(_)) => panic!("{what}: the source has ended"),
            Err(_) => panic!("{what}: not within {PATIENCE:?}; the view is {:?}", *self.views.borrow()),
        }
    }

    async fn cluster(&mut self, wanted: &ClusterSpec) -> View {
        let is_it = |view: &View| view.cluster.as_deref() == Some(wanted) && view.complaint.is_none();
        self.wait("the cluster", is_it).await
    }
}

/// A cluster of so many nodes.
#[must_use]
pub fn cluster(nodes: u8) -> ClusterSpec {
    let node = |number: u8| NodeSpec {
        name: format!("node{number:03}"),
        addresses: vec![[198, 51, 100, number].into()],
        blocks: format!("10.32.{number}.0/24").parse().into_iter().collect(),
        routing: None,
        encapsulation: None,
    };
    ClusterSpec {
        ranges: "10.32.0.0/12".parse().into_iter().collect(),
        masquerade: true,
        no_masquerade: Vec::new(),
        routing: naru_core::cluster::Routing::default(),
        encapsulation: naru_core::cluster::Encapsulation::default(),
        tunnel: TunnelSpec::default(),
        nodes: (1..=nodes).map(node).collect(),
    }
}

async fn a_store_that_comes_later_is_complained_about_and_then_followed(mut store: impl Store) {
    let mut followed = Followed::new(&store);
    let view = followed.wait("a complaint", View::is_answered).await;
    assert!(matches!(view.complaint, Some(ClusterError::Unreachable { .. })), "{view:?}");
    assert_eq!((view.cluster, view.revision), (None, None));
    store.put(&cluster(2));
    followed.cluster(&cluster(2)).await;
}

async fn a_change_is_delivered_with_another_revision(mut store: impl Store) {
    store.put(&cluster(2));
    let mut followed = Followed::new(&store);
    let first = followed.cluster(&cluster(2)).await;
    store.put(&cluster(3));
    let second = followed.cluster(&cluster(3)).await;
    assert!(first.revision.is_none() || first.revision != second.revision, "{first:?} {second:?}");
}

async fn what_is_invalid_leaves_the_cluster_and_is_complained_about_until_it_is_mended(
    mut store: impl Store,
) {
    store.put(&cluster(2));
    let mut followed = Followed::new(&store);
    let before = followed.cluster(&cluster(2)).await;
    store.spoil();
    let view = followed.wait("a complaint", |view| view.complaint.is_some()).await;
    assert!(matches!(view.complaint, Some(ClusterError::Invalid { .. })), "{view:?}");
    assert_eq!((view.cluster, view.revision), (before.cluster, before.revision));
    store.put(&cluster(2));
    followed.cluster(&cluster(2)).await;
}

async fn a_store_that_goes_leaves_the_cluster_and_is_followed_when_it_is_back(mut store: impl Store) {
    store.put(&cluster(2));
    let mut followed = Followed::new(&store);
    let before = followed.cluster(&cluster(2)).await;
    store.withdraw();
    let view = followed.wait("a complaint", |view| view.complaint.is_some()).await;
    assert!(matches!(view.complaint, Some(ClusterError::Unreachable { .. })), "{view:?}");
    assert_eq!((view.cluster, view.revision), (before.cluster, before.revision));
    store.put(&cluster(3));
    followed.cluster(&cluster(3)).await;
}

async fn of_many_changes_the_last_is_delivered(mut store: impl Store) {
    let mut followed = Followed::new(&store);
    for nodes in 1..=50 {
        store.put(&cluster(nodes));
    }
    followed.cluster(&cluster(50)).await;
    for nodes in (1..=50).rev() {
        store.put(&cluster(nodes));
        sleep(Duration::from_millis(5)).await;
    }
    followed.cluster(&cluster(1)).await;
}

async fn the_same_again_is_no_news(mut store: impl Store) {
    store.put(&cluster(2));
    let mut followed = Followed::new(&store);
    let first = followed.cluster(&cluster(2)).await.cluster;
    store.put(&cluster(2));
    store.put(&cluster(3));
    let mut seen = 0;
    while followed.views.borrow_and_update().cluster.as_deref() != Some(&cluster(3)) {
        seen += 1;
        assert!(seen < 5, "the same cluster is delivered again and again");
        assert!(timeout(PATIENCE, followed.views.changed()).await.is_ok_and(|change| change.is_ok()));
    }
    assert_eq!(first.as_deref(), Some(&cluster(2)));
}

async fn a_source_without_a_listener_ends(mut store: impl Store) {
    store.put(&cluster(2));
    let mut followed = Followed::new(&store);
    followed.cluster(&cluster(2)).await;
    let Followed { views, work } = followed;
    drop(views);
    assert!(timeout(PATIENCE, work).await.is_ok_and(|end| end.is_ok()), "the source goes on");
}
