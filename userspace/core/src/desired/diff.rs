use std::collections::BTreeMap;

use ipnet::IpNet;
use naru_abi::RouteValue;

use super::{KernelRoute, RouteKey, State};

/// One change. Each is idempotent, so that a pass that failed half-way is simply run again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Write the entry of `ROUTES`, in place of what is there.
    SetEntry(IpNet, RouteValue),
    /// Write the kernel route, in place of ours to the same destination.
    SetRoute(RouteKey, KernelRoute),
    /// Add the rule for packets from the prefix.
    AddRule(IpNet),
    /// Remove the rule for packets from the prefix.
    RemoveRule(IpNet),
    /// Remove the kernel route.
    RemoveRoute(RouteKey, KernelRoute),
    /// Remove the entry of `ROUTES`.
    RemoveEntry(IpNet),
}

/// The changes that make `actual` equal to `desired`, in the order to make them.
///
/// Additions come before removals, so that no packet finds nothing in between. Of the additions, map entries come
/// before routes, because a packet that the stack routes to the tunnel device needs its entry, and routes come before
/// the rules that look them up. Removals are in the reverse order.
#[must_use]
pub fn diff(desired: &State, actual: &State) -> Vec<Command> {
    let mut commands = Vec::new();
    commands
        .extend(missing(&desired.entries, &actual.entries).map(|(to, value)| Command::SetEntry(*to, *value)));
    commands
        .extend(missing(&desired.routes, &actual.routes).map(|(key, route)| Command::SetRoute(*key, *route)));
    commands.extend(desired.rules.difference(&actual.rules).map(|from| Command::AddRule(*from)));
    commands.extend(actual.rules.difference(&desired.rules).map(|from| Command::RemoveRule(*from)));
    commands.extend(
        surplus(&desired.routes, &actual.routes).map(|(key, route)| Command::RemoveRoute(*key, *route)),
    );
    commands.extend(surplus(&desired.entries, &actual.entries).map(|(to, _)| Command::RemoveEntry(*to)));
    commands
}

/// Pairs of `desired` that `actual` lacks or has with another value.
fn missing<'a, K: Ord, V: PartialEq>(
    desired: &'a BTreeMap<K, V>,
    actual: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    desired.iter().filter(|(key, value)| actual.get(key) != Some(value))
}

/// Pairs of `actual` whose key `desired` lacks.
fn surplus<'a, K: Ord, V>(
    desired: &'a BTreeMap<K, V>,
    actual: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    actual.iter().filter(|(key, _)| !desired.contains_key(key))
}
