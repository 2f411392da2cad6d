//! The templates as CloudFormation receives them.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;
use toolkit::endpoints::{Endpoint, SessionStore};

use super::references::references;

/// What `translated.py` prints.
#[derive(Deserialize)]
pub struct Translations {
    #[serde(rename = "template.yaml")]
    pub application: TranslationsOfFile,
    #[serde(rename = "database.yaml")]
    pub database: TranslationsOfFile,
}

/// All translations of one template file.
#[derive(Deserialize)]
pub struct TranslationsOfFile {
    /// The number of resources in the file.
    pub resources: usize,
    /// One for each combination of parameter values that `translated.py` lists.
    pub translations: Vec<Translation>,
}

/// A template, translated from SAM to CloudFormation, for one combination of parameter values. Parameters and conditions are replaced by their values.
#[derive(Clone, Deserialize)]
pub struct Translation {
    /// The parameters of this combination that have another value than their default.
    pub parameters: Value,
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
    /// Its environment variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Value)> {
        let variables = self.properties["Environment"]["Variables"].as_object();
        variables.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }

    /// Its metadata. `None` if no Cargo.toml describes it.
    pub fn endpoint<'e>(&self, endpoints: &'e [Endpoint]) -> Option<&'e Endpoint> {
        endpoints.iter().find(|endpoint| endpoint.name == self.name)
    }
}

impl Translation {
    /// Whether a parameter has this value.
    pub fn has(&self, parameter: &str, value: &str) -> bool {
        self.parameters[parameter] == value
    }

    /// Where sessions are.
    pub fn session_store(&self) -> SessionStore {
        if self.has("StateStore", "dynamodb") { SessionStore::DynamoDb } else { SessionStore::PostgreSql }
    }

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

/// Templates in which each pair of values occurs that two properties of a resource have at the same time in a translation. A missing property counts as a
/// value. This is enough for linters, because few of their rules depend on more than two properties of a resource. So each template has only the
/// variants of resources that bring a new pair, and everything that these refer to, directly or indirectly. The rules of this service are checked in all
/// translations.
pub fn covering_all_pairs(translations: &[Translation]) -> Vec<Value> {
    let mut properties = HashMap::<_, BTreeSet<_>>::new();
    for (name, resource) in translations.iter().flat_map(Translation::resources) {
        properties.entry(name).or_default().extend(paths(resource));
    }
    let (mut variants, mut seen) = (HashSet::new(), HashSet::new());
    let mut brings_new_pair = |name: &str, resource: &Value| {
        let before = seen.len();
        if variants.insert(format!("{name} {resource}")) {
            seen.extend(pairs(name, resource, &properties[name]));
        }
        seen.len() > before
    };
    let mut with_new_pairs = |translation: &Translation| {
        let variants = translation.resources().filter(|(name, resource)| brings_new_pair(name, resource));
        let new = variants.map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        (!new.is_empty()).then(|| with_only(translation, new))
    };
    translations.iter().filter_map(&mut with_new_pairs).collect()
}

/// The JSON pointers (RFC 6901) of a resource's attributes and properties.
fn paths(resource: &Value) -> impl Iterator<Item = String> {
    let attributes =
        resource.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != "Properties");
    let properties = resource["Properties"].as_object().into_iter().flatten();
    attributes.map(|name| format!("/{name}")).chain(properties.map(|(name, _)| format!("/Properties/{name}")))
}

/// Each pair of these properties of a resource, with their values. A property also forms a pair with itself, for resources that have only one.
fn pairs(name: &str, resource: &Value, properties: &BTreeSet<String>) -> Vec<String> {
    let value = |path: &String| format!("{path} {}", resource.pointer(path).unwrap_or(&Value::Null));
    let values = properties.iter().map(value).collect::<Vec<_>>();
    let with_later =
        values.iter().enumerate().flat_map(|(index, one)| values[index..].iter().map(move |other| (one, other)));
    with_later.map(|(one, other)| format!("{name} {one} {other}")).collect()
}

/// A template with only these resources, everything that they refer to, and the outputs that refer to nothing else.
fn with_only(translation: &Translation, mut waiting: Vec<String>) -> Value {
    let mut kept = HashSet::new();
    while let Some(name) = waiting.pop() {
        let resource = translation.resource(&name);
        if !resource.is_null() && kept.insert(name) {
            waiting.extend(references(resource));
        }
    }
    let mut template = translation.template.clone();
    if let Some(resources) = template["Resources"].as_object_mut() {
        resources.retain(|name, _| kept.contains(name));
    }
    if let Some(outputs) = template["Outputs"].as_object_mut() {
        let is_there = |name: &String| name.starts_with("AWS::") || kept.contains(name);
        outputs.retain(|_, output| references(output).iter().all(is_there));
    }
    template
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use serde_json::json;

    use super::{Translation, covering_all_pairs};

    #[test]
    fn a_variant_that_occurred_before_is_kept_only_if_a_new_one_refers_to_it() {
        let outputs = json!({ "A": { "Value": { "Ref": "A" } }, "D": { "Value": { "Ref": "D" } } });
        let template = |a: &str| {
            let resources = json!({
                "A": { "Type": a, "Properties": { "Of": { "Ref": "B" } } },
                "B": { "Type": "B", "DependsOn": "C" },
                "C": { "Type": "C", "Properties": { "Region": { "Ref": "AWS::Region" } } },
                "D": { "Type": "D", "Properties": { "Of": { "Ref": "A" } } },
            });
            Translation { parameters: json!({}), template: json!({ "Resources": resources, "Outputs": outputs }) }
        };
        let translations = [template("A"), template("A"), template("Another A")];
        let covering = covering_all_pairs(&translations);
        assert_eq!(covering.len(), 2);
        assert_eq!(covering[0], translations[0].template);
        let mut rest = translations[2].template.clone();
        for section in ["Resources", "Outputs"] {
            rest[section].as_object_mut().expect("a section").remove("D");
        }
        assert_eq!(covering[1], rest);
    }

    #[test]
    fn each_pair_of_values_of_two_properties_occurs() {
        // The first value of each property is that it is missing.
        let values = [None, Some(1)];
        let all = values.iter().flat_map(|a| values.iter().flat_map(move |b| values.map(|c| [*a, *b, c])));
        let translations = all.rev().map(|values| {
            let properties = ["A", "B", "C"].into_iter().zip(values).filter(|(_, value)| value.is_some());
            let resources = json!({ "A": { "Type": "A", "Properties": properties.collect::<BTreeMap<_, _>>() } });
            Translation { parameters: json!({}), template: json!({ "Resources": resources }) }
        });
        let translations = translations.collect::<Vec<_>>();
        let covering = covering_all_pairs(&translations);
        let properties = covering.iter().map(|template| &template["Resources"]["A"]["Properties"]);
        for pair in [["A", "B"], ["A", "C"], ["B", "C"]] {
            let found = properties.clone().map(|properties| pair.map(|name| properties[name].as_i64()));
            assert_eq!(found.collect::<HashSet<_>>().len(), 4, "{pair:?}");
        }
        assert!(covering.len() < translations.len());
    }
}
