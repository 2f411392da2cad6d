"""Python runs this file before a program if its folder is in PYTHONPATH. It makes programs faster that end
within seconds."""

import gc

# Such a program needs little memory, so it need not look for garbage.
gc.disable()

try:
    import yaml
except ImportError:
    pass
else:
    # libyaml parses templates. PyYAML's parser in Python takes a third of the time of `sam deploy`.
    yaml.SafeLoader, yaml.SafeDumper = yaml.CSafeLoader, yaml.CSafeDumper
