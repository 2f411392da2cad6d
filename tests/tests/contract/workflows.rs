//! What the workflows must do, and what they must not do.

use serde_json::Value;
use tests::documents;

fn workflow(name: &str) -> Value {
    serde_saphyr::from_str(&documents::read(&format!(".github/workflows/{name}.yml"))).unwrap()
}

/// The names of all workflows.
fn workflows() -> Vec<String> {
    let files = std::fs::read_dir(documents::root().join(".github/workflows")).unwrap();
    files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn steps(name: &str) -> Vec<String> {
    let workflow = workflow(name);
    let jobs = workflow["jobs"].as_object().unwrap().values();
    // A job that calls another workflow has no steps.
    jobs.filter_map(|job| job["steps"].as_array()).flatten().map(Value::to_string).collect()
}

fn position(steps: &[String], what: &str) -> usize {
    steps.iter().position(|step| step.contains(what)).unwrap_or_else(|| panic!("no step has {what}"))
}

// Requirement 47.
#[test]
fn a_dependency_with_a_known_hole_stops_a_change_and_a_release() {
    // By default, this action checks advisories, bans, licences and sources.
    let gate = |steps: &[String]| steps[position(steps, "EmbarkStudios/cargo-deny-action@")].clone();
    for workflow in ["ci", "release"] {
        let gate = gate(&steps(workflow));
        assert!(!gate.contains("continue-on-error") && !gate.contains("command"), "{gate}");
    }
    let rules: toml::Table = toml::from_str(&documents::read("deny.toml")).unwrap();
    // It is about the crate `rsa`, which only the tests use, through webauthn-rs.
    let ignored = rules["advisories"]["ignore"].as_array().unwrap();
    assert_eq!(ignored, &["RUSTSEC-2023-0071".into()], "to ignore an advisory, change this test too");
    let bans = rules["bans"]["deny"].as_array().unwrap();
    let users = |name: &str| bans.iter().find(|ban| ban["crate"].as_str() == Some(name)).unwrap()["wrappers"].clone();
    assert_eq!((users("rsa"), users("webauthn-rs-core")), (vec!["crypto-glue"].into(), vec!["tests"].into()));
}

// Requirement 47.
#[test]
fn a_release_says_what_is_in_each_function() {
    let steps = steps("release");
    let [deny, build, attach] =
        ["cargo-deny-action", "cargo delivery release --tag", "*.sbom.json"].map(|what| position(&steps, what));
    assert!(deny < build && build < attach, "{steps:?}");
}

#[test]
fn a_release_contains_the_checksums_of_its_files() {
    let steps = steps("release");
    assert_eq!(position(&steps, "SHA256SUMS"), position(&steps, "gh release create"));
}

#[test]
fn only_the_job_that_deploys_may_ask_for_a_token() {
    let deploy = workflow("deploy");
    assert_eq!(deploy["permissions"], serde_json::json!({ "contents": "read" }));
    assert_eq!(deploy["jobs"]["build"]["uses"], "./.github/workflows/packages.yml");
    let packages = workflow("packages");
    assert_eq!(packages["permissions"], serde_json::json!({ "contents": "read" }));
    for job in [&deploy["jobs"]["build"], &deploy["jobs"]["tool"], &packages["jobs"]["packages"]] {
        assert!(job.is_object() && job["permissions"].is_null(), "{job}");
    }
    assert_eq!(deploy["jobs"]["deploy"]["permissions"]["id-token"], "write");
    assert_eq!(deploy["jobs"]["deploy"]["environment"], "${{ inputs.stage }}");
}

#[test]
fn a_job_that_may_write_or_ask_for_a_token_compiles_nothing() {
    let mut seen = Vec::new();
    for name in workflows() {
        let workflow = workflow(&name);
        for (id, job) in workflow["jobs"].as_object().unwrap() {
            let permissions = if job["permissions"].is_null() { &workflow["permissions"] } else { &job["permissions"] };
            assert!(permissions.is_object(), "{name}: the job {id} has the repository's default permissions");
            let Some(steps) = job["steps"].as_array().filter(|_| permissions.to_string().contains("write")) else {
                continue;
            };
            seen.push(format!("{name}: {id}"));
            for command in steps.iter().filter_map(|step| step["run"].as_str()) {
                for compiler in ["cargo ", ".ci/run", "pip ", "npm ", "npx "] {
                    assert!(!command.contains(compiler), "{name}: {id} runs `{command}`");
                }
            }
        }
    }
    seen.sort();
    assert_eq!(seen, ["deploy: deploy", "release: publish"]);
    // The job installs Python packages only as wheels, so it does not compile these either.
    assert_eq!(workflow("deploy")["jobs"]["deploy"]["env"]["PIP_ONLY_BINARY"], ":all:");
}

#[test]
fn every_action_is_pinned_to_a_commit() {
    for name in workflows() {
        let text = documents::read(&format!(".github/workflows/{name}.yml"));
        for action in text.lines().filter_map(|line| line.split_once("uses: ").map(|(_, action)| action)) {
            if action.starts_with("./") {
                continue;
            }
            let (commit, version) = action
                .split_once('@')
                .and_then(|(_, reference)| reference.split_once(" # v"))
                .unwrap_or_else(|| panic!("{name}: {action} is not a commit with its version"));
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}: {action}");
            assert_eq!(version.split('.').count(), 3, "{name}: {action}");
        }
    }
}

#[test]
fn ci_deploys_only_what_is_merged_tested_and_packaged() {
    let workflow = workflow("ci");
    let deploy = &workflow["jobs"]["deploy"];
    assert_eq!(deploy["needs"], serde_json::json!(["everything", "advisories", "packages"]));
    assert_eq!(deploy["if"], "${{ github.ref == 'refs/heads/main' && vars.DEPLOYS_TO != '' }}");
    assert_eq!(workflow["concurrency"]["cancel-in-progress"], "${{ github.ref != 'refs/heads/main' }}");
}

#[test]
fn the_fuzzer_runs_on_a_schedule() {
    assert!(documents::read(".github/workflows/fuzz.yml").contains("schedule:\n    - cron: "));
    position(&steps("fuzz"), "cargo xtask fuzz --rounds ");
}
