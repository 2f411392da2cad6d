//! A function with a missing or malformed environment variable stops at start and logs the variable's name.

use std::process::Command;

/// Starts a function's binary with these variables, which must make it fail, and returns its log.
fn start(function: &str, variables: &[(&str, &str)]) -> String {
    let output = Command::new(tests::binary(function))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .env("AWS_LAMBDA_FUNCTION_NAME", function)
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "the log goes to standard output");
    String::from_utf8(output.stdout).unwrap()
}

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://u:canary-password@127.0.0.1:5432/d");
const SECRET: (&str, &str) = ("JWT_SECRET_KEY", "canary-secret-0123456789abcdef0123456789");
const FROM: (&str, &str) = ("MAIL_FROM", "no-reply@example.com");

// Requirement 10.
#[test]
fn a_missing_variable_is_named() {
    for function in ["signup", "signin", "refresh", "logout", "dashboard", "forgot-password", "reset-password"] {
        assert!(start(function, &[SECRET, FROM]).contains("DATABASE_URL is not set"), "{function}");
    }
    for function in ["signin", "refresh", "logout", "dashboard"] {
        assert!(start(function, &[DATABASE]).contains("JWT_SECRET_KEY is not set"), "{function}");
        assert!(
            start(function, &[DATABASE, ("JWT_SECRET_KEY", "")]).contains("JWT_SECRET_KEY is not set"),
            "{function}"
        );
    }
    for function in ["forgot-password", "reset-password"] {
        assert!(start(function, &[DATABASE]).contains("MAIL_FROM is not set"), "{function}");
    }
}

// Requirement 45.
#[test]
fn a_failed_start_is_logged_as_one_json_line() {
    for function in ["signin", "forgot-password", "jwks", "migrate"] {
        let wrong = [("DATABASE_URL", "canary"), ("JWT_PRIVATE_KEY", "canary")];
        let log = start(function, &[&[("AWS_LAMBDA_LOG_FORMAT", "JSON"), SECRET, FROM], &wrong[..]].concat());
        let line: serde_json::Value = serde_json::from_str(&log).unwrap_or_else(|_| panic!("no JSON: {log}"));
        assert_eq!((&line["level"], &line["span"]["function"]), (&"ERROR".into(), &function.into()), "{line}");
        assert!(line["problem"].as_str().unwrap().contains("is malformed"), "{line}");
    }
}

#[test]
fn a_malformed_variable_is_named_and_its_value_is_not() {
    for (function, name, value) in [
        ("signin", "JWT_SECRET_KEY", "canary-too-short"),
        ("signin", "DATABASE_URL", "canary://u:p@h/d"),
        ("signin", "DATABASE_TLS", "canary"),
        ("signin", "DATABASE_AUTH", "canary"),
        ("signin", "DATABASE_PREPARED_STATEMENTS", "canary"),
        ("migrate", "FUNCTIONS_ROLE", "canary-"),
        ("signin", "PASSWORD_REHASH", "canary"),
        ("signup", "PASSWORD_MIN_LENGTH", "7"),
        ("signup", "PASSWORD_BLOCKLIST", "canary"),
        ("refresh", "REFRESH_GRACE", "canary"),
        ("dashboard", "JWT_ACCESS_TOKEN_EXPIRES", "canary"),
        ("dashboard", "JWT_ADDITIONAL_SECRET_KEYS", "canary"),
        ("dashboard", "JWT_PRIVATE_KEY", "canary"),
        ("jwks", "JWT_PRIVATE_KEY", "canary"),
        ("jwks", "JWT_ADDITIONAL_PUBLIC_KEYS", "canary"),
        ("forgot-password", "FORGOT_PASSWORD_FLOOR_MS", "canary"),
        ("forgot-password", "RESET_PASSWORD_URL", "canary"),
    ] {
        let log = start(function, &[DATABASE, SECRET, FROM, (name, value)]);
        assert!(log.contains(&format!("{name} is malformed")), "{log}");
        assert!(!log.contains("canary"), "{log}");
    }
}
