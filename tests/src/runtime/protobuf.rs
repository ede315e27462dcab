//! The few kinds of protobuf fields that a container runtime's interface uses, written and read without a schema.

use anyhow::{Context, bail};

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A message being written. Fields of proto3 that are left out have their default.
#[derive(Clone, Default, Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an integer, boolean or enum field.
    #[must_use]
    pub fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(value);
        self
    }

    /// Adds a text field; a repeated one is added once for each element.
    #[must_use]
    pub fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// Adds a message field.
    #[must_use]
    pub fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// The encoded message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

/// A message that was read.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Fields(Vec<(u64, Value)>);

impl Fields {
    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are not a message.
    pub fn read(mut bytes: &[u8]) -> anyhow::Result<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            match key & 7 {
                VARINT => fields.push((key >> 3, Value::Number(varint(&mut bytes)?))),
                BYTES => {
                    let length = usize::try_from(varint(&mut bytes)?)?;
                    fields.push((key >> 3, Value::Bytes(take(&mut bytes, length)?.to_vec())));
                }
                FIXED64 => drop(take(&mut bytes, 8)?),
                FIXED32 => drop(take(&mut bytes, 4)?),
                other => bail!("protobuf: field {} of wire type {other}", key >> 3),
            }
        }
        Ok(Self(fields))
    }

    /// An integer, boolean or enum field; 0 if it was left out.
    #[must_use]
    pub fn number(&self, field: u64) -> u64 {
        let numbers = self.0.iter().filter(|(number, _)| *number == field);
        numbers
            .filter_map(|(_, value)| if let Value::Number(value) = value { Some(*value) } else { None })
            .sum()
    }

    /// A text field; empty if it was left out.
    #[must_use]
    pub fn text(&self, field: u64) -> String {
        self.all_bytes(field)
            .last()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    /// A message field; empty if it was left out.
    ///
    /// # Errors
    /// The field is not a message.
    pub fn message(&self, field: u64) -> anyhow::Result<Self> {
        Ok(self.messages(field)?.pop().unwrap_or_default())
    }

    /// A repeated message field.
    ///
    /// # Errors
    /// A field is not a message.
    pub fn messages(&self, field: u64) -> anyhow::Result<Vec<Self>> {
        self.all_bytes(field).map(Self::read).collect()
    }

    fn all_bytes(&self, field: u64) -> impl Iterator<Item = &[u8]> {
        let values = self.0.iter().filter(move |(number, _)| *number == field);
        values.filter_map(
            |(_, value)| if let Value::Bytes(bytes) = value { Some(bytes.as_slice()) } else { None },
        )
    }
}

fn varint(bytes: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    bail!("protobuf: a number of more than 64 bits")
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> anyhow::Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count).context("protobuf: the message ends in a field")?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let inner = Message::new().text(1, "eth0").number(2, 300);
        let message = Message::new().message(8, &inner).message(8, &Message::new()).number(3, u64::MAX);
        let read = Fields::read(message.as_bytes()).unwrap();
        assert_eq!(read.number(3), u64::MAX);
        let inner = read.messages(8).unwrap();
        assert_eq!((inner.len(), inner[0].text(1).as_str(), inner[0].number(2)), (2, "eth0", 300));
        assert_eq!((read.number(9), read.text(9)), (0, String::new()));
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        assert_eq!(Message::new().number(1, 150).as_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::new().text(2, "testing").as_bytes(), b"\x12\x07testing");
    }

    #[test]
    fn a_message_cut_anywhere_is_refused_or_shorter() {
        let message = Message::new().number(1, 1000).text(2, "abc");
        for end in [1, 2, 4, 5, 7] {
            assert!(Fields::read(&message.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
