//! `cargo delivery check-template`: checks of the deployed service that need no AWS account.

mod alarms;
mod api;
mod connections;
mod database;
mod endpoints;
mod environments;
mod logs;
mod network;
mod permissions;
mod references;
mod rule;
mod sam_local;
mod state_table;
mod translation;
mod versions;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use toolkit::{
    console::{say, step},
    endpoints::Endpoint,
    process,
    run_folder::RunFolder,
    tools::sam,
    workspace::Workspace,
};

use self::{
    rule::Rule,
    translation::{Translation, Translations, covering_all_pairs},
};
use crate::{tools, verdict::Verdict};

/// Check template.yaml and database.yaml, without an AWS account.
///
/// SAM's own translator produces what CloudFormation receives, once for every combination of parameter values that changes resources. Every result
/// must follow the rules of this service. Violations of each rule are planted in the results, and the rule must report them. cfn-lint and checkov
/// check each pair of values that two properties of a resource have at the same time.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the linters, which take most of the time
    #[arg(long)]
    quick: bool,
}

const TEMPLATES: [&str; 2] = ["template.yaml", "database.yaml"];

const RULES_OF_THE_APPLICATION: [Rule; 10] = [
    references::RULE,
    endpoints::RULE,
    permissions::RULE,
    state_table::RULE,
    environments::RULE,
    network::OF_THE_APPLICATION,
    versions::RULE,
    api::RULE,
    logs::RULE,
    alarms::OF_THE_APPLICATION,
];

const RULES_OF_THE_DATABASE: [Rule; 5] =
    [references::RULE, database::RULE, network::OF_THE_DATABASE, connections::RULE, alarms::OF_THE_DATABASE];

pub fn run(&Args { quick }: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut verdict = Verdict::default();
    say(format_args!("With {}", tools::template_pins(&workspace)?));
    step("Translating the templates for every combination of parameter values");
    let Translations { application, database } = translate(&workspace)?;
    let (of_application, of_database) = (application.resources, database.resources);
    say(format_args!(
        "{} combinations of template.yaml and {} of database.yaml. The files have {of_application} and {of_database} resources, together {}",
        application.translations.len(),
        database.translations.len(),
        of_application + of_database
    ));
    let endpoints = toolkit::endpoints::endpoints(&workspace.root)?;
    step("Checking the rules of template.yaml");
    check_rules(&mut verdict, &RULES_OF_THE_APPLICATION, &application.translations, &endpoints);
    step("Checking the rules of database.yaml");
    check_rules(&mut verdict, &RULES_OF_THE_DATABASE, &database.translations, &endpoints);
    verdict.add(
        "sam local serves every route, those of the examples too",
        sam_local::wrong_routes(&workspace, &endpoints)?,
    );
    if !quick {
        lint(&workspace, &mut verdict, &[&application.translations, &database.translations])?;
    }
    Ok(verdict.report())
}

fn translate(workspace: &Workspace) -> Result<Translations> {
    let translated = process::output("SAM's translator", &mut tools::sam_translator(workspace)?)?;
    serde_json::from_str(&translated).context("SAM's translator printed no JSON")
}

/// Checks the rules for the translations of a template. If a rule is not broken, also checks that it reports the violations planted for it.
fn check_rules(verdict: &mut Verdict, rules: &[Rule], translations: &[Translation], endpoints: &[Endpoint]) {
    let (mut planted, mut overlooked) = (0, Vec::new());
    for rule in rules {
        let problems = rule.broken(translations, endpoints);
        if problems.is_empty() {
            planted += rule.violations.len();
            overlooked.extend(rule.overlooked(translations, endpoints));
        }
        verdict.add(rule.says, problems);
    }
    verdict.add(&format!("the rules report all {planted} violations that are planted"), overlooked);
}

/// Runs the linters on the templates of [`covering_all_pairs`], and on the files themselves.
fn lint(workspace: &Workspace, verdict: &mut Verdict, translations: &[&[Translation]]) -> Result<()> {
    let run_folder = RunFolder::ephemeral(workspace)?;
    let folder = run_folder.path().join("template");
    fs::create_dir_all(&folder)?;
    let selected = translations.iter().flat_map(|translations| covering_all_pairs(translations));
    let mut count = 0;
    for template in selected {
        count += 1;
        fs::write(folder.join(format!("{count:03}.json")), format!("{template:#}"))?;
    }
    step(format_args!("Linting {count} templates, which cover each pair of property values"));
    let cfn_lint = |path: &Path| process::run("cfn-lint", &mut tools::cfn_lint(workspace, path)?);
    of_program(verdict, "cfn-lint", cfn_lint(&folder.join("*.json")));
    of_program(verdict, "checkov", process::run("checkov", &mut tools::checkov(workspace, &folder)?));
    step("Linting the templates themselves, and the role that deploys them");
    for template in TEMPLATES {
        let lint = ["validate", "--lint", "--region", "us-east-1", "--template", template];
        of_program(
            verdict,
            &format!("sam validate --lint of {template}"),
            process::run("sam validate", sam(workspace)?.args(lint)),
        );
    }
    of_program(verdict, "cfn-lint of deploy-role.yaml", cfn_lint(&workspace.root.join("deploy-role.yaml")));
    Ok(())
}

fn of_program(verdict: &mut Verdict, check: &str, ran: Result<()>) {
    verdict.add(check, ran.err().map(|problem| format!("{problem:#}")));
}
