use std::net::IpAddr;

use naru_netlink::links::{NodeAddress, UnderlayPath};

/// Returns the addresses that others can use. For each family the first is the one that the kernel would use as source
/// towards the outside (RFC 6724, and a route's preferred source); then come those that stay, loopback's last, then
/// passing ones. Otherwise the kernel's own order holds, in which an interface's primary addresses come first; the
/// numeric order never matters.
pub(super) fn ordered(held: &[NodeAddress], outside: &[UnderlayPath]) -> Vec<IpAddr> {
    let chosen: Vec<IpAddr> = outside.iter().filter_map(|path| lasting(held, path.source?)).collect();
    let rank = |address: &NodeAddress| {
        let is_chosen = chosen.contains(&address.ip);
        let place = outside.iter().position(|path| path.hops.contains_key(&address.index));
        (
            !is_chosen,
            address.is_passing,
            address.is_on_loopback(),
            place.unwrap_or(usize::MAX),
            address.ip.is_ipv6(),
        )
    };
    let mut usable: Vec<&NodeAddress> =
        held.iter().filter(|address| is_reachable(address.ip) && !address.unsettled).collect();
    usable.sort_by_key(|address| rank(address));
    usable.into_iter().map(|address| address.ip).collect()
}

/// Returns the address or, for a passing one (temporary, deprecated), the lasting one of its interface and prefix:
/// configurations that name the node's address must not have to change every day.
fn lasting(held: &[NodeAddress], source: IpAddr) -> Option<IpAddr> {
    let chosen = held.iter().find(|address| address.ip == source)?;
    let is_alike = |other: &&NodeAddress| {
        other.index == chosen.index
            && !other.is_passing
            && !other.unsettled
            && other.network() == chosen.network()
    };
    let stays = held.iter().find(is_alike).filter(|_| chosen.is_passing);
    Some(stays.map_or(source, |address| address.ip))
}

fn is_reachable(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || is_link_local)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use naru_netlink::links::NextHop;

    use super::*;

    fn held(index: u32, ip: &str, is_passing: bool) -> NodeAddress {
        let ip: IpAddr = ip.parse().unwrap();
        let prefix_len = if ip.is_ipv4() { 24 } else { 64 };
        NodeAddress { index, ip, prefix_len, unsettled: false, is_passing }
    }

    fn outside(index: u32, source: &str) -> UnderlayPath {
        UnderlayPath {
            index,
            device: "up0".into(),
            mtu: 1500,
            next: NextHop::OnLink,
            hops: BTreeMap::from([(index, "up0".into())]),
            is_ethernet: true,
            source: Some(source.parse().unwrap()),
        }
    }

    fn order(held: &[NodeAddress], outside: &[UnderlayPath]) -> Vec<String> {
        ordered(held, outside).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_kernels_own_source_comes_first_whatever_the_numbers_are() {
        let all = [
            held(1, "10.0.0.1", false),
            held(2, "198.51.100.20", false),
            held(2, "198.51.100.10", true),
            held(3, "172.17.0.1", false),
        ];
        let expected = ["198.51.100.20", "172.17.0.1", "10.0.0.1", "198.51.100.10"];
        assert_eq!(order(&all, &[outside(2, "198.51.100.20")]), expected);
        assert_eq!(order(&all, &[]), expected, "the primary one of the first device, without a way out");
    }

    #[test]
    fn of_a_temporary_address_the_lasting_one_beside_it_is_taken() {
        let all =
            [held(2, "2001:db8::aaaa", true), held(2, "2001:db8:9::1", false), held(2, "2001:db8::1", false)];
        let expected = ["2001:db8::1", "2001:db8:9::1", "2001:db8::aaaa"];
        assert_eq!(order(&all, &[outside(2, "2001:db8::aaaa")]), expected);
        assert_eq!(
            order(&all[..1], &[outside(2, "2001:db8::aaaa")]),
            ["2001:db8::aaaa"],
            "it is all there is"
        );
    }
}
