use std::{
    collections::{BTreeSet, HashSet},
    hash::{Hash, Hasher},
};

use ipnet::IpNet;
use naru_netlink::links::{Route, RouteTarget, Rule};

/// Returns a digest of naru's routes and rules that mirror the cluster. Pods' own routes are left out, because they
/// come and go with the pods. The order does not matter. Only processes of one build compare it.
pub(crate) fn mirrored<'a>(routes: impl IntoIterator<Item = &'a Route>, rules: &BTreeSet<Rule>) -> u64 {
    let is_mirrored = |route: &&Route| !matches!(route.target, RouteTarget::Device { .. });
    let routes = routes.into_iter().filter(is_mirrored).map(of).fold(0, u64::wrapping_add);
    rules.iter().map(of).fold(routes, u64::wrapping_add)
}

/// A digest of pods' routes that have lost their source: the kernel takes a route away with the address that it names,
/// and the spare beneath carries on without ([`Route::spare`]). 0 if there is none.
pub(super) fn sourceless<'a>(routes: impl IntoIterator<Item = &'a Route>) -> u64 {
    let is_of_pod = |route: &&Route| matches!(route.target, RouteTarget::Device { .. });
    let (spares, first): (Vec<&Route>, Vec<&Route>) =
        routes.into_iter().filter(is_of_pod).partition(|route| route.is_spare());
    let first: HashSet<(IpNet, RouteTarget)> =
        first.into_iter().map(|route| (route.destination, route.target)).collect();
    let is_alone = |spare: &&Route| !first.contains(&(spare.destination, spare.target));
    spares.into_iter().filter(is_alone).map(of).fold(0, u64::wrapping_add)
}

/// A text in short.
pub(super) fn text(text: &str) -> u64 {
    of(text)
}

fn of(value: impl Hash) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    value.hash(&mut hasher);
    hasher.finish()
}

/// FNV-1a: the same in every process, unlike the standard library's default.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, target: RouteTarget) -> Route {
        Route::new(destination.parse().unwrap(), 254, target, None, None)
    }

    #[test]
    fn a_pods_spare_without_its_route_counts_and_nothing_else_does() {
        let pool = route("10.22.0.0/24", RouteTarget::Unreachable);
        let source = Some("198.51.100.1".parse().unwrap());
        let pod = |last: u8| Route {
            source,
            ..route(&format!("10.22.0.{last}/32"), RouteTarget::Device { index: last.into() })
        };
        let plain = Route { source: None, ..pod(9) };
        let whole = [pool, pod(5), pod(5).spare(), pod(6), pod(6).spare(), plain];
        assert_eq!(sourceless(&whole), 0);
        let (five, six) = (sourceless([&pod(5).spare()]), sourceless([&pod(6).spare(), &pod(5), &pool]));
        assert!(five != 0 && six != 0 && five != six);
        assert_eq!(sourceless([&pod(6).spare(), &pool, &pod(5).spare()]), five.wrapping_add(six));
    }

    #[test]
    fn routes_of_pods_do_not_count_and_any_other_does() {
        let pool = route("10.22.0.0/24", RouteTarget::Unreachable);
        let pod = route("10.22.0.5/32", RouteTarget::Device { index: 7 });
        let none = BTreeSet::new();
        let known = mirrored([&pool], &none);
        assert_eq!(mirrored([&pod, &pool], &none), known);
        assert_ne!(mirrored([&pod], &none), known);
        let other = Route { mtu: Some(1400), ..pool };
        assert_ne!(mirrored([&other], &none), known);
        assert_ne!(mirrored([&pool, &pool], &none), known, "one too many");
    }
}
