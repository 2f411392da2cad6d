//! Checks of the size of the functions' environment variables.

use serde_json::Value;

use super::translation::{Function, Translation};

/// Finds functions whose environment variables may exceed 4 KB, which is Lambda's limit.
pub fn too_large(translation: &Translation) -> Vec<String> {
    let size = |function: &Function| -> usize {
        let variables = function.properties["Environment"]["Variables"].as_object().into_iter().flatten();
        variables.map(|(name, value)| name.len() + estimate(name, value)).sum()
    };
    let sizes = translation.functions().map(|function| (function.name, size(&function)));
    sizes.filter(|(_, size)| *size >= 4096).map(|(name, size)| format!("{name} has about {size} bytes")).collect()
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
