//! The numbers of the security policy in the documents equal those in the code.

use std::time::Duration;

use serde_json::json;
use shared::{domain::Rule, security::policy};
use tests::documents::{self, OPENAPI};

/// Documents that contain a duration, and the constant that defines the duration. If a document no longer contains it, delete the row.
const DURATIONS: [(&str, &str, Duration); 10] = [
    ("openapi.yaml", "ACCESS_TOKEN_LIFETIME", policy::ACCESS_TOKEN_LIFETIME),
    ("openapi.yaml", "RESET_TOKEN_LIFETIME", policy::RESET_TOKEN_LIFETIME),
    ("docs/security.md", "RESET_TOKEN_LIFETIME", policy::RESET_TOKEN_LIFETIME),
    ("docs/deploying.md", "SESSION_LIFETIME", policy::SESSION_LIFETIME),
    ("README.md", "AUTHENTICATION_AGE", policy::AUTHENTICATION_AGE),
    ("openapi.yaml", "AUTHENTICATION_AGE", policy::AUTHENTICATION_AGE),
    ("docs/glossary.md", "AUTHENTICATION_AGE", policy::AUTHENTICATION_AGE),
    ("docs/data-protection.md", "AUTHENTICATION_AGE", policy::AUTHENTICATION_AGE),
    ("docs/architecture.md", "MAIL_LONGEST_RETRY", policy::MAIL_LONGEST_RETRY),
    ("docs/architecture.md", "NOTICE_LIFETIME", policy::NOTICE_LIFETIME),
];

/// The ways to write a duration in English: "an hour", "one hour", "1 hour", "60 minutes", "3600 seconds".
fn spellings(duration: Duration) -> Vec<String> {
    const WORDS: [&str; 13] =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    let seconds = duration.as_secs();
    let mut spellings = Vec::new();
    for (unit, length) in [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400), ("week", 604_800)] {
        if !seconds.is_multiple_of(length) {
            continue;
        }
        let count = seconds / length;
        let end = if count == 1 { "" } else { "s" };
        spellings.push(format!("{count} {unit}{end}"));
        spellings.extend(
            usize::try_from(count).ok().and_then(|count| WORDS.get(count)).map(|word| format!("{word} {unit}{end}")),
        );
        if count == 1 {
            spellings.push(format!("{} {unit}", if unit == "hour" { "an" } else { "a" }));
        }
    }
    spellings
}

#[test]
fn documents_name_the_durations_of_the_policy() {
    let mut problems = Vec::new();
    for (file, constant, duration) in DURATIONS {
        let text = documents::read(file).split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let spellings = spellings(duration);
        if !spellings.iter().any(|spelling| text.contains(spelling)) {
            problems.push(format!(
                "{file}: `policy::{constant}` is {}. Write this duration where the document describes it, or delete the row from DURATIONS.",
                spellings.last().expect("a spelling")
            ));
        }
    }
    assert!(problems.is_empty(), "\n\n- {}\n", problems.join("\n- "));
}

#[test]
fn openapi_has_the_limits_of_the_policy() {
    let schemas = &OPENAPI["components"]["schemas"];
    let at_most = |schema: &str| format!("at most {} characters", schemas[schema]["maxLength"]);
    assert!(Rule::NameTooLong.to_string().ends_with(&at_most("Name")), "{}", at_most("Name"));
    assert!(Rule::EmailTooLong.to_string().ends_with(&at_most("Email")), "{}", at_most("Email"));
    assert!(
        Rule::PasswordTooLong { max_length: policy::PASSWORD_MAX_LENGTH }
            .to_string()
            .ends_with(&at_most("NewPassword")),
        "{}",
        at_most("NewPassword")
    );
    assert_eq!(schemas["NewPassword"]["maxLength"], json!(policy::PASSWORD_MAX_LENGTH));
    assert_eq!(schemas["NewPassword"]["minLength"], json!(policy::PASSWORD_MIN_LENGTH_LOWEST));
    let cached = format!("public, max-age={}", policy::PUBLIC_KEYS_CACHED.as_secs());
    assert_eq!(OPENAPI["components"]["headers"]["Cacheable"]["schema"]["example"], cached);
    for path in ["/api/signin", "/api/refresh"] {
        let answer = &OPENAPI["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["example"];
        assert_eq!(answer["expires_in"], policy::ACCESS_TOKEN_LIFETIME.as_secs(), "{path}");
    }
}

#[test]
fn documents_name_the_limits_of_the_policy() {
    let numbers = [
        ("openapi.yaml", format!("{} KiB", policy::BODY_MAX_BYTES / 1024)),
        ("openapi.yaml", format!("{} bytes", policy::PASSWORD_MAX_TRIED_BYTES)),
        ("openapi.yaml", format!("{} by default", policy::PASSWORD_MIN_LENGTH)),
        ("README.md", format!("\"expires_in\":{}", policy::ACCESS_TOKEN_LIFETIME.as_secs())),
    ];
    let missing: Vec<_> = numbers.iter().filter(|(file, text)| !documents::read(file).contains(text)).collect();
    assert!(missing.is_empty(), "these documents do not contain these limits of `policy.rs`: {missing:#?}");
}
