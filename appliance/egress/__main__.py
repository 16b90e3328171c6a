"""Tell whether the egress role has anything to do: ``python -m appliance.egress --config FILE`` (``ExecCondition=``).

Exit status 0: some profile has an allow-list; 1: none has. A wrong configuration is left for the role itself to report.
"""

from __future__ import annotations

import argparse
import sys

from appliance import config as configuration
from appliance.errors import ConfigError

parser = argparse.ArgumentParser(prog="appliance.egress", description=__doc__)
parser.add_argument("--config", metavar="FILE")
try:
    sys.exit(0 if configuration.load(parser.parse_args().config).egress_profiles else 1)
except ConfigError:
    sys.exit(0)
