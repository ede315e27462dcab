//! Mirroring the cluster into the node: map entries, kernel routes and rules in one plan, then the firewall.
//!
//! Init, a changed cluster and the periodic pass all call [`apply`]; what to do is [`naru_core::desired`]'s business.

mod actual;
mod write;

use naru_core::desired::{Command, Nat, desired, diff};

use crate::{
    datapath::Pins,
    host::firewall::{self, Firewall, Tunnel},
    init::{self, DEVICE, InitError, Memory, Survey},
    links::Links,
    paths::Paths,
};

/// What a sync changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Of maps, routes and rules.
    pub commands: Vec<Command>,
    /// Whether the nftables table was rendered anew.
    pub firewall: bool,
}

impl Changes {
    /// Whether everything was as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && !self.firewall
    }
}

/// Looks at the machine and applies what follows for maps, routes and rules, under the init lock; `None` where there is
/// no node, or its pins or its tunnel device are gone, and only init helps.
///
/// # Errors
/// As [`apply`].
pub fn refresh(paths: &Paths) -> Result<Option<Changes>, InitError> {
    let (links, pins) = (Links::open()?, Pins::new(paths));
    if pins.first_missing().is_some() || !paths.run.exists() {
        return Ok(None);
    }
    let _lock = init::lock(paths)?;
    let Some(memory) = Memory::load(paths)? else { return Ok(None) };
    let has_tunnel = !memory.is_clustered() || links.link(DEVICE)?.is_some_and(|link| link.up);
    if !has_tunnel {
        return Ok(None);
    }
    let survey = Survey::take(&links, &memory)?;
    let (commands, refused, _) = mirror(&links, &pins, &memory, &survey)?;
    if refused.is_empty() {
        Ok(Some(Changes { commands, firewall: false }))
    } else {
        Err(InitError::Refused(refused))
    }
}

/// Makes maps, kernel routes, rules and the nftables table be what `memory` and the machine ask for.
///
/// # Errors
/// The actual state cannot be read ([`InitError::Links`], [`InitError::Datapath`]), or changes were refused
/// ([`InitError::Refused`]); the others are made then.
pub fn apply(links: &Links, pins: &Pins, memory: &Memory, survey: &Survey) -> Result<Changes, InitError> {
    let (commands, mut refused, nat) = mirror(links, pins, memory, survey)?;
    let table = Firewall {
        masquerade: nat.sources.into_iter().collect(),
        direct: nat.exempt.into_iter().collect(),
        tunnel: memory.is_clustered().then_some(Tunnel { port: nat.tunnel_port, addresses: nat.addresses }),
    };
    let firewall = firewall::apply(&table).unwrap_or_else(|error| {
        refused.push(error.to_string());
        false
    });
    if refused.is_empty() { Ok(Changes { commands, firewall }) } else { Err(InitError::Refused(refused)) }
}

/// Maps, routes and rules: the changes that were due, what of them was refused, and what the firewall should be.
fn mirror(
    links: &Links,
    pins: &Pins,
    memory: &Memory,
    survey: &Survey,
) -> Result<(Vec<Command>, Vec<String>, Nat), InitError> {
    let actual = actual::read(links, pins)?;
    let pools = memory.pool_subnets();
    let desired = desired(&survey.inputs(memory, &pools, &actual.pods));
    let commands = diff(&desired.state, &actual.state);
    let refused = write::all(links, pins, actual.overlay, &commands)?;
    Ok((commands, refused, desired.nat))
}
