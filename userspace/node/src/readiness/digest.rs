use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
};

use naru_netlink::links::{Route, RouteTarget, Rule};

/// Returns a digest of naru's routes and rules that mirror the cluster. Pods' own routes are left out, because they
/// come and go with the pods. The order does not matter. Only processes of one build compare it.
pub(crate) fn mirrored<'a>(routes: impl IntoIterator<Item = &'a Route>, rules: &BTreeSet<Rule>) -> u64 {
    let is_mirrored = |route: &&Route| !matches!(route.target, RouteTarget::Device { .. });
    let routes = routes.into_iter().filter(is_mirrored).map(of).fold(0, u64::wrapping_add);
    rules.iter().map(of).fold(routes, u64::wrapping_add)
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
