"""Prints template.yaml as CloudFormation gets to see it: translated by SAM's own translator, without an AWS account."""

import json
import sys

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform


class NoManagedPolicies:
    def load(self):
        return {}


with open("template.yaml", encoding="utf-8") as file:
    # Through JSON, because the translator changes in place what a YAML alias shares.
    template = json.loads(json.dumps(yaml_parse(file.read())))
for resource in template["Resources"].values():
    if resource["Type"] == "AWS::Serverless::Function":
        resource["Properties"]["CodeUri"] = "s3://bucket/key"
json.dump(transform(template, {}, NoManagedPolicies()), sys.stdout)
