//! Mirroring the cluster into the node: map entries, kernel routes and rules in one plan, then the firewall.
//!
//! Init, a changed cluster and the periodic pass all call [`apply`]; what to do is [`naru_core::desired`]'s business.

mod actual;
mod write;

use crate::devices;
use crate::machine;
use crate::machine::MARKS;
use naru_core::desired::{Command, Nat, desired, diff};
use naru_netlink::links::Links;
use naru_store::NodeStore;

use crate::readiness::{self, Record};
use crate::{
    endpoint::Reattached,
    host::{
        HostError,
        firewall::{self, Firewall, Tunnel},
        forward,
    },
    machine::{DEVICE, MachineError, NodeFacts, Settings, Survey},
    paths::Paths,
};
use naru_abi::{Prefix, RouteValue};
use naru_bpf::{Pins, Routes, Side, attach, attachment, has_strays};

/// The changes of a sync.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Changes of maps, routes and rules, including those that were refused.
    pub commands: Vec<Command>,
    /// True if the nftables table was rendered anew.
    pub firewall: bool,
    /// The reasons for which single changes were refused. All others are made: one entry does not hold up another.
    pub refused: Vec<String>,
    /// The reason for which the nftables table is not right. No pod may be attached then, because its packets would
    /// leave with the pod's address.
    pub unprotected: Option<String>,
    /// A digest of the present routes and rules.
    pub(crate) mirrored: u64,
}

impl Changes {
    /// Returns true if nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.made() == 0 && !self.firewall
    }

    /// The number of changes of maps, routes and rules.
    #[must_use]
    pub fn made(&self) -> usize {
        self.commands.len().saturating_sub(self.refused.len())
    }

    /// Checks that all due changes were made.
    ///
    /// # Errors
    /// [`MachineError::Refused`] with those that were refused.
    pub fn complete(&self) -> Result<(), MachineError> {
        let refused = self.complaints();
        if refused.is_empty() { Ok(()) } else { Err(MachineError::Refused(refused)) }
    }

    /// Makes the nftables table be as it should.
    fn protect(&mut self, links: &Links, settings: &Settings, nat: Nat) {
        match firewall(links, settings, nat) {
            Ok(is_new) => self.firewall = is_new,
            Err(error) => self.unprotected = Some(error.to_string()),
        }
    }

    /// All that was refused.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.refused.iter().chain(&self.unprotected).cloned().collect()
    }
}

/// Looks at the machine and applies the consequences for the tunnel device, maps, routes, rules and uplinks, under the
/// init lock. Returns `None` if there is no node, or its pins are gone, and only init helps.
///
/// # Errors
/// As [`apply`].
pub fn refresh(paths: &Paths) -> Result<Option<Changes>, MachineError> {
    look(paths, false)
}

/// Does the same as [`refresh`], and in any case also the nftables table and the exceptions in other people's FORWARD
/// chains.
///
/// # Errors
/// As [`refresh`], and those of the tools.
pub fn refresh_firewall(paths: &Paths) -> Result<Option<Changes>, MachineError> {
    let changes = look(paths, true)?;
    if changes.is_some() {
        forward::open(&mut NodeStore::open(&paths.node_store())?)?;
    }
    Ok(changes)
}

fn look(paths: &Paths, at_firewall: bool) -> Result<Option<Changes>, MachineError> {
    let (links, pins) = (Links::open(MARKS)?, paths.pins());
    if pins.first_missing().is_some() || !paths.run.exists() {
        return Ok(None);
    }
    let _lock = machine::lock(paths)?;
    let Some(settings) = Settings::load(paths)? else { return Ok(None) };
    let survey = Survey::take(&links, &settings)?;
    let adjusted = devices::readjust(paths, &links, &settings, &survey);
    let Mirrored { commands, mut refused, nat, mirrored } = mirror(&links, &pins, &settings, &survey)?;
    // Refused changes are reported, and hold up nothing else. The devices' state is noted only if it is right.
    match adjusted {
        Ok(()) => Record::note(paths, (&links, &pins), (&settings, &survey), mirrored)?,
        Err(error) => refused.push(error.to_string()),
    }
    let mut changes = Changes { commands, refused, mirrored, ..Changes::default() };
    // Masquerade follows from the same facts; to look at the table takes longer than all the rest.
    if at_firewall || !changes.commands.is_empty() {
        changes.protect(&links, &settings, nat);
    }
    Ok(Some(changes))
}

/// Describes the differences of maps, routes and rules from the desired state; changes nothing.
///
/// # Errors
/// The actual state cannot be read.
pub fn differences(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
) -> Result<Vec<String>, MachineError> {
    let actual = actual::look(links, pins)?;
    let pools = settings.pool_subnets();
    let desired = desired(&survey.inputs(settings, &pools, &actual.pods));
    Ok(diff(&desired.state, &actual.state).iter().map(ToString::to_string).collect())
}

/// Attaches the programs again if somebody detached one from the tunnel device or an uplink, and detaches other
/// programs of ours there: the kernel announces nothing of tcx. Cheap if nothing is missing.
///
/// # Errors
/// The node's files cannot be read.
pub fn reattach(paths: &Paths) -> Result<Reattached, MachineError> {
    let (pins, Some(facts)) = (paths.pins(), NodeFacts::load(paths)?) else {
        return Ok(Reattached::default());
    };
    let overlay = facts.tunnel_port.map(|_| (Side::Overlay, DEVICE.to_owned()));
    let uplink = Side::of_uplink(facts.sends_around);
    let uplinks = facts.uplinks.iter().map(|name| (uplink, name.clone()));
    let mut bare: Vec<(Side, String)> = overlay.into_iter().chain(uplinks).collect();
    // A larger pass repairs a device or pin that is gone.
    bare.retain(|(side, name)| {
        attachment(&pins, *side, name)
            .is_ok_and(|found| !found.is_complete() || has_strays(name).is_ok_and(|has| has))
    });
    if bare.is_empty() {
        return Ok(Reattached::default());
    }
    let _lock = machine::lock(paths)?;
    let Some(settings) = Settings::load(paths)? else { return Ok(Reattached::default()) };
    let mut done = Reattached::default();
    for (side, name) in bare {
        match attach(&pins, side, &name, settings.attach_mode()) {
            Ok(_) => done.interfaces.push(name),
            Err(error) => done.refused.push(error.to_string()),
        }
    }
    Ok(done)
}

/// Makes maps, kernel routes, rules and the nftables table match `settings` and the machine.
///
/// # Errors
/// The actual state cannot be read ([`MachineError::Links`], [`MachineError::Datapath`]).
pub fn apply(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
) -> Result<Changes, MachineError> {
    let Mirrored { commands, refused, nat, mirrored } = mirror(links, pins, settings, survey)?;
    let mut changes = Changes { commands, refused, mirrored, ..Changes::default() };
    changes.protect(links, settings, nat);
    Ok(changes)
}

/// Writes the destinations of every prefix into the map, held, so that no packet passes there: for programs that must
/// not take the fast path yet. [`apply`] ends that.
///
/// # Errors
/// The kernel's.
pub(crate) fn hold(pins: &Pins, settings: &Settings, survey: &Survey) -> Result<(), MachineError> {
    let pools = settings.pool_subnets();
    let desired = desired(&survey.inputs(settings, &pools, &[]));
    let mut map = Routes::open(pins)?;
    for (to, value) in desired.state.entries {
        map.insert(Prefix::new(to.addr(), to.prefix_len()), RouteValue { mtu: 0, ..value })?;
    }
    Ok(())
}

/// Makes the nftables table right. Returns true if it was made anew.
fn firewall(links: &Links, settings: &Settings, nat: Nat) -> Result<bool, HostError> {
    let port = nat.tunnel_port;
    // Without an answer the table is made as for a port of our own; the next pass asks again.
    let device_port = links.overlay_port(DEVICE).ok().flatten().unwrap_or(port);
    let tunnel = Tunnel { port, device_port, vni: settings.cluster.tunnel.vni, addresses: nat.addresses };
    let table = Firewall {
        masquerade: nat.sources.into_iter().collect(),
        direct: nat.exempt.into_iter().collect(),
        tunnel: settings.is_clustered().then_some(tunnel),
    };
    firewall::apply(&table)
}

/// The results of a pass over maps, routes and rules.
struct Mirrored {
    /// The changes that were due.
    commands: Vec<Command>,
    /// The changes that were refused.
    refused: Vec<String>,
    /// The desired state of the firewall.
    nat: Nat,
    /// A digest of the present routes and rules.
    mirrored: u64,
}

fn mirror(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
) -> Result<Mirrored, MachineError> {
    let actual = actual::read(links, pins)?;
    let pools = settings.pool_subnets();
    let desired = desired(&survey.inputs(settings, &pools, &actual.pods));
    let commands = diff(&desired.state, &actual.state);
    let refused = write::all(links, pins, actual.overlay, &commands)?;
    let mirrored = match refused.is_empty() {
        true => readiness::mirrored(
            &write::kernel_routes(&desired.state, actual.overlay),
            &desired.state.rules.iter().copied().map(write::kernel_rule).collect(),
        ),
        false => readiness::mirrored(&links.routes()?, &links.rules()?.own),
    };
    Ok(Mirrored { commands, refused, nat: desired.nat, mirrored })
}
