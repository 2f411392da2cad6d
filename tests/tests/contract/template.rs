//! Properties of `template.yaml` that keep the service secure and deployable. `endpoints.rs` compares it with the functions.

use std::collections::BTreeSet;

use serde_json::json;
use tests::documents::{self, functions, template};

#[test]
fn no_decision_of_the_authorizer_is_cached() {
    let authorizer = &template()["Resources"]["Api"]["Properties"]["Auth"]["Authorizers"]["Authorizer"];
    assert_eq!(authorizer["Identity"]["ReauthorizeEvery"], 0);
    assert_eq!(authorizer["AuthorizerPayloadFormatVersion"], "2.0");
    assert_eq!(authorizer["EnableSimpleResponses"], true);
    assert!(template()["Resources"]["Api"]["Properties"]["Auth"]["DefaultAuthorizer"].is_null());
}

// Requirement 44.
#[test]
fn pages_of_other_origins_may_do_what_the_routes_need_and_nothing_more() {
    let template = template();
    let cors = &template["Resources"]["Api"]["Properties"]["CorsConfiguration"];
    let methods: BTreeSet<String> = documents::routes().into_iter().map(|route| route.method).collect();
    assert_eq!(cors["AllowMethods"], json!(methods));
    assert_eq!(cors["AllowHeaders"], json!(["authorization", "content-type"]));
    assert!(cors.get("AllowCredentials").is_none(), "browsers must not send credentials: tokens are not cookies");
    assert!(!cors.to_string().contains('*'), "no wildcard: {cors}");

    let origins = &template["Parameters"]["AllowedOrigins"];
    assert_eq!(cors["AllowOrigins"], "AllowedOrigins");
    assert_eq!(origins["AllowedPattern"], "[a-z][a-z0-9+.-]*://[^*/]+", "no wildcard can be deployed");
    assert_eq!(origins["Default"], "http://localhost:3000");
}

// Requirement 43.
#[test]
fn only_migrate_is_given_the_owner_of_the_tables() {
    for (name, properties) in functions() {
        let environment = properties["Environment"]["Variables"].to_string();
        for owner in ["MigrateDatabaseUrlSecret", "DatabaseOwnerSecret"] {
            assert_eq!(environment.contains(owner), name == "migrate", "{name}");
        }
    }
}

/// `cargo delivery deploy` passes each output of the database's stack to the parameter of the same name.
#[test]
fn the_outputs_of_the_database_are_parameters_of_the_application() {
    let database = documents::cloudformation("database.yaml");
    let outputs: BTreeSet<&str> = database["Outputs"].as_object().unwrap().keys().map(String::as_str).collect();
    let parameters =
        ["Address", "OwnerSecret", "ResourceId", "SecurityGroups", "Subnets"].map(|end| format!("Database{end}"));
    let passed: BTreeSet<&str> = parameters.iter().map(String::as_str).collect();
    assert_eq!(outputs, &passed | &["MaxConnections"].into());
    for parameter in passed {
        assert_eq!(template()["Parameters"][parameter]["Default"], "", "{parameter}");
    }
}

// Requirement 39.
#[test]
fn the_secret_that_signs_and_the_other_one_change_places() {
    let [a, b] = ["A", "B"].map(|secret| {
        format!("{{{{resolve:secretsmanager:${{JwtSecret{secret}}}:SecretString:${{JwtGeneration{secret}}}}}}}")
    });
    for (name, properties) in functions() {
        let variables = &properties["Environment"]["Variables"];
        if !variables["JWT_SECRET_KEY"].is_null() {
            assert_eq!(variables["JWT_SECRET_KEY"], json!(["ASigns", a, b]), "{name}");
        }
        // `sweep` only derives a key from the secret that signs.
        if !variables["JWT_ADDITIONAL_SECRET_KEYS"].is_null() {
            assert_eq!(variables["JWT_ADDITIONAL_SECRET_KEYS"], json!(["ASigns", b, a]), "{name}");
        }
    }
    for secret in ["A", "B"] {
        // The generation is the name of the key inside the secret. So only the version of this generation contains the key.
        let made = &template()["Resources"][format!("JwtSecret{secret}")]["Properties"]["GenerateSecretString"];
        assert_eq!(made["GenerateStringKey"], format!("JwtGeneration{secret}"));
        assert!(made["PasswordLength"].as_u64() >= Some(32) && made["ExcludePunctuation"] == true, "{made}");
    }
}

/// The description of every version is the parameter `Build`, which `cargo delivery deploy` computes from code, template and parameters. So
/// every change publishes a new version. The previous version is kept, because a rollback returns to it.
#[test]
fn every_deployment_that_changes_something_publishes_a_version_and_keeps_the_one_before() {
    let template = template();
    assert_eq!(template["Globals"]["Function"]["Description"], "Build");
    for (function, properties) in functions() {
        assert_eq!(properties["VersionDescription"], "Build", "{function}");
    }
    let resources = template["Resources"].as_object().unwrap();
    for (name, function) in resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function") {
        assert_eq!(function["UpdateReplacePolicy"], "Retain", "{name}");
    }
}

/// The guide requires at least the version of SAM that the tests install, because they try no older one.
#[test]
fn the_guide_names_the_version_of_sam_that_the_template_needs() {
    let pins = documents::read("toolkit/tools/requirements-sam.txt");
    let version = pins.lines().find_map(|line| line.strip_prefix("aws-sam-cli==")).expect("a version of SAM");
    assert!(
        documents::read("docs/deploying.md").contains(&format!("SAM CLI {version}")),
        "docs/deploying.md: {version}"
    );
}

/// Each alarm costs money.
#[test]
fn the_page_of_costs_counts_the_alarms() {
    let templates = [template().clone(), documents::cloudformation("database.yaml")];
    let resources = templates.iter().flat_map(|template| template["Resources"].as_object().unwrap().values());
    let alarms = resources.filter(|resource| resource["Type"] == "AWS::CloudWatch::Alarm").count();
    let text = format!("{alarms} alarms");
    assert!(
        documents::read("docs/costs.md").contains(&text),
        "docs/costs.md: write `{text}` and calculate the costs again"
    );
}
