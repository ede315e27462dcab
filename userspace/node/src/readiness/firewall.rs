use crate::{
    host::{
        firewall::{self, Intact},
        forward,
    },
    machine::{MachineError, write_json},
};

use super::{Found, Scene};

/// Our table is as it was made, and no chain of others drops what pods send and receive. While nobody changes any
/// rule that costs two small questions to the kernel; else all of it is looked at, and the generation noted at which
/// it was well.
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
        // Without the note the next look takes longer, no more.
        false => write_json(&path, &now).map(|_| None).or_else(passing),
    }
}

fn passing(error: MachineError) -> Found {
    match error {
        MachineError::File { .. } | MachineError::Host(_) => Ok(None),
        other => Err(other),
    }
}
