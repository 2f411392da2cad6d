//! Fingerprints of what is deployed, and the template with the packages in it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use toolkit::workspace::{Workspace, fingerprint};

use crate::package::Package;

/// The package of each function, by the function's name.
pub type Packages = BTreeMap<String, Package>;

/// The parameters of the template, by name, without `Build`, which is computed from the others.
pub type Parameters = BTreeMap<String, String>;

/// Identifies a template with its configuration.
pub fn template_fingerprint(workspace: &Workspace) -> Result<String> {
    let files = ["template.yaml", "samconfig.toml"].map(|file| fs::read(workspace.root.join(file)));
    let [template, settings] = files;
    Ok(fingerprint(&[template?, settings?].concat()))
}

/// The parameters of the stack. A given parameter (`NAME=value`) replaces the one with the same name, or is added.
pub fn parameters(stack: &Value, given: &[String]) -> Result<Parameters> {
    let kept = stack["Parameters"].as_array().into_iter().flatten().filter_map(|parameter| {
        Some((parameter["ParameterKey"].as_str()?.to_owned(), parameter["ParameterValue"].as_str()?.to_owned()))
    });
    let mut parameters: Parameters = kept.filter(|(name, _)| name != "Build").collect();
    for parameter in given {
        let (name, value) = parameter.split_once('=').with_context(|| format!("--set {parameter} has no ="))?;
        parameters.insert(name.to_owned(), value.to_owned());
    }
    Ok(parameters)
}

/// Identifies the code, the template and the parameters of a deployment. Lambda and CloudFormation publish a new version only if the
/// function has changed. The fingerprint is in each function's description, so they publish a new version whenever the fingerprint
/// changes. A description has at most 256 characters.
pub fn build_fingerprint(packages: &Packages, template: &str, parameters: &Parameters) -> String {
    let packages: String = packages.values().map(|package| &*package.sha256).collect();
    fingerprint(format!("{packages} {template} {parameters:?}").as_bytes())
}

/// Writes the template with the paths of the packages instead of the functions' folders, and returns the file.
pub fn packaged_template(workspace: &Workspace) -> Result<PathBuf> {
    let mut template = fs::read_to_string(workspace.root.join("template.yaml"))?;
    for name in &workspace.functions {
        let folder = format!("CodeUri: functions/{name}/\n");
        template = template.replace(&folder, &format!("CodeUri: {}\n", workspace.package(name).display()));
    }
    if let Some(line) = template.lines().find(|line| line.contains("CodeUri: functions/")) {
        bail!("template.yaml has `{}`, which is not the folder of a function", line.trim());
    }
    let folder = workspace.root.join(".aws-sam");
    fs::create_dir_all(&folder)?;
    let file = folder.join("packaged.yaml");
    fs::write(&file, template)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Packages, build_fingerprint, parameters};

    #[test]
    fn another_template_or_parameter_gives_another_fingerprint() {
        let stack = json!({ "Parameters": [
            { "ParameterKey": "Build", "ParameterValue": "before" },
            { "ParameterKey": "PasswordMinLength", "ParameterValue": "15" },
            { "ParameterKey": "MailFrom", "ParameterValue": "no-reply@example.com" },
        ] });
        let of = |template: &str, given: &[&str]| {
            let given: Vec<_> = given.iter().map(|given| (*given).to_owned()).collect();
            build_fingerprint(&Packages::new(), template, &parameters(&stack, &given).expect("parameters"))
        };
        assert_eq!(of("a", &[]), of("a", &["PasswordMinLength=15"]), "the same value again");
        assert_ne!(of("a", &[]), of("a", &["PasswordMinLength=16"]));
        assert_ne!(of("a", &[]), of("b", &[]));
        assert!(parameters(&Value::Null, &["MailFrom".to_owned()]).is_err());
    }
}
