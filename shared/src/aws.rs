//! What the clients of AWS services share.

use aws_config::{BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider};
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::environment::{ConfigError, Environment};

/// What the clients of all services have in common: the region in `AWS_REGION`, and the credentials in the variables that Lambda sets
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
///
/// `aws_config::load_defaults` would also look for files, containers and instances with credentials. This would make each function that uses AWS
/// 400 KiB larger and its start slower.
#[must_use]
pub fn sdk_config(env: &Environment) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(env.optional("AWS_REGION").map(|region| Region::new(region.to_owned())))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .build()
}

/// The same, with the endpoint of one service ([`endpoint`]).
///
/// # Errors
/// If the endpoint is malformed.
pub fn sdk_config_of(env: &Environment, variable_of_service: &'static str) -> Result<SdkConfig, ConfigError> {
    let mut config = sdk_config(env).into_builder();
    config.set_endpoint_url(endpoint(env, variable_of_service)?);
    Ok(config.build())
}

/// The endpoint of one service, from its own variable or from `AWS_ENDPOINT_URL`. `None` if neither is set. The SDK then chooses the endpoint.
///
/// The SDK can read these variables too, but it panics if the value of one is empty.
///
/// # Errors
/// If it is not an http(s) URL.
fn endpoint(env: &Environment, variable_of_service: &'static str) -> Result<Option<String>, ConfigError> {
    let of_service = env.http_url(variable_of_service)?;
    let url = if of_service.is_some() { of_service } else { env.http_url("AWS_ENDPOINT_URL")? };
    Ok(url.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_own_endpoint_comes_first_and_an_empty_one_counts_as_unset() {
        let endpoint = |ses: &str, any: &str| {
            let env = Environment::with(&[("AWS_ENDPOINT_URL_SES", ses), ("AWS_ENDPOINT_URL", any)]);
            endpoint(&env, "AWS_ENDPOINT_URL_SES")
        };
        assert_eq!(endpoint("", ""), Ok(None));
        assert_eq!(endpoint("", "http://any"), Ok(Some("http://any".to_owned())));
        assert_eq!(endpoint("http://ses", "http://any"), Ok(Some("http://ses".to_owned())));
        assert!(endpoint("", "localhost:8005").is_err());
    }
}
