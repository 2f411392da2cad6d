//! The parts of `template.yaml` that the local gateway and the local functions use.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The SAM template. Short tags are ignored: `!Ref X` is read as `X`.
pub struct Template(Value);

impl Template {
    /// Reads `template.yaml` in this folder.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("template.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not YAML", path.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(Self(serde_saphyr::from_str(text)?))
    }

    /// The `CorsConfiguration` of the API.
    pub(crate) fn cors(&self) -> &Value {
        &self.0["Resources"]["Api"]["Properties"]["CorsConfiguration"]
    }

    /// The default of a parameter.
    pub(crate) fn default(&self, parameter: &str) -> Result<&str> {
        let default = self.0["Parameters"][parameter]["Default"].as_str();
        default.with_context(|| format!("the parameter {parameter} has no default"))
    }

    /// How long Lambda lets a function run. The default of all functions applies to a function that the template does not have.
    pub fn timeout(&self, function: &str) -> Result<Duration> {
        let own = self.functions().find(|(name, _)| *name == function);
        let own = own.and_then(|(_, properties)| properties["Timeout"].as_u64());
        let seconds = own.or_else(|| self.0["Globals"]["Function"]["Timeout"].as_u64());
        Ok(Duration::from_secs(seconds.with_context(|| format!("template.yaml has no Timeout for {function}"))?))
    }

    /// The functions by the name of their folder, with their properties.
    fn functions(&self) -> impl Iterator<Item = (&str, &Value)> {
        let resources = self.0["Resources"].as_object().into_iter().flatten().map(|(_, resource)| resource);
        let functions = resources.filter(|resource| resource["Type"] == "AWS::Serverless::Function");
        functions.filter_map(|function| {
            let properties = &function["Properties"];
            let folder = properties["CodeUri"].as_str()?.strip_prefix("functions/")?;
            Some((folder.trim_end_matches('/'), properties))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "
        Globals: { Function: { Timeout: 15 } }
        Resources:
          Public:
            Type: AWS::Serverless::Function
            Properties:
              CodeUri: functions/public/
              Role: !GetAtt Role.Arn
          Example:
            Type: AWS::Serverless::Function
            Properties:
              CodeUri: functions/example/
              Timeout: 60";

    #[test]
    fn a_function_has_its_own_timeout_or_the_default() {
        let template = Template::parse(TEMPLATE).expect("a template");
        let seconds = |function| template.timeout(function).expect("a timeout").as_secs();
        assert_eq!([seconds("public"), seconds("example"), seconds("unknown")], [15, 60, 15]);
    }
}
