//! `cargo delivery prune`. Every deployment leaves old versions, because a rollback needs them. Each version holds the environment it was
//! published with, including secrets.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::Result;
use serde_json::{Value, json};
use toolkit::{console::say, interrupt, workspace::Workspace};

use crate::deployed_stack::DeployedStack;

/// Delete old versions of the functions.
///
/// For each function, the newest versions stay, and so does every version that an alias points to or that
/// `cargo delivery deploy --rollback` would restore. After a secret has leaked, `--all` deletes every version that no alias points to.
/// A rollback is then impossible until the next deployment.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo delivery prune --stage production
  cargo delivery prune --stage production --keep 2
  cargo delivery prune --stage production --all")]
pub struct Args {
    /// A section of samconfig.toml, which names the stack
    #[arg(long, value_name = "STAGE")]
    stage: String,

    /// How many of the newest versions of each function stay
    #[arg(long, value_name = "N", default_value_t = 5)]
    keep: usize,

    /// Delete all versions that no alias points to
    #[arg(long, conflicts_with = "keep")]
    all: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut stack = DeployedStack::of_stage(&workspace, &args.stage)?;
    let live = stack.aliases()?;
    let mut deleted = 0;
    // A stack may lack functions. For example, the examples are not deployed by default.
    for (name, alias) in &live {
        let versions = versions(&mut stack, name)?;
        let mut kept = of_aliases(&mut stack, name)?;
        if !args.all {
            kept.extend(alias.version_before().and_then(|version| version.parse::<u64>().ok()));
        }
        let outdated = outdated(&versions, &kept, if args.all { 0 } else { args.keep });
        for version in &outdated {
            interrupt::check()?;
            stack.call("delete_function", name, json!({ "Qualifier": version.to_string() }))?;
        }
        if !outdated.is_empty() {
            say(format_args!("  {name}: deleted {outdated:?} of {} versions", versions.len()));
        }
        deleted += outdated.len();
    }
    say(format_args!("Deleted {deleted} versions"));
    Ok(ExitCode::SUCCESS)
}

/// The numbers of a function's versions.
fn versions(stack: &mut DeployedStack<'_>, name: &str) -> Result<BTreeSet<u64>> {
    let all = pages(stack, name, "list_versions_by_function", "Versions")?;
    // `$LATEST` is not a number.
    Ok(all.iter().filter_map(|version| version["Version"].as_str()?.parse().ok()).collect())
}

/// The versions that any alias points to, with or without a weight.
fn of_aliases(stack: &mut DeployedStack<'_>, name: &str) -> Result<BTreeSet<u64>> {
    let aliases = pages(stack, name, "list_aliases", "Aliases")?;
    let weighted = aliases.iter().flat_map(|alias| {
        let weights = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object();
        weights.into_iter().flatten().map(|(version, _)| version.as_str())
    });
    let named = aliases.iter().filter_map(|alias| alias["FunctionVersion"].as_str());
    Ok(named.chain(weighted).filter_map(|version| version.parse().ok()).collect())
}

fn pages(stack: &mut DeployedStack<'_>, name: &str, operation: &str, list: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut request = json!({});
    loop {
        let page = stack.call(operation, name, request)?;
        all.extend(page[list].as_array().into_iter().flatten().cloned());
        match page["NextMarker"].as_str() {
            Some(marker) => request = json!({ "Marker": marker }),
            None => return Ok(all),
        }
    }
}

/// The versions to delete: all except the newest `keep` and those in `kept`.
fn outdated(versions: &BTreeSet<u64>, kept: &BTreeSet<u64>, keep: usize) -> Vec<u64> {
    let newest: BTreeSet<_> = versions.iter().rev().take(keep).collect();
    versions.iter().filter(|version| !newest.contains(version) && !kept.contains(version)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::outdated;

    #[test]
    fn the_newest_versions_and_those_that_are_in_use_stay() {
        let versions = (1..=8).collect();
        assert_eq!(outdated(&versions, &[2, 8].into(), 3), [1, 3, 4, 5]);
        assert_eq!(outdated(&versions, &[2].into(), 0), [1, 3, 4, 5, 6, 7, 8]);
        assert_eq!(outdated(&versions, &[].into(), 8), [0; 0]);
    }
}
