//! Results and errors of another plugin that naru-cni ran.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::{Code, Error},
    result::CniResult,
    version::{UnknownVersion, Version},
};

/// An error object; its version does not matter.
#[derive(Deserialize)]
struct Wire {
    code: u32,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    details: String,
}

/// The result of the IPAM plugin `plugin`, in the version that it names, else in `asked`.
///
/// # Errors
/// Code 6 with the plugin's name, if the output is no result or holds no address.
pub fn delegate_result(plugin: &str, asked: Version, stdout: &[u8]) -> Result<CniResult, Error> {
    let wrong = |why: String| Error::new(Code::Decode, format!("ipam {plugin}: invalid result: {why}"));
    let value: Value = serde_json::from_slice(stdout).map_err(|why| wrong(why.to_string()))?;
    let version = match value.get("cniVersion").and_then(Value::as_str) {
        None | Some("") => asked,
        Some(text) => text.parse().map_err(|why: UnknownVersion| wrong(why.to_string()))?,
    };
    let result = CniResult::parse(version, value).map_err(wrong)?;
    if result.ips.is_empty() {
        return Err(wrong("no address".to_owned()));
    }
    Ok(result)
}

/// The error of the IPAM plugin `plugin`, which failed: its own code and message if it gave any.
#[must_use]
pub fn delegate_error(plugin: &str, stdout: &[u8], status: &str) -> Error {
    match serde_json::from_slice::<Wire>(stdout) {
        Ok(wire) => Error::new(Code::of_delegate(wire.code), format!("ipam {plugin}: {}", wire.msg.trim()))
            .with_details(wire.details),
        Err(_) => {
            let said = String::from_utf8_lossy(stdout.get(..stdout.len().min(256)).unwrap_or_default());
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            Error::new(Code::Io, format!("ipam {plugin}: {status} without an error object"))
                .with_details(said)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_any_version_is_read_in_its_own_shape() {
        for (version, ips) in [
            ("0.2.0", r#""ip4":{"ip":"10.0.0.5/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0"}]}"#),
            ("0.3.1", r#""ips":[{"version":"4","address":"10.0.0.5/24","gateway":"10.0.0.1"}]"#),
            ("1.1.0", r#""ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"}]"#),
        ] {
            let text = format!(r#"{{"cniVersion":"{version}",{ips}}}"#);
            let result = delegate_result("x", Version::V1_0_0, text.as_bytes()).unwrap();
            assert_eq!(result.ips[0].address, "10.0.0.5/24".parse().unwrap(), "{version}");
        }
        let silent = br#"{"ip4":{"ip":"10.0.0.5/24"}}"#;
        assert_eq!(delegate_result("x", Version::V0_1_0, silent).unwrap().ips.len(), 1);
    }

    #[test]
    fn what_is_no_result_is_told_with_the_plugins_name() {
        for stdout in [&b""[..], b"{}", b"[]", br#"{"cniVersion":"9.0.0"}"#, br#"{"cniVersion":"1.0.0"}"#] {
            let error = delegate_result("host-local", Version::V1_0_0, stdout).unwrap_err();
            assert_eq!(error.code, Code::Decode);
            assert!(error.msg.starts_with("ipam host-local: invalid result: "), "{}", error.msg);
        }
    }

    #[test]
    fn an_error_keeps_its_code_and_details() {
        let stdout = br#"{"cniVersion":"1.0.0","code":123,"msg":"no lease","details":"server silent"}"#;
        let error = delegate_error("dhcp", stdout, "exit status: 1");
        assert_eq!(
            error.to_json(Some(Version::V0_4_0)),
            r#"{"cniVersion":"0.4.0","code":123,"msg":"ipam dhcp: no lease","details":"server silent"}"#
        );
        assert_eq!(delegate_error("dhcp", br#"{"code":11}"#, "").code, Code::TryAgainLater);
    }

    #[test]
    fn a_plugin_that_dies_without_a_word_is_an_io_error() {
        let error = delegate_error("dhcp", b"panic:\n oops", "signal: 9 (SIGKILL)");
        assert_eq!((error.code, error.details.as_str()), (Code::Io, "panic: oops"));
        assert_eq!(error.msg, "ipam dhcp: signal: 9 (SIGKILL) without an error object");
    }
}
