//! Flows as the kernel lists them in text. A dump by ctnetlink takes the lock of every bucket, also of those without
//! a flow: 10 ms with 262,144 of them, where this file takes .1 to 2.

use std::{fs, net::IpAddr};

use super::Tuple;

/// Of the calling thread's network namespace; absent in a kernel without `NF_CONNTRACK_PROCFS`.
const FILE: &str = "/proc/thread-self/net/nf_conntrack";
const ECHOES: [(i32, &str); 2] = [(libc::IPPROTO_ICMP, "0"), (libc::IPPROTO_ICMPV6, "129")];
const WITH_PORTS: [i32; 5] =
    [libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_UDPLITE, libc::IPPROTO_SCTP, libc::IPPROTO_DCCP];

/// Returns the flows that have one of the addresses at any end, before or after translation, named by their answers.
/// `None` if the file does not exist, or lists such a flow that cannot be named that way.
pub(super) fn flows_of(addresses: &[IpAddr]) -> Option<Vec<Tuple>> {
    let text = fs::read_to_string(FILE).ok()?;
    let concerned = text.lines().filter(|line| {
        let ends = values(line, "src=").chain(values(line, "dst="));
        ends.filter_map(|end| end.parse::<IpAddr>().ok()).any(|end| addresses.contains(&end))
    });
    concerned.map(answers).collect()
}

/// The answers of the flow in a line: the second of each value.
fn answers(line: &str) -> Option<Tuple> {
    if line.contains(" zone") {
        return None;
    }
    let address = |key| values(line, key).nth(1)?.parse::<IpAddr>().ok();
    let number = |key| values(line, key).nth(1)?.parse::<u16>().ok();
    let protocol = line.split_whitespace().nth(3)?.parse::<u8>().ok()?;
    let echo = ECHOES.iter().find(|(echo, _)| *echo == i32::from(protocol));
    let (from, to) = match echo {
        Some((_, reply)) if values(line, "type=").nth(1) == Some(*reply) => (number("id=")?, number("id=")?),
        None if WITH_PORTS.contains(&protocol.into()) => (number("sport=")?, number("dport=")?),
        _ => return None,
    };
    Some(Tuple {
        source: address("src=")?,
        destination: address("dst=")?,
        protocol,
        source_port: from,
        destination_port: to,
    })
}

fn values<'a>(line: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    line.split_whitespace().filter_map(move |word| word.strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSLATED: &str = "ipv6     10 udp      17 29 src=2001:0db8:0000:0000:0000:0000:0000:0001 \
        dst=fd00:0096:0000:0000:0000:0000:0000:0001 sport=4000 dport=53 packets=1 bytes=56 \
        src=fd00:0001:0000:0000:0000:0000:0000:0007 dst=2001:0db8:0000:0000:0000:0000:0000:0001 \
        sport=5353 dport=4000 packets=1 bytes=54 mark=0 use=2";
    const ECHO: &str = "ipv4     2 icmp     1 29 src=192.0.2.1 dst=10.1.0.7 type=8 code=0 id=77 src=10.1.0.7 \
        dst=192.0.2.1 type=0 code=0 id=77 mark=0 use=2";

    fn key(ends: [&str; 2], protocol: u8, ports: (u16, u16)) -> Tuple {
        let [source, destination] = ends.map(|end| end.parse().unwrap());
        let (source_port, destination_port) = ports;
        Tuple { source, destination, protocol, source_port, destination_port }
    }

    #[test]
    fn a_flow_is_named_by_what_answers_it_after_translation() {
        assert_eq!(answers(TRANSLATED), Some(key(["fd00:1::7", "2001:db8::1"], 17, (5353, 4000))));
        assert_eq!(answers(ECHO), Some(key(["10.1.0.7", "192.0.2.1"], 1, (77, 77))));
    }

    #[test]
    fn what_the_name_would_not_say_all_of_is_left_to_netlink() {
        let zoned = TRANSLATED.replace("mark=0", "mark=0 zone=7");
        let keyed =
            "ipv4 2 gre 47 29 src=192.0.2.1 dst=10.1.0.7 srckey=0x0 dstkey=0x1 src=10.1.0.7 dst=192.0.2.1";
        let other = ECHO.replace("type=0", "type=14");
        for line in [zoned.as_str(), keyed, &other, "", "ipv6 10 udp"] {
            assert_eq!(answers(line), None, "{line}");
        }
    }
}
