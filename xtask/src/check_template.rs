//! `cargo xtask check-template`: what can be known about the deployed service without an AWS account.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    console::{complain, say, step},
    stack::{home::Home, process, tools},
    workspace::Workspace,
};

/// Check template.yaml, without an AWS account.
///
/// SAM's own translator makes of it what CloudFormation gets to see, once for every combination of its switches. Of each result is asked
/// what this service needs to be true, and cfn-lint and checkov see every resource in every form it takes.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the linters, which take most of the time
    #[arg(long)]
    quick: bool,
}

/// The template as CloudFormation gets to see it, with these switches. Parameters and conditions are put in.
#[derive(Deserialize)]
struct Translation {
    switches: Value,
    template: Value,
}

/// What must be true of every translation, and what is wrong with one.
type Rule = (&'static str, fn(&Translation) -> Vec<String>);

const RULES: [Rule; 9] = [
    ("what a resource refers to is there", dangling),
    ("every function keeps its log for a number of days", without_log),
    ("every function has alarms: it failed, it was turned away, it took four fifths of its timeout", without_alarm),
    ("every function has a role of its own, which may do what its environment is for", overprivileged),
    ("every environment is smaller than 4 KB", too_large),
    ("what is called is the version `live`, and other settings publish another one", not_live),
    ("API Gateway keeps no decision of the authorizer, and writes down no path", indiscreet),
    ("functions are in the network of the database they ask, and in no other", astray),
    ("data is encrypted, private, and outlives the stack", at_risk),
];

pub fn run(&Args { quick }: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let Verdict { passed, failed } = if quick { check_rules(&workspace)?.0 } else { check(&workspace)? };
    say(format_args!("\n{passed} passed, {failed} failed"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many checks passed, and how many failed.
#[derive(Default)]
pub struct Verdict {
    pub passed: u64,
    pub failed: u64,
}

impl Verdict {
    fn of(&mut self, check: &str, problems: impl IntoIterator<Item = String>) {
        let mut problems = problems.into_iter().peekable();
        if problems.peek().is_none() {
            self.passed += 1;
            return say(format_args!("ok: {check}"));
        }
        self.failed += 1;
        complain(format_args!("failed: {check}"));
        problems.for_each(|problem| complain(format_args!("  {problem}")));
    }

    fn of_program(&mut self, check: &str, ran: Result<()>) {
        self.of(check, ran.err().map(|problem| format!("{problem:#}")));
    }
}

pub fn check(workspace: &Workspace) -> Result<Verdict> {
    let (mut verdict, translations) = check_rules(workspace)?;
    let home = Home::ephemeral(workspace)?;
    let folder = home.folder().join("template");
    fs::create_dir_all(&folder)?;
    let distinct = every_form(&translations);
    for (number, translation) in distinct.iter().enumerate() {
        fs::write(folder.join(format!("{number:03}.json")), format!("{:#}", translation.template))?;
    }
    step(format_args!("Linting {} of them, which have every resource in every form it takes", distinct.len()));
    verdict.of_program("cfn-lint", process::run("cfn-lint", &mut tools::cfn_lint(workspace, &folder.join("*.json"))?));
    verdict.of_program("checkov", process::run("checkov", &mut tools::checkov(workspace, &folder)?));
    step("Linting the template itself, and the role that deploys it");
    let lint = ["validate", "--lint", "--region", "us-east-1", "--template", "template.yaml"];
    verdict.of_program("sam validate --lint", process::run("sam validate", tools::sam(workspace)?.args(lint)));
    let role = workspace.root.join("deploy-role.yaml");
    verdict
        .of_program("cfn-lint of deploy-role.yaml", process::run("cfn-lint", &mut tools::cfn_lint(workspace, &role)?));
    Ok(verdict)
}

fn check_rules(workspace: &Workspace) -> Result<(Verdict, Vec<Translation>)> {
    let mut verdict = Verdict::default();
    say(format_args!("With {}", tools::template_pins(workspace)?));
    step("Translating the template for every combination of its switches");
    let translated = process::output("SAM's translator", &mut tools::sam_translator(workspace)?)?;
    let translations: Vec<Translation> =
        serde_json::from_str(&translated).context("SAM's translator printed no JSON")?;
    say(format_args!("{} combinations", translations.len()));
    for (rule, problems) in RULES {
        // A problem that many combinations have is told once.
        let mut found = BTreeMap::new();
        for translation in &translations {
            for problem in problems(translation) {
                found.entry(problem).or_insert(&translation.switches);
            }
        }
        verdict.of(rule, found.into_iter().map(|(problem, switches)| format!("{problem} (with {switches})")));
    }
    verdict.of("every function has a sample event", without_event(&translations, &workspace.root.join("events")));
    Ok((verdict, translations))
}

/// Translations that have each resource in each form it takes in any of them: linters look at resources one by one, and how they refer to
/// one another is checked in all.
fn every_form(translations: &[Translation]) -> Vec<&Translation> {
    let mut seen = HashSet::new();
    let mut has_news = |translation: &&Translation| {
        let forms = translation.resources().map(|(name, resource)| format!("{name} {resource}"));
        forms.fold(false, |news, form| seen.insert(form) | news)
    };
    translations.iter().filter(|translation| has_news(translation)).collect()
}

/// A Lambda function: its logical id, its name without the stack's, and its properties.
struct Function<'a> {
    id: &'a str,
    name: &'a str,
    properties: &'a Value,
}

impl Function<'_> {
    fn variable(&self, name: &str) -> &Value {
        &self.properties["Environment"]["Variables"][name]
    }

    fn has(&self, variable: &str) -> bool {
        !matches!(self.variable(variable).as_str(), Some("")) && !self.variable(variable).is_null()
    }
}

impl Translation {
    fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.template["Resources"].as_object().into_iter().flatten().map(|(name, resource)| (name.as_str(), resource))
    }

    fn resource(&self, name: &str) -> &Value {
        &self.template["Resources"][name]
    }

    /// The logical ids and properties of the resources of a type.
    fn of_type(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.resources()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id, &resource["Properties"]))
    }

    fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        self.of_type("AWS::Lambda::Function").map(|(id, properties)| {
            let name = properties["FunctionName"]["Fn::Sub"].as_str().unwrap_or_default();
            Function { id, name: name.strip_prefix("${AWS::StackName}-").unwrap_or(id), properties }
        })
    }
}

fn dangling(translation: &Translation) -> Vec<String> {
    let there: HashSet<&str> = translation.resources().map(|(name, _)| name).collect();
    let named = translation.resources().flat_map(|(name, resource)| {
        references(resource).into_iter().map(move |reference| (name.to_owned(), reference))
    });
    let outputs =
        references(&translation.template["Outputs"]).into_iter().map(|reference| ("an output".into(), reference));
    let dangling = named.chain(outputs).filter(|(_, to)| !to.starts_with("AWS::") && !there.contains(to.as_str()));
    dangling.map(|(from, to)| format!("{from} refers to {to}")).collect()
}

/// The names that are referred to anywhere in it.
fn references(node: &Value) -> Vec<String> {
    match node {
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(fields) => match fields.iter().next() {
            Some((name, Value::String(to))) if name == "Ref" => vec![to.clone()],
            Some((name, Value::Array(to))) if name == "Fn::GetAtt" => to.first().and_then(text).into_iter().collect(),
            Some((name, Value::String(to))) if name == "Fn::Sub" => placeholders(to).map(str::to_owned).collect(),
            Some((name, Value::Array(to))) if name == "Fn::Sub" => {
                let given = to.get(1).and_then(Value::as_object);
                let text = to.first().and_then(Value::as_str).unwrap_or_default();
                let named = placeholders(text).filter(|name| given.is_none_or(|given| !given.contains_key(*name)));
                named.map(str::to_owned).chain(given.into_iter().flat_map(Map::values).flat_map(references)).collect()
            }
            _ => {
                let awaited = fields.get("DependsOn").into_iter().flat_map(|names| match names {
                    Value::Array(names) => names.iter().filter_map(text).collect(),
                    name => text(name).into_iter().collect::<Vec<_>>(),
                });
                awaited.chain(fields.values().flat_map(references)).collect()
            }
        },
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `A` and `B` in "${A.Arn}/${B}".
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split(['}', '.']).next())
}

fn without_log(translation: &Translation) -> Vec<String> {
    let kept = |function: &Function| {
        let log = function.properties["LoggingConfig"]["LogGroup"]["Ref"].as_str().unwrap_or_default();
        let log = translation.resource(log);
        log["Type"] == "AWS::Logs::LogGroup" && !log["Properties"]["RetentionInDays"].is_null()
    };
    translation.functions().filter(|function| !kept(function)).map(|function| function.name.to_owned()).collect()
}

fn without_alarm(translation: &Translation) -> Vec<String> {
    let watches = |function: &Function, metric: &str| {
        let of_it = json!([{ "Name": "FunctionName", "Value": { "Ref": function.id } }]);
        let most =
            if metric == "Duration" { function.properties["Timeout"].as_u64().unwrap_or_default() * 800 } else { 0 };
        translation.of_type("AWS::CloudWatch::Alarm").any(|(_, alarm)| {
            let of_it = alarm["Dimensions"] == of_it && alarm["MetricName"] == metric;
            of_it && alarm["Threshold"] == most && alarm["AlarmActions"] == json!([{ "Ref": "Alarms" }])
        })
    };
    let missing = |function: Function<'_>| {
        let metrics = ["Errors", "Throttles", "Duration"].into_iter().filter(|metric| !watches(&function, metric));
        metrics.map(|metric| format!("{} ({metric})", function.name)).collect::<Vec<_>>()
    };
    translation.functions().flat_map(missing).collect()
}

fn overprivileged(translation: &Translation) -> Vec<String> {
    const MANAGED: [&str; 2] = ["AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole"];
    let mut problems = Vec::new();
    let mut roles = BTreeSet::new();
    for function in translation.functions() {
        let name = function.name;
        let role = function.properties["Role"]["Fn::GetAtt"][0].as_str().unwrap_or_default();
        if !roles.insert(role) {
            problems.push(format!("{name} shares its role with another function"));
        }
        let role = &translation.resource(role)["Properties"];
        if role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
            != json!({ "Service": ["lambda.amazonaws.com"] })
        {
            problems.push(format!("others than Lambda may take the role of {name}"));
        }
        let managed = list(&role["ManagedPolicyArns"]).filter_map(Value::as_str);
        let foreign = managed.filter(|arn| !MANAGED.iter().any(|known| arn.ends_with(&format!("/{known}"))));
        problems.extend(foreign.map(|arn| format!("{name} has the policy {arn}")));

        let mut services = BTreeSet::new();
        for statement in list(&role["Policies"]).flat_map(|policy| list(&policy["PolicyDocument"]["Statement"])) {
            for action in list(&statement["Action"]).filter_map(Value::as_str) {
                services.insert(action.split(':').next().unwrap_or_default());
                if !may(action, statement) {
                    problems.push(format!("{name} may {action}, as {statement}"));
                }
            }
        }
        let needs = [
            ("dynamodb", function.has("STATE_TABLE")),
            ("rds-db", function.variable("DATABASE_AUTH") == "iam"),
            ("ses", function.has("MAIL_FROM")),
        ];
        let needs = needs.into_iter().filter(|(_, needed)| *needed).map(|(service, _)| service).collect();
        if services != needs {
            problems.push(format!("{name} may use {services:?}, its environment {needs:?}"));
        }
    }
    problems
}

/// Whether an action, on these resources and conditions, is one that a function of ours needs.
fn may(action: &str, statement: &Value) -> bool {
    const OURS: &str = "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}";
    const LOGIN: &str =
        "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${Postgres.DbiResourceId}/jwt_auth";
    let sub = |text: String| json!({ "Fn::Sub": text });
    let (on, condition) = match action {
        "rds-db:connect" => (sub(LOGIN.to_owned()), Value::Null),
        "dynamodb:BatchGetItem" | "dynamodb:UpdateItem" | "dynamodb:DeleteItem" => {
            (json!({ "Fn::GetAtt": ["StateTable", "Arn"] }), Value::Null)
        }
        "ses:SendEmail" => {
            let set = sub(format!("{OURS}:configuration-set/${{MailConfiguration}}"));
            let from = json!({ "StringEquals": { "ses:FromAddress": "no-reply@example.com" } });
            // In its sandbox, SES asks for permission on the identity of the recipient, too.
            (json!([sub(format!("{OURS}:identity/*")), set]), from)
        }
        _ => return false,
    };
    statement["Effect"] == "Allow" && statement["Resource"] == on && statement["Condition"] == condition
}

/// The items of a list, or the one thing that stands for a list of one.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    let (items, one) = match value {
        Value::Array(items) => (items.as_slice(), None),
        Value::Null => (&[][..], None),
        one => (&[][..], Some(one)),
    };
    items.iter().chain(one)
}

fn too_large(translation: &Translation) -> Vec<String> {
    let size = |function: &Function| -> usize {
        let variables = function.properties["Environment"]["Variables"].as_object().into_iter().flatten();
        variables.map(|(name, value)| name.len() + estimate(name, value)).sum()
    };
    let sizes = translation.functions().map(|function| (function.name, size(&function)));
    sizes.filter(|(_, size)| *size >= 4096).map(|(name, size)| format!("{name} has about {size} bytes")).collect()
}

/// About how many bytes a variable has once what it refers to is put in.
fn estimate(name: &str, value: &Value) -> usize {
    const NAME: usize = 80;
    match (name, value.as_str().or(value["Fn::Sub"].as_str())) {
        (_, Some("")) => 0,
        // PEM: RSA of 2048 bits, and two public keys of that size.
        ("JWT_PRIVATE_KEY", _) => 1800,
        ("JWT_ADDITIONAL_PUBLIC_KEYS", _) => 2 * 460,
        ("JWT_SECRET_KEY" | "JWT_ADDITIONAL_SECRET_KEYS", _) => 64,
        (_, Some(text)) => text.len() + NAME * (text.matches("${").count() + text.matches("{{resolve:").count()),
        (_, None) => NAME,
    }
}

fn not_live(translation: &Translation) -> Vec<String> {
    let mut problems = Vec::new();
    for function in translation.functions() {
        let alias = &translation.resource(&format!("{}Aliaslive", function.id))["Properties"];
        let version = alias["FunctionVersion"]["Fn::GetAtt"][0].as_str().unwrap_or_default();
        let version = &translation.resource(version)["Properties"];
        if alias["Name"] != "live" || version["FunctionName"]["Ref"] != function.id {
            problems.push(format!("{} has no version `live`", function.name));
        }
        let settings = &function.properties["Description"];
        if settings.is_null() || version["Description"] != *settings {
            problems.push(format!("other settings would publish no version of {}", function.name));
        }
    }
    let lives = |id: Option<&str>| id.is_some_and(|id| id.ends_with("Aliaslive"));
    let paths = &translation.resource("Api")["Properties"]["Body"]["paths"];
    for (path, operations) in paths.as_object().into_iter().flatten() {
        for operation in operations.as_object().into_iter().flatten().map(|(_, operation)| operation) {
            let uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"].as_str().unwrap_or_default();
            if !uri.ends_with("Aliaslive}/invocations") {
                problems.push(format!("{path} leads to {uri}"));
            }
        }
    }
    if !authorizer(translation)["authorizerUri"].to_string().ends_with("-authorizer:live\"}}]}") {
        problems.push("API Gateway asks another version of the authorizer".to_owned());
    }
    for (id, permission) in translation.of_type("AWS::Lambda::Permission") {
        if !lives(permission["FunctionName"]["Ref"].as_str()) {
            problems.push(format!("{id} is about another version"));
        }
    }
    for (id, rule) in translation.of_type("AWS::Events::Rule") {
        if !list(&rule["Targets"]).all(|target| lives(target["Arn"]["Ref"].as_str())) {
            problems.push(format!("{id} calls another version"));
        }
    }
    problems
}

fn authorizer(translation: &Translation) -> &Value {
    let schemes = &translation.resource("Api")["Properties"]["Body"]["components"]["securitySchemes"];
    &schemes["Authorizer"]["x-amazon-apigateway-authorizer"]
}

fn indiscreet(translation: &Translation) -> Vec<String> {
    let mut problems = Vec::new();
    // SAM leaves the time out unless told, and API Gateway then keeps a decision for five minutes.
    let kept = &authorizer(translation)["authorizerResultTtlInSeconds"];
    if kept != 0 {
        problems.push(format!("a decision is kept for {kept} seconds: it would outlive a logout"));
    }
    for (_, stage) in translation.of_type("AWS::ApiGatewayV2::Stage") {
        let format = stage["AccessLogSettings"]["Format"].as_str().unwrap_or_default();
        if !format.contains("$context.routeKey") {
            problems.push("requests are not written down by their route".to_owned());
        }
        if ["path", "protocol", "$input", "$request"].iter().any(|word| format.to_lowercase().contains(word)) {
            problems.push("what is written down may hold a reset token".to_owned());
        }
        if stage["DefaultRouteSettings"]["ThrottlingRateLimit"].is_null() {
            problems.push("requests are not throttled".to_owned());
        }
    }
    problems
}

fn astray(translation: &Translation) -> Vec<String> {
    let asks_ours = |function: &Function| function.variable("DATABASE_URL").to_string().contains("${Postgres.");
    let astray = translation.functions().filter(|each| asks_ours(each) == each.properties["VpcConfig"].is_null());
    let mut problems: Vec<_> = astray.map(|function| function.name.to_owned()).collect();
    for group in ["PostgresGroup", "SesGroup"] {
        for rule in list(&translation.resource(group)["Properties"]["SecurityGroupIngress"]) {
            if rule["SourceSecurityGroupId"]["Ref"] != "FunctionsGroup" {
                problems.push(format!("others than functions reach what {group} guards"));
            }
        }
    }
    let ways_out =
        ["NatGateway", "InternetGateway", "EgressOnlyInternetGateway", "Route"].map(|kind| format!("AWS::EC2::{kind}"));
    let out = ways_out.iter().flat_map(|kind| translation.of_type(kind));
    problems.extend(out.map(|(id, _)| format!("{id} leads out of the network")));
    problems
}

fn at_risk(translation: &Translation) -> Vec<String> {
    let mut problems = Vec::new();
    for (id, database) in translation.of_type("AWS::RDS::DBInstance") {
        let resource = translation.resource(id);
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            if resource[policy] != "Snapshot" {
                problems.push(format!("{id} has no {policy}: Snapshot"));
            }
        }
        for (property, wanted) in [
            ("StorageEncrypted", true),
            ("DeletionProtection", true),
            ("EnableIAMDatabaseAuthentication", true),
            ("PubliclyAccessible", false),
        ] {
            if database[property] != wanted {
                problems.push(format!("{id} should have {property}: {wanted}"));
            }
        }
        let settings = translation.resource(database["DBParameterGroupName"]["Ref"].as_str().unwrap_or_default());
        for (setting, wanted) in
            [("rds.force_ssl", "1"), ("log_parameter_max_length", "0"), ("log_error_verbosity", "terse")]
        {
            if settings["Properties"]["Parameters"][setting] != wanted {
                problems.push(format!("{id} should have {setting} = {wanted}"));
            }
        }
    }
    problems
}

fn without_event(translations: &[Translation], events: &Path) -> Vec<String> {
    let functions = translations.iter().flat_map(Translation::functions).map(|function| function.name);
    let names: BTreeSet<_> = functions.collect();
    names.into_iter().filter(|name| !events.join(format!("{name}.json")).is_file()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_found_in_whatever_way_it_is_made() {
        let resource = json!({ "DependsOn": ["A"], "Properties": {
            "One": { "Ref": "B" },
            "Two": [{ "Fn::GetAtt": ["C", "Arn"] }],
            "Three": { "Fn::Sub": "x/${D.Arn}/${E}" },
            "Four": { "Fn::Sub": ["${Given}/${F}", { "Given": { "Ref": "G" } }] },
        } });
        let found: BTreeSet<_> = references(&resource).into_iter().collect();
        assert_eq!(found, ["A", "B", "C", "D", "E", "F", "G"].map(str::to_owned).into());
    }

    #[test]
    fn a_reference_is_as_large_as_what_it_stands_for() {
        assert_eq!(estimate("JWT_PRIVATE_KEY", &json!("")), 0);
        assert_eq!(estimate("JWT_PRIVATE_KEY", &json!("{{resolve:secretsmanager:key}}")), 1800);
        assert!(estimate("DATABASE_URL", &json!({ "Fn::Sub": "postgres://${Postgres.Endpoint.Address}" })) > 100);
    }
}
