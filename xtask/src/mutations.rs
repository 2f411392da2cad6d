//! `cargo xtask mutations`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use toolkit::{
    console::{say, step},
    interrupt,
    workspace::{Workspace, cargo},
};

/// Plant defects in the SQL, one after the other, and check that the histories of the model find each of them.
///
/// For each defect, changes one place of a source file, builds the functions, runs the journey `protocol`, and restores the file. Prints whether the
/// journey failed. Fails if it passed with a defect. Takes some minutes for each defect. Do not edit the sources meanwhile.
#[derive(clap::Args)]
pub struct Args {
    /// Only the defects whose names contain one of these texts
    #[arg(value_name = "TEXT")]
    filters: Vec<String>,
}

/// A defect: a text that occurs once in a file, and what replaces it.
struct Mutation {
    name: &'static str,
    file: &'static str,
    original: &'static str,
    mutated: &'static str,
}

const MUTATIONS: [Mutation; 14] = [
    Mutation {
        name: "a refresh token that was used once is theft, even within the grace",
        file: "sessions.rs",
        original: "WHEN s.previous_refresh_id = $3 AND s.refreshed_at + $5 * interval '1 second' >= now() THEN NULL",
        mutated: "WHEN $5::float8 < 0 THEN NULL",
    },
    Mutation {
        name: "an old refresh token does not end its session",
        file: "sessions.rs",
        original: "            ELSE now()\n        END,\n        refreshes = ",
        mutated: "            ELSE NULL\n        END,\n        refreshes = ",
    },
    Mutation {
        name: "a revoked session is live",
        file: "rules.rs",
        original: "AND s.revoked_at IS NULL AND s.expires_at > now()",
        mutated: "AND s.expires_at > now()",
    },
    Mutation {
        name: "the end of the other sessions also ends the session of the request",
        file: "sessions.rs",
        original: "WHERE s.user_id = $1 AND s.id <> $2 AND ",
        mutated: "WHERE s.user_id = $1 AND ",
    },
    Mutation {
        name: "a reset does not raise the credential version",
        file: "password_resets.rs",
        original: "SET password = $3, credential_version = credential_version + 1,",
        mutated: "SET password = $3,",
    },
    Mutation {
        name: "a change of the password does not raise the credential version",
        file: "password_changes.rs",
        original: "SET password = $4, credential_version = credential_version + 1 WHERE ",
        mutated: "SET password = $4 WHERE ",
    },
    Mutation {
        name: "a deletion does not raise the credential version",
        file: "account_deletions.rs",
        original: "SET credential_version = credential_version + 1 WHERE ",
        mutated: "SET name = name WHERE ",
    },
    Mutation {
        name: "an undone change of the address does not raise the credential version",
        file: "email_changes.rs",
        original: "email_verified_at = due.verified_at, credential_version = u.credential_version + 1",
        mutated: "email_verified_at = due.verified_at",
    },
    Mutation {
        name: "a reserved address is free",
        file: "rules.rs",
        original: "AND r.expires_at > now() AND r.user_id <> ",
        mutated: "AND r.expires_at < now() AND r.user_id <> ",
    },
    Mutation {
        name: "a link keeps an account that is due to be erased",
        file: "account_deletions.rs",
        original: "WHERE token_hash = $1 AND erase_at > now() RETURNING user_id",
        mutated: "WHERE token_hash = $1 RETURNING user_id",
    },
    Mutation {
        name: "a new authenticator does not raise the credential version",
        file: "factors/totp.rs",
        original: "UPDATE users u SET credential_version = u.credential_version + 1",
        mutated: "UPDATE users u SET credential_version = u.credential_version",
    },
    Mutation {
        name: "the link of the notice does not remove the authenticator",
        file: "factors.rs",
        original: "DELETE FROM totp t USING changed, due WHERE ",
        mutated: "DELETE FROM totp t USING changed, due WHERE false AND ",
    },
    Mutation {
        name: "the link of the notice leaves a passkey that was added later",
        file: "factors.rs",
        original: "AND (p.factor_id = due.factor_id OR p.created_at >= due.added_at)",
        mutated: "AND p.factor_id = due.factor_id",
    },
    Mutation {
        name: "the removal of a factor does not raise the credential version",
        file: "factors/removals.rs",
        original: "UPDATE users u SET credential_version = u.credential_version + 1",
        mutated: "UPDATE users u SET credential_version = u.credential_version",
    },
];

impl Mutation {
    /// The file with the defect. An error if the original text does not occur exactly once.
    fn apply(&self, source: &str) -> Result<String> {
        let found = source.matches(self.original).count();
        ensure!(found == 1, "{} has {found} places for the defect: {}", self.file, self.name);
        Ok(source.replacen(self.original, self.mutated, 1))
    }
}

/// A source file that is restored when this value is dropped.
struct Restored {
    path: PathBuf,
    original: String,
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.original) {
            say(format_args!("cannot restore {}: {error}", self.path.display()));
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    step("Running the histories without a defect");
    ensure!(!histories_fail(&workspace)?, "the histories fail without a defect");
    let is_chosen = |name: &str| args.filters.is_empty() || args.filters.iter().any(|text| name.contains(text));
    let chosen = MUTATIONS.iter().filter(|mutation| is_chosen(mutation.name));
    let mut missed = Vec::new();
    for mutation in chosen {
        step(format_args!("Planting a defect: {}", mutation.name));
        let is_found = try_mutation(&workspace, mutation)?;
        say(format_args!("{}: {}", mutation.name, if is_found { "found" } else { "NOT FOUND" }));
        if !is_found {
            missed.push(mutation.name);
        }
    }
    ensure!(missed.is_empty(), "the histories did not find: {}", missed.join("; "));
    Ok(ExitCode::SUCCESS)
}

/// Whether the histories find a defect.
fn try_mutation(workspace: &Workspace, mutation: &Mutation) -> Result<bool> {
    let path = workspace.root.join("shared/src/db").join(mutation.file);
    let original = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mutated = mutation.apply(&original)?;
    let _restored = Restored { path: path.clone(), original };
    fs::write(&path, mutated)?;
    histories_fail(workspace)
}

/// Builds the functions and runs the histories with sessions in PostgreSQL, where every statement is used. An error if the journey did not run, for
/// example because the defect does not compile.
fn histories_fail(workspace: &Workspace) -> Result<bool> {
    let histories = [
        "histories_of_the_model_get_the_answers_that_the_model_expects::store_1_PostgreSql",
        "histories_of_a_due_deletion_get_the_answers_that_the_model_expects::store_1_PostgreSql",
        "a_reserved_address_gets_no_mail_about_a_change::store_1_PostgreSql",
        "the_link_of_the_notice_also_removes_a_passkey_that_was_added_later::store_1_PostgreSql",
        "histories_with_second_factors_get_the_answers_that_the_model_expects::store_1_PostgreSql",
    ];
    let mut command = cargo();
    command.current_dir(&workspace.root).args(["xtask", "test", "journeys", "--"]).args(histories);
    let output = command.output().context("cannot run cargo")?;
    interrupt::check()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let is_difference = printed.contains("panicked at tests/tests/journeys/protocol.rs");
    ensure!(
        output.status.success() || is_difference,
        "the histories did not run:\n{printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(!output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_has_exactly_one_place() {
        for mutation in &MUTATIONS {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/src/db/").to_owned() + mutation.file;
            let source = fs::read_to_string(path).unwrap();
            assert_ne!(mutation.apply(&source).unwrap(), source, "{}", mutation.name);
        }
    }
}
