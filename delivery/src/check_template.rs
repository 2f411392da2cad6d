//! `cargo delivery check-template`: checks of the deployed service that need no AWS account.

mod api;
mod database;
mod endpoints;
mod environments;
mod monitoring;
mod network;
mod permissions;
mod references;
mod translation;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use toolkit::{
    console::{say, step},
    process,
    run_folder::RunFolder,
    tools::sam,
    workspace::Workspace,
};

use self::translation::{Translation, covering_all_variants};
use crate::{tools, verdict::Verdict};

/// Check template.yaml, without an AWS account.
///
/// SAM's own translator produces what CloudFormation receives, once for every combination of the template's switches. Every result must
/// follow the rules of this service. cfn-lint and checkov check every variant of every resource.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the linters, which take most of the time
    #[arg(long)]
    quick: bool,
}

/// What must be true of every translation, and a function that lists what is wrong with one.
type Rule = (&'static str, fn(&Translation) -> Vec<String>);

const RULES: [Rule; 9] = [
    ("every resource that is referred to exists", references::missing_resources),
    ("every function has a log group that keeps its log for a number of days", monitoring::missing_logs),
    ("every function has alarms: errors, throttles, four fifths of its timeout", monitoring::missing_alarms),
    (
        "every function has a role of its own, with exactly the permissions that its environment needs",
        permissions::wrong_permissions,
    ),
    ("every environment is smaller than 4 KB", environments::too_large),
    ("callers use the alias `live`, and changed settings publish a new version", versions::not_live),
    ("API Gateway caches no decision of the authorizer, logs no path, and throttles", api::wrong_settings),
    ("functions are in the network of the database that they use, and in no other", network::wrong_connections),
    ("the database is encrypted, private, and outlives the stack", database::unprotected),
];

pub fn run(&Args { quick }: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let verdict = if quick { check_rules(&workspace)?.0 } else { check(&workspace)? };
    Ok(verdict.report())
}

/// Checks the rules, and runs the linters.
fn check(workspace: &Workspace) -> Result<Verdict> {
    let (mut verdict, translations) = check_rules(workspace)?;
    let run_folder = RunFolder::ephemeral(workspace)?;
    let folder = run_folder.path().join("template");
    fs::create_dir_all(&folder)?;
    let selected = covering_all_variants(&translations);
    for (number, translation) in selected.iter().enumerate() {
        fs::write(folder.join(format!("{number:03}.json")), format!("{:#}", translation.template))?;
    }
    step(format_args!("Linting {} of the translations, which contain every variant of every resource", selected.len()));
    of_program(
        &mut verdict,
        "cfn-lint",
        process::run("cfn-lint", &mut tools::cfn_lint(workspace, &folder.join("*.json"))?),
    );
    of_program(&mut verdict, "checkov", process::run("checkov", &mut tools::checkov(workspace, &folder)?));
    step("Linting the template itself, and the role that deploys it");
    let lint = ["validate", "--lint", "--region", "us-east-1", "--template", "template.yaml"];
    of_program(&mut verdict, "sam validate --lint", process::run("sam validate", sam(workspace)?.args(lint)));
    let role = workspace.root.join("deploy-role.yaml");
    of_program(
        &mut verdict,
        "cfn-lint of deploy-role.yaml",
        process::run("cfn-lint", &mut tools::cfn_lint(workspace, &role)?),
    );
    Ok(verdict)
}

/// Translates the template and checks the rules.
fn check_rules(workspace: &Workspace) -> Result<(Verdict, Vec<Translation>)> {
    let mut verdict = Verdict::default();
    say(format_args!("With {}", tools::template_pins(workspace)?));
    step("Translating the template for every combination of its switches");
    let translated = process::output("SAM's translator", &mut tools::sam_translator(workspace)?)?;
    let translations: Vec<Translation> =
        serde_json::from_str(&translated).context("SAM's translator printed no JSON")?;
    say(format_args!("{} combinations", translations.len()));
    for (rule, problems) in RULES {
        // A problem of several combinations is printed once.
        let mut found = BTreeMap::new();
        for translation in &translations {
            for problem in problems(translation) {
                found.entry(problem).or_insert(&translation.switches);
            }
        }
        verdict.add(rule, found.into_iter().map(|(problem, switches)| format!("{problem} (with {switches})")));
    }
    let described = toolkit::endpoints::endpoints(&workspace.root)?;
    let differences = translations.iter().flat_map(|translation| endpoints::differences(translation, &described));
    verdict.add(
        "functions, routes, memory and permissions are those of the Cargo.toml files",
        differences.collect::<BTreeSet<_>>(),
    );
    Ok((verdict, translations))
}

fn of_program(verdict: &mut Verdict, check: &str, ran: Result<()>) {
    verdict.add(check, ran.err().map(|problem| format!("{problem:#}")));
}
