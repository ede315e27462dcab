use std::io::Read;

use serde_json::{Value, json};

use crate::{
    error::{Code, Error},
    version::Version,
};

/// Longest configuration that is read, in bytes; real ones have a few kilobytes.
const MAX_STDIN: u64 = 16 << 20;

/// Reads everything that the runtime wrote to standard input.
///
/// # Errors
/// Code 5 if reading fails, code 6 if there is too much input.
pub fn read_stdin(stdin: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(4096);
    let read = stdin.take(MAX_STDIN + 1).read_to_end(&mut bytes);
    read.map_err(|why| Error::new(Code::Io, format!("standard input: {why}")))?;
    if bytes.len() as u64 > MAX_STDIN {
        return Err(Error::new(Code::Decode, format!("standard input: more than {MAX_STDIN} bytes")));
    }
    Ok(bytes)
}

/// The reply to VERSION: the version of the request, if it is supported, and all supported versions.
#[must_use]
pub fn version_reply(stdin: &[u8]) -> String {
    let asked: Option<Value> = serde_json::from_slice(stdin).ok();
    let asked = asked.as_ref().and_then(|value| value.get("cniVersion")?.as_str()?.parse::<Version>().ok());
    let version = asked.unwrap_or(Version::LATEST).as_str();
    json!({ "cniVersion": version, "supportedVersions": Version::ALL.map(Version::as_str) }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_probe_is_answered_in_the_version_it_came_in() {
        let all = r#""supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]"#;
        assert_eq!(version_reply(br#"{"cniVersion":"0.4.0"}"#), format!(r#"{{"cniVersion":"0.4.0",{all}}}"#));
        for odd in [&b""[..], b"{}", b"garbage", br#"{"cniVersion":"7.0.0"}"#, br#"{"cniVersion":3}"#] {
            assert_eq!(version_reply(odd), format!(r#"{{"cniVersion":"1.1.0",{all}}}"#));
        }
    }

    #[test]
    fn endless_input_is_refused() {
        assert_eq!(read_stdin(std::io::repeat(b' ')).unwrap_err().code, Code::Decode);
    }
}
