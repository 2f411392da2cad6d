//! The template as CloudFormation receives it.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

/// The template as CloudFormation receives it for one combination of values of the conditional parameters. Parameters and
/// conditions are replaced by their values.
#[derive(Deserialize)]
pub struct Translation {
    pub switches: Value,
    pub template: Value,
}

/// A Lambda function.
pub struct Function<'a> {
    /// Its logical id.
    pub id: &'a str,
    /// Its name without the name of the stack.
    pub name: &'a str,
    pub properties: &'a Value,
}

impl Function<'_> {
    /// The value of an environment variable. Null if the variable is not set.
    pub fn variable(&self, name: &str) -> &Value {
        &self.properties["Environment"]["Variables"][name]
    }

    /// Whether an environment variable is set and not empty.
    pub fn has(&self, variable: &str) -> bool {
        !matches!(self.variable(variable).as_str(), Some("")) && !self.variable(variable).is_null()
    }
}

impl Translation {
    /// All resources, with their logical ids.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.template["Resources"].as_object().into_iter().flatten().map(|(name, resource)| (name.as_str(), resource))
    }

    /// The resource with this logical id. Null if there is none.
    pub fn resource(&self, name: &str) -> &Value {
        &self.template["Resources"][name]
    }

    /// The logical ids and properties of the resources of a type.
    pub fn of_type(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.resources()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id, &resource["Properties"]))
    }

    /// All Lambda functions.
    pub fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        self.of_type("AWS::Lambda::Function").map(|(id, properties)| {
            let name = properties["FunctionName"]["Fn::Sub"].as_str().unwrap_or_default();
            Function { id, name: name.strip_prefix("${AWS::StackName}-").unwrap_or(id), properties }
        })
    }
}

/// Selects translations so that each variant of each resource occurs in at least one of them. This is enough for linters, because
/// they check one resource at a time. References between resources are checked in all translations.
pub fn covering_all_variants(translations: &[Translation]) -> Vec<&Translation> {
    let mut seen = HashSet::new();
    let mut has_new_variant = |translation: &&Translation| {
        let variants = translation.resources().map(|(name, resource)| format!("{name} {resource}"));
        variants.fold(false, |new, variant| seen.insert(variant) | new)
    };
    translations.iter().filter(|translation| has_new_variant(translation)).collect()
}

/// The items of a list. A single value counts as a list with one item, as in CloudFormation.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    let (items, one) = match value {
        Value::Array(items) => (items.as_slice(), None),
        Value::Null => (&[][..], None),
        one => (&[][..], Some(one)),
    };
    items.iter().chain(one)
}
