"""Tell whether the request log is wanted: ``python -m appliance.requestlog --config FILE`` (``ExecCondition=``).

Exit status 0: it is; 1: it is not. A wrong configuration is left for the role itself to report.
"""

from __future__ import annotations

import argparse
import sys

from appliance import config as configuration
from appliance.errors import ConfigError

parser = argparse.ArgumentParser(prog="appliance.requestlog", description=__doc__)
parser.add_argument("--config", metavar="FILE")
try:
    sys.exit(0 if configuration.load(parser.parse_args().config).requestlog.enabled else 1)
except ConfigError:
    sys.exit(0)
