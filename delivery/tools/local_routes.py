"""Prints the routes that `sam local` serves for template.yaml, with the default of each parameter. Needs no Docker engine."""

import json
import sys

from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

stacks, _ = SamLocalStackProvider.get_stacks("template.yaml")
# sam replaces the name of the stack by "local".
names = {function.name: function.functionname.removeprefix("local-") for function in SamFunctionProvider(stacks).get_all()}
routes = [
    (method, route.path, names[route.function_name], route.authorizer_name is not None)
    for route in ApiProvider(stacks).api.routes
    # sam answers OPTIONS itself.
    for method in set(route.methods) - {"OPTIONS"}
]
json.dump(routes, sys.stdout)
