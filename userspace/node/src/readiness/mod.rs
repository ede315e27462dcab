//! Checks that the node is still as init left it. A marker would only say that init ran; anybody may undo what it made
//! or relies on.
//!
//! Each check takes microseconds: one request to the kernel, whose answer is compared with the notes from when the node
//! was made or brought up to date ([`Record`]). Init repairs all faults. ADD, STATUS and CHECK look for the first
//! fault, `naru status` for every one, and the agent for those that the kernel does not announce.

mod digest;
mod firewall;
mod forwarding;
mod record;

use naru_bpf::{ConfigMap, Side, attachment};
use naru_netlink::links::Links;

use crate::{
    machine::{DEVICE, MARKS, MachineError, NodeFacts},
    paths::Paths,
};

pub(crate) use digest::mirrored;
pub(crate) use forwarding::{name, off as not_forwarding, strict};
pub(crate) use record::Record;

/// The objects that the checks look at.
struct Scene<'a> {
    paths: &'a Paths,
    facts: &'a NodeFacts,
    record: Record,
    links: Links,
}

/// The result of a check: a description of the fault, if there is one.
type Found = Result<Option<String>, MachineError>;

/// One thing that init makes or relies on.
struct Check {
    look: fn(&Scene<'_>) -> Found,
    /// True if the agent hears of its changes, or sees them by a look of its own.
    announced: bool,
}

/// All of them, the cheapest first.
const CHECKS: [Check; 6] = [
    Check { look: configuration, announced: false },
    Check { look: forwarding::look, announced: true },
    Check { look: firewall::look, announced: true },
    Check { look: routes_and_rules, announced: true },
    Check { look: tunnel, announced: false },
    // The agent's own check sees more: surplus programs, and those of pods.
    Check { look: programs, announced: true },
];

/// Returns the first fault; `None` on a node that is ready. `facts` are those of [`crate::machine::current`], which
/// checks the boot, the namespace, the pins and the store.
///
/// # Errors
/// The machine cannot be looked at.
pub fn fault(paths: &Paths, facts: &NodeFacts) -> Result<Option<String>, MachineError> {
    first(paths, facts, |_| true)
}

/// Does the same as [`fault`] for faults that the kernel does not announce.
///
/// # Errors
/// As [`fault`].
pub fn unannounced_fault(paths: &Paths, facts: &NodeFacts) -> Result<Option<String>, MachineError> {
    first(paths, facts, |check| !check.announced)
}

/// Returns every fault.
///
/// # Errors
/// As [`fault`].
pub fn faults(paths: &Paths, facts: &NodeFacts) -> Result<Vec<String>, MachineError> {
    let scene = match open(paths, facts)? {
        Ok(scene) => scene,
        Err(unknown) => return Ok(vec![unknown]),
    };
    let found: Vec<Option<String>> =
        CHECKS.iter().map(|check| (check.look)(&scene)).collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn first(paths: &Paths, facts: &NodeFacts, concerns: impl Fn(&Check) -> bool) -> Found {
    let scene = match open(paths, facts)? {
        Ok(scene) => scene,
        Err(unknown) => return Ok(Some(unknown)),
    };
    for check in CHECKS.iter().filter(|check| concerns(check)) {
        if let Some(fault) = (check.look)(&scene)? {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

/// Returns the scene, or the reason for which nothing can be compared.
fn open<'a>(paths: &'a Paths, facts: &'a NodeFacts) -> Result<Result<Scene<'a>, String>, MachineError> {
    let Some(record) = Record::load(paths)? else {
        return Ok(Err(format!("{}: missing, or of another version", paths.record().display())));
    };
    Ok(Ok(Scene { paths, facts, record, links: Links::open(MARKS)? }))
}

fn configuration(scene: &Scene<'_>) -> Found {
    let config = ConfigMap::open(&scene.paths.pins())?.get()?;
    let is_as_made = digest::text(&format!("{config:?}")) == scene.record.config;
    Ok((!is_as_made).then(|| "map CONFIG: not as init wrote it".to_owned()))
}

fn routes_and_rules(scene: &Scene<'_>) -> Found {
    let (routes, rules) = (scene.links.routes()?, scene.links.rules()?);
    if scene.record.foreign_rules != crate::machine::first_foreign(&rules) {
        return Ok(Some("rules: others have changed, and naru's must come before them".to_owned()));
    }
    if mirrored(&routes, &rules.own) != scene.record.mirrored {
        return Ok(Some("routes and rules of naru: not as init left them".to_owned()));
    }
    // What could not be put right when the record was made is no reason to try at each ADD.
    let sourceless = digest::sourceless(&routes);
    let is_known = sourceless == 0 || sourceless == scene.record.sourceless;
    Ok((!is_known).then(|| "routes to pods: some have lost the node's address as their source".to_owned()))
}

fn tunnel(scene: &Scene<'_>) -> Found {
    match &scene.record.tunnel {
        Some(tunnel) => tunnel.fault(&scene.links),
        // It was gone when the record was made.
        None if scene.facts.tunnel_port.is_some() => Ok(Some(format!("{DEVICE}: the tunnel device is gone"))),
        None => Ok(None),
    }
}

fn programs(scene: &Scene<'_>) -> Found {
    let pins = scene.paths.pins();
    let side = Side::of_uplink(scene.facts.sends_around);
    let overlay = scene.record.tunnel.iter().map(|_| (Side::Overlay, DEVICE));
    let all = overlay.chain(scene.facts.uplinks.iter().map(|name| (side, name.as_str())));
    let is_bare = |(side, name): &(Side, &str)| {
        !attachment(&pins, *side, name).is_ok_and(|attachment| attachment.is_complete())
    };
    Ok({ all }.find(is_bare).map(|(_, name)| format!("{name}: programs are not attached")))
}
