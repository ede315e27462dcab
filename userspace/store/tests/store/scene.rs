//! A store in a directory of its own, and short names, for the tests of the store.

use std::path::PathBuf;

use naru_core::ids::{AttachmentId, NetnsId};
use naru_core::ipam::{AddressRequest, Domain, PoolSpec};
use naru_store::{Start, StateStore};
use tempfile::TempDir;

pub(crate) const POOL: &str = "default";
pub(crate) const BOOT: &str = "boot-1";

pub(crate) struct Scene {
    _directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Scene {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self { path: directory.path().join("run/state.db"), _directory: directory }
    }

    /// A store whose default pool has these ranges.
    pub(crate) fn with_ranges(ranges: &[&str]) -> (Self, StateStore) {
        let scene = Self::new();
        let mut store = scene.create();
        store.set_ranges(&spec(ranges), 0).unwrap();
        (scene, store)
    }

    pub(crate) fn create(&self) -> StateStore {
        StateStore::create(&self.path, BOOT, 1000).unwrap().0
    }

    pub(crate) fn start(&self, boot: &str) -> Start {
        StateStore::create(&self.path, boot, 2000).unwrap().1
    }

    pub(crate) fn open(&self) -> StateStore {
        StateStore::open(&self.path, BOOT).unwrap()
    }
}

pub(crate) fn spec(ranges: &[&str]) -> PoolSpec {
    let ranges = ranges.iter().map(|net| net.parse().unwrap()).collect();
    PoolSpec::routed(Domain::naru(), POOL, ranges)
}

pub(crate) fn id(container: &str) -> AttachmentId {
    AttachmentId::new("naru", container, "eth0").unwrap()
}

pub(crate) fn request(container: &str, netns: u64) -> AddressRequest {
    AddressRequest {
        netns: Some(NetnsId::Cookie(netns)),
        ..AddressRequest::new(Domain::naru(), POOL, id(container))
    }
}
