//! Checks of the functions' environment variables.

use std::collections::BTreeSet;

use serde_json::Value;
use toolkit::endpoints::Endpoint;

use super::{
    rule::{Rule, Violation},
    translation::Function,
};

pub const RULE: Rule = Rule {
    says: "every function has the variables of its needs, no others, and less than 4 KB of them",
    problems: |translation, endpoints| {
        translation.functions().flat_map(|function| wrong_environment(&function, endpoints)).collect()
    },
    violations: &[
        Violation("/Resources/Signin/Properties/Environment/Variables/REFRESH_GRACE", "null"),
        Violation("/Resources/Refresh/Properties/Environment/Variables/PASSWORD_REHASH", r#""on""#),
        Violation("/Resources/Welcome/Properties/Environment", r#"{ "Variables": { "MAIL_FROM": "a@example.com" } }"#),
    ],
};

/// The limit of Lambda, in bytes.
const LIMIT: usize = 4096;

fn wrong_environment(function: &Function, endpoints: &[Endpoint]) -> Vec<String> {
    let name = function.name;
    let needed = function.endpoint(endpoints).map(Endpoint::variables).unwrap_or_default();
    let (needed, found): (BTreeSet<_>, BTreeSet<_>) =
        (needed.into_keys().collect(), function.variables().map(|(name, _)| name).collect());
    let missing = needed.difference(&found).map(|variable| format!("{name} lacks the variable {variable}"));
    let others = found.difference(&needed).map(|variable| format!("none of the needs of {name} reads {variable}"));
    let size: usize = function.variables().map(|(name, value)| name.len() + estimate(name, value)).sum();
    let too_large = (size >= LIMIT).then(|| format!("the variables of {name} have about {size} bytes"));
    missing.chain(others).chain(too_large).collect()
}

/// Estimates the size of a variable's value in bytes, after CloudFormation has replaced references by values.
fn estimate(name: &str, value: &Value) -> usize {
    const REFERENCE: usize = 80;
    match (name, value.as_str().or(value["Fn::Sub"].as_str())) {
        (_, Some("")) => 0,
        // PEM texts of an RSA key of 2048 bits, and of two public keys of that size.
        ("JWT_PRIVATE_KEY", _) => 1800,
        ("JWT_ADDITIONAL_PUBLIC_KEYS", _) => 2 * 460,
        ("JWT_SECRET_KEY" | "JWT_ADDITIONAL_SECRET_KEYS", _) => 64,
        ("DATA_SECRET_KEY" | "DATA_ADDITIONAL_SECRET_KEYS", _) => 43,
        // Five origins.
        ("PASSKEY_ORIGINS", _) => 5 * 60,
        (_, Some(text)) => text.len() + REFERENCE * (text.matches("${").count() + text.matches("{{resolve:").count()),
        (_, None) => REFERENCE,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::estimate;

    #[test]
    fn a_reference_counts_as_many_bytes_as_its_value() {
        assert_eq!(estimate("JWT_PRIVATE_KEY", &json!("")), 0);
        assert_eq!(estimate("JWT_PRIVATE_KEY", &json!("{{resolve:secretsmanager:key}}")), 1800);
        assert!(estimate("DATABASE_URL", &json!({ "Fn::Sub": "postgres://${Postgres.Endpoint.Address}" })) > 100);
    }
}
