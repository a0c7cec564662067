"""Lightning Fabric, imported without what it would bring along.

It learns the version of TorchMetrics by importing it. With that come torchvision and SciPy, which most trainings never
use: more than a second at each start, in each process.
"""

import sys

if "torchmetrics" in sys.modules:
    from lightning_fabric import Fabric
else:
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        from lightning_fabric import Fabric
    finally:
        del sys.modules["torchmetrics"]

from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.utilities.rank_zero import rank_zero_only

__all__ = ["DDPStrategy", "Fabric", "SLURMEnvironment", "TorchElasticEnvironment", "rank_zero_only"]
