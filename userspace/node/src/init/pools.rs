use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use naru_core::{
    ids::PodName,
    ipam::{DEFAULT_COOLING, Domain, PoolSpec, Range, Reservation},
};
use naru_store::{NodeStore, StateStore};

use crate::machine::{MachineError, NamedPool, Settings, pool_name};
use crate::{host, reservations};

/// Writes the ranges of the node's pools to the store. A pool or range that is no longer among them gives out nothing
/// from now on; pods keep the addresses that they have of it, and it goes with the last of them.
pub(super) fn ensure(
    settings: &Settings,
    state: &mut StateStore,
    node: &mut NodeStore,
) -> Result<(), MachineError> {
    if settings.named.iter().any(|pool| !pool.draining.is_empty()) {
        // Addresses that have cooled do not keep a range.
        while state.sweep(&Domain::naru(), DEFAULT_COOLING, host::now())? > 0 {}
    }
    let mut specs = specs(settings, &reservations::all(node)?);
    specs.extend(gone(&specs, state)?);
    let boot_id = state.boot_id().to_owned();
    for spec in specs {
        // Start elsewhere, so that addresses that were in use until a moment ago are not given out at once.
        state.set_ranges(&spec.varied_by(&boot_id), host::now())?;
    }
    if node.blocks()? != settings.blocks() {
        node.set_blocks(settings.blocks())?;
    }
    Ok(())
}

/// Returns pools of ours that the store has but must no longer have, each without ranges. Pools of other domains are
/// left alone.
fn gone(specs: &[PoolSpec], state: &StateStore) -> Result<Vec<PoolSpec>, MachineError> {
    let ours = state.ranges()?.into_iter().filter(|range| range.domain == Domain::naru());
    let mut known: BTreeSet<String> = ours.map(|range| range.pool).collect();
    for spec in specs {
        known.remove(&spec.pool);
    }
    Ok(known.into_iter().map(|pool| PoolSpec::routed(Domain::naru(), pool, Vec::new())).collect())
}

/// Forgets ranges of named pools that have drained, and pools without any left.
pub(super) fn forget_drained(settings: &mut Settings, state: &StateStore) -> Result<(), MachineError> {
    if settings.named.iter().all(|pool| pool.draining.is_empty()) {
        return Ok(());
    }
    let ranges = state.ranges()?;
    for pool in &mut settings.named {
        let is_left = |net: &IpNet| {
            let of_pool = |range: &&Range| range.domain == Domain::naru() && range.pool == pool.name;
            ranges.iter().filter(of_pool).any(|range| net.contains(&range.net))
        };
        let gone: Vec<IpNet> = pool.draining.iter().copied().filter(|net| !is_left(net)).collect();
        pool.ranges.retain(|net| !gone.contains(net));
        pool.draining.retain(|net| !gone.contains(net));
    }
    settings.named.retain(|pool| !pool.ranges.is_empty());
    Ok(())
}

/// Network and broadcast address of the cluster's IPv4 ranges.
fn edges(settings: &Settings) -> impl Iterator<Item = Reservation> {
    let has_edges = |range: &&IpNet| range.addr().is_ipv4() && range.prefix_len() <= 30;
    let ranges = settings.cluster.ranges.iter().filter(has_edges);
    let kept = |(address, note): (IpAddr, &str)| Reservation {
        address,
        note: note.to_owned(),
        pod: PodName::default(),
    };
    ranges.flat_map(|range| [(range.network(), "network"), (range.broadcast(), "broadcast")]).map(kept)
}

/// The pools: the node's blocks, and each list of subnets of a network configuration.
fn specs(settings: &Settings, kept: &[Reservation]) -> Vec<PoolSpec> {
    let mut specs = Vec::new();
    if settings.is_clustered() {
        specs.push(PoolSpec::routed(Domain::naru(), pool_name(&[]), settings.unnamed_blocks()));
    }
    let named = |pool: &NamedPool| PoolSpec::routed(Domain::naru(), pool.name.clone(), pool.active());
    specs.extend(settings.named.iter().map(named));
    for pool in &settings.pools {
        let spec = PoolSpec::routed(Domain::naru(), pool_name(&pool.subnets), pool.subnets.clone());
        specs.push(pool.reserved.iter().fold(spec, |spec, address| spec.reserve(*address, "gateway")));
    }
    // A reserved address outside a pool has no effect in it.
    for spec in &mut specs {
        spec.reserved.extend(edges(settings));
        spec.reserved.extend_from_slice(kept);
    }
    specs
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use naru_core::{
        cluster::{ClusterSpec, NodeSpec},
        ids::AttachmentId,
        ipam::{AddressRequest, DEFAULT_COOLING, State},
    };
    use tempfile::TempDir;

    use super::*;
    use crate::machine::{Request, Standalone};

    struct Scene {
        directory: TempDir,
        node: NodeStore,
    }

    impl Scene {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let node = NodeStore::open(&directory.path().join("state/node.db")).unwrap();
            Self { directory, node }
        }

        /// The store as init under `boot` leaves it.
        fn init(&mut self, boot: &str, settings: &Settings) -> StateStore {
            let path = self.directory.path().join("run/state.db");
            let (mut state, _) = StateStore::create(&path, boot, host::now()).unwrap();
            ensure(settings, &mut state, &mut self.node).unwrap();
            state
        }
    }

    fn clustered(block: &str) -> Settings {
        let node = NodeSpec {
            name: "node1".into(),
            addresses: vec!["198.51.100.1".parse().unwrap()],
            blocks: vec![block.parse().unwrap()],
            ..NodeSpec::default()
        };
        let cluster = ClusterSpec { nodes: vec![node], ..ClusterSpec::default() };
        let request = Request { node: Some("node1".into()), cluster: Some(cluster), ..Request::default() };
        Settings::merge(None, &request).unwrap()
    }

    fn single(subnet: &str) -> Settings {
        let standalone = Standalone {
            network: "net".into(),
            subnets: vec![subnet.parse().unwrap()],
            masquerade: Some(true),
            ..Standalone::default()
        };
        Settings::merge(None, &Request { standalone: Some(standalone), ..Request::default() }).unwrap()
    }

    fn take(state: &mut StateStore, pool: &str, container: &str) -> IpAddr {
        let owner = AttachmentId::new("naru", container, "eth0").unwrap();
        state.reserve(&AddressRequest::new(Domain::naru(), pool, owner), host::now()).unwrap().addresses[0]
    }

    #[test]
    fn another_boot_begins_at_another_address_and_the_same_one_goes_on() {
        let (mut scene, settings) = (Scene::new(), clustered("10.32.0.0/16"));
        let first = take(&mut scene.init("boot-1", &settings), "node", "a");
        let second = take(&mut scene.init("boot-1", &settings), "node", "b");
        assert_eq!(u32::from_be_bytes(octets(second)), u32::from_be_bytes(octets(first)) + 1);
        let mut rebooted = scene.init("boot-2", &settings);
        assert!(rebooted.rows().unwrap().is_empty());
        let again = [take(&mut rebooted, "node", "c"), take(&mut rebooted, "node", "d")];
        assert!(!again.contains(&first) && !again.contains(&second), "{first} {second} {again:?}");
    }

    fn octets(address: IpAddr) -> [u8; 4] {
        match address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => panic!("{address}"),
        }
    }

    #[test]
    fn a_pool_that_is_gone_gives_nothing_out_and_its_pods_keep_their_addresses() {
        let mut scene = Scene::new();
        let kept = take(&mut scene.init("boot-1", &clustered("10.32.0.0/24")), "node", "old");
        let mut state = scene.init("boot-1", &single("10.22.0.0/16"));
        let nobody =
            AddressRequest::new(Domain::naru(), "node", AttachmentId::new("naru", "new", "eth0").unwrap());
        assert!(state.reserve(&nobody, host::now()).is_err(), "the blocks are gone");
        let row = state.rows().unwrap().remove(0);
        assert_eq!((row.address, row.state), (kept, State::Assigned));
        let draining =
            |state: &StateStore| state.ranges().unwrap().into_iter().filter(|range| range.draining).count();
        assert_eq!((draining(&state), state.ranges().unwrap().len()), (1, 2));
        let (owner, now) = (AttachmentId::new("naru", "old", "eth0").unwrap(), host::now());
        state.release(&Domain::naru(), &owner, now).unwrap();
        state.sweep(&Domain::naru(), DEFAULT_COOLING, now + DEFAULT_COOLING).unwrap();
        assert_eq!((draining(&state), state.ranges().unwrap().len()), (0, 1));
    }

    #[test]
    fn a_pool_without_pods_goes_at_once_and_other_domains_are_left_alone() {
        let mut scene = Scene::new();
        let mut state = scene.init("boot-1", &clustered("10.32.0.0/24"));
        let foreign =
            PoolSpec::routed(Domain::ipam("bridge"), "default", vec!["10.9.0.0/24".parse().unwrap()]);
        state.set_ranges(&foreign, 0).unwrap();
        let state = scene.init("boot-1", &single("10.22.0.0/16"));
        let mut nets: Vec<String> =
            state.ranges().unwrap().iter().map(|range| range.net.to_string()).collect();
        nets.sort();
        assert_eq!(nets, ["10.22.0.0/16", "10.9.0.0/24"]);
    }
}
