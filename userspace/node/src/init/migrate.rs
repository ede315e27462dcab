//! Migration of an older version's datapath to this one's, with pods running.

use naru_bpf::{Migration, Pins};
use naru_netlink::links::Links;
use naru_store::failpoint::reach;

use crate::{
    devices,
    machine::{MachineError, Settings, Survey},
    sync,
};

/// Migrates the pins of an older version of the ABI to `pins`, which are installed; does nothing if there are none. The
/// plan does the rest: it gives `ROUTES` its values, and so lets packets for other nodes pass again.
pub(super) fn run(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
) -> Result<(), MachineError> {
    let Some(migration) = Migration::due(pins)? else { return Ok(()) };
    if migration.is_unsettled() {
        reach("migrate-copy");
        migration.copy()?;
        sync::hold(pins, settings, survey)?;
        devices::configure(links, pins, settings, survey)?;
        reach("migrate-swap");
        migration.swap()?;
        reach("migrate-settle");
        migration.settle()?;
    }
    reach("migrate-discard");
    Ok(migration.discard()?)
}
