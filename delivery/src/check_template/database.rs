//! Checks of the database's protection.

use super::translation::Translation;

/// Finds databases that are not encrypted, not private, or deleted with the stack.
pub fn unprotected(translation: &Translation) -> Vec<String> {
    let mut problems = Vec::new();
    for (id, database) in translation.of_type("AWS::RDS::DBInstance") {
        let resource = translation.resource(id);
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            if resource[policy] != "Snapshot" {
                problems.push(format!("{id} has no {policy}: Snapshot"));
            }
        }
        for (property, wanted) in [
            ("StorageEncrypted", true),
            ("DeletionProtection", true),
            ("EnableIAMDatabaseAuthentication", true),
            ("PubliclyAccessible", false),
        ] {
            if database[property] != wanted {
                problems.push(format!("{id} should have {property}: {wanted}"));
            }
        }
        let settings = translation.resource(database["DBParameterGroupName"]["Ref"].as_str().unwrap_or_default());
        for (setting, wanted) in
            [("rds.force_ssl", "1"), ("log_parameter_max_length", "0"), ("log_error_verbosity", "terse")]
        {
            if settings["Properties"]["Parameters"][setting] != wanted {
                problems.push(format!("{id} should have {setting} = {wanted}"));
            }
        }
    }
    problems
}
