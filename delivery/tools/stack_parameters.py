"""Computes the parameters of a stack, and refuses values that CloudFormation would refuse by the parameters and rules of the template."""

import re

from moto.cloudformation.exceptions import ValidationError
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from translated import Resolver, is_list


def settings(template, given):
    """The values of a template's parameters."""
    declared = template.get("Parameters", {})
    values = {name: str(parameter["Default"]) for name, parameter in declared.items() if "Default" in parameter} | given
    if unknown := sorted(given.keys() - declared.keys()):
        raise ValidationError(message=f"Parameters: {unknown} do not exist in the template")
    if missing := sorted(declared.keys() - values.keys()):
        raise ValidationError(message=f"Parameters: {missing} must have values")
    for name, parameter in declared.items():
        check_value(name, parameter, str(values[name]))
    check_rules(template, values)
    return values


def check_value(name, parameter, value):
    if value not in map(str, parameter.get("AllowedValues", [value])):
        raise ValidationError(message=f"Parameter '{name}' must be one of AllowedValues")
    each = value.split(",") if is_list(parameter) else [value]
    if not all(re.fullmatch(parameter.get("AllowedPattern", ".*"), one) for one in each):
        raise ValidationError(message=f"Parameter '{name}' must match pattern {parameter['AllowedPattern']}")
    if "AvailabilityZone" in parameter["Type"]:
        known = {zone.name for zones in RegionsAndZonesBackend.zones.values() for zone in zones}
        if not known.issuperset(each):
            raise ValidationError(message=f"Parameter validation failed: parameter value {value} for parameter name {name} does not exist")


def check_rules(template, values):
    resolver = Resolver(template, values)
    for name, rule in template.get("Rules", {}).items():
        if resolver.resolve(rule.get("RuleCondition", True)):
            for assertion in rule["Assertions"]:
                if not resolver.resolve(assertion["Assert"]):
                    raise ValidationError(message=f"Template validation error: rule {name}: {assertion['AssertDescription']}")
