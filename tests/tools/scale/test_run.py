"""``run`` on a real cluster makes what it makes on one machine."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk import translate
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.scale.options import ScaleOptions
from translatekit_tools.scale.run import translate_on

from tests.fakes import run_program
from tests.tools.scale.work import Deadly
from tests.tools.test_bulk import identity
from translatekit.errors import DataError, OptionError
