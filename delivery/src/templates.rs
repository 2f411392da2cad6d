//! The two templates of this checkout: `template.yaml` (the application) and `database.yaml` (one way to get its database).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use toolkit::workspace::{Workspace, fingerprint};

/// Values of parameters, by name.
pub type Parameters = BTreeMap<String, String>;

/// The parameter that `cargo delivery deploy` computes.
pub const BUILD: &str = "Build";

/// The file in `.aws-sam` that [`Template::packaged`] writes.
const PACKAGED: &str = "packaged.yaml";

pub struct Template {
    file: &'static str,
    content: Value,
    /// Identifies the template with its configuration.
    pub fingerprint: String,
}

impl Template {
    /// `template.yaml`. samconfig.toml configures its deployment.
    pub fn application(workspace: &Workspace) -> Result<Self> {
        Self::read(workspace, "template.yaml", &["samconfig.toml"])
    }

    /// `database.yaml`.
    pub fn database(workspace: &Workspace) -> Result<Self> {
        Self::read(workspace, "database.yaml", &[])
    }

    fn read(workspace: &Workspace, file: &'static str, configuration: &[&str]) -> Result<Self> {
        let read =
            |file: &str| fs::read_to_string(workspace.root.join(file)).with_context(|| format!("cannot read {file}"));
        let mut text = read(file)?;
        let content = serde_saphyr::from_str(&text).with_context(|| format!("{file} is not YAML"))?;
        for file in configuration {
            text += &read(file)?;
        }
        Ok(Self { file, content, fingerprint: fingerprint(text.as_bytes()) })
    }

    /// The names of its parameters without `Build`.
    pub fn parameters(&self) -> BTreeSet<&str> {
        let parameters = self.content["Parameters"].as_object().into_iter().flatten();
        parameters.map(|(name, _)| name.as_str()).filter(|name| *name != BUILD).collect()
    }

    /// Those of the given parameters that this template declares.
    pub fn of_its_own(&self, parameters: &Parameters) -> Parameters {
        let names = self.parameters();
        let own = parameters.iter().filter(|(name, _)| names.contains(name.as_str()));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The value of a parameter, which is its default if `parameters` does not contain it.
    pub fn value<'a>(&'a self, parameters: &'a Parameters, name: &str) -> &'a str {
        let default = || self.content["Parameters"][name]["Default"].as_str().unwrap_or_default();
        parameters.get(name).map_or_else(default, String::as_str)
    }

    /// The names of the parameters that have no default, and no value in `parameters`.
    pub fn missing<'a>(&'a self, parameters: &Parameters) -> Vec<&'a str> {
        let declared = self.content["Parameters"].as_object().into_iter().flatten();
        let missing =
            declared.filter(|(name, declared)| declared["Default"].is_null() && !parameters.contains_key(*name));
        missing.map(|(name, _)| name.as_str()).collect()
    }

    /// The values of a second-level key of a mapping, by their top-level keys.
    pub fn mapping(&self, mapping: &str, key: &str) -> BTreeMap<&str, &str> {
        let rows = self.content["Mappings"][mapping].as_object().into_iter().flatten();
        rows.filter_map(|(name, row)| Some((name.as_str(), row[key].as_str()?))).collect()
    }

    /// Writes the template with the paths of the packages instead of the functions' folders, and returns the file.
    pub fn packaged(&self, workspace: &Workspace) -> Result<PathBuf> {
        let mut template = fs::read_to_string(workspace.root.join(self.file))?;
        for name in &workspace.functions {
            let folder = format!("CodeUri: functions/{name}/\n");
            template = template.replace(&folder, &format!("CodeUri: {}\n", workspace.package(name).display()));
        }
        if let Some(line) = template.lines().find(|line| line.contains("CodeUri: functions/")) {
            bail!("{} has `{}`, which is not the folder of a function", self.file, line.trim());
        }
        let folder = workspace.root.join(".aws-sam");
        fs::create_dir_all(&folder)?;
        let file = folder.join(PACKAGED);
        fs::write(&file, template)?;
        Ok(file)
    }
}

#[cfg(test)]
impl Template {
    /// A template with this text.
    pub fn parse(file: &'static str, text: &str) -> Self {
        Self { file, content: serde_saphyr::from_str(text).expect("YAML"), fingerprint: fingerprint(text.as_bytes()) }
    }
}
