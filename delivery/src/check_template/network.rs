//! The network of the database.

use super::translation::{Function, Translation, list};

/// Functions outside the network of their database, and ways out of or into that network.
pub fn wrong_connections(translation: &Translation) -> Vec<String> {
    let uses_own_database = |function: &Function| function.variable("DATABASE_URL").to_string().contains("${Postgres.");
    let outside =
        translation.functions().filter(|each| uses_own_database(each) == each.properties["VpcConfig"].is_null());
    let mut problems: Vec<_> = outside
        .map(|function| format!("{} is in the network without the database, or uses it from outside", function.name))
        .collect();
    for group in ["PostgresGroup", "SesGroup"] {
        for rule in list(&translation.resource(group)["Properties"]["SecurityGroupIngress"]) {
            if rule["SourceSecurityGroupId"]["Ref"] != "FunctionsGroup" {
                problems.push(format!("{group} admits others than functions"));
            }
        }
    }
    let gateways =
        ["NatGateway", "InternetGateway", "EgressOnlyInternetGateway", "Route"].map(|kind| format!("AWS::EC2::{kind}"));
    let found = gateways.iter().flat_map(|kind| translation.of_type(kind));
    problems.extend(found.map(|(id, _)| format!("{id} connects the network with the internet")));
    problems
}
