"""Top-down cascade training for ESPnet2: train the classifier first, then the layers below it.

The names below describe cascades and need neither torch nor ESPnet; training starts from the
command line (``espnet-topdown``) or from a training config with `topdown_conf`.
"""

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.layers import LayerOrder, layer_order
from espnet_topdown.plan.plan import Phase, Plan
from espnet_topdown.plan.plan_file import parse_plan, plan_text, read_plan

__all__ = [
    "LayerOrder",
    "Phase",
    "Plan",
    "TopdownError",
    "expand",
    "layer_order",
    "parse_plan",
    "plan_text",
    "read_plan",
]
__version__ = "0.1.0"
