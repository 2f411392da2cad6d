//! The fingerprint of what a deployment deploys.

use std::collections::BTreeMap;

use toolkit::workspace::fingerprint;

use crate::{package::Package, templates::Parameters};

/// The package of each function, by the function's name.
pub type Packages = BTreeMap<String, Package>;

/// Identifies the code, the template (by its fingerprint) and the parameters of a deployment. Lambda and CloudFormation publish a new version
/// only if the function has changed. The fingerprint is in each function's description, so they publish a new version whenever the
/// fingerprint changes. It is short, because a description has at most 256 characters.
///
/// The versions that an update published remain after it was rolled back, and CloudFormation would refuse to publish the same code with the
/// same description again. So the time of the failed update is part of the next fingerprint.
pub fn build_fingerprint(packages: &Packages, template: &str, parameters: &Parameters, failed_at: &str) -> String {
    let packages: String = packages.values().map(|package| &*package.sha256).collect();
    fingerprint(format!("{packages} {template} {parameters:?}{failed_at}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Packages, Parameters, build_fingerprint};

    #[test]
    fn another_template_or_parameter_and_a_failure_give_another_fingerprint() {
        let of = |template: &str, length: &str, failed_at: &str| {
            let parameters = Parameters::from([("PasswordMinLength".to_owned(), length.to_owned())]);
            build_fingerprint(&Packages::new(), template, &parameters, failed_at)
        };
        assert_eq!(of("a", "15", ""), of("a", "15", ""));
        assert_ne!(of("a", "15", ""), of("a", "16", ""));
        assert_ne!(of("a", "15", ""), of("b", "15", ""));
        assert_ne!(of("a", "15", ""), of("a", "15", "2026-11-24"));
    }
}
