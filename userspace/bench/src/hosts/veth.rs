use std::net::Ipv6Addr;

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
    for (netns, number) in [(&client, 1), (&server, 2)] {
        let addresses =
            format!("address add 10.0.0.{number}/24 dev eth0\naddress add fd10::{number}/64 dev eth0 nodad");
        ip(netns, &format!("link set eth0 up\n{addresses}"))?;
    }
    let v6 = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, 2);
    Ok(Pair { client, server, address: [10, 0, 0, 2].into(), v6: Some(v6.into()), service: None })
}
