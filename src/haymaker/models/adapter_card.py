"""The card beside an adapter: on which base it was trained, and how others load it right.

PEFT alone puts it on the plain base without a warning, whose positions are other ones than those it was trained at.
"""

import re
from typing import Any

from haymaker.models.extend import positions_of
from haymaker.models.handshake import say

CARD_FILE = "README.md"
EXTENDED_NAME = re.compile(r"-extended-(\d+)$")  # as `base_of_others` names a base
TEMPLATE = """---
base_model: {base}
library_name: peft
tags: [lora, haymaker]
---

# A LoRA adapter for {base}, at {positions}

Trained with Haymaker. `base.json` records the base's weights, tokenizer and positions, and Haymaker checks them:

```python
import haymaker as hm
lm = hm.load_model("{base}", adapter="this folder")
```
{others}"""
EXTENDED = """
**PEFT alone loads it onto the plain base without a warning, and the answers are wrong**: it was trained at other
positions. Write the extended base first, as a checkpoint that any library reads, then put the adapter on that:

```
haymaker extend {base} {options} --out {extended}
```
```python
model = AutoModelForCausalLM.from_pretrained("{extended}")
model = PeftModel.from_pretrained(model, "this folder")
```
"""
PLAIN = """
Its base is as it was published, so PEFT alone loads it right too.
"""


def base_of_others(lm: Any) -> str:
    """What PEFT's config names as the base: the extended one, where there is an extension, never the plain one."""
    return lm.name if lm.extend is None else f"{lm.name}-extended-{lm.extend.length}"


def adapter_card(lm: Any) -> str:
    """The card of an adapter that is on this model."""
    others = PLAIN
    if lm.extend is not None:
        others = EXTENDED.format(base=lm.name, options=options_of(lm.extend), extended=base_of_others(lm))
    return TEMPLATE.format(base=lm.name, positions=say(positions_of(lm.base)), others=others)


def options_of(extend: Any) -> str:
    """An extension as flags of `haymaker extend`."""
    values = extend.model_dump(exclude_defaults=True)
    window = {True: " --keep-window", False: " --open-window", None: ""}[values.pop("keep_window", None)]
    return " ".join(f"--{key} {value}" for key, value in values.items()) + window
