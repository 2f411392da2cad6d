use serde_json::json;

use super::{DataStack, Description, Parameters, Request, first_two};
use crate::templates::Template;

const APPLICATION: &str = "Parameters: { DatabaseUrlSecret: { Default: '' }, DatabaseAddress: { Default: '' },
        DatabaseSubnets: { Default: '' }, ReserveConcurrency: { Default: 'off' }, AlarmMail: { Default: '' } }";

const DATABASE: &str =
    "Parameters: { DatabaseClass: { Default: small }, DatabaseSnapshot: { Default: '' }, AlarmMail: {} }
Mappings: { Connections: { small: { Maximum: '60' }, medium: { Maximum: '200' }, large: { Maximum: '500' } } }";

fn parameters(of: &[(&str, &str)]) -> Parameters {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn request(given: &[(&str, &str)], with_database: bool) -> Request {
    Request {
        stage: "production".to_owned(),
        application: Template::parse("template.yaml", APPLICATION),
        database: Template::parse("database.yaml", DATABASE),
        given: parameters(given),
        with_database,
        signs_everybody_out: false,
    }
}

fn application(of: &[(&str, &str)]) -> Description {
    Description { parameters: parameters(of), ..Description::default() }
}

/// A database of the class `small`.
fn small() -> Description {
    let outputs = parameters(&[("DatabaseAddress", "host:5432/auth"), ("MaxConnections", "60")]);
    Description { outputs, ..Description::default() }
}

/// Whether the deployment deploys `database.yaml`, and whether the application uses this database afterwards.
fn decision(request: &Request, deployed: Option<Description>, of: &[(&str, &str)]) -> Result<[bool; 2], String> {
    let plan = DataStack::decide(request, "auth-database".to_owned(), deployed, &application(of));
    plan.map(|plan| [plan.is_deployed, plan.is_used]).map_err(|refusal| refusal.to_string())
}

#[test]
fn a_database_is_created_only_if_the_application_has_none() {
    let nothing = request(&[], false);
    assert_eq!(decision(&nothing, None, &[]), Ok([true, true]));
    assert_eq!(decision(&nothing, None, &[("DatabaseUrlSecret", "database")]), Ok([false, false]));
    assert_eq!(decision(&nothing, None, &[("DatabaseAddress", "host:5432/auth")]), Ok([false, false]));
    let secret = request(&[("DatabaseUrlSecret", "database")], false);
    assert_eq!(decision(&secret, None, &[]), Ok([false, false]));
    let no_secret = request(&[("DatabaseUrlSecret", "")], false);
    assert_eq!(decision(&no_secret, None, &[("DatabaseUrlSecret", "database")]), Ok([true, true]));
    let flag = request(&[], true);
    assert_eq!(decision(&flag, None, &[("DatabaseUrlSecret", "database")]), Ok([true, false]));
    let refusal = decision(&flag, None, &[("DatabaseAddress", "host:5432/auth")]).unwrap_err();
    assert!(refusal.contains("First let the application log in with a password"), "{refusal}");
    let gone = request(&[("DatabaseAddress", "")], true);
    assert_eq!(decision(&gone, None, &[("DatabaseAddress", "host:5432/auth")]), Ok([true, true]));
}

#[test]
fn a_database_is_changed_only_on_request() {
    assert_eq!(decision(&request(&[], false), Some(small()), &[]), Ok([false, true]));
    assert_eq!(decision(&request(&[("AlarmMail", "a")], false), Some(small()), &[]), Ok([false, true]));
    assert_eq!(decision(&request(&[("DatabaseClass", "large")], false), Some(small()), &[]), Ok([true, true]));
    assert_eq!(decision(&request(&[], true), Some(small()), &[]), Ok([true, true]));
}

#[test]
fn a_request_that_contradicts_what_is_deployed_is_refused() {
    let large = request(&[("DatabaseClass", "large")], false);
    let refusal = decision(&large, None, &[("DatabaseUrlSecret", "database")]).unwrap_err();
    assert!(refusal.contains("DatabaseClass") && refusal.contains("(DatabaseUrlSecret)"), "{refusal}");
    let address = request(&[("DatabaseAddress", "other:5432/auth")], false);
    let refusal = decision(&address, Some(small()), &[]).unwrap_err();
    assert!(refusal.contains("an output of the stack auth-database"), "{refusal}");
    let no_snapshot = request(&[("DatabaseSnapshot", "")], false);
    let restored = Description { parameters: parameters(&[("DatabaseSnapshot", "auth")]), ..small() };
    let refusal = decision(&no_snapshot, Some(restored), &[]).unwrap_err();
    assert!(refusal.contains("by an empty one"), "{refusal}");
    let snapshot = request(&[("DatabaseSnapshot", "auth")], false);
    let refusal = decision(&snapshot, Some(small()), &[]).unwrap_err();
    assert!(refusal.contains("--sign-everybody-out"), "{refusal}");
    let consent = Request { signs_everybody_out: true, ..snapshot };
    assert_eq!(decision(&consent, Some(small()), &[]), Ok([true, true]));
}

#[test]
fn a_change_to_another_database_needs_its_subnets() {
    let before = [("DatabaseAddress", "host:5432/auth"), ("DatabaseSubnets", "subnet-a")];
    let change = [("DatabaseUrlSecret", "database"), ("DatabaseAddress", "")];
    for deployed in [None, Some(small())] {
        let refusal = decision(&request(&change, false), deployed, &before).unwrap_err();
        assert!(refusal.contains("--set DatabaseSubnets=… --set DatabaseSecurityGroups=…"), "{refusal}");
    }
    for subnets in ["", "subnet-b"] {
        let with_subnets = [change[0], change[1], ("DatabaseSubnets", subnets)];
        assert_eq!(decision(&request(&with_subnets, false), Some(small()), &before), Ok([false, false]));
    }
    assert_eq!(decision(&request(&change, false), Some(small()), &before[..1]), Ok([false, false]));
}

#[test]
fn the_database_of_an_earlier_version_is_not_replaced_by_an_empty_one() {
    let earlier = [("Database", "create")];
    let refusal = decision(&request(&[], false), None, &earlier).unwrap_err();
    assert!(refusal.contains("From one stack to two"), "{refusal}");
    let from_snapshot = request(&[("DatabaseSnapshot", "auth")], false);
    assert_eq!(decision(&from_snapshot, None, &earlier), Ok([true, true]));
    let existing = [("Database", "existing"), ("DatabaseUrlSecret", "database")];
    assert_eq!(decision(&request(&[], false), None, &existing), Ok([false, false]));
}

#[test]
fn reserved_concurrency_needs_a_database_with_enough_connections() {
    let check = |given: &[(&str, &str)], deployed: Option<Description>, of: &[(&str, &str)]| {
        let request = request(given, false);
        let plan = DataStack::decide(&request, "auth-database".to_owned(), deployed, &application(of));
        plan.and_then(|plan| plan.check_connections(184)).map_err(|refusal| refusal.to_string())
    };
    let on = [("ReserveConcurrency", "on")];
    let refusal = check(&on, Some(small()), &[]).unwrap_err();
    assert!(refusal.contains("184 connections") && refusal.contains("would have 60"), "{refusal}");
    assert!(refusal.contains("--set DatabaseClass=medium"), "{refusal}");
    assert!(check(&on, None, &[]).is_err(), "the default class of a new database");
    assert!(check(&[], Some(small()), &on).is_err(), "an application that reserves already");
    assert_eq!(check(&[on[0], ("DatabaseClass", "medium")], Some(small()), &[]), Ok(()));
    assert!(check(&[("DatabaseClass", "small")], None, &on).is_err(), "a smaller class");
    assert_eq!(check(&on, None, &[("DatabaseUrlSecret", "database")]), Ok(()));
    assert_eq!(check(&[], Some(small()), &[]), Ok(()));
}

#[test]
fn two_zones_are_chosen_in_alphabetical_order() {
    assert_eq!(first_two(&json!(["c", "a", "b"])).as_deref(), Some("a,b"));
    assert_eq!(first_two(&json!(["c"])), None);
    assert_eq!(first_two(&json!(null)), None);
}
