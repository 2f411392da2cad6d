//! Checks of the database's protection.

use serde_json::{Value, json};

use super::{
    rule::{Rule, Violation},
    translation::Translation,
};

pub const RULE: Rule = Rule {
    says: "the database is encrypted, private, backed up and outlives its stack, and RDS bills no extended support",
    problems: |translation, _| unprotected(translation),
    violations: &[
        Violation("/Resources/Postgres", "null"),
        Violation("/Resources/Postgres/DeletionPolicy", r#""Delete""#),
        Violation("/Resources/Postgres/Properties/StorageEncrypted", "null"),
        Violation("/Resources/Postgres/Properties/PubliclyAccessible", "true"),
        Violation("/Resources/Postgres/Properties/EngineVersion", r#""14""#),
        Violation("/Resources/PostgresSettings/Properties/Parameters/rds.force_ssl", r#""0""#),
    ],
};

fn unprotected(translation: &Translation) -> Vec<String> {
    let version = translation.resource("Postgres")["Properties"]["EngineVersion"].as_str().unwrap_or_default();
    let owner = "{{resolve:secretsmanager:${PostgresOwner}:SecretString:password}}";
    let wanted: [(&str, Value); 16] = [
        ("Postgres/DeletionPolicy", json!("Snapshot")),
        ("Postgres/UpdateReplacePolicy", json!("Snapshot")),
        ("Postgres/Properties/StorageEncrypted", json!(true)),
        ("Postgres/Properties/DeletionProtection", json!(true)),
        ("Postgres/Properties/PubliclyAccessible", json!(false)),
        ("Postgres/Properties/EnableIAMDatabaseAuthentication", json!(true)),
        ("Postgres/Properties/EngineLifecycleSupport", json!("open-source-rds-extended-support-disabled")),
        ("Postgres/Properties/BackupRetentionPeriod", json!(14)),
        ("Postgres/Properties/MasterUserPassword", json!({ "Fn::Sub": owner })),
        ("Postgres/Properties/DBParameterGroupName", json!({ "Ref": "PostgresSettings" })),
        // The secret is needed to log in to a database that is restored from a snapshot. After a failed creation, there is no such database.
        ("PostgresOwner/DeletionPolicy", json!("RetainExceptOnCreate")),
        ("PostgresOwner/UpdateReplacePolicy", json!("Retain")),
        ("PostgresSettings/Properties/Family", json!(format!("postgres{version}"))),
        ("PostgresSettings/Properties/Parameters/rds.force_ssl", json!("1")),
        ("PostgresSettings/Properties/Parameters/log_parameter_max_length", json!("0")),
        ("PostgresSettings/Properties/Parameters/log_error_verbosity", json!("terse")),
    ];
    let found = |place: &str| translation.template.pointer(&format!("/Resources/{place}"));
    let wrong = wanted.iter().filter(|(place, value)| found(place) != Some(value));
    wrong.map(|(place, value)| format!("{place} should be {value}")).collect()
}
