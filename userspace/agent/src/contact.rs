//! Writes down when the source was heard last, where the cluster's administrator limits the time without: plugins look
//! there before they give out an address.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use naru_cluster::{Contact, View};
use naru_node::{machine::LastContact, paths::Paths};
use tokio::{sync::watch, time::sleep};

/// The longest pause between two notes. A shorter limit has shorter ones, of a twentieth of it.
const PAUSE: Duration = Duration::from_secs(60);
const PART: u32 = 20;

/// Keeps the note until the source ends.
pub async fn note(paths: Paths, contact: Contact, mut views: watch::Receiver<View>) {
    let mut kept = LastContact::load(&paths).ok().flatten();
    let mut is_told = false;
    loop {
        let (limit, is_known) = {
            let view = views.borrow_and_update();
            (view.contact_limit, view.is_answered())
        };
        let pause = limit.map_or(PAUSE, |limit| (limit / PART).clamp(Duration::from_millis(100), PAUSE));
        if is_known {
            let wanted = limit.map(|limit| wanted(limit, heard(&contact), kept));
            if wanted != kept || (wanted.is_none() && paths.contact().exists()) {
                let paths = paths.clone();
                let saved = tokio::task::spawn_blocking(move || LastContact::save(&paths, wanted)).await;
                match saved {
                    Ok(Ok(())) => (kept, is_told) = (wanted, false),
                    Ok(Err(error)) if !is_told => {
                        tracing::warn!("{error}: no address is given out once contact_limit is over");
                        is_told = true;
                    }
                    _ => {}
                }
            }
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

fn heard(contact: &Contact) -> Option<u64> {
    contact.heard().and_then(|heard| heard.duration_since(UNIX_EPOCH).ok()).map(|age| age.as_secs())
}

/// The note to write. A limit that is new, on a node that has not heard anything yet, counts from now.
fn wanted(limit: Duration, heard: Option<u64>, kept: Option<LastContact>) -> LastContact {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let heard = heard.or_else(|| kept.map(|kept| kept.heard)).unwrap_or_else(now);
    LastContact { heard, limit: limit.as_secs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_process_that_heard_nothing_yet_goes_on_from_what_the_one_before_heard() {
        let limit = Duration::from_secs(60);
        let kept = LastContact { heard: 7, limit: 5 };
        assert_eq!(wanted(limit, None, Some(kept)), LastContact { heard: 7, limit: 60 });
        assert_eq!(wanted(limit, Some(9), Some(kept)), LastContact { heard: 9, limit: 60 });
        assert!(wanted(limit, None, None).heard > 1_000_000_000);
    }
}
