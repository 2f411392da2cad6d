//! Checks of the database's network.

use super::translation::{Function, Translation, list};

/// Finds functions that must be in the database's network but are not, functions that are in it without a reason, and connections
/// between that network and others.
pub fn wrong_connections(translation: &Translation) -> Vec<String> {
    let uses_own_database = |function: &Function| function.variable("DATABASE_URL").to_string().contains("${Postgres.");
    let outside =
        translation.functions().filter(|each| uses_own_database(each) == each.properties["VpcConfig"].is_null());
    let mut problems: Vec<_> = outside
        .map(|function| {
            format!(
                "{} is in the database's network but does not use the database, or uses the database but is not in \
                 its network",
                function.name
            )
        })
        .collect();
    for group in ["PostgresGroup", "SesGroup"] {
        for rule in list(&translation.resource(group)["Properties"]["SecurityGroupIngress"]) {
            if rule["SourceSecurityGroupId"]["Ref"] != "FunctionsGroup" {
                problems.push(format!("{group} accepts connections from others than the functions"));
            }
        }
    }
    let gateways =
        ["NatGateway", "InternetGateway", "EgressOnlyInternetGateway", "Route"].map(|kind| format!("AWS::EC2::{kind}"));
    let found = gateways.iter().flat_map(|kind| translation.of_type(kind));
    problems.extend(found.map(|(id, _)| format!("{id} connects the database's network with the internet")));
    problems
}
