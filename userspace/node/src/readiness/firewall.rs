use crate::{
    host::{
        firewall::{self, Intact},
        forward,
    },
    machine::{MachineError, write_json},
};

use super::{Found, Scene};

/// Checks that our table is as it was made, and that no chain of others drops pods' packets. While nobody changes any
/// rule, this takes two small requests to the kernel; otherwise everything is read, and the generation noted at which
/// it was right.
pub(super) fn look(scene: &Scene<'_>) -> Found {
    let path = scene.paths.nft_sight();
    let known: Option<Intact> =
        std::fs::read(&path).ok().and_then(|content| serde_json::from_slice(&content).ok());
    let Some(now) = firewall::intact(known)? else {
        return Ok(Some("nftables: the table inet naru is gone, or somebody changed it".to_owned()));
    };
    if let Some(chain) = forward::lacking(known == Some(now))? {
        return Ok(Some(format!("{chain}: drops what is forwarded, and has no exception for pods")));
    }
    match known == Some(now) {
        true => Ok(None),
        // Without the note, the next check only takes longer.
        false => write_json(&path, &now).map(|_| None).or_else(passing),
    }
}

fn passing(error: MachineError) -> Found {
    match error {
        MachineError::File { .. } | MachineError::Host(_) => Ok(None),
        other => Err(other),
    }
}
