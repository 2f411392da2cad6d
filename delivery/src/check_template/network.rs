//! Checks of the database's network.

use serde_json::{Value, json};
use toolkit::endpoints::Endpoint;

use super::{
    rule::{Rule, Violation},
    translation::{Translation, list},
};

pub const OF_THE_APPLICATION: Rule = Rule {
    says: "functions that use the database are in its subnets, if it has subnets, and other functions are in no network",
    problems: wrong_subnets,
    violations: &[
        Violation("/Resources/Signin/Properties/VpcConfig", "null"),
        Violation("/Resources/Signin/Properties/VpcConfig/SubnetIds", r#""subnet-0aaaaaaa,subnet-0bbbbbbb""#),
        Violation("/Resources/Welcome/Properties/VpcConfig", r#"{ "SubnetIds": ["subnet-0aaaaaaa"] }"#),
    ],
};

pub const OF_THE_DATABASE: Rule = Rule {
    says: "nothing connects the database's network with the internet, and only functions reach what is in it",
    problems: |translation, _| wrong_connections(translation),
    violations: &[
        Violation("/Resources/Gateway", r#"{ "Type": "AWS::EC2::NatGateway" }"#),
        Violation("/Resources/PostgresGroup/Properties/SecurityGroupIngress/0", r#"{ "CidrIp": "0.0.0.0/0" }"#),
        Violation("/Resources/SesGroup/Properties/SecurityGroupIngress/0/SourceSecurityGroupId", r#""sg-another""#),
        Violation("/Resources/PostgresGroup/Properties/SecurityGroupIngress/0/ToPort", "65535"),
        Violation("/Resources/FunctionsGroup/Properties/SecurityGroupEgress", "null"),
        Violation("/Resources/FunctionsGroup/Properties/SecurityGroupEgress/0/ToPort", "65535"),
        Violation("/Resources/Postgres/Properties/VPCSecurityGroups", r#"["sg-default"]"#),
    ],
};

fn wrong_subnets(translation: &Translation, endpoints: &[Endpoint]) -> Vec<String> {
    let ids =
        |parameter: &str| translation.parameters[parameter].as_str().map(|ids| ids.split(',').collect::<Vec<_>>());
    let network = ids("DatabaseSubnets").map_or(
        Value::Null,
        |subnets| json!({ "SubnetIds": subnets, "SecurityGroupIds": ids("DatabaseSecurityGroups") }),
    );
    let wrong = translation.functions().filter_map(|function| {
        let uses_database = function.endpoint(endpoints)?.uses_database(translation.session_store());
        let wanted = if uses_database { &network } else { &Value::Null };
        let found = &function.properties["VpcConfig"];
        (found != wanted).then(|| format!("{} has the VpcConfig {found} instead of {wanted}", function.name))
    });
    wrong.collect()
}

fn wrong_connections(translation: &Translation) -> Vec<String> {
    let ways_out = [
        "NatGateway",
        "InternetGateway",
        "EgressOnlyInternetGateway",
        "Route",
        "VPCPeeringConnection",
        "TransitGateway",
    ];
    let ways_out = ways_out.map(|kind| format!("AWS::EC2::{kind}"));
    let found = ways_out.iter().flat_map(|kind| translation.of_type(kind));
    let mut problems: Vec<_> =
        found.map(|(id, _)| format!("{id} connects the database's network with another network")).collect();
    for (group, port) in [("PostgresGroup", 5432), ("SesGroup", 443)] {
        let is_right = |rule: &Value| rule["SourceSecurityGroupId"]["Ref"] == "FunctionsGroup" && is_only(rule, port);
        if !list(&translation.resource(group)["Properties"]["SecurityGroupIngress"]).all(is_right) {
            problems.push(format!("{group} accepts connections from others than the functions, or to other ports"));
        }
    }
    // A security group without rules for outgoing connections allows all of them.
    let leaving: Vec<_> = list(&translation.resource("FunctionsGroup")["Properties"]["SecurityGroupEgress"]).collect();
    if leaving.is_empty() || !leaving.iter().all(|rule| is_only(rule, 5432) || is_only(rule, 443)) {
        problems.push("FunctionsGroup may reach other ports than those of PostgreSQL and HTTPS".to_owned());
    }
    if translation.resource("Postgres")["Properties"]["VPCSecurityGroups"] != json!([{ "Ref": "PostgresGroup" }]) {
        problems.push("the database is not in PostgresGroup".to_owned());
    }
    problems
}

/// Whether a rule of a security group allows one port only.
fn is_only(rule: &Value, port: u16) -> bool {
    rule["IpProtocol"] == "tcp" && rule["FromPort"] == port && rule["ToPort"] == port
}
