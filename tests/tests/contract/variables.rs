//! The README's table of environment variables agrees with the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use shared::security::{Issuer, TokenSettings, policy};
use tests::documents;
use toolkit::needs::Need;

/// The code reads one variable that is not in the needs: the endpoint of all AWS services.
const OF_THE_SDK: &str = "AWS_ENDPOINT_URL";

/// Names in the code that are not settings, because Lambda or Cargo sets them.
const SET_BY_OTHERS: [&str; 4] =
    ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL", "CARGO_MANIFEST_DIR"];

/// The default of a variable. If the default is not a constant, also the code that contains it. `None` if the README describes the default in
/// words.
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
        "SIGNIN_FLOOR_MS" => in_code("0", "\"SIGNIN_FLOOR_MS\", Duration::ZERO"),
        "PASSWORD_BLOCKLIST" | "PASSWORD_REHASH" => in_code("on", "None | Some(\"on\")"),
        "JWT_ISSUER" => constant_text(Issuer::DEFAULT),
        "JWT_AUDIENCE" => constant_text(TokenSettings::DEFAULT_AUDIENCE),
        "DATABASE_TLS" => in_code("verify", "None | Some(\"verify\")"),
        "DATABASE_CA" => in_code("rds", "None | Some(\"rds\")"),
        "DATABASE_AUTH" => in_code("password", "None | Some(\"password\")"),
        _ => None,
    }
}

/// The variables of the README's table, each with the cell of its default.
fn documented() -> BTreeMap<String, String> {
    let readme = documents::read("README.md");
    let rows = documents::section(&readme, "## Configuration").lines().filter(|line| line.starts_with("| `"));
    let mut variables = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        for name in cells[0].split('`').filter(|text| is_variable(text)) {
            variables.insert(name.to_owned(), cells.last().expect("a cell").trim_matches([' ', '|']).to_owned());
        }
    }
    variables
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
    let documented = documented();
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
        let parameter = &documents::template()["Parameters"][parameter(name)]["Default"];
        let in_template = parameter.as_str().map_or_else(|| parameter.to_string(), str::to_owned);
        if !parameter.is_null() && in_template != default && !required {
            problems.push(format!(
                "template.yaml: the parameter for `{name}` has the default `{in_template}`, the code `{default}`. Write `{default}`."
            ));
        }
    }
    for name in documented.keys().filter(|name| !listed.contains_key(name.as_str()) && !name.starts_with("AWS_")) {
        problems.push(format!("README.md: no code reads `{name}`. Delete it from the table under `## Configuration`."));
    }
    assert!(problems.is_empty(), "\n\n- {}\n", problems.join("\n- "));
}

/// The parameter of the template that sets a variable: `PasswordMinLength` for `PASSWORD_MIN_LENGTH`.
fn parameter(variable: &str) -> String {
    variable.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect()
}
