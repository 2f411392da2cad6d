//! Checks that the connections of each instance class fit into its memory. `docs/database.md` explains the numbers.

use super::{
    rule::{Rule, Violation},
    translation::Translation,
};

pub const RULE: Rule = Rule {
    says: "the database's memory suffices for its connections, and an alarm goes off at four fifths of them",
    problems: |translation, _| wrong_connections(translation),
    violations: &[
        Violation("/Resources/PostgresSettings/Properties/Parameters/max_connections", r#""100""#),
        Violation("/Resources/PostgresSettings/Properties/Parameters/max_connections", r#""40""#),
        Violation("/Resources/PostgresSettings/Properties/Parameters/max_connections", "null"),
        Violation("/Resources/Postgres/Properties/DBInstanceClass", r#""db.t4g.micro""#),
        Violation("/Resources/DatabaseIsCrowded/Properties/Threshold", "60"),
        Violation("/Outputs/MaxConnections/Value", r#""200""#),
    ],
};

/// The memory of each instance class, in MiB.
const CLASSES: [(&str, u64); 5] = [
    ("db.t4g.small", 2048),
    ("db.t4g.medium", 4096),
    ("db.t4g.large", 8192),
    ("db.m7g.large", 8192),
    ("db.m7g.xlarge", 16_384),
];

/// RDS gives a quarter of the memory to PostgreSQL's shared buffers.
const SHARED_BUFFERS: u64 = 4;

/// The memory that IAM login needs at most, in MiB.
const IAM_LOGIN: u64 = 1000;

/// The memory of the operating system and of RDS itself, in MiB.
const SYSTEM: u64 = 300;

/// The memory that a connection needs at most, in MiB (docs/measurements.md).
const CONNECTION: u64 = 4;

/// How many connections fit into this much memory, in MiB.
fn fitting(memory: u64) -> u64 {
    (memory - memory / SHARED_BUFFERS - IAM_LOGIN - SYSTEM) / CONNECTION
}

fn wrong_connections(translation: &Translation) -> Vec<String> {
    let properties = |id| &translation.resource(id)["Properties"];
    let class = properties("Postgres")["DBInstanceClass"].as_str().unwrap_or_default();
    let Some((_, memory)) = CLASSES.into_iter().find(|(name, _)| *name == class) else {
        return vec![format!("the memory of {class} is unknown. Add it to CLASSES in connections.rs")];
    };
    let connections = &properties("PostgresSettings")["Parameters"]["max_connections"];
    let Some(number) = connections.as_str().and_then(|number| number.parse::<u64>().ok()) else {
        return vec!["PostgresSettings has no max_connections".to_owned()];
    };
    let mut problems = Vec::new();
    if number > fitting(memory) {
        problems.push(format!("{class} has {number} connections, but its memory suffices for {}", fitting(memory)));
    }
    if properties("DatabaseIsCrowded")["Threshold"] != number * 4 / 5 {
        problems.push(format!("DatabaseIsCrowded does not go off at {} of {number} connections", number * 4 / 5));
    }
    if translation.template["Outputs"]["MaxConnections"]["Value"] != *connections {
        problems.push(format!("the output MaxConnections is not {number}"));
    }
    problems
}
