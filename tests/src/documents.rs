//! The files that describe the API, read as data: the Cargo.toml of each function, `template.yaml` and `openapi.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::LazyLock,
    time::Duration,
};

use jsonschema::Validator;
use serde_json::Value;
pub use toolkit::route::Route;
use toolkit::{endpoints::Endpoint, template::Template};

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// A file of the project as text.
#[must_use]
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|problem| panic!("{path}: {problem}"))
}

/// The part of a Markdown page from a heading of the second level to the next one.
///
/// # Panics
/// If there is no such heading.
#[must_use]
pub fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no `{heading}`"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The description of each function in its Cargo.toml.
///
/// # Panics
/// If one of these files is wrong. The message names the file and what to change.
#[must_use]
pub fn endpoints() -> &'static [Endpoint] {
    &ENDPOINTS
}

static ENDPOINTS: LazyLock<Vec<Endpoint>> =
    LazyLock::new(|| toolkit::endpoints::endpoints(&root()).unwrap_or_else(|problem| panic!("{problem:#}")));

/// The routes of the API.
#[must_use]
pub fn routes() -> BTreeSet<Route> {
    endpoints().iter().flat_map(|endpoint| endpoint.routes.clone()).collect()
}

/// The routes whose functions API Gateway calls without asking the authorizer.
#[must_use]
pub fn routes_without_authorizer() -> BTreeSet<Route> {
    routes().into_iter().filter(|route| route.authorizer.is_none()).collect()
}

/// `template.yaml` as [`cloudformation`] reads it.
#[must_use]
pub fn template() -> &'static Value {
    &TEMPLATE
}

static TEMPLATE: LazyLock<Value> = LazyLock::new(|| cloudformation("template.yaml"));

/// A CloudFormation template of the project. Its short tags are ignored: `!Ref X` is read as `X`.
///
/// # Panics
/// If the file is not YAML.
#[must_use]
pub fn cloudformation(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|problem| panic!("{path} is not YAML: {problem}"))
}

/// The functions of the template: the name of each function's folder, and its properties.
#[must_use]
pub fn functions() -> Vec<(String, Value)> {
    let resources = template()["Resources"].as_object().expect("resources").values();
    let functions = resources.filter(|resource| resource["Type"] == "AWS::Serverless::Function");
    let named = functions.map(|function| {
        let properties = function["Properties"].clone();
        let name = properties["CodeUri"].as_str().and_then(|uri| uri.strip_prefix("functions/")?.strip_suffix('/'));
        (name.expect("a function's code is in functions/<name>/").to_owned(), properties)
    });
    named.collect()
}

/// `template.yaml`, as the local gateway reads it.
pub(crate) fn sam_template() -> &'static Template {
    static TEMPLATE: LazyLock<Template> = LazyLock::new(|| Template::read(&root()).expect("template.yaml can be read"));
    &TEMPLATE
}

/// How long the template lets a function run.
#[must_use]
pub fn timeout(function: &str) -> Duration {
    sam_template().timeout(function).expect("a number of seconds")
}

/// `openapi.yaml`, with its references to examples resolved.
pub static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
    let document: Value = serde_saphyr::from_str(&read("openapi.yaml")).expect("openapi.yaml is YAML");
    resolved(&document, &document)
});

/// The document with every local `$ref` replaced by what it points to. (No schema of the document refers to itself.)
fn resolved(node: &Value, document: &Value) -> Value {
    match node {
        Value::Object(fields) => match fields.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let target = document.pointer(reference.trim_start_matches('#'));
                resolved(target.unwrap_or_else(|| panic!("openapi.yaml has no {reference}")), document)
            }
            None => fields.iter().map(|(name, value)| (name.clone(), resolved(value, document))).collect(),
        },
        Value::Array(items) => items.iter().map(|item| resolved(item, document)).collect(),
        other => other.clone(),
    }
}

/// An answer that openapi.yaml documents.
#[derive(Debug)]
pub struct DocumentedAnswer {
    /// The schema of its body, by media type.
    pub bodies: BTreeMap<String, Validator>,
    /// The schemas of the headers that it must have.
    pub headers: BTreeMap<String, Validator>,
    /// The JSON bodies given as examples.
    pub examples: Vec<Value>,
}

/// The answer that openapi.yaml documents for this route and this status. `None` if it documents none.
#[must_use]
pub fn documented_answer(route: &Route, status: u16) -> Option<&'static DocumentedAnswer> {
    ANSWERS.get(&(route.method.clone(), route.path.clone(), status))
}

static ANSWERS: LazyLock<BTreeMap<(String, String, u16), DocumentedAnswer>> = LazyLock::new(|| {
    let operations = OPENAPI["paths"].as_object().expect("paths").iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().expect("operations").iter();
        operations.map(move |(method, operation)| (method.to_uppercase(), path, operation))
    });
    let answers = operations.flat_map(|(method, path, operation)| {
        let responses = operation["responses"].as_object().into_iter().flatten();
        responses.filter_map(move |(status, response)| {
            Some(((method.clone(), path.clone(), status.parse().ok()?), answer(response)))
        })
    });
    answers.collect()
});

fn answer(response: &Value) -> DocumentedAnswer {
    let fields = |field: &str| response[field].as_object().into_iter().flatten();
    let required = fields("headers").filter(|(_, header)| header["required"] == true);
    DocumentedAnswer {
        bodies: fields("content").map(|(media_type, body)| (media_type.clone(), validator(&body["schema"]))).collect(),
        headers: required.map(|(name, header)| (name.to_lowercase(), validator(&header["schema"]))).collect(),
        examples: examples(&response["content"]["application/json"]),
    }
}

/// The examples of a media type, whether it has one or several.
#[must_use]
pub fn examples(media_type: &Value) -> Vec<Value> {
    let named = media_type["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
    named.chain(media_type.get("example")).cloned().collect()
}

/// A validator for a schema of `openapi.yaml`. Its schemas are those of JSON Schema 2020-12.
///
/// # Panics
/// If the schema is not valid.
#[must_use]
pub fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).expect("a JSON schema")
}
