//! `cargo xtask prune`. Every deployment leaves versions behind, because a rollback needs them. Each holds the environment it was published
//! with, secrets among it.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    console::say,
    deploy::{Alias, Delivery},
    interrupt,
    workspace::Workspace,
};

/// Delete old versions of the functions.
///
/// Of each function the newest versions stay, and any that an alias names or that `cargo xtask deploy --rollback` would lead to. After a
/// secret has leaked, `--all` deletes everything that no alias names; there is no rollback then until the next deployment.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask prune --stage production
  cargo xtask prune --stage production --keep 2
  cargo xtask prune --stage production --all")]
pub struct Args {
    /// A section of samconfig.toml, which names the stack
    #[arg(long, value_name = "STAGE")]
    stage: String,

    /// How many of the newest versions of each function stay. Five are a few weeks of deployments
    #[arg(long, value_name = "N", default_value_t = 5)]
    keep: usize,

    /// Delete all versions that no alias names
    #[arg(long, conflicts_with = "keep")]
    all: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut delivery = Delivery::to(&workspace, &args.stage)?;
    let live = delivery.aliases()?;
    let mut deleted = 0;
    for name in &workspace.functions {
        let versions = versions(&mut delivery, name)?;
        let mut kept = named_by_aliases(&mut delivery, name)?;
        if !args.all {
            let before = live.get(name).and_then(Alias::version_before);
            kept.extend(before.and_then(|version| version.parse::<u64>().ok()));
        }
        let outdated = outdated(&versions, &kept, if args.all { 0 } else { args.keep });
        for version in &outdated {
            interrupt::check()?;
            delivery.of_function("delete_function", name, json!({ "Qualifier": version.to_string() }))?;
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
fn versions(delivery: &mut Delivery<'_>, name: &str) -> Result<BTreeSet<u64>> {
    let all = pages(delivery, name, "list_versions_by_function", "Versions")?;
    // `$LATEST` is no number.
    Ok(all.iter().filter_map(|version| version["Version"].as_str()?.parse().ok()).collect())
}

/// The versions that any alias leads to, with a weight or without.
fn named_by_aliases(delivery: &mut Delivery<'_>, name: &str) -> Result<BTreeSet<u64>> {
    let aliases = pages(delivery, name, "list_aliases", "Aliases")?;
    let weighted = aliases.iter().flat_map(|alias| {
        let weights = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object();
        weights.into_iter().flatten().map(|(version, _)| version.as_str())
    });
    let named = aliases.iter().filter_map(|alias| alias["FunctionVersion"].as_str());
    Ok(named.chain(weighted).filter_map(|version| version.parse().ok()).collect())
}

fn pages(delivery: &mut Delivery<'_>, name: &str, operation: &str, list: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut question = json!({});
    loop {
        let page = delivery.of_function(operation, name, question)?;
        all.extend(page[list].as_array().into_iter().flatten().cloned());
        match page["NextMarker"].as_str() {
            Some(marker) => question = json!({ "Marker": marker }),
            None => return Ok(all),
        }
    }
}

/// The versions that may go: all but the newest `keep`, and those that are kept for another reason.
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
