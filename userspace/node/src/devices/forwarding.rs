use naru_store::NodeStore;

use crate::{
    host::{HostError, sysctl},
    machine::{MachineError, Settings, Survey},
    paths::Paths,
};

/// Makes the machine forward what pods send and get, by every interface that it may come by.
pub(crate) fn ensure(
    settings: &Settings,
    survey: &Survey,
    journal: &mut NodeStore,
) -> Result<(), MachineError> {
    let was_own = journal.journal_get(&sysctl::forwarding_key())?.is_some();
    let devices: Vec<String> = survey.ways_out.iter().cloned().collect();
    Ok(sysctl::forward_packets(settings.families(), &devices, was_own, journal)?)
}

/// The same where somebody may have undone it, or an interface has come: the journal is opened only then.
pub(crate) fn keep(paths: &Paths, settings: &Settings, survey: &Survey) -> Result<(), MachineError> {
    let devices: Vec<String> = survey.ways_out.iter().cloned().collect();
    if !sysctl::forwards_less(settings.families(), &devices)? {
        return Ok(());
    }
    ensure(settings, survey, &mut NodeStore::open(&paths.node_store())?)
}

/// The sysctls that keep packets of pods from being forwarded.
///
/// # Errors
/// One cannot be read.
pub(crate) fn closed(settings: &Settings, survey: &Survey) -> Result<Vec<String>, HostError> {
    let devices: Vec<String> = survey.ways_out.iter().cloned().collect();
    sysctl::closed(settings.families(), &devices)
}
