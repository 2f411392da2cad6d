//! The template as CloudFormation receives it.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

/// The template as CloudFormation receives it, with these values of its switches. Parameters and conditions are replaced by their values.
#[derive(Deserialize)]
pub struct Translation {
    pub switches: Value,
    pub template: Value,
}

/// A Lambda function: its logical id, its name without the name of the stack, and its properties.
pub struct Function<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub properties: &'a Value,
}

impl Function<'_> {
    /// The value of an environment variable. Null if it has none.
    pub fn variable(&self, name: &str) -> &Value {
        &self.properties["Environment"]["Variables"][name]
    }

    /// Whether an environment variable has a value that is not empty.
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

/// The translations that are left when each form of each resource has to occur in one of them. This is enough for linters, which look at
/// one resource at a time. References between resources are checked in all translations.
pub fn with_every_form(translations: &[Translation]) -> Vec<&Translation> {
    let mut seen = HashSet::new();
    let mut has_new_form = |translation: &&Translation| {
        let forms = translation.resources().map(|(name, resource)| format!("{name} {resource}"));
        forms.fold(false, |new, form| seen.insert(form) | new)
    };
    translations.iter().filter(|translation| has_new_form(translation)).collect()
}

/// The items of a list. CloudFormation also accepts a single value instead of a list with one item.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    let (items, one) = match value {
        Value::Array(items) => (items.as_slice(), None),
        Value::Null => (&[][..], None),
        one => (&[][..], Some(one)),
    };
    items.iter().chain(one)
}
