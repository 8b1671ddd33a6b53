"""Networks that other code builds. Importing this package registers them."""

from dmtc.models.external import module, smp
from dmtc.models.external.networks import NETWORKS

__all__ = ["NETWORKS", "module", "smp"]
