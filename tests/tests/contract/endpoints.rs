//! Every file that describes the functions agrees with their Cargo.toml files.
//!
//! The check collects everything that is missing and fails once. Each line of its message says what to write, and where.

mod block;
mod connections;
mod documents;
mod events;
mod openapi;
mod template;

use tests::documents::endpoints;

// Requirement 43.
#[test]
fn every_endpoint_is_in_every_file_with_what_it_needs_and_nothing_more() {
    let endpoints = endpoints();
    let problems: Vec<String> = [
        template::problems(endpoints),
        connections::problems(endpoints),
        openapi::problems(endpoints),
        events::problems(endpoints),
        documents::problems(endpoints),
    ]
    .concat();
    assert!(
        problems.is_empty(),
        "\n\nThe Cargo.toml files of the functions and other files differ in {} places:\n\n- {}\n",
        problems.len(),
        problems.join("\n- ")
    );
}

/// The name of a function's resources in `template.yaml`: `ResetPassword` for `reset-password`.
fn logical_id(function: &str) -> String {
    let words = function.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}
