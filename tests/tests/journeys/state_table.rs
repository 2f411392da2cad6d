//! What each operation on a session in DynamoDB costs: round trips, and read and write units.

use std::{collections::BTreeSet, time::Duration};

use tests::{DynamoDbRequest, Stack, Store::DynamoDb, Tokens};

use crate::support::{assert_role_allows, get_example};

/// The costs of one operation.
#[derive(Debug)]
struct Costs {
    trips: usize,
    reads: f64,
    writes: f64,
    /// The requests in each trip.
    requests: String,
}

/// The costs of all requests except the first `before` ones.
fn costs(requests: &[DynamoDbRequest], before: usize) -> Costs {
    let requests = &requests[before..];
    let units = |reads: bool| -> f64 {
        let is_read = |operation: &str| ["BatchGetItem", "GetItem", "Query"].contains(&operation);
        requests
            .iter()
            .filter(|request| is_read(&request.operation) == reads)
            .map(|request| request.units)
            .fold(0.0, |sum, units| sum + units)
    };
    let trips: BTreeSet<_> = requests.iter().map(|request| request.trip).collect();
    let names = trips.iter().map(|trip| {
        let of_trip = requests.iter().filter(|request| request.trip == *trip);
        let mut names: Vec<_> = of_trip.map(|request| request.operation.as_str()).collect();
        names.sort_unstable();
        names.join(" and ")
    });
    let names: Vec<_> = names.collect();
    Costs { trips: trips.len(), reads: units(true), writes: units(false), requests: names.join(", then ") }
}

/// Asserts that each operation needs at most the documented trips (`docs/architecture.md`) and units (`docs/scaling.md`).
#[tokio::test]
async fn every_operation_makes_the_documented_round_trips_to_dynamodb() {
    let stack = Stack::builder().state_in(DynamoDb).processes(1).start().await;
    let table = stack.state_table.as_ref().unwrap();
    let ada = stack.user("Ada").await;
    // Opens the connections of the functions. The delay below makes requests that are sent together overlap, so they count as one trip.
    let first = ada.signs_in().await;
    assert_eq!(get_example(&stack, &first.access).await.status, 200);
    table.set_delay(Duration::from_millis(50));
    let head = "| operation | trips | read units | write units | requests |\n| --- | --- | --- | --- | --- |";
    let mut rows = vec![head.to_owned()];
    let mut check = |function: &str, operation: &str, before: usize, trips: usize, reads: f64, writes: f64| {
        assert_role_allows(function, &table.requests()[before..]);
        let found = costs(&table.requests(), before);
        let Costs { reads: found_reads, writes: found_writes, requests, .. } = &found;
        rows.push(format!("| {operation} | {} | {found_reads} | {found_writes} | {requests} |", found.trips));
        assert!(found.trips <= trips && *found_reads <= reads && *found_writes <= writes, "{operation}: {found:?}");
    };

    let before = table.requests().len();
    let tokens = ada.signs_in().await;
    // One of the trips is made while the password is verified.
    check("signin", "sign-in", before, 3, 9.0, 7.0);

    let before = table.requests().len();
    assert_eq!(ada.with_password("a guess").tries_to_sign_in().await.status, 401);
    check("signin", "sign-in, wrong password", before, 2, 5.0, 3.0);

    let before = table.requests().len();
    assert_eq!(get_example(&stack, &tokens.access).await.status, 200);
    check("authorizer", "authorizer", before, 1, 2.0, 0.0);

    let before = table.requests().len();
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200);
    check("dashboard", "dashboard", before, 1, 2.0, 0.0);

    let before = table.requests().len();
    let refreshed = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    check("refresh", "refresh", before, 2, 2.0, 1.0);

    let before = table.requests().len();
    let repeated = Tokens::from(&ada.refreshes(&tokens.refresh).await);
    assert_eq!(repeated.refresh, refreshed.refresh);
    check("refresh", "a repeated refresh", before, 3, 2.0, 1.0);

    let before = table.requests().len();
    assert_eq!(ada.logs_out(&tokens.access).await.status, 200);
    check("logout", "logout", before, 1, 1.0, 1.0);

    let mail = ada.receives_reset_mail(1).await;
    let before = table.requests().len();
    assert_eq!(ada.resets_password(&mail.token(), "another password").await.status, 200);
    check("reset-password", "reset-password", before, 2, 0.0, 2.0);

    let ada = ada.with_password("another password");
    let tokens = ada.signs_in().await;
    let before = table.requests().len();
    let link = ada.deletes_account_with_mail(&tokens.access, 3).await;
    check("account", "deletion of the account", before, 2, 2.0, 1.0);
    let before = table.requests().len();
    assert_eq!(ada.keeps_account(&link).await.status, 200);
    check("keep-account", "keep-account", before, 1, 0.0, 1.0);

    // The permissions of an erasure.
    ada.deletes_account_with_mail(&ada.signs_in().await.access, 4).await;
    stack.sql("UPDATE account_deletions SET erase_at = now()").await;
    let before = table.requests().len();
    assert_eq!(stack.sweep().await["accounts_erased"], 1);
    assert_role_allows("sweep", &table.requests()[before..]);
    eprintln!("{}", rows.join("\n"));
}
