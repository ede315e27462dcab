//! The holder of a UDP port, which an administrator must know to repair that error.

use std::fs;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo},
};

use super::{Links, link, overlay};

impl Links {
    /// Returns the holder of the UDP port in words: another tunnel device that is up, or a process of this machine.
    pub(super) fn port_holder(&self, port: u16) -> Option<String> {
        self.vxlan_on(port).map(|name| format!("device {name}")).or_else(|| socket_on(port))
    }

    fn vxlan_on(&self, port: u16) -> Option<String> {
        let mut message = link::question();
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan)]));
        let answers = self.dump(&RouteNetlinkMessage::GetLink(message), "links: list").ok()?;
        let on_port = answers.iter().filter(|answer| overlay::port_of(answer) == Some(port));
        on_port.filter_map(link::parsed).find(|link| link.up).map(|link| link.name)
    }
}

/// The process with a UDP socket on the port, by the kernel's list of sockets.
fn socket_on(port: u16) -> Option<String> {
    let tables = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];
    let text: String = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    let inode = text.lines().find_map(|line| inode_on(line, port))?;
    let link = format!("socket:[{inode}]");
    let names = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let holds = |pid: &u32| {
        let mut files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.to_str() == Some(&link)))
    };
    let process = names.filter_map(|name| name.parse().ok()).find(holds)?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(format!("process {process} ({})", name.trim_end()))
}

/// The inode of a line of `/proc/net/udp` if its socket is on the port; sockets of devices have none.
fn inode_on(line: &str, port: u16) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let local = words.nth(1)?.rsplit_once(':')?.1;
    let inode = words.nth(7)?.parse().ok().filter(|inode| *inode != 0);
    inode.filter(|_| u16::from_str_radix(local, 16) == Ok(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inode_of_a_socket_is_found_by_its_port_and_devices_have_none() {
        let line = "  77: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41897 2";
        assert_eq!(inode_on(line, 8472), Some(41897));
        assert_eq!(inode_on(line, 8473), None);
        assert_eq!(inode_on(&line.replace("41897", "0"), 8472), None);
        assert_eq!(inode_on("  sl  local_address rem_address", 8472), None);
    }
}
