use std::io::Read;

use serde_json::{Value, json};

use crate::{
    conf::{KEPT, object},
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

/// The input of GC for another plugin: the attachments to keep stand under both keys that there are for them.
///
/// # Errors
/// Code 6, if it is no object.
pub fn gc_input(stdin: &[u8]) -> Result<Vec<u8>, Error> {
    let [key, older] = KEPT;
    let mut conf = object(stdin)?;
    let is_set = |value: &&Value| !value.is_null();
    match (conf.get(key).filter(is_set), conf.get(older).filter(is_set)) {
        (None, Some(list)) => conf.insert(key.to_owned(), list.clone()),
        (Some(list), None) => conf.insert(older.to_owned(), list.clone()),
        _ => return Ok(stdin.to_vec()),
    };
    Ok(Value::Object(conf).to_string().into_bytes())
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
    fn another_plugin_finds_the_list_of_gc_under_the_key_that_it_knows() {
        let list = |text: &[u8], key: &str| {
            let input: Value = serde_json::from_slice(&gc_input(text).unwrap()).unwrap();
            input[key].clone()
        };
        for key in KEPT {
            let text = json!({ key: [{"containerID": "a", "ifname": "eth0"}] }).to_string();
            KEPT.iter()
                .for_each(|other| assert_eq!(list(text.as_bytes(), other)[0]["containerID"], "a", "{other}"));
        }
        assert_eq!(list(b"{}", KEPT[0]), Value::Null);
    }

    #[test]
    fn endless_input_is_refused() {
        assert_eq!(read_stdin(std::io::repeat(b' ')).unwrap_err().code, Code::Decode);
    }
}
