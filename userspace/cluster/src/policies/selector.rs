//! Label selectors as Kubernetes writes them.

use std::collections::BTreeMap;

use naru_core::policy::model::{Condition, Requirement, Selector};
use serde::Deserialize;

use super::or_default;

/// A selector. A field that is not known might narrow it, and is refused.
#[derive(Deserialize, Default, Debug)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SelectorObject {
    #[serde(deserialize_with = "or_default")]
    match_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default, deserialize_with = "or_default")]
    values: Vec<String>,
}

impl SelectorObject {
    /// Converts the object to a [`Selector`].
    ///
    /// # Errors
    /// An operator that is none, or that has values which it does not take, in words.
    pub fn selector(self) -> Result<Selector, String> {
        let labels = self.match_labels.into_iter().map(|(key, value)| Requirement {
            key: key.into(),
            condition: Condition::In(vec![value.into()]),
        });
        let expressions = self.match_expressions.into_iter().map(Expression::requirement);
        let all = labels.map(Ok).chain(expressions).collect::<Result<Vec<_>, _>>()?;
        Ok(Selector::new(all))
    }
}

impl Expression {
    fn requirement(self) -> Result<Requirement, String> {
        let Self { key, operator, values } = self;
        let count = values.len();
        let values = values.into_iter().map(Into::into).collect();
        let condition = match (operator.as_str(), count) {
            ("In" | "NotIn", 0) => return Err(format!("key {key}: operator {operator} needs values")),
            ("In", _) => Condition::In(values),
            ("NotIn", _) => Condition::NotIn(values),
            ("Exists", 0) => Condition::Exists,
            ("DoesNotExist", 0) => Condition::DoesNotExist,
            ("Exists" | "DoesNotExist", _) => {
                return Err(format!("key {key}: operator {operator} takes no values"));
            }
            _ => return Err(format!("key {key}: operator {operator} is not known")),
        };
        Ok(Requirement { key: key.into(), condition })
    }
}
