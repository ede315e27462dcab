use std::net::IpAddr;

use crate::{
    host,
    machine::{self, MachineError, NodeFacts, Origin, Request, Settings, Survey},
    paths::Paths,
};

/// Refuses to make this machine a node that another machine already is: by a wrong name or file, or because its state
/// is a copy of that machine's. Two nodes that assign addresses from one block would give them out twice.
pub(super) fn refuse(
    paths: &Paths,
    request: &Request,
    before: Option<&Settings>,
    (settings, survey): (&Settings, &Survey),
) -> Result<(), MachineError> {
    let is_named_anew = before.is_some_and(|before| before.node != settings.node);
    if !request.new_machine
        && !is_named_anew
        && let Some(difference) = difference(before)
    {
        return Err(MachineError::OtherMachine { node: settings.node.clone(), difference });
    }
    let Some(own) = settings.cluster.node(&settings.node) else { return Ok(()) };
    let Some(first) = own.addresses.first() else { return Ok(()) };
    let is_here = |address: &IpAddr| survey.addresses.contains(address);
    if own.addresses.iter().any(is_here) {
        return Ok(());
    }
    let others = settings.cluster.remotes(&settings.node);
    let other = others
        .filter_map(|node| Some((node.name.clone(), *node.addresses.iter().find(|at| is_here(at))?)))
        .next();
    // The node of this machine may lose an address; its pods have to start all the same.
    let is_new = before.is_none() || is_named_anew;
    let is_alone = settings.cluster.remotes(&settings.node).next().is_none() || survey.addresses.is_empty();
    if is_new || other.is_some() || !(is_alone || lives(paths)?) {
        return Err(MachineError::NotThisMachine { node: own.name.clone(), first: *first, other });
    }
    Ok(())
}

/// Returns true if a copy of another machine's state becomes a node of its own here, which needs an identity of its
/// own.
pub(super) fn is_left(paths: &Paths, request: &Request, settings: &Settings) -> Result<bool, MachineError> {
    let before = Settings::load_for(paths, request)?;
    let is_named_anew = before.as_ref().is_some_and(|before| before.node != settings.node);
    Ok(is_named_anew && difference(before.as_ref()).is_some())
}

fn difference(before: Option<&Settings>) -> Option<String> {
    before?.origin.difference(&Origin::here())
}

/// Returns true if init has made this machine the node in this boot.
fn lives(paths: &Paths) -> Result<bool, MachineError> {
    let Some(facts) = NodeFacts::load(paths)? else { return Ok(false) };
    Ok(facts.boot_id == host::boot_id()? && facts.netns == machine::netns()?)
}
