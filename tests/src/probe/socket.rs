//! Sockets for which the standard library has no constructor, wrapped in its types.

use std::{
    io, mem,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, Protocol, RawProtocol, SocketFlags, SocketType, netdevice::name_to_index, socket_with,
};

/// Time that one read waits.
const TICK: Duration = Duration::from_millis(20);

/// A raw IP or packet socket.
pub struct Raw(UdpSocket);

impl Raw {
    /// A socket for `protocol` in the family of `v6`: sends payloads, receives payloads (IPv6) or packets (IPv4).
    pub fn ip(v6: bool, protocol: u8) -> io::Result<Self> {
        let protocol = RawProtocol::new(protocol.into()).map(Protocol::from_raw);
        open(if v6 { AddressFamily::INET6 } else { AddressFamily::INET }, protocol)
    }

    /// A socket that sends whole packets, headers included.
    pub fn whole_packets(v6: bool) -> io::Result<Self> {
        Self::ip(v6, 255)
    }

    /// A socket for whole frames on the interface `name`; it hears only what arrives.
    pub fn frames(name: &str) -> io::Result<Self> {
        const ALL: u16 = 3;
        let socket =
            open(AddressFamily::PACKET, RawProtocol::new(ALL.to_be().into()).map(Protocol::from_raw))?;
        // SAFETY: sockaddr_ll is plain old data; all zero is a valid value.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ALL.to_be();
        address.sll_ifindex = name_to_index(&socket.0, name)?.cast_signed();
        // SAFETY: the pointer and the length describe `address`, which outlives the call.
        let result = unsafe {
            libc::bind(
                socket.0.as_raw_fd(),
                (&raw const address).cast(),
                mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        set_option(&socket.0, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        Ok(socket)
    }

    /// Sends from, and receives at, `address` alone.
    pub fn bind(self, address: IpAddr) -> io::Result<Self> {
        rustix::net::bind(&self.0, &SocketAddr::new(address, 0))?;
        Ok(self)
    }

    /// Sends to `to`.
    pub fn send_to(&self, bytes: &[u8], to: IpAddr) -> io::Result<()> {
        self.0.send_to(bytes, SocketAddr::new(to, 0)).map(|_| ())
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).map(|_| ())
    }

    /// The next packet until `end`, and its sender.
    pub fn receive<'a>(&self, buffer: &'a mut [u8], end: Instant) -> io::Result<Option<(&'a [u8], IpAddr)>> {
        loop {
            match self.0.recv_from(buffer) {
                Ok((length, from)) => return Ok(Some((&buffer[..length], from.ip()))),
                Err(error) => let_pass(error)?,
            }
            if Instant::now() >= end {
                return Ok(None);
            }
        }
    }

    /// The next frame until `end`.
    pub fn receive_frame<'a>(&self, buffer: &'a mut [u8], end: Instant) -> io::Result<Option<&'a [u8]>> {
        loop {
            match self.0.recv(buffer) {
                Ok(length) => return Ok(Some(&buffer[..length])),
                Err(error) => let_pass(error)?,
            }
            if Instant::now() >= end {
                return Ok(None);
            }
        }
    }
}

/// Accepts a read that timed out, and an error that an ICMP message left on the socket.
fn let_pass(error: io::Error) -> io::Result<()> {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::WouldBlock
        | Kind::TimedOut
        | Kind::Interrupted
        | Kind::ConnectionRefused
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable => Ok(()),
        _ if matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EPROTO | libc::ENOPROTOOPT)) => {
            Ok(())
        }
        _ => Err(error),
    }
}

fn open(family: AddressFamily, protocol: Option<Protocol>) -> io::Result<Raw> {
    let fd: OwnedFd = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    let socket = UdpSocket::from(fd);
    socket.set_read_timeout(Some(TICK))?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20)?;
    Ok(Raw(socket))
}

/// Sets an integer option of any socket.
pub fn set_option(socket: &impl AsRawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an integer option of any socket.
pub fn option(socket: &impl AsRawFd, level: i32, option: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut length = mem::size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointers describe `value` and `length`, which outlive the call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Sets or clears DF, whatever path MTU the kernel has learned: `true` sets it (probing), `false` clears it.
pub fn set_dont_fragment(socket: &impl AsRawFd, v6: bool, on: bool) -> io::Result<()> {
    // IP_PMTUDISC_PROBE is 3, IP_PMTUDISC_DONT 0, and the same for IPv6.
    let mode = if on { 3 } else { 0 };
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, on.into())
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode)
    }
}

/// Sets the TTL or hop limit.
pub fn set_hops(socket: &impl AsRawFd, v6: bool, hops: u8) -> io::Result<()> {
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, hops.into())
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_TTL, hops.into())
    }
}

impl AsRawFd for Raw {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}
