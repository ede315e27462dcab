use std::{fmt, io, str::FromStr};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A random unicast address of the locally administered range.
    ///
    /// # Errors
    /// The kernel's random source fails.
    pub fn random() -> io::Result<Self> {
        let mut octets = [0; 6];
        // SAFETY: the buffer is valid for the length given, and the call keeps no reference to it.
        let got = unsafe { libc::getrandom(octets.as_mut_ptr().cast(), octets.len(), 0) };
        if got == 6 { Ok(Self(octets).local()) } else { Err(io::Error::last_os_error()) }
    }

    /// Returns the unicast address of the locally administered range with the same remaining bits; for addresses
    /// derived from a hash.
    #[must_use]
    pub const fn local(self) -> Self {
        let [a, b, c, d, e, f] = self.0;
        Self([a & 0xfc | 0x02, b, c, d, e, f])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six hexadecimal octets separated by colons.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a mac address")]
pub struct InvalidMac(String);

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let octet = |part: &str| u8::from_str_radix(part, 16).ok().filter(|_| digits(part));
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        octets.and_then(|octets| octets.try_into().ok()).map(Self).ok_or_else(|| InvalidMac(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_round_trip_through_text() {
        let mac = Mac([0x02, 0xab, 0, 0x0f, 0xff, 0x10]);
        assert_eq!(mac.to_string(), "02:ab:00:0f:ff:10");
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn what_is_not_six_octets_is_refused() {
        for text in ["", "02:ab:00:0f:ff", "02:ab:00:0f:ff:1", "02:ab:00:0f:ff:100", "02:ab:00:0f:ff:+1", "x"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_random_address_is_unicast_and_locally_administered() {
        for _ in 0..64 {
            assert_eq!(Mac::random().unwrap().0[0] & 3, 2);
        }
    }
}
