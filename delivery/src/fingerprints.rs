//! The fingerprint of what a deployment deploys.

use std::collections::BTreeMap;

use toolkit::workspace::fingerprint;

use crate::{package::Package, templates::Parameters};

/// The package of each function, by the function's name.
pub type Packages = BTreeMap<String, Package>;

/// Identifies the code, the template (by its fingerprint) and the parameters of a deployment. Lambda and CloudFormation publish a new version
/// only if the function has changed. The fingerprint is in each function's description, so they publish a new version whenever the
/// fingerprint changes. A description has at most 256 characters.
pub fn build_fingerprint(packages: &Packages, template: &str, parameters: &Parameters) -> String {
    let packages: String = packages.values().map(|package| &*package.sha256).collect();
    fingerprint(format!("{packages} {template} {parameters:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Packages, Parameters, build_fingerprint};

    #[test]
    fn another_template_or_parameter_gives_another_fingerprint() {
        let of = |template: &str, length: &str| {
            let parameters = Parameters::from([("PasswordMinLength".to_owned(), length.to_owned())]);
            build_fingerprint(&Packages::new(), template, &parameters)
        };
        assert_eq!(of("a", "15"), of("a", "15"));
        assert_ne!(of("a", "15"), of("a", "16"));
        assert_ne!(of("a", "15"), of("b", "15"));
    }
}
