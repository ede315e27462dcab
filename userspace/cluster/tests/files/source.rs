//! The file as a source: the suite for every source, and the ways in which a file is replaced (kind 13).

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use naru_cluster::{
    Contact, Source, View,
    conformance::{self, Store, cluster},
    file::FileSource,
};
use naru_core::cluster::ClusterSpec;
use tokio::{
    sync::watch::{self, Receiver},
    time::timeout,
};

/// Well below the time after which the file is read although nothing was announced.
const SOON: Duration = Duration::from_secs(15);

fn text(cluster: &ClusterSpec) -> String {
    let mut text = format!("ranges = [\"{}\"]\n", cluster.ranges[0]);
    for node in &cluster.nodes {
        let (name, address, block) = (&node.name, node.addresses[0], node.blocks[0]);
        let _ = write!(
            text,
            "[[node]]\nname = \"{name}\"\naddresses = [\"{address}\"]\nblocks = [\"{block}\"]\n"
        );
    }
    text
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// Writes a cluster of so many nodes into a new directory of that name.
    fn directory(&self, name: &str, nodes: u8) {
        fs::create_dir_all(self.path(name)).unwrap();
        fs::write(self.path(name).join("cluster.toml"), text(&cluster(nodes))).unwrap();
    }

    /// Makes `name` a link to `target` as the kubelet does: by rename over the link before.
    fn link(&self, target: &str, name: &str) {
        symlink(target, self.path("link.new")).unwrap();
        fs::rename(self.path("link.new"), self.path(name)).unwrap();
    }
}

impl Store for Directory {
    fn source(&self) -> Box<dyn Source> {
        Box::new(FileSource { path: self.path("cluster.toml") })
    }

    fn put(&mut self, cluster: &ClusterSpec) {
        fs::write(self.path("cluster.toml.new"), text(cluster)).unwrap();
        fs::rename(self.path("cluster.toml.new"), self.path("cluster.toml")).unwrap();
    }

    fn spoil(&mut self) {
        fs::write(self.path("cluster.toml"), "ranges = 7\n").unwrap();
    }

    fn withdraw(&mut self) {
        fs::remove_file(self.path("cluster.toml")).unwrap();
    }
}

fn follow(path: impl AsRef<Path>) -> Receiver<View> {
    let (sender, views) = watch::channel(View::default());
    tokio::spawn(Box::new(FileSource { path: path.as_ref().to_owned() }).follow(sender, Contact::default()));
    views
}

/// Waits for the cluster of so many nodes.
async fn wait(views: &mut Receiver<View>, nodes: usize) {
    let has = |view: &View| view.cluster.as_ref().is_some_and(|cluster| cluster.nodes.len() == nodes);
    let found = timeout(SOON, views.wait_for(has)).await;
    assert!(found.is_ok_and(|view| view.is_ok()), "no cluster of {nodes} nodes: {:?}", *views.borrow());
}

/// Waits until the source has looked, and is waiting for changes.
async fn first_look(views: &mut Receiver<View>) {
    timeout(SOON, views.wait_for(View::is_answered)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_file_does_what_every_source_must() {
    conformance::all(Directory::new).await;
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_followed() {
    let root = Directory::new();
    root.directory("etc", 1);
    let mut views = follow(root.path("etc/cluster.toml"));
    wait(&mut views, 1).await;
    fs::write(root.path("etc/cluster.toml"), text(&cluster(2))).unwrap();
    wait(&mut views, 2).await;
}

#[tokio::test]
async fn directories_that_come_later_are_followed() {
    let root = Directory::new();
    let mut views = follow(root.path("a/b/cluster.toml"));
    first_look(&mut views).await;
    fs::create_dir(root.path("a")).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    root.directory("a/b", 1);
    wait(&mut views, 1).await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_followed() {
    let root = Directory::new();
    root.directory("etc", 1);
    root.directory("next", 2);
    let mut views = follow(root.path("etc/cluster.toml"));
    wait(&mut views, 1).await;
    fs::rename(root.path("etc"), root.path("old")).unwrap();
    fs::rename(root.path("next"), root.path("etc")).unwrap();
    wait(&mut views, 2).await;
    fs::write(root.path("etc/cluster.toml"), text(&cluster(3))).unwrap();
    wait(&mut views, 3).await;
    fs::remove_dir_all(root.path("etc")).unwrap();
    timeout(SOON, views.wait_for(|view| view.complaint.is_some())).await.unwrap().unwrap();
    root.directory("etc", 4);
    wait(&mut views, 4).await;
}

#[tokio::test]
async fn a_config_map_is_followed_over_swaps_of_its_data_directory() {
    let root = Directory::new();
    root.directory("..first", 1);
    root.link("..first", "..data");
    root.link("..data/cluster.toml", "cluster.toml");
    let mut views = follow(root.path("cluster.toml"));
    wait(&mut views, 1).await;
    for (name, nodes) in [("..second", 2), ("..third", 3), ("..fourth", 4)] {
        root.directory(name, nodes);
        root.link(name, "..data");
        wait(&mut views, nodes.into()).await;
    }
}

#[tokio::test]
async fn a_file_behind_symbolic_links_is_followed_where_it_is_changed() {
    let root = Directory::new();
    root.directory("real/deep", 1);
    fs::create_dir(root.path("etc")).unwrap();
    root.link("../real/deep/../deep/cluster.toml", "etc/cluster.toml");
    root.link(root.path("etc").to_str().unwrap(), "conf");
    let mut views = follow(root.path("conf/cluster.toml"));
    wait(&mut views, 1).await;
    fs::write(root.path("real/deep/cluster.toml"), text(&cluster(2))).unwrap();
    wait(&mut views, 2).await;
    root.directory("other", 3);
    root.link("../other/cluster.toml", "etc/cluster.toml");
    wait(&mut views, 3).await;
    root.directory("elsewhere", 4);
    root.link("elsewhere", "conf");
    wait(&mut views, 4).await;
}

#[tokio::test]
async fn a_link_that_leads_nowhere_or_to_itself_is_a_complaint_until_it_leads_to_a_file() {
    let root = Directory::new();
    root.link("loop", "loop");
    root.link("loop", "cluster.toml");
    let mut views = follow(root.path("cluster.toml"));
    first_look(&mut views).await;
    assert!(views.borrow().complaint.is_some());
    root.directory("real", 1);
    root.link("later/cluster.toml", "cluster.toml");
    tokio::time::sleep(Duration::from_millis(300)).await;
    root.link("real", "later");
    wait(&mut views, 1).await;
}
