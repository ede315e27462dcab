use std::net::IpAddr;

use super::assign::refuse_taken;
use super::pick::Ranges;
use super::{Domain, IpamError, Ledger, Millis, Row, State, row_of};
use crate::ids::{AttachmentId, Generation, NetnsId, PodName};

/// A live attachment to be written into the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adoption {
    /// The domain in which its addresses are unique.
    pub domain: Domain,
    /// The attachment.
    pub owner: AttachmentId,
    /// Its pod, if known.
    pub pod: PodName,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its namespace, if known.
    pub netns: Option<NetnsId>,
    /// Its interface on the node.
    pub ifindex: u32,
    /// Its generation, from the alias.
    pub generation: Generation,
}

/// Writes a live attachment into the ledger, also over addresses that are cooling or quarantined. Returns true if
/// anything changed. It is an error if another attachment holds an address, or if an address is reserved.
pub fn adopt<L: Ledger>(
    ledger: &mut L,
    adoption: &Adoption,
    now: Millis,
) -> Result<bool, IpamError<L::Error>> {
    let ranges = Ranges::read(ledger, &adoption.domain)?;
    let mut changed = Vec::new();
    for &address in &adoption.addresses {
        let before = row_of(ledger, &adoption.domain, address)?;
        let Some(row) = adopted(adoption, address, before.as_ref(), now)? else { continue };
        ledger.set_row(&adoption.domain, address, Some(&row))?;
        changed.push(address);
    }
    if changed.is_empty() {
        return Ok(false);
    }
    ranges.mark_all(ledger, &changed)?;
    ledger.next_generation(adoption.generation)?;
    Ok(true)
}

/// The row that the address should have, if it differs from the present one.
fn adopted<E>(
    adoption: &Adoption,
    address: IpAddr,
    before: Option<&Row>,
    now: Millis,
) -> Result<Option<Row>, IpamError<E>> {
    let ours =
        before.filter(|row| row.state == State::Assigned && row.owner.as_ref() == Some(&adoption.owner));
    if let Some(row) = ours {
        let netns = adoption.netns.or(row.netns);
        let row_now = Row { netns, ifindex: adoption.ifindex, confirmed: true, ..row.clone() };
        return Ok((row.generation == adoption.generation && row_now != *row).then_some(row_now));
    }
    let (pod, note) = match before {
        Some(row) if is_kept_for(row, &adoption.pod) => (&row.pod, row.note.as_str()),
        Some(row) if row.state != State::Quarantined => {
            refuse_taken(row)?;
            (&adoption.pod, "")
        }
        _ => (&adoption.pod, ""),
    };
    Ok(Some(Row {
        state: State::Assigned,
        owner: Some(adoption.owner.clone()),
        pod: pod.clone(),
        netns: adoption.netns,
        ifindex: adoption.ifindex,
        generation: adoption.generation,
        confirmed: true,
        ..Row::reserved(adoption.domain.clone(), address, note, now)
    }))
}

/// Returns true if the address is reserved for this pod, or may be: the kernel does not name the pod of a live
/// attachment.
fn is_kept_for(row: &Row, pod: &PodName) -> bool {
    let may_be = pod.is_empty() || row.pod.is_same(pod);
    row.state == State::Reserved && !row.pod.is_empty() && may_be
}
