use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;
use naru_abi::RouteValue;

use super::{KernelRoute, RouteKey, Rule, State};

/// One change. Each is idempotent, so that a pass that failed half-way is simply run again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Write the entry of `ROUTES`, in place of what is there.
    SetEntry(IpNet, RouteValue),
    /// Write the kernel route, in place of ours to the same destination.
    SetRoute(RouteKey, KernelRoute),
    /// Add the rule.
    AddRule(Rule),
    /// Remove the rule.
    RemoveRule(Rule),
    /// Remove the kernel route.
    RemoveRoute(RouteKey, KernelRoute),
    /// Remove the entry of `ROUTES`.
    RemoveEntry(IpNet),
}

impl fmt::Display for Command {
    /// Describes the differences of the actual state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetEntry(to, _) => write!(f, "map ROUTES: {to} is missing or not as it should be"),
            Self::SetRoute(key, _) => {
                write!(
                    f,
                    "route {} of table {} is missing or not as it should be",
                    key.destination, key.table
                )
            }
            Self::AddRule(rule) => write!(f, "rule {rule} is missing"),
            Self::RemoveRule(rule) => write!(f, "rule {rule} is one too many"),
            Self::RemoveRoute(key, _) => {
                write!(f, "route {} of table {} is one too many", key.destination, key.table)
            }
            Self::RemoveEntry(to) => write!(f, "map ROUTES: {to} is one too many"),
        }
    }
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
    commands.extend(desired.rules.difference(&actual.rules).map(|rule| Command::AddRule(*rule)));
    commands.extend(actual.rules.difference(&desired.rules).map(|rule| Command::RemoveRule(*rule)));
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
