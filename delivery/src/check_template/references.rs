//! Checks of references between resources.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    rule::{Rule, Violation},
    translation::Translation,
};

pub const RULE: Rule = Rule {
    says: "every resource that is referred to exists",
    problems: |translation, _| missing_resources(translation),
    violations: &[
        Violation("/Resources/Alarms", "null"),
        Violation("/Outputs/Another", r#"{ "Value": { "Ref": "Another" } }"#),
    ],
};

/// Finds references to resources that do not exist.
fn missing_resources(translation: &Translation) -> Vec<String> {
    let existing: HashSet<&str> = translation.resources().map(|(name, _)| name).collect();
    let named = translation.resources().flat_map(|(name, resource)| {
        references(resource).into_iter().map(move |reference| (name.to_owned(), reference))
    });
    let outputs =
        references(&translation.template["Outputs"]).into_iter().map(|reference| ("an output".into(), reference));
    let missing = named.chain(outputs).filter(|(_, to)| !to.starts_with("AWS::") && !existing.contains(to.as_str()));
    missing.map(|(from, to)| format!("{from} refers to {to}, which does not exist")).collect()
}

/// Finds the logical ids to which a part of a template refers.
pub fn references(node: &Value) -> Vec<String> {
    match node {
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(fields) => match fields.iter().next() {
            Some((name, Value::String(to))) if name == "Ref" => vec![to.clone()],
            Some((name, Value::Array(to))) if name == "Fn::GetAtt" => to.first().and_then(text).into_iter().collect(),
            Some((name, Value::String(to))) if name == "Fn::Sub" => placeholders(to).map(str::to_owned).collect(),
            Some((name, Value::Array(to))) if name == "Fn::Sub" => {
                let given = to.get(1).and_then(Value::as_object);
                let text = to.first().and_then(Value::as_str).unwrap_or_default();
                let ids = placeholders(text).filter(|name| given.is_none_or(|given| !given.contains_key(*name)));
                ids.map(str::to_owned).chain(given.into_iter().flat_map(Map::values).flat_map(references)).collect()
            }
            _ => {
                let dependencies = fields.get("DependsOn").into_iter().flat_map(|names| match names {
                    Value::Array(names) => names.iter().filter_map(text).collect(),
                    name => text(name).into_iter().collect::<Vec<_>>(),
                });
                dependencies.chain(fields.values().flat_map(references)).collect()
            }
        },
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Finds `A` and `B` in "${A.Arn}/${B}".
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split(['}', '.']).next())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::references;

    #[test]
    fn every_form_of_a_reference_is_found() {
        let resource = json!({ "DependsOn": ["A"], "Properties": {
            "One": { "Ref": "B" },
            "Two": [{ "Fn::GetAtt": ["C", "Arn"] }],
            "Three": { "Fn::Sub": "x/${D.Arn}/${E}" },
            "Four": { "Fn::Sub": ["${Given}/${F}", { "Given": { "Ref": "G" } }] },
        } });
        let found: BTreeSet<_> = references(&resource).into_iter().collect();
        assert_eq!(found, ["A", "B", "C", "D", "E", "F", "G"].map(str::to_owned).into());
    }
}
