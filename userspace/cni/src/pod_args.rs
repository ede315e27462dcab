use std::net::IpAddr;

use crate::error::{Code, Error};

/// `CNI_ARGS`: the identity of the pod, as orchestrators pass it, and its requests.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PodArgs {
    /// `K8S_POD_NAMESPACE`, may be empty.
    pub namespace: String,
    /// `K8S_POD_NAME`, may be empty.
    pub name: String,
    /// `K8S_POD_UID`, may be empty.
    pub uid: String,
    /// `IP`: requested addresses, without prefix lengths.
    pub ips: Vec<IpAddr>,
    /// `MAC`: the requested hardware address.
    pub mac: Option<[u8; 6]>,
}

impl PodArgs {
    /// Reads `KEY=VALUE;KEY=VALUE`.
    ///
    /// # Errors
    /// A pair has no `=`, a key is unknown and `IgnoreUnknown` is not set, or an address cannot be read.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let pairs: Vec<(&str, &str)> = text
            .split(';')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').ok_or_else(|| invalid(format!("{pair:?} is not KEY=VALUE"))))
            .collect::<Result<_, _>>()?;
        let ignore_unknown = pairs.iter().any(|(key, value)| *key == "IgnoreUnknown" && is_true(value));
        let mut args = Self::default();
        for (key, value) in pairs {
            if !args.set(key, value)? && !ignore_unknown {
                return Err(invalid(format!("unknown key {key:?} and IgnoreUnknown is not set")));
            }
        }
        Ok(args)
    }

    /// Sets one pair; false when the key is unknown.
    fn set(&mut self, key: &str, value: &str) -> Result<bool, Error> {
        match key {
            "K8S_POD_NAMESPACE" => self.namespace = value.to_owned(),
            "K8S_POD_NAME" => self.name = value.to_owned(),
            "K8S_POD_UID" => self.uid = value.to_owned(),
            "IP" => self.ips = value.split(',').map(address).collect::<Result<_, _>>()?,
            "MAC" if value.is_empty() => self.mac = None,
            "MAC" => self.mac = Some(mac(value).map_err(|why| invalid(format!("MAC: {why}")))?),
            "IgnoreUnknown" | "K8S_POD_INFRA_CONTAINER_ID" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `namespace/name`, the name alone, or nothing if the caller named no pod.
    #[must_use]
    pub fn pod(&self) -> String {
        match (self.namespace.as_str(), self.name.as_str()) {
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        }
    }
}

/// Reads the address of `10.0.0.5` or `10.0.0.5/24`.
pub(crate) fn address(text: &str) -> Result<IpAddr, Error> {
    let host = text.split_once('/').map_or(text, |(host, _)| host);
    host.trim().parse().map_err(|why| invalid(format!("IP {text:?}: {why}")))
}

/// A unicast hardware address, `02:00:5e:00:00:01` with colons or dashes.
pub(crate) fn mac(text: &str) -> Result<[u8; 6], String> {
    let mut bytes = [0; 6];
    let mut parts = text.trim().split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
        let value = part.and_then(|part| u8::from_str_radix(part, 16).ok());
        *byte = value.ok_or_else(|| format!("{text:?} is not a hardware address of six bytes"))?;
    }
    match bytes {
        _ if parts.next().is_some() => Err(format!("{text:?} is not a hardware address of six bytes")),
        [0, 0, 0, 0, 0, 0] => Err(format!("{text:?} is not a unicast address")),
        [first, ..] if first & 1 == 1 => Err(format!("{text:?} is not a unicast address")),
        bytes => Ok(bytes),
    }
}

/// The values that libcni's plugins take for yes.
pub(crate) fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true")
}

fn invalid(why: String) -> Error {
    Error::new(Code::InvalidEnvironment, format!("CNI_ARGS: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_names_the_pod_in_any_order() {
        let text = "K8S_POD_UID=u-1;K8S_POD_NAME=web-0;IgnoreUnknown=1;K8S_POD_NAMESPACE=default;\
                    K8S_POD_INFRA_CONTAINER_ID=abc;SOMETHING=else";
        let args = PodArgs::parse(text).unwrap();
        assert_eq!((args.pod(), args.uid), ("default/web-0".to_owned(), "u-1".to_owned()));
    }

    #[test]
    fn podman_names_only_the_pod() {
        assert_eq!(PodArgs::parse("IgnoreUnknown=1;K8S_POD_NAME=p1").unwrap().pod(), "p1");
    }

    #[test]
    fn an_unknown_key_is_refused_unless_it_is_to_be_ignored() {
        let error = PodArgs::parse("FOO=bar").unwrap_err();
        assert_eq!(error.code, Code::InvalidEnvironment);
        assert!(error.msg.contains("\"FOO\""), "{}", error.msg);
        assert!(PodArgs::parse("FOO=bar;IgnoreUnknown=true").is_ok());
        assert!(PodArgs::parse("FOO=bar;IgnoreUnknown=0").is_err());
    }

    #[test]
    fn addresses_may_carry_a_prefix_length() {
        let args = PodArgs::parse("IP=10.0.0.5/24,fd00::5").unwrap();
        assert_eq!(args.ips, ["10.0.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
        assert!(PodArgs::parse("IP=ten").is_err());
    }

    #[test]
    fn a_pair_without_an_equals_sign_is_refused() {
        assert!(PodArgs::parse("IgnoreUnknown").is_err());
    }

    #[test]
    fn a_hardware_address_is_six_unicast_bytes() {
        assert_eq!(PodArgs::parse("MAC=02-00-5E-00-00-01").unwrap().mac, Some([2, 0, 0x5e, 0, 0, 1]));
        for bad in [
            "02:00:5e:00:00",
            "02:00:5e:00:00:01:02",
            "2:0:5e:0:0:1",
            "00:00:00:00:00:00",
            "01:00:5e:00:00:01",
            "+2:00:00:00:00:00",
            "x",
        ] {
            let error = PodArgs::parse(&format!("MAC={bad}")).unwrap_err();
            assert!(error.msg.starts_with("CNI_ARGS: MAC: "), "{}", error.msg);
        }
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(PodArgs::parse("").unwrap(), PodArgs::default());
        assert_eq!(PodArgs::parse(";").unwrap(), PodArgs::default());
    }
}
