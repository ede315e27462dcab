use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use super::{Address, ApiError};
use crate::access::Server;

/// Servers that distributions run on every node: Talos, k3s and rke2, a control-plane node itself.
const LOCAL: [&str; 3] = ["127.0.0.1:7445", "127.0.0.1:6444", "127.0.0.1:6443"];

/// Time for which a server that stayed silent is tried after all others.
const AVOIDED: Duration = Duration::from_secs(300);

/// The addresses at which the API may be, in the order in which they are tried.
#[derive(Default)]
pub struct Places {
    /// By flag.
    given: Vec<String>,
    /// By the cluster's settings.
    configured: Vec<String>,
    /// The API's own, as it named them last.
    remembered: Vec<String>,
    /// `KUBERNETES_SERVICE_HOST` and its port.
    service: Option<String>,
    /// The address that answered last.
    last: Option<Address>,
    avoided: BTreeMap<Address, Instant>,
    /// Rounds in a row in which nobody answered.
    failures: u32,
}

impl Places {
    /// Places for `node`: the addresses `given` by flag, those `remembered` of an earlier run, and the `service` of
    /// the pod's environment. Each node begins with another one of those remembered, so that their load is shared.
    #[must_use]
    pub fn new(node: &str, given: Vec<String>, remembered: Vec<String>, service: Option<String>) -> Self {
        let mut places = Self { given, service, ..Self::default() };
        places.remembered = rotated(node, remembered);
        places
    }

    /// The service address by the environment that every pod has.
    pub fn service(environment: impl Fn(&str) -> Option<String>) -> Option<String> {
        let host = environment("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty())?;
        let port = environment("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
        Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    }

    /// Returns all addresses: the one that answered last, then the others in their order, and last those that are
    /// avoided.
    pub(crate) fn in_order(&mut self, server: Option<&Server>) -> Result<Vec<Address>, ApiError> {
        self.avoided.retain(|_, since| since.elapsed() < AVOIDED);
        let mut all: Vec<Address> = self.last.iter().cloned().collect();
        match server {
            Some(Server { url, name }) => {
                for given in &self.given {
                    all.push(Address::named(given, name.as_deref())?);
                }
                all.push(Address::named(url, name.as_deref())?);
            }
            None => all.extend(self.of_cluster()?),
        }
        let mut seen = Vec::new();
        all.retain(|address| {
            !seen.contains(address) && {
                seen.push(address.clone());
                true
            }
        });
        all.sort_by_key(|address| self.avoided.contains_key(address));
        Ok(all)
    }

    fn of_cluster(&self) -> Result<Vec<Address>, ApiError> {
        let named = self.given.iter().chain(&self.configured);
        let mut all = named.map(|text| Address::in_cluster(text)).collect::<Result<Vec<_>, _>>()?;
        let found = self.remembered.iter().chain(&self.service).map(String::as_str).chain(LOCAL);
        // Addresses that nobody wrote by hand are ignored if they are invalid.
        all.extend(found.filter_map(|text| Address::in_cluster(text).ok()));
        Ok(all)
    }

    pub(super) fn answered(&mut self, address: &Address) {
        self.last = Some(address.clone());
        self.failures = 0;
    }

    pub(super) const fn nobody_answered(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn avoid(&mut self, address: &Address) {
        self.avoided.insert(address.clone(), Instant::now());
        self.last = None;
    }

    pub(super) fn remember(&mut self, addresses: Vec<String>) -> bool {
        let is_news = self.remembered != addresses;
        self.remembered = addresses;
        is_news
    }

    pub(super) fn remembered(&self) -> &[String] {
        &self.remembered
    }

    pub(super) fn configure(&mut self, addresses: &[String]) {
        if self.configured != addresses {
            self.configured = addresses.to_vec();
            self.last = None;
        }
    }
}

/// The addresses, beginning with one that differs from node to node.
pub(crate) fn rotated(node: &str, mut addresses: Vec<String>) -> Vec<String> {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    if let Ok(count) = u64::try_from(addresses.len())
        && let Some(turn) = hasher.finish().checked_rem(count)
    {
        addresses.rotate_left(usize::try_from(turn).unwrap_or(0));
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(places: &mut Places) -> Vec<String> {
        places.in_order(None).unwrap().iter().map(ToString::to_string).collect()
    }

    fn places() -> Places {
        let service = Some("10.96.0.1:443".to_owned());
        let mut places = Places::new("node1", vec!["a:1".into()], vec!["c:3".into()], service);
        places.configure(&["b:2".to_owned()]);
        places
    }

    #[test]
    fn places_are_tried_in_the_documented_order() {
        let local = ["127.0.0.1:7445", "127.0.0.1:6444", "127.0.0.1:6443"];
        let expected = ["a:1", "b:2", "c:3", "10.96.0.1:443"].into_iter().chain(local);
        assert_eq!(texts(&mut places()), expected.collect::<Vec<_>>());
    }

    #[test]
    fn the_last_that_answered_is_first_until_it_is_avoided() {
        let mut places = places();
        let third = Address::in_cluster("c:3").unwrap();
        places.answered(&third);
        assert_eq!(texts(&mut places)[..2], ["c:3", "a:1"]);
        places.avoid(&third);
        assert_eq!(texts(&mut places).last().unwrap(), "c:3");
    }

    #[test]
    fn an_address_of_a_person_that_is_none_is_an_error_and_one_of_a_server_is_left_out() {
        let mut places = Places::new("node1", Vec::new(), vec!["::x".into()], None);
        assert_eq!(texts(&mut places).len(), LOCAL.len());
        places.configure(&["a b".to_owned()]);
        assert_eq!(places.in_order(None).unwrap_err(), ApiError::NotAnAddress("a b".into()));
    }

    #[test]
    fn the_service_address_of_either_family_comes_from_the_environment() {
        let v6 = |name: &str| Some(if name.ends_with("HOST") { "fd00::1" } else { "443" }.to_owned());
        assert_eq!(Places::service(v6).unwrap(), "[fd00::1]:443");
        assert_eq!(Places::service(|_| None), None);
    }

    #[test]
    fn nodes_begin_with_different_addresses() {
        let all = ["a", "b", "c"].map(str::to_owned).to_vec();
        let firsts: std::collections::BTreeSet<String> =
            (0..50).map(|node| rotated(&format!("node{node}"), all.clone()).remove(0)).collect();
        assert_eq!(firsts.len(), 3);
    }
}
