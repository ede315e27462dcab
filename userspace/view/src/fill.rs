use naru_abi::{DropReason, Outcome};
use naru_bpf::{Datapath, Error};

use crate::{Code, Finding};

/// Fill level of the tables of flows that the stack translates.
pub(crate) struct Fill {
    /// Entries of `FLOWS`.
    pub(crate) flows: usize,
    /// Its capacity.
    pub(crate) capacity: u32,
    /// Entries of `FLOW_PAIRS`, two for each pair of hosts.
    pub(crate) pairs: usize,
    /// Packets of new flows for which neither had room.
    dropped: u64,
}

impl Fill {
    pub(crate) fn read(datapath: &Datapath) -> Result<Self, Error> {
        let flows = datapath.flows()?;
        let full = Outcome::from(DropReason::FlowTableFull);
        let totals = datapath.stats()?.totals()?;
        let dropped =
            totals.iter().filter(|total| total.outcome == full).map(|total| total.counter.packets).sum();
        Ok(Self {
            flows: flows.entries()?.len(),
            capacity: flows.capacity()?,
            pairs: datapath.flow_pairs()?.entries()?.len(),
            dropped,
        })
    }

    /// Returns a finding if the table is at least nine tenths full, as new flows will soon have no record of their own,
    /// or if that has already happened.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let Self { flows, capacity, pairs, dropped } = self;
        let is_full = *flows as u64 * 10 >= u64::from(*capacity) * 9;
        let evidence = match (pairs / 2, dropped) {
            (0, 0) if !is_full => return None,
            (0, 0) => format!("{flows} of {capacity} entries"),
            (pairs, 0) => format!(
                "{flows} of {capacity} entries; all packets between {pairs} pairs of hosts take the stack"
            ),
            (pairs, dropped) => format!(
                "{flows} of {capacity} entries, {pairs} pairs of hosts; {dropped} packets of new flows dropped"
            ),
        };
        Some(Finding::new(Code::FlowsFull, "FLOWS", evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_full_or_was_is_a_finding() {
        for (flows, pairs, dropped, words) in [
            (0, 0, 0, None),
            (899, 0, 0, None),
            (900, 0, 0, Some("900 of 1000 entries")),
            (10, 4, 0, Some("10 of 1000 entries; all packets between 2 pairs of hosts take the stack")),
            (1000, 4, 3, Some("1000 of 1000 entries, 2 pairs of hosts; 3 packets of new flows dropped")),
        ] {
            let found = Fill { flows, capacity: 1000, pairs, dropped }.finding();
            assert_eq!(found.map(|finding| finding.evidence).as_deref(), words);
        }
    }
}
