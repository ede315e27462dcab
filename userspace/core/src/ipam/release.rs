use std::net::IpAddr;

use super::pick::Ranges;
use super::{Domain, Ledger, Millis, Row, State, drop_drained, row_of};
use crate::ids::{AttachmentId, Generation};

/// Most addresses whose cooling ends in one operation; every operation adds fewer.
const SWEPT_AT_ONCE: usize = 16;

/// Gives back the addresses of an attachment and returns their rows. The addresses cool before they are used again.
pub fn release<L: Ledger>(
    ledger: &mut L,
    domain: &Domain,
    owner: &AttachmentId,
    now: Millis,
) -> Result<Vec<Row>, L::Error> {
    let held = ledger.held_by(domain, owner)?;
    for row in &held {
        cool(ledger, row, now)?;
    }
    Ok(held)
}

/// Gives back an address if its assignment still has this generation, and with it all other addresses of the
/// assignment: both families or none. Returns true if it was given back.
pub fn free_if_generation<L: Ledger>(
    ledger: &mut L,
    (domain, address): (&Domain, IpAddr),
    generation: Generation,
    now: Millis,
) -> Result<bool, L::Error> {
    let held = |row: &Row| matches!(row.state, State::Assigned | State::Quarantined);
    let row = row_of(ledger, domain, address)?.filter(|row| held(row) && row.generation == generation);
    let Some(row) = row else { return Ok(false) };
    if let Some(owner) = &row.owner {
        let others = ledger.held_by(domain, owner)?;
        for other in others.iter().filter(|other| other.generation == generation) {
            cool(ledger, other, now)?;
        }
    } else {
        cool(ledger, &row, now)?;
    }
    Ok(true)
}

/// Keeps an address from everybody because more than one live veth has it, unless an attachment holds it in the
/// ledger: its row keeps it then. Returns true if anything changed.
pub fn quarantine<L: Ledger>(
    ledger: &mut L,
    (domain, address): (&Domain, IpAddr),
    note: &str,
    now: Millis,
) -> Result<bool, L::Error> {
    let row = row_of(ledger, domain, address)?;
    if row.is_some_and(|row| row.state != State::Cooling) {
        return Ok(false);
    }
    let generation = ledger.next_generation(Generation(0))?;
    let row =
        Row { state: State::Quarantined, generation, ..Row::reserved(domain.clone(), address, note, now) };
    ledger.set_row(domain, address, Some(&row))?;
    Ranges::read(ledger, domain)?.mark(ledger, address, true)?;
    Ok(true)
}

/// An address that is reserved for the pod becomes reserved again at once, without cooling, because nobody else could
/// get it.
pub(super) fn cool<L: Ledger>(ledger: &mut L, row: &Row, now: Millis) -> Result<(), L::Error> {
    let row = match row.is_kept() {
        true => Row::kept_for(row.domain.clone(), row.address, (&row.pod, &row.note), now),
        false => {
            Row { state: State::Cooling, note: String::new(), since: now, confirmed: false, ..row.clone() }
        }
    };
    ledger.set_row(&row.domain, row.address, Some(&row))
}

/// Frees addresses that have cooled long enough, a few at a time; returns their number. A clock that was set back
/// does not keep them for ever.
pub fn sweep<L: Ledger>(
    ledger: &mut L,
    domain: &Domain,
    cooling: Millis,
    now: Millis,
) -> Result<usize, L::Error> {
    let mut ranges = None;
    for swept in 0..SWEPT_AT_ONCE {
        let oldest = ledger.oldest_cooling(domain, None)?;
        let Some(row) = oldest.filter(|row| now.abs_diff(row.since) >= cooling) else {
            return Ok(swept);
        };
        let ranges = match &ranges {
            Some(ranges) => ranges,
            None => ranges.insert(Ranges::read(ledger, domain)?),
        };
        ledger.set_row(domain, row.address, None)?;
        ranges.mark(ledger, row.address, false)?;
        if ranges.containing(row.address).any(|range| range.draining) {
            drop_drained(ledger, domain)?;
        }
    }
    Ok(SWEPT_AT_ONCE)
}
