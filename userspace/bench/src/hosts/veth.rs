use naru_sandbox::netns;

use super::{Pair, ip};
use crate::site::Site;

/// Two namespaces joined by one pair: the limit of whatever hands packets over by veth.
///
/// # Errors
/// The kernel refuses.
pub fn pair(site: &Site) -> anyhow::Result<Pair> {
    let [client, server] = ["veth-a", "veth-b"].map(|place| site.netns(place));
    for netns in [&client, &server] {
        netns::create(netns, || Ok(()))?;
        ip(netns, "link set lo up")?;
    }
    ip(&client, &format!("link add eth0 type veth peer name eth0 netns {server}"))?;
    for (netns, address) in [(&client, "10.0.0.1/24"), (&server, "10.0.0.2/24")] {
        ip(netns, &format!("link set eth0 up\naddress add {address} dev eth0"))?;
    }
    Ok(Pair { client, server, address: [10, 0, 0, 2].into() })
}
