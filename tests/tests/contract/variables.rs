//! The README's table of environment variables agrees with the code and with `template.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;
use shared::{
    brand::Color,
    security::{Issuer, TokenSettings, policy},
};
use tests::documents;
use toolkit::needs::Need;

/// The code reads one variable that is not in the needs: the endpoint of all AWS services.
const OF_THE_SDK: &str = "AWS_ENDPOINT_URL";

/// Names in the code that are not settings, because Lambda or Cargo sets them.
const SET_BY_OTHERS: [&str; 6] = [
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_REGION",
    "CARGO_MANIFEST_DIR",
    "OUT_DIR",
];

/// The default of a variable. If no constant contains the default, the second value is the code that contains it. `None` if the README describes
/// the default in words.
fn default(name: &str) -> Option<(String, Option<&'static str>)> {
    let constant = |number: u128| Some((number.to_string(), None));
    let constant_text = |text: &str| Some((text.to_owned(), None));
    let in_code = |text: &str, code: &'static str| Some((text.to_owned(), Some(code)));
    match name {
        "JWT_ACCESS_TOKEN_EXPIRES" => constant(policy::ACCESS_TOKEN_LIFETIME.as_secs().into()),
        "JWT_REFRESH_TOKEN_EXPIRES" => constant(policy::SESSION_LIFETIME.as_secs().into()),
        "REFRESH_GRACE" => constant(policy::REFRESH_GRACE.as_secs().into()),
        "PASSWORD_MIN_LENGTH" => constant(policy::PASSWORD_MIN_LENGTH as u128),
        "FORGOT_PASSWORD_FLOOR_MS" => constant(policy::FORGOT_PASSWORD_MINIMUM_DURATION.as_millis()),
        "BRAND_COLOR" => constant_text(&Color::DEFAULT.to_string()),
        "DEFAULT_LOCALE" => in_code("en", "Locale::English)"),
        "MAILS_PER_HOUR" => constant_text(&policy::MAILS_PER_HOUR.to_string()),
        "SIGNUP_TELLS" => in_code("on", "\"SIGNUP_TELLS\", true"),
        "EMAIL_VERIFICATION" => in_code("on", "\"EMAIL_VERIFICATION\", true"),
        "REQUIRE_VERIFIED_EMAIL" => in_code("off", "\"REQUIRE_VERIFIED_EMAIL\", false"),
        "SIGNIN_FLOOR_MS" => in_code("0", "\"SIGNIN_FLOOR_MS\", Duration::ZERO"),
        "PASSWORD_BLOCKLIST" => in_code("on", "\"PASSWORD_BLOCKLIST\", true"),
        "PASSWORD_REHASH" => in_code("on", "\"PASSWORD_REHASH\", true"),
        "JWT_ISSUER" => constant_text(Issuer::DEFAULT),
        "JWT_AUDIENCE" => constant_text(TokenSettings::DEFAULT_AUDIENCE),
        "DATABASE_TLS" => in_code("verify", "None | Some(\"verify\")"),
        "DATABASE_CA" => in_code("rds", "None | Some(\"rds\")"),
        "DATABASE_AUTH" => in_code("password", "None | Some(\"password\")"),
        _ => None,
    }
}

/// A row of the README's table.
struct Row {
    variables: Vec<String>,
    /// The parameters of `template.yaml` that decide the values.
    parameters: BTreeSet<String>,
    default: String,
}

fn rows() -> Vec<Row> {
    let readme = documents::read("README.md");
    let lines = documents::section(&readme, "## Configuration").lines().filter(|line| line.starts_with("| `"));
    let rows = lines.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &["", variables, _, parameters, default, ""] = cells.as_slice() else {
            panic!("README.md: a row of variables must have four cells: {line}")
        };
        let code = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        Row {
            variables: code(variables).into_iter().filter(|text| is_variable(text)).collect(),
            parameters: code(parameters).into_iter().collect(),
            default: default.to_owned(),
        }
    });
    rows.collect()
}

/// Whether a text looks like the name of an environment variable of more than one word.
fn is_variable(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    plain && text.contains('_') && !text.starts_with('_')
}

/// The sources of `shared` and of the functions, in one text.
fn code() -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in ["shared/src", "functions"] {
        read(&documents::root().join(folder), &mut text);
    }
    text
}

#[test]
fn the_readme_has_every_variable_that_the_code_reads_with_its_default() {
    let code = code();
    let read: BTreeSet<&str> = code.split('"').filter(|text| is_variable(text)).collect();
    let listed: BTreeMap<&str, bool> = Need::ALL
        .iter()
        .flat_map(|need| need.variables())
        .map(|variable| (variable.name, variable.required))
        .chain([(OF_THE_SDK, false)])
        .collect();
    let rows = rows();
    let documented: BTreeMap<&str, &str> =
        rows.iter().flat_map(|row| row.variables.iter().map(|name| (name.as_str(), row.default.as_str()))).collect();
    let mut problems = Vec::new();
    for name in read.iter().filter(|name| !listed.contains_key(**name) && !SET_BY_OTHERS.contains(*name)) {
        problems.push(format!("toolkit/src/needs.rs: the code reads `{name}`. Add it to the need that reads it."));
    }
    for (name, required) in &listed {
        if !read.contains(name) {
            problems.push(format!("toolkit/src/needs.rs: no code reads `{name}`. Delete it."));
        }
        let Some(cell) = documented.get(*name) else {
            problems.push(format!("README.md: the table under `## Configuration` has no row for `{name}`. Add one."));
            continue;
        };
        let default = if *required { Some(("required".to_owned(), None)) } else { default(name) };
        let Some((default, source)) = default else { continue };
        let words: Vec<&str> = cell.split([' ', '`', ',', ';', '(', ')']).collect();
        if !words.contains(&default.as_str()) {
            problems
                .push(format!("README.md: the default of `{name}` is `{cell}`. Write `{default}`, as in the code."));
        }
        if source.is_some_and(|source| !code.contains(source)) {
            problems.push(format!(
                "tests/tests/contract/variables.rs: the default `{default}` of `{name}` is no longer in the code as `{}`. Write its new default \
                 in the function `default` and in the README.",
                source.unwrap_or_default()
            ));
        }
    }
    for name in documented.keys().filter(|name| !listed.contains_key(**name) && !name.starts_with("AWS_")) {
        problems.push(format!("README.md: no code reads `{name}`. Delete it from the table under `## Configuration`."));
    }
    assert!(problems.is_empty(), "\n\n- {}\n", problems.join("\n- "));
}

/// The values that `template.yaml` gives to each variable.
fn values() -> BTreeMap<String, Vec<Value>> {
    let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (_, properties) in documents::functions() {
        for (name, value) in properties["Environment"]["Variables"].as_object().into_iter().flatten() {
            values.entry(name.clone()).or_default().push(value.clone());
        }
    }
    values
}

/// The parameters that decide a value: those that it contains, and those of its conditions.
fn parameters(value: &Value) -> BTreeSet<String> {
    let template = documents::template();
    let text = value.to_string();
    let words = text.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let parameters = words.flat_map(|word| {
        if template["Parameters"].get(word).is_some() {
            return [word.to_owned()].into();
        }
        template["Conditions"].get(word).map(parameters).unwrap_or_default()
    });
    parameters.collect()
}

#[test]
fn the_readme_has_the_parameters_that_decide_each_variable() {
    let values = values();
    let mut problems = Vec::new();
    for Row { variables, parameters: found, .. } in rows() {
        let decided = variables.iter().filter_map(|name| values.get(name)).flatten();
        let wanted: BTreeSet<String> = decided.flat_map(parameters).collect();
        if found != wanted {
            let variables = variables.join("`, `");
            problems.push(format!(
                "README.md: the parameters of `{variables}` are {found:?}. In template.yaml, {wanted:?} decide the value. Write these."
            ));
        }
    }
    assert!(problems.is_empty(), "\n\n- {}\n", problems.join("\n- "));
}

/// An empty variable counts as unset. So the code's default applies, unless the parameter has a value.
#[test]
fn the_parameters_of_optional_variables_are_empty_by_default() {
    let variables = Need::ALL.iter().flat_map(|need| need.variables()).filter(|variable| !variable.required);
    let values = values();
    let mut compared = BTreeSet::new();
    for variable in variables {
        for value in values.get(variable.name).into_iter().flatten().filter_map(Value::as_str) {
            let Some(parameter) = documents::template()["Parameters"].get(value) else { continue };
            assert_eq!(parameter["Default"], "", "template.yaml: the default of {value} must be empty, not the code's");
            compared.insert(value.to_owned());
        }
    }
    assert!(compared.len() >= 16, "{compared:?}");
}
