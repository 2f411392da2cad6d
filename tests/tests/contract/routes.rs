//! Routes stand in four places: the local router, the template, openapi.yaml and the sample events.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::documents::{self, OPENAPI, Route, functions, template};

/// The functions that no route leads to.
const WITHOUT_ROUTE: [&str; 3] = ["authorizer", "migrate", "sweep"];

#[test]
fn the_template_has_the_routes_of_the_local_router() {
    // The local router knows no authorizers, and what stands behind one must not be open there.
    let routes = documents::routes().into_iter().filter(|route| route.authorizer.is_none());
    assert_eq!(routes.collect::<BTreeSet<_>>(), documents::router());
}

#[test]
fn openapi_has_the_routes_of_the_template() {
    let methods = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];
    let routes: BTreeSet<Route> = OPENAPI["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, operations)| {
            let operations = operations.as_object().expect("operations").iter();
            operations.filter(|(method, _)| methods.contains(&method.as_str())).map(|(method, operation)| Route {
                method: method.to_uppercase(),
                path: path.clone(),
                function: operation["operationId"].as_str().expect("an operationId").to_owned(),
                authorizer: operation["x-authorizer"].as_str().map(str::to_owned),
            })
        })
        .collect();
    assert_eq!(routes, documents::routes());
}

#[test]
fn every_route_has_a_sample_event_that_leads_to_it() {
    for route in documents::routes() {
        let event: Value = serde_json::from_str(&documents::read(&format!("events/{}.json", route.function))).unwrap();
        let place = format!("events/{}.json", route.function);
        assert_eq!(event["version"], "2.0", "{place}");
        assert_eq!(event["routeKey"], format!("{} {}", route.method, route.path), "{place}");
        assert_eq!(event["requestContext"]["routeKey"], event["routeKey"], "{place}");
        let path = event["rawPath"].as_str().expect("a path");
        let token = route.matches(&route.method, path).unwrap_or_else(|| panic!("{place}: {path} is another route"));
        assert_eq!(event["pathParameters"]["token"].as_str(), token.as_deref(), "{place}");
    }
}

#[test]
fn every_function_is_known_by_one_name() {
    let folders: BTreeSet<String> = std::fs::read_dir(documents::root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let routed = documents::routes().into_iter().map(|route| route.function);
    assert_eq!(routed.chain(WITHOUT_ROUTE.map(str::to_owned)).collect::<BTreeSet<_>>(), folders, "the routes");

    let functions = functions();
    assert_eq!(functions.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), folders, "the template");
    for (name, properties) in functions {
        assert_eq!(properties["FunctionName"], format!("${{AWS::StackName}}-{name}"));
    }
    for folder in folders {
        let manifest = documents::read(&format!("functions/{folder}/Cargo.toml"));
        assert!(manifest.contains(&format!("name = \"{folder}\"")), "functions/{folder}/Cargo.toml");
        serde_json::from_str::<Value>(&documents::read(&format!("events/{folder}.json"))).unwrap();
    }
}

// Requirement 43.
#[test]
fn a_function_may_do_what_it_needs_and_nothing_more() {
    let allowed = |name: &str| match name {
        "forgot-password" | "reset-password" => vec!["ses:SendEmail", "dynamodb:BatchGetItem", "dynamodb:UpdateItem"],
        "sweep" => vec!["ses:SendEmail"],
        "signin" => vec!["dynamodb:BatchGetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
        "signup" => vec!["dynamodb:BatchGetItem", "dynamodb:UpdateItem"],
        _ => vec![],
    };
    for (name, properties) in functions() {
        let policies = properties["Policies"].to_string();
        let actions: BTreeSet<&str> =
            policies.split('"').filter(|text| text.starts_with("ses:S") || text.starts_with("dynamodb:")).collect();
        assert_eq!(actions, allowed(&name).into_iter().collect(), "{name}");
        let variables = &properties["Environment"]["Variables"];
        assert_eq!(!variables["MAIL_FROM"].is_null(), actions.contains("ses:SendEmail"), "{name}");
        let has_table = actions.iter().any(|action| action.starts_with("dynamodb:"));
        for variable in ["STATE_TABLE", "AWS_ENDPOINT_URL_DYNAMODB"] {
            assert_eq!(!variables[variable].is_null(), has_table, "{name}");
        }
    }
}

#[test]
fn no_decision_of_the_authorizer_is_kept() {
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
    let methods: BTreeSet<String> = documents::router().into_iter().map(|route| route.method).collect();
    assert_eq!(cors["AllowMethods"], json!(methods));
    assert_eq!(cors["AllowHeaders"], json!(["authorization", "content-type"]));
    assert!(cors.get("AllowCredentials").is_none(), "tokens are no cookies: nothing travels by itself");
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
        for owner in ["MigrateDatabaseUrlSecret", "PostgresOwner"] {
            assert_eq!(environment.contains(owner), name == "migrate", "{name}");
        }
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
            assert_eq!(variables["JWT_ADDITIONAL_SECRET_KEYS"], json!(["ASigns", b, a]), "{name}");
        }
    }
    for secret in ["A", "B"] {
        // A key of that name is only in the version that is made for it.
        let made = &template()["Resources"][format!("JwtSecret{secret}")]["Properties"]["GenerateSecretString"];
        assert_eq!(made["GenerateStringKey"], format!("JwtGeneration{secret}"));
        assert!(made["PasswordLength"].as_u64() >= Some(32) && made["ExcludePunctuation"] == true, "{made}");
    }
}

/// `Build` stands in every description, and `cargo delivery deploy` makes it of code, template and parameters, so that whatever changes publishes a
/// version. The one before is kept, because a rollback leads to it.
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

/// The version that is installed is the oldest one that was tried.
#[test]
fn the_guide_names_the_version_of_sam_that_the_template_needs() {
    let pins = documents::read("toolkit/tools/requirements-sam.txt");
    let version = pins.lines().find_map(|line| line.strip_prefix("aws-sam-cli==")).expect("a version of SAM");
    assert!(
        documents::read("docs/deploying.md").contains(&format!("SAM CLI {version}")),
        "docs/deploying.md: {version}"
    );
}

/// Each process has one connection. While a new version takes over from an old one, there are processes of both.
#[test]
fn what_is_reserved_fits_into_the_connections_of_the_database() {
    let resources = &template()["Resources"];
    let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let connections = number(&resources["PostgresSettings"]["Properties"]["Parameters"]["max_connections"]);
    let mut reserved = 0;
    for (function, properties) in functions() {
        let asks = properties["Environment"]["Variables"]["DATABASE_AUTH"].is_array() || function == "migrate";
        let own = properties["ReservedConcurrentExecutions"].as_array().map(|either| either[1].as_u64().unwrap());
        assert_eq!(own.is_some(), asks, "{function}");
        reserved += own.unwrap_or_default();
    }
    assert!(2 * reserved + 10 <= connections, "2 × {reserved} + 10 connections, of {connections}");
    assert_eq!(resources["DatabaseIsCrowded"]["Properties"]["Threshold"], connections * 4 / 5);
    let told = template()["Parameters"]["ReserveConcurrency"]["Description"].as_str().unwrap();
    assert!(told.contains(&format!("reserves {reserved} ")), "{told}");
    assert!(documents::read("docs/database.md").contains(&format!("2 × {reserved} + 10")), "docs/database.md says so");
}
