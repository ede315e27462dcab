//! A few entries of a map, read from the output of bpftool.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr},
};

use serde_json::{Map, Value};

/// The entries of a map as lines, without those that are all zero: an array has them whether they are used or not.
pub struct Excerpt {
    /// The map's name.
    pub name: String,
    /// `KEY: FIELD=VALUE FIELD=VALUE`, fields by name, those of zero left out.
    pub entries: Vec<String>,
}

impl Excerpt {
    /// Reads the output of `bpftool -j map dump`.
    pub fn of_map(name: &str, dump: &Value) -> Self {
        let entries = dump.as_array().into_iter().flatten().filter_map(|entry| line(&entry["formatted"]));
        Self { name: name.to_owned(), entries: entries.collect() }
    }

    /// Reads the output of `naru stats --json`: the map of counters has numbers for keys, which naru names.
    pub fn of_counters(name: &str, stats: &Value) -> Self {
        let words = |entry: &Value| {
            let word = |key: &str| entry[key].as_str().unwrap_or("?").to_owned();
            let (hook, class, outcome) = (word("hook"), word("class"), word("outcome"));
            format!("{hook} {class} {outcome}: packets={} bytes={}", entry["packets"], entry["bytes"])
        };
        let entries = stats["hooks"].as_array().into_iter().flatten().map(words);
        Self { name: name.to_owned(), entries: entries.collect() }
    }
}

/// The line of an entry with named fields; `None` where it holds nothing but zeros.
fn line(entry: &Value) -> Option<String> {
    let mut fields = Vec::new();
    let processors = entry["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut prefix = String::new();
    if processors.is_empty() {
        flatten("", &entry["value"], &mut fields);
    }
    // Of what each CPU holds on its own, the first that holds something.
    for processor in processors {
        flatten("", &processor["value"], &mut fields);
        if !fields.is_empty() {
            prefix = format!(" cpu={}", processor["cpu"]);
            break;
        }
    }
    if fields.is_empty() {
        return None;
    }
    let mut line = format!("{}:{prefix}", key(&entry["key"]));
    for (name, value) in fields {
        let _ = if name.is_empty() { write!(line, " {value}") } else { write!(line, " {name}={value}") };
    }
    Some(line)
}

fn key(key: &Value) -> String {
    if let Some(simple) = scalar(key) {
        return simple;
    }
    let Some(object) = key.as_object() else { return key.to_string() };
    prefix(object).unwrap_or_else(|| {
        let mut fields = Vec::new();
        flatten("", key, &mut fields);
        let words = fields.into_iter().map(|(name, value)| format!("{name}={value}"));
        words.collect::<Vec<_>>().join(" ")
    })
}

/// `10.32.1.0/24`, of a key of a longest-prefix map: a length and the address that it holds for.
fn prefix(object: &Map<String, Value>) -> Option<String> {
    let length = object.get("prefix_len")?.as_u64()?;
    let (_, rest) = object.iter().find(|(name, _)| *name != "prefix_len")?;
    let address: IpAddr = scalar(rest)?.parse().ok()?;
    Some(format!("{address}/{}", if address.is_ipv4() { length.checked_sub(96)? } else { length }))
}

/// Adds the fields below `name` that are not zero.
fn flatten(name: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    let below = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    if is_zero(value) {
        return;
    }
    if let Some(text) = scalar(value) {
        fields.push((name.to_owned(), text));
    } else if let Some(object) = value.as_object() {
        object.iter().for_each(|(part, value)| flatten(&below(part), value, fields));
    } else if let Some(list) = value.as_array() {
        for (place, value) in list.iter().enumerate() {
            flatten(&format!("{name}[{place}]"), value, fields);
        }
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(list) => list.iter().all(is_zero),
        Value::Object(object) => object.values().all(is_zero),
        _ => false,
    }
}

/// Numbers, texts, and bytes that are an address of IP or Ethernet.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Array(list) => {
            let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let bytes: Vec<u8> = list.iter().map(byte).collect::<Option<_>>()?;
            address(&bytes)
        }
        Value::Object(object) if object.len() == 1 => scalar(object.get("octets")?),
        Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        return Some(Ipv6Addr::from(octets).to_canonical().to_string());
    }
    let octets: [u8; 6] = bytes.try_into().ok()?;
    Some(octets.map(|byte| format!("{byte:02x}")).join(":"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MAPPED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 32, 1, 17];

    #[test]
    fn addresses_and_macs_are_written_as_people_write_them_and_zeros_left_out() {
        let dump = json!([{"key": ["0x00"], "formatted": {
            "key": {"octets": MAPPED},
            "value": {"ifindex": 4, "flags": 0, "mtu": 1450, "pod_mac": [2, 0, 0, 0, 0, 10]},
        }}]);
        let excerpt = Excerpt::of_map("PODS", &dump);
        assert_eq!(excerpt.entries, ["10.32.1.17: ifindex=4 mtu=1450 pod_mac=02:00:00:00:00:0a"]);
    }

    #[test]
    fn a_length_and_an_address_are_a_prefix_of_the_address_s_family() {
        let entry = |length: u64, octets: [u8; 16]| {
            let key = json!({"prefix_len": length, "data": {"octets": octets}});
            line(&json!({"key": key, "value": {"kind": 1, "node": {"octets": MAPPED}}})).unwrap()
        };
        let six = [0xfd, 0x10, 0, 0x32, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(entry(120, MAPPED), "10.32.1.17/24: kind=1 node=10.32.1.17");
        assert_eq!(entry(112, six), "fd10:32:0:2::/112: kind=1 node=10.32.1.17");
    }

    #[test]
    fn of_a_map_with_a_value_for_each_cpu_the_first_that_holds_something_is_told() {
        let value =
            |packets: u64| json!({"rx": {"packets": packets}, "outcomes": [{"bytes": 0}, {"bytes": 7}]});
        let idle = json!({"rx": {"packets": 0}, "outcomes": [{"bytes": 0}]});
        let dump = json!([
            {"formatted": {"key": 3, "values": [{"cpu": 0, "value": idle}, {"cpu": 1, "value": idle}]}},
            {"formatted": {"key": 4, "values": [{"cpu": 0, "value": idle}, {"cpu": 1, "value": value(5)}]}},
        ]);
        let excerpt = Excerpt::of_map("POD_SLOTS", &dump);
        assert_eq!(excerpt.entries, ["4: cpu=1 outcomes[1].bytes=7 rx.packets=5"]);
    }

    #[test]
    fn counters_have_the_names_that_naru_gives_them() {
        let stats = json!({"hooks": [
            {"hook": "from_pod", "class": "verdict", "outcome": "peer", "packets": 3, "bytes": 180},
        ]});
        let excerpt = Excerpt::of_counters("STATS", &stats);
        assert_eq!(excerpt.entries, ["from_pod verdict peer: packets=3 bytes=180"]);
    }
}
