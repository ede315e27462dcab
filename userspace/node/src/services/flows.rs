//! Flows to Services that are to be forgotten.

use std::collections::BTreeMap;

use naru_abi::{FlowKey, ServiceKey, TranslationValue, flow_state};
use naru_bpf::Translations;
use naru_core::{
    services::{Frontend, Reason, Translation},
    translations::{answers_of, expired},
};

use super::backend;
use crate::{machine::MachineError, paths::Paths, symmetry};

const UDP: u32 = 17;

/// Result of [`leave`].
pub(super) struct Left {
    /// Flows that went.
    pub gone: usize,
    /// True if there are none any more.
    pub is_empty: bool,
}

/// Forgets flows without connections whose backend does not serve any more, or whose Service is gone: their next packet
/// begins anew. Connections are not sent elsewhere. The table must be written before: a program that has just chosen
/// such a backend looks at the table once more after it has entered the flow, and we look at flows after that.
pub(super) fn leave(
    translations: &mut Translations,
    wanted: &BTreeMap<ServiceKey, (&Frontend, &Translation)>,
) -> naru_bpf::Result<Left> {
    let mut left = Left { gone: 0, is_empty: true };
    for (key, flow) in translations.flows.entries()? {
        let is_served = flow.service == 0
            || key.protocol != UDP
            || wanted.get(&addressed(&key)).is_some_and(|(_, one)| serves(one, &flow));
        if is_served {
            left.is_empty = false;
        } else {
            remove(translations, &key, &flow)?;
            left.gone += 1;
        }
    }
    Ok(left)
}

fn addressed(key: &FlowKey) -> ServiceKey {
    // A protocol number has eight bits; the map keeps it in a whole word.
    ServiceKey { address: key.destination, port: key.destination_port, protocol: key.protocol as u16 }
}

/// Returns true if the flow may stay as it is.
fn serves(one: &Translation, flow: &TranslationValue) -> bool {
    if one.stack == Some(Reason::OwnAddress) {
        return false;
    }
    let own = backend(flow.backend, flow.backend_port);
    flow.state & flow_state::STACK != 0 || one.chosen.contains(&own) || one.kept.contains(&own)
}

fn remove(translations: &mut Translations, key: &FlowKey, flow: &TranslationValue) -> naru_bpf::Result<()> {
    translations.flows.delete(key)?;
    if flow.state & flow_state::STACK == 0 {
        translations.answers.delete(&answers_of(key, flow))?;
    }
    Ok(())
}

/// Forgets flows that are over, or were idle for too long. Returns the number of entries that went.
///
/// # Errors
/// The kernel's.
pub fn sweep(paths: &Paths) -> Result<usize, MachineError> {
    let mut translations = Translations::open(&paths.pins())?;
    let flows: BTreeMap<_, _> = translations.flows.entries()?.into_iter().collect();
    let answers: BTreeMap<_, _> = translations.answers.entries()?.into_iter().collect();
    let capacity = translations.flows.capacity()? as usize;
    let over = expired(&flows, &answers, symmetry::now(), capacity);
    let mut gone = 0;
    for (key, answer) in over.flows {
        // A packet may have come meanwhile, or another flow in its place.
        if translations.flows.get(&key)? == flows.get(&key).copied() && translations.flows.delete(&key)? {
            translations.answers.delete(&answer)?;
            gone += 1;
        }
    }
    for key in over.answers {
        if translations.answers.get(&key)? == answers.get(&key).copied() {
            gone += usize::from(translations.answers.delete(&key)?);
        }
    }
    Ok(gone)
}
