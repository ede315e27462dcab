use std::{fmt, net::IpAddr};

use super::ApiError;
use crate::access::IN_CLUSTER_NAME;

/// The default port of an API server.
const PORT: u16 = 6443;
/// The port of a URL that names none.
const URL_PORT: u16 = 443;

/// A server, and the name that its certificate must have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name in the certificate.
    pub name: String,
}

impl Address {
    /// A server of the own cluster: `host`, `host:port`, `[v6]:port`, a bare IPv6 address or a URL.
    ///
    /// # Errors
    /// [`ApiError::NotAnAddress`].
    pub fn in_cluster(text: &str) -> Result<Self, ApiError> {
        let (host, port) = parts(text)?;
        Ok(Self { host, port, name: IN_CLUSTER_NAME.to_owned() })
    }

    /// A server that is known by `name`, else by its host.
    ///
    /// # Errors
    /// [`ApiError::NotAnAddress`].
    pub fn named(text: &str, name: Option<&str>) -> Result<Self, ApiError> {
        let (host, port) = parts(text)?;
        let name = name.unwrap_or(&host).to_owned();
        Ok(Self { host, port, name })
    }
}

/// `host:port`, as a request names it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn parts(text: &str) -> Result<(String, u16), ApiError> {
    let wrong = || ApiError::NotAnAddress(text.to_owned());
    let (rest, default) = match text.strip_prefix("https://") {
        Some(rest) => (rest.trim_end_matches('/'), URL_PORT),
        None => (text, PORT),
    };
    if let Ok(ip) = rest.parse::<IpAddr>() {
        return Ok((ip.to_string(), default));
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']').ok_or_else(wrong)?,
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
        None if port.is_empty() => default,
        None => return Err(wrong()),
    };
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let is_host = !host.is_empty() && (is_name || host.parse::<IpAddr>().is_ok());
    if is_host { Ok((host.to_owned(), port)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1:6443"),
            ("10.0.0.1:7443", "10.0.0.1:7443"),
            ("fd00::1", "[fd00::1]:6443"),
            ("[fd00::1]", "[fd00::1]:6443"),
            ("[fd00::1]:443", "[fd00::1]:443"),
            ("https://fd00::1", "[fd00::1]:443"),
            ("https://api.example:6443/", "api.example:6443"),
            ("https://[fd00::1]:6443", "[fd00::1]:6443"),
            ("https://api.example", "api.example:443"),
        ] {
            assert_eq!(Address::in_cluster(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in ["", ":6443", "http://10.0.0.1", "10.0.0.1:0", "10.0.0.1:x", "[fd00::1", "a b", "h:1:2"] {
            let error = Address::in_cluster(text).unwrap_err();
            assert_eq!(error, ApiError::NotAnAddress(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_certificate_is_the_clusters_own_or_the_hosts() {
        assert_eq!(Address::in_cluster("10.0.0.1").unwrap().name, "kubernetes.default.svc");
        assert_eq!(Address::named("https://api.example", None).unwrap().name, "api.example");
        assert_eq!(Address::named("https://api.example", Some("other")).unwrap().name, "other");
    }
}
