//! The kinds of traffic.

use std::net::IpAddr;

use anyhow::{bail, ensure};

use super::{BIG_MTU, Mode, Path, Plan};
use crate::{
    cni::TestPod,
    counters::Counters,
    lab::Lab,
    probe::{
        Host, fragments, path_mtu,
        ping::{self, Answer, Ping},
        raw::{self, Fidelity},
        tcp, trace, udp,
    },
};

/// A kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// Small echo requests.
    Ping,
    /// Echo requests of 8000 bytes.
    BigPing,
    /// A stream with a digest on both sides.
    Tcp,
    /// Datagrams from 1 to 20,000 bytes.
    Udp,
    /// Fragments out of order.
    Shuffled,
    /// SCTP INIT and INIT ACK.
    Sctp,
    /// GRE both ways.
    Gre,
    /// TTL 1.
    Ttl,
    /// DF above the path MTU.
    TooBig,
    /// Traceroute.
    Trace,
}

/// One cell to fill.
pub struct Question<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// Sizes.
    pub plan: &'a Plan,
    /// The path.
    pub path: Path,
    /// The family.
    pub v6: bool,
    /// Client.
    pub from: Host,
    /// Server.
    pub to: Host,
    /// A pod beside the client whose interface has a larger MTU than any path.
    pub big: Option<&'a TestPod>,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Ping,
        Self::BigPing,
        Self::Tcp,
        Self::Udp,
        Self::Shuffled,
        Self::Sctp,
        Self::Gre,
        Self::Ttl,
        Self::TooBig,
        Self::Trace,
    ];

    /// The label in the table.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::BigPing => "ping 8000",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Shuffled => "shuffled fragments",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Ttl => "ttl 1",
            Self::TooBig => "df too big",
            Self::Trace => "traceroute",
        }
    }

    /// The protocol that it is about, where tables tell no more.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Ping | Self::BigPing | Self::Shuffled | Self::Ttl | Self::TooBig | Self::Trace => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
        }
    }

    /// Returns true if the check must be carried by the outcomes that the path names.
    #[must_use]
    pub const fn is_bulk(self) -> bool {
        matches!(self, Self::Tcp)
    }

    /// Makes the check; returns the bytes that it carried.
    ///
    /// # Errors
    /// The reason for a failure.
    pub fn make(self, question: &Question<'_>) -> anyhow::Result<u64> {
        let Question { from, to, .. } = question;
        match self {
            Self::Ping => ping::all_return(from, to, 56, 5).map(|()| 2 * 5 * 56),
            Self::BigPing => {
                teach_path_mtu(question)?;
                ping::all_return(from, to, 8000, 3).map(|()| 2 * 3 * 8000)
            }
            Self::Tcp => stream(question),
            Self::Udp => {
                teach_path_mtu(question)?;
                udp::echo(from, to, &[1, 512, 1400, 1473, 8000, 20_000])
            }
            Self::Shuffled => fragments::echo_shuffled(from, to),
            Self::Sctp => raw::sctp(from, to, fidelity(question.path)),
            Self::Gre => raw::gre(from, to),
            Self::Ttl => first_hop(question),
            Self::TooBig => too_big(question),
            Self::Trace => traced(question),
        }
    }
}

/// No IPv6 router fragments packets: the first large answer from beyond the cluster, which is cut for the wider link
/// there, only teaches its sender the pod's MTU. All later ones must arrive.
fn teach_path_mtu(question: &Question<'_>) -> anyhow::Result<()> {
    if question.v6 && question.path.is_outward() {
        ping::once(&question.from.netns, question.to.address, Ping { data: 20_000, ..Ping::default() })?;
    }
    Ok(())
}

fn stream(question: &Question<'_>) -> anyhow::Result<u64> {
    let bytes = question.plan.stream;
    let report = tcp::stream(&question.from, &question.to, bytes, bytes / 4)?;
    let expected = question.path.visible_source(question.lab, question.v6)?;
    ensure!(report.peer.ip() == expected, "the server saw {}, not {expected}", report.peer.ip());
    Ok(report.bytes)
}

/// Masquerade may change ports; everything else must not.
fn fidelity(path: Path) -> Fidelity {
    if path == Path::PodToOutside { Fidelity::Ports } else { Fidelity::Exact }
}

/// Addresses of the routers on the path, and the server's last.
fn expected_hops(question: &Question<'_>) -> anyhow::Result<Vec<IpAddr>> {
    let routers = question.path.routers().iter();
    let mut hops: Vec<IpAddr> = routers
        .map(|name| question.lab.must_host(name, question.v6).map(|host| host.address))
        .collect::<anyhow::Result<_>>()?;
    hops.push(question.to.address);
    Ok(hops)
}

fn first_hop(question: &Question<'_>) -> anyhow::Result<u64> {
    let hops = expected_hops(question)?;
    let expected = match hops.as_slice() {
        [only] => Answer::Reply { from: *only },
        [first, ..] => Answer::TimeExceeded { from: *first },
        [] => bail!("no hops"),
    };
    let ping = Ping { hops: Some(1), ..Ping::default() };
    let answer = ping::once(&question.from.netns, question.to.address, ping)?;
    ensure!(answer == expected, "{answer:?}, not {expected:?}");
    Ok(56)
}

fn traced(question: &Question<'_>) -> anyhow::Result<u64> {
    let expected = expected_hops(question)?;
    let hops = trace::route(&question.from, &question.to)?;
    ensure!(hops == expected, "{hops:?}, not {expected:?}");
    Ok(56 * hops.len() as u64)
}

/// Sends packets of [`BIG_MTU`] bytes with DF: the node answers with the path's MTU until a packet arrives, or until
/// the client's kernel knows the MTU.
fn too_big(question: &Question<'_>) -> anyhow::Result<u64> {
    let Some(big) = question.big.filter(|_| question.path.is_from_pod()) else {
        let (data, mtu) = (BIG_MTU as usize - headers(question), question.path.mtu(question.lab));
        let refused = path_mtu::refusing(&question.from, &question.to, data)?;
        ensure!(refused == mtu, "the kernel refuses with MTU {refused:?}, not {mtu:?}");
        return Ok(data as u64);
    };
    let from = question.lab.must_host("n1", question.v6)?.address;
    let mut size = BIG_MTU;
    for mtu in question.path.told(question.lab, question.v6) {
        must_come_to(question, big, size, Answer::TooBig { from, mtu })?;
        size = mtu;
    }
    must_come_to(question, big, size, Answer::Reply { from: question.to.address })?;
    Ok(u64::from(size))
}

/// One packet of `size` bytes with DF.
fn must_come_to(question: &Question<'_>, big: &TestPod, size: u32, expected: Answer) -> anyhow::Result<()> {
    let ping = Ping { data: size as usize - headers(question), dont_fragment: true, ..Ping::default() };
    let answer = ping::once(big.netns(), question.to.address, ping)?;
    ensure!(answer == expected, "of {size} bytes: {answer:?}, not {expected:?}");
    Ok(())
}

/// Bytes of the IP and ICMP or UDP headers.
const fn headers(question: &Question<'_>) -> usize {
    if question.v6 { 48 } else { 28 }
}

/// Checks that a bulk check was counted under every outcome that the path names.
pub fn is_carried(path: Path, mode: Mode, moved: &Counters) -> anyhow::Result<()> {
    for (hook, class, label) in path.carried_by(mode) {
        ensure!(
            moved.at(hook, class, label).packets > 0,
            "nothing counted under {hook} {class} {label}: {moved}"
        );
    }
    if path.is_between_pods() {
        for (hook, class, label) in mode.not_between_pods() {
            let strayed = moved.at(hook, class, label).packets;
            ensure!(strayed == 0, "{strayed} packets between pods at {hook} {class} {label}: {moved}");
        }
    }
    Ok(())
}
