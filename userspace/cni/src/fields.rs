//! A JSON object that is read field by field, so that every error names its field.

use std::{fmt::Display, str::FromStr};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;

/// An object of the configuration, with its path.
pub(crate) struct Fields {
    path: String,
    map: Map<String, Value>,
    ignore_case: bool,
}

impl Fields {
    /// The outermost object.
    pub(crate) fn root(map: Map<String, Value>) -> Self {
        Self { path: String::new(), map, ignore_case: false }
    }

    /// The same object, with keys that match in any case, as in Go's decoder.
    pub(crate) fn ignoring_case(self) -> Self {
        Self { ignore_case: true, ..self }
    }

    /// The path of `key` from the outermost object.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The error `why` about `key`.
    pub(crate) fn error(&self, key: &str, why: impl Display) -> Error {
        Error::conf(format!("{}: {why}", self.path_of(key)))
    }

    /// The value at `key`, taken out; null counts as absent.
    pub(crate) fn value(&mut self, key: &str) -> Option<Value> {
        let exact = self.map.remove(key);
        let found = if exact.is_none() && self.ignore_case { self.take_any_case(key) } else { exact };
        found.filter(|value| !value.is_null())
    }

    /// The value at `key`, left where it is.
    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// Returns true if `key` holds anything but null.
    pub(crate) fn value_is_set(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    fn take_any_case(&mut self, key: &str) -> Option<Value> {
        let spelled = self.map.keys().find(|known| known.eq_ignore_ascii_case(key))?.clone();
        self.map.remove(&spelled)
    }

    /// The value at `key` in its JSON type.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        serde_json::from_value(value).map(Some).map_err(|why| self.error(key, why))
    }

    /// The object at `key` as a type of its own; unknown keys are ignored.
    pub(crate) fn take_object<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let Some(object) = self.object(key)? else { return Ok(None) };
        serde_json::from_value(Value::Object(object.map)).map(Some).map_err(|why| self.error(key, why))
    }

    /// The string at `key`, parsed; it must not be empty.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.take::<String>(key)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|why| self.error(key, format_args!("{text:?}: {why}")))
    }

    /// The object at `key`.
    pub(crate) fn object(&mut self, key: &str) -> Result<Option<Self>, Error> {
        let path = self.path_of(key);
        let Some(value) = self.value(key) else { return Ok(None) };
        self.object_of(path, value).map(Some)
    }

    /// The objects of the list at `key`.
    pub(crate) fn objects(&mut self, key: &str) -> Result<Vec<Self>, Error> {
        let path = self.path_of(key);
        let values = self.take::<Vec<Value>>(key)?.unwrap_or_default();
        values
            .into_iter()
            .enumerate()
            .map(|(at, value)| self.object_of(format!("{path}[{at}]"), value))
            .collect()
    }

    /// The objects of the list of lists at `key`.
    pub(crate) fn object_lists(&mut self, key: &str) -> Result<Vec<Vec<Self>>, Error> {
        let path = self.path_of(key);
        let lists = self.take::<Vec<Vec<Value>>>(key)?.unwrap_or_default();
        let object =
            |outer: usize, inner: usize, value| self.object_of(format!("{path}[{outer}][{inner}]"), value);
        let list = |(outer, values): (usize, Vec<Value>)| {
            values.into_iter().enumerate().map(|(inner, value)| object(outer, inner, value)).collect()
        };
        lists.into_iter().enumerate().map(list).collect()
    }

    fn object_of(&self, path: String, value: Value) -> Result<Self, Error> {
        match value {
            Value::Object(map) => Ok(Self { path, map, ignore_case: self.ignore_case }),
            other => Err(Error::conf(format!("{path}: expected an object, found {other}"))),
        }
    }

    /// Refuses the keys that were not taken.
    pub(crate) fn refuse_rest(self) -> Result<(), Error> {
        match self.map.iter().find(|(_, value)| !value.is_null()) {
            Some((key, value)) => Err(Error::new(
                crate::error::Code::UnsupportedField,
                format!("{}: unknown field with value {value}", self.path_of(key)),
            )),
            None => Ok(()),
        }
    }
}

/// The field at `key`, or the error that it is missing.
pub(crate) fn required<T>(fields: &Fields, key: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| fields.error(key, "missing"))
}
