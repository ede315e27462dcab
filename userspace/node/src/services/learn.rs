//! Flows without connections that the stack translates stay with it: no packet of theirs says that it is not the first.

use std::collections::BTreeSet;

use naru_abi::{Addr, FlowKey, ServiceKey, TranslationValue, fingerprint, flow_state};
use naru_bpf::Translations;
use naru_netlink::conntrack::Conntrack;

use crate::{machine::MachineError, symmetry};

/// Flows that are entered at most: as many as leave room for as many again.
const MOST: usize = naru_abi::MAX_TRANSLATIONS as usize / 2;

/// Enters the flows to these Services that connection tracking has, as flows of the stack. Those that begin meanwhile
/// are entered by the programs, which is what [`naru_abi::service_flags::LEARN`] is for: the entries must have it.
pub(super) fn enter(translations: &mut Translations, services: &[ServiceKey]) -> Result<(), MachineError> {
    let services: BTreeSet<ServiceKey> = services.iter().copied().collect();
    let now = symmetry::now();
    let known = Conntrack::open()?.begun(libc::IPPROTO_UDP as u8)?;
    let flows = known.iter().filter_map(|flow| {
        let protocol = flow.protocol.into();
        let service = ServiceKey { address: flow.destination.into(), port: flow.destination_port, protocol };
        let key = FlowKey::between(flow.source.into(), flow.destination.into(), flow.protocol);
        services.contains(&service).then(|| key.with_ports(flow.source_port, flow.destination_port))
    });
    for key in flows.take(MOST) {
        // What is translated by the programs stays so.
        translations.flows.put_new(&key, of_stack(&key, now))?;
    }
    Ok(())
}

fn of_stack(key: &FlowKey, now: u64) -> TranslationValue {
    TranslationValue {
        fingerprint: fingerprint(key),
        last_used: now,
        backend: Addr::UNSPECIFIED,
        service: 0,
        slot: 0,
        backend_port: 0,
        client_port: 0,
        state: flow_state::STACK,
    }
}
