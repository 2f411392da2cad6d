//! What the workflows must not stop doing.

use serde_json::Value;
use tests::documents;

fn steps(workflow: &str) -> Vec<String> {
    let workflow: Value =
        serde_saphyr::from_str(&documents::read(&format!(".github/workflows/{workflow}.yml"))).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap().values();
    // A job that is another workflow has none.
    jobs.filter_map(|job| job["steps"].as_array()).flatten().map(Value::to_string).collect()
}

fn position(steps: &[String], what: &str) -> usize {
    steps.iter().position(|step| step.contains(what)).unwrap_or_else(|| panic!("no step has {what}"))
}

// Requirement 47.
#[test]
fn a_dependency_with_a_known_hole_stops_a_change_and_a_release() {
    // It checks advisories, bans, licences and sources unless told otherwise.
    let gate = |steps: &[String]| steps[position(steps, "EmbarkStudios/cargo-deny-action@")].clone();
    for workflow in ["ci", "release"] {
        let gate = gate(&steps(workflow));
        assert!(!gate.contains("continue-on-error") && !gate.contains("command"), "{gate}");
    }
    let rules: toml::Table = toml::from_str(&documents::read("deny.toml")).unwrap();
    assert!(rules["advisories"].get("ignore").is_none(), "an advisory that is ignored is a decision to be seen here");
}

// Requirement 47.
#[test]
fn a_release_says_what_is_in_each_function() {
    let steps = steps("release");
    let [deny, build, attach] =
        ["cargo-deny-action", "cargo xtask release --tag", "*.sbom.json"].map(|what| position(&steps, what));
    assert!(deny < build && build < attach, "{steps:?}");
}

#[test]
fn a_release_says_how_to_tell_what_is_really_its_own() {
    let steps = steps("release");
    assert_eq!(position(&steps, "SHA256SUMS"), position(&steps, "gh release create"));
}

#[test]
fn who_builds_for_a_deployment_may_not_deploy() {
    let workflow: Value = serde_saphyr::from_str(&documents::read(".github/workflows/deploy.yml")).unwrap();
    assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }));
    assert_eq!(workflow["jobs"]["build"]["uses"], "./.github/workflows/packages.yml");
    let packages: Value = serde_saphyr::from_str(&documents::read(".github/workflows/packages.yml")).unwrap();
    assert_eq!(packages["permissions"], serde_json::json!({ "contents": "read" }));
    assert!(
        workflow["jobs"]["build"]["permissions"].is_null() && packages["jobs"]["packages"]["permissions"].is_null()
    );
    assert_eq!(workflow["jobs"]["deploy"]["permissions"]["id-token"], "write");
    assert_eq!(workflow["jobs"]["deploy"]["environment"], "${{ inputs.stage }}");
}

#[test]
fn nothing_ships_but_what_is_merged_tested_and_built_before() {
    let workflow: Value = serde_saphyr::from_str(&documents::read(".github/workflows/ci.yml")).unwrap();
    let deploy = &workflow["jobs"]["deploy"];
    assert_eq!(deploy["needs"], serde_json::json!(["everything", "advisories", "packages"]));
    assert_eq!(deploy["if"], "${{ github.ref == 'refs/heads/main' && vars.DEPLOYS_TO != '' }}");
    assert_eq!(workflow["concurrency"]["cancel-in-progress"], "${{ github.ref != 'refs/heads/main' }}");
}

#[test]
fn events_nobody_thought_of_are_sent_every_week() {
    assert!(documents::read(".github/workflows/fuzz.yml").contains("schedule:\n    - cron: "));
    position(&steps("fuzz"), "cargo xtask fuzz --rounds ");
}
