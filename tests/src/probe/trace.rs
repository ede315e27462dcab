//! Traceroute by echo requests.

use std::net::IpAddr;

use anyhow::{Context, bail};

use super::{
    Host,
    ping::{Answer, Ping, Pinger},
};

/// Addresses of the routers from `from` to `to`, and last that of the host that replied.
///
/// # Errors
/// A router does not answer, or the destination is not reached in eight hops.
pub fn route(from: &Host, to: &Host) -> anyhow::Result<Vec<IpAddr>> {
    let mut hops = Vec::new();
    for ttl in 1..=8 {
        let ping = Ping { hops: Some(ttl), ..Ping::default() };
        match from.netns.run(|| Pinger::new(to.address, ping)?.ask())? {
            Answer::TimeExceeded { from } => hops.push(from),
            Answer::Reply { from } => {
                hops.push(from);
                return Ok(hops);
            }
            other => bail!("from {} to {}: hop {ttl}: {other:?} after {hops:?}", from.name, to.name),
        }
    }
    Err(anyhow::anyhow!("{hops:?}"))
        .with_context(|| format!("from {} to {}: not reached", from.name, to.name))
}
