//! The path MTU in the sender's own kernel.

use std::{io, net::UdpSocket};

use anyhow::{Context, bail};

use super::{
    Host,
    socket::{option, set_option},
};

/// The path MTU with which the kernel of `from` refuses a datagram of `size` bytes; `None` if it sends it.
///
/// # Errors
/// The socket fails in another way.
pub fn refusing(from: &Host, to: &Host, size: usize) -> anyhow::Result<Option<u32>> {
    from.netns.run(|| {
        let v6 = to.address.is_ipv6();
        let any = if v6 { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).context("bind")?;
        let (level, discover, mtu) = if v6 {
            set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1).context("set DF")?;
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_MTU)
        } else {
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_MTU)
        };
        // 2 is IP_PMTUDISC_DO: DF, within the path MTU.
        set_option(&socket, level, discover, 2).context("set path MTU discovery")?;
        socket.connect((to.address, 9)).context("connect")?;
        match socket.send(&vec![0; size]) {
            Ok(_) => Ok(None),
            Err(error) if is_too_big(&error) => {
                let mtu = option(&socket, level, mtu).context("read the path MTU")?;
                Ok(u32::try_from(mtu).ok())
            }
            Err(error) => bail!("send {size} bytes: {error}"),
        }
    })
}

fn is_too_big(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}
