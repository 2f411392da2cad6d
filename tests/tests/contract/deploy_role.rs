//! Tests which GitHub workflows may assume the role of `deploy-role.yaml`, and what the role may do. GitHub's claim `sub` contains the names of
//! owner and repository. If a repository was created, renamed or transferred since July 2026, or has opted in, the claim also contains
//! their ids.

use serde_json::Value;
use tests::documents;

const SETTINGS: [(&str, &str); 9] = [
    ("${Owner}", "acme"),
    ("${OwnerId}", "123456"),
    ("${Repository}", "auth"),
    ("${RepositoryId}", "456789"),
    ("${Stage}", "production"),
    ("${Stack}", "auth"),
    ("${AWS::Partition}", "aws"),
    ("${AWS::Region}", "eu-central-1"),
    ("${AWS::AccountId}", "123456789012"),
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
        // A repository of somebody else, who took the name after the owner or the repository was deleted.
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
fn a_parameter_for_a_name_or_an_id_accepts_nothing_else() {
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

/// The items of a list. A single value counts as a list with one item.
fn items(value: &Value) -> Vec<&str> {
    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    items.iter().map(|item| item.as_str().unwrap()).collect()
}

/// Whether a text matches a pattern of IAM, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| text.char_indices().any(|(at, _)| matches(rest, &text[at..])) || matches(rest, "")),
    }
}

/// Whether the role may do this to a resource, itself or through CloudFormation. The conditions of statements are ignored.
fn may(action: &str, resource: &str) -> bool {
    let template = documents::cloudformation("deploy-role.yaml");
    let policies = template["Resources"]["Role"]["Properties"]["Policies"].as_array().unwrap().clone();
    let statements = policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
    statements.into_iter().any(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        let resources = items(&statement["Resource"]);
        items(&statement["Action"]).iter().any(|pattern| matches(pattern, action))
            && resources.iter().any(|pattern| matches(&with_settings(pattern), resource))
    })
}

fn stack(name: &str) -> String {
    format!("arn:aws:cloudformation:eu-central-1:123456789012:stack/{name}/0123")
}

#[test]
fn the_deploy_role_reads_the_stack_of_the_database_and_changes_nothing_in_it() {
    assert!(may("cloudformation:DescribeStacks", &stack("auth-database")));
    for action in ["CreateChangeSet", "ExecuteChangeSet", "UpdateStack", "DeleteStack", "CreateStack", "SetStackPolicy"]
    {
        assert!(may(&format!("cloudformation:{action}"), &stack("auth")), "{action}");
        assert!(!may(&format!("cloudformation:{action}"), &stack("auth-database")), "{action}");
    }
    let database = "arn:aws:rds:eu-central-1:123456789012:db:auth-database-postgres-1";
    for action in [
        "DeleteDBInstance",
        "ModifyDBInstance",
        "RestoreDBInstanceFromDBSnapshot",
        "DeleteDBSnapshot",
        "DescribeDBInstances",
    ] {
        assert!(!may(&format!("rds:{action}"), database), "{action}");
    }
    assert!(!may("rds-db:connect", "arn:aws:rds-db:eu-central-1:123456789012:dbuser:db-1/postgres"));
}

#[test]
fn the_deploy_role_only_looks_at_networks() {
    let network = "arn:aws:ec2:eu-central-1:123456789012:security-group/sg-1";
    for action in ["DescribeSubnets", "DescribeSecurityGroups", "DescribeVpcs"] {
        assert!(may(&format!("ec2:{action}"), network), "{action}");
    }
    for action in ["AuthorizeSecurityGroupIngress", "CreateRoute", "DeleteSubnet", "DeleteVpcEndpoints", "RunInstances"]
    {
        assert!(!may(&format!("ec2:{action}"), network), "{action}");
    }
}

#[test]
fn the_deploy_role_reads_every_secret_and_changes_those_that_sign_tokens() {
    let secret = |name: &str| format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}-AbCdEf");
    for name in ["JwtSecretA-0123456789ab", "PostgresOwner-0123456789ab", "jwt-auth/database"] {
        assert!(may("secretsmanager:GetSecretValue", &secret(name)), "{name}");
        for action in ["PutSecretValue", "UpdateSecret", "DeleteSecret"] {
            let action = format!("secretsmanager:{action}");
            assert_eq!(may(&action, &secret(name)), name.starts_with("JwtSecret"), "{action} of {name}");
        }
    }
}
