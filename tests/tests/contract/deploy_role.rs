//! Tests which GitHub workflows may assume the role of `deploy-role.yaml`. GitHub's claim `sub` contains the names of owner and repository. If
//! a repository was created, renamed or transferred since July 2026, or has opted in, the claim also contains their ids.

use serde_json::Value;
use tests::documents;

const SETTINGS: [(&str, &str); 5] = [
    ("${Owner}", "acme"),
    ("${OwnerId}", "123456"),
    ("${Repository}", "auth"),
    ("${RepositoryId}", "456789"),
    ("${Stage}", "production"),
];

const AUDIENCE: &str = "sts.amazonaws.com";

/// Whether a workflow with these claims may assume the role of the stage `production` of `acme/auth`. IAM's condition `StringEquals`
/// requires that each claim equals one of the values in the policy.
fn may_take_the_role(audience: &str, subject: &str) -> bool {
    let template = documents::cloudformation("deploy-role.yaml");
    let statement = &template["Resources"]["Role"]["Properties"]["AssumeRolePolicyDocument"]["Statement"];
    assert_eq!(statement["Action"], "sts:AssumeRoleWithWebIdentity");
    let conditions = statement["Condition"].as_object().unwrap();
    assert_eq!(
        conditions.keys().collect::<Vec<_>>(),
        ["StringEquals"],
        "only exact values, because a wildcard could match other repositories"
    );
    conditions["StringEquals"].as_object().unwrap().iter().all(|(key, allowed)| {
        let claim = match key.strip_prefix("token.actions.githubusercontent.com:").unwrap() {
            "aud" => audience,
            "sub" => subject,
            other => panic!("this test does not evaluate the claim {other}"),
        };
        let allowed = allowed.as_array().map_or(std::slice::from_ref(allowed), Vec::as_slice);
        allowed.iter().map(|value| value.as_str().unwrap()).any(|value| with_settings(value) == claim)
    })
}

fn with_settings(text: &str) -> String {
    let text = SETTINGS.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!text.contains("${"), "a parameter without a value in {text}");
    text
}

#[test]
fn the_deploy_role_trusts_both_forms_of_its_repository() {
    for subject in ["repo:acme/auth:environment:production", "repo:acme@123456/auth@456789:environment:production"] {
        assert!(may_take_the_role(AUDIENCE, subject), "{subject}");
    }
}

#[test]
fn the_deploy_role_trusts_no_repository_that_looks_like_its_own() {
    for subject in [
        "",
        "repo:acme-evil/auth:environment:production",
        "repo:acme/auth-evil:environment:production",
        "repo:evil/acme/auth:environment:production",
        "repo:ACME/auth:environment:production",
        "repo:acme/auth:environment:staging",
        "repo:acme/auth:environment:production-evil",
        "repo:acme/auth:ref:refs/heads/main",
        "repo:acme/auth:pull_request",
        // A repository of somebody else. The owner or the repository was deleted, and somebody else took the free name.
        "repo:acme@999999/auth@456789:environment:production",
        "repo:acme@123456/auth@999999:environment:production",
        "repo:acme@456789/auth@123456:environment:production",
        "repo:acme@1234567/auth@456789:environment:production",
        "repo:acme-evil@123456/auth@456789:environment:production",
        // Another repository of the same owner, with a branch whose name imitates the subject.
        "repo:acme@123456/other@1:ref:refs/heads/x/auth@456789:environment:production",
        "repo:acme@123456/auth@456789:ref:refs/heads/main",
        "repo:acme@*/auth@*:environment:production",
    ] {
        assert!(!may_take_the_role(AUDIENCE, subject), "{subject}");
    }
    assert!(!may_take_the_role("https://github.com/acme", "repo:acme/auth:environment:production"));
}

#[test]
fn the_names_and_ids_of_a_repository_hold_no_more_than_that() {
    let template = documents::cloudformation("deploy-role.yaml");
    for (name, pattern) in [
        ("Owner", "[A-Za-z0-9_-]+"),
        ("OwnerId", "[0-9]+"),
        ("Repository", "[A-Za-z0-9_.-]+"),
        ("RepositoryId", "[0-9]+"),
    ] {
        assert_eq!(template["Parameters"][name]["AllowedPattern"], pattern, "{name}");
        assert_eq!(template["Parameters"][name]["Default"], Value::Null, "{name}");
    }
}
