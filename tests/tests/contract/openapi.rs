//! `openapi.yaml` has the refusals of the code and no others. The journeys check that each route answers only with the refusals listed for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::{
    domain::{Rule, TooMany},
    error::ApiError,
    security::policy,
};
use tests::documents::{self, OPENAPI};

fn refusals() -> Vec<ApiError> {
    let rules = [
        Rule::NameTooLong,
        Rule::NameHasControlCharacters,
        Rule::EmailTooLong,
        Rule::EmailInvalid,
        Rule::LocaleUnknown,
        Rule::PasswordTooShort { min_length: policy::PASSWORD_MIN_LENGTH },
        Rule::PasswordTooLong { max_length: policy::PASSWORD_MAX_LENGTH },
        Rule::PasswordHasNul,
        Rule::PasswordTooCommon,
        Rule::PasswordContainsAccount { run_length: policy::PASSWORD_CONTEXT_LENGTH },
    ];
    let others = [
        ApiError::UnsupportedMediaType,
        ApiError::InvalidHeaders,
        ApiError::InvalidJson,
        ApiError::PayloadTooLarge,
        ApiError::MissingRequiredFields,
        ApiError::UserAlreadyExists,
        ApiError::MissingEmailOrPassword,
        ApiError::InvalidCredentials,
        ApiError::WrongPassword,
        ApiError::ReauthenticationRequired { with_second_factor: false },
        ApiError::CodeAlreadyUsed,
        ApiError::MissingFactor,
        ApiError::SecondFactorRequired,
        ApiError::InvalidMfaToken,
        ApiError::TotpExists,
        ApiError::TotpNotFound,
        ApiError::NoSecondFactor,
        ApiError::PasskeyRejected,
        ApiError::PasskeyExists,
        ApiError::TooManyPasskeys,
        ApiError::PasskeyNotFound,
        ApiError::PasskeysNotConfigured,
        ApiError::SessionNotFound,
        ApiError::EmailRequired,
        ApiError::EmailUnchanged,
        ApiError::NewPasswordRequired,
        ApiError::InvalidOrExpiredToken,
        ApiError::InvalidCode,
        ApiError::EmailNotVerified,
        ApiError::MissingAuthorization,
        ApiError::TokenExpired,
        ApiError::TokenRevoked,
        ApiError::InvalidToken,
        ApiError::InvalidRefreshToken,
        ApiError::UserNotFound,
        ApiError::TooManyAttempts(TooMany { retry_after: 30, reset_helps: false }),
        ApiError::NoBearerToken,
        ApiError::ServiceUnavailable("a cause".into()),
        ApiError::Internal("a cause".into()),
    ];
    others.into_iter().chain(rules.into_iter().map(ApiError::Rule)).collect()
}

#[test]
fn openapi_documents_every_refusal_and_no_other() {
    let documented: BTreeMap<String, Value> = OPENAPI["components"]["examples"]
        .as_object()
        .expect("components/examples")
        .iter()
        .map(|(code, example)| (code.clone(), example["value"].clone()))
        .collect();
    let coded: BTreeMap<String, Value> = refusals()
        .iter()
        .map(|refusal| {
            let code = refusal.code();
            (code.to_owned(), json!({ "message": refusal.to_string(), "code": code }))
        })
        .collect();
    assert_eq!(documented, coded);
}

#[test]
fn the_schema_of_refusals_names_every_code_and_no_other() {
    let named = OPENAPI["components"]["schemas"]["Refusal"]["properties"]["code"]["enum"].as_array().expect("an enum");
    let named: BTreeSet<&str> = named.iter().filter_map(Value::as_str).collect();
    let coded: BTreeSet<&str> = refusals().iter().map(ApiError::code).collect();
    assert_eq!(named, coded);
}

#[test]
fn every_example_of_a_body_is_as_its_schema_says() {
    let mut checked = 0;
    for (path, operations) in OPENAPI["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let answers = operation["responses"].as_object().into_iter().flatten().map(|(_, answer)| answer);
            for media_type in answers
                .chain(operation.get("requestBody"))
                .flat_map(|body| body["content"].as_object().into_iter().flatten().map(|(_, media_type)| media_type))
            {
                let schema = documents::validator(&media_type["schema"]);
                for example in documents::examples(media_type) {
                    let problem = schema.validate(&example).err().map(|error| error.to_string());
                    assert_eq!(problem, None, "{method} {path}: {example}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > refusals().len(), "examples are checked");
}

#[test]
fn every_refusal_is_listed_under_its_own_status() {
    let statuses: BTreeMap<&str, String> =
        refusals().iter().map(|refusal| (refusal.code(), refusal.status().as_u16().to_string())).collect();
    let mut listed = 0;
    for (path, operations) in OPENAPI["paths"].as_object().expect("paths") {
        for operation in operations.as_object().expect("operations").values().filter(|operation| operation.is_object())
        {
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let examples = response["content"]["application/json"]["examples"].as_object();
                for example in examples.into_iter().flatten().map(|(_, example)| &example["value"]) {
                    if let Some(code) = example["code"].as_str() {
                        assert_eq!(&statuses[code], status, "{code} at {path}");
                        listed += 1;
                    }
                }
            }
        }
    }
    assert!(listed > refusals().len(), "refusals are listed");
}
