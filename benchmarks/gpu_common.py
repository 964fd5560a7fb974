"""What the parts of `gpu.py` share: a random Llama made on the device, seconds, peaks, and a page that grows."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tables import machine, table, write_page
from transformers import LlamaConfig, LlamaForCausalLM

SHAPE_8B = dict(
    vocab_size=128_256, hidden_size=4_096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=8, head_dim=128, max_position_embeddings=131_072 + 64,
    rope_parameters=dict(
        rope_type="llama3", rope_theta=500_000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=8_192,
    ),
)  # fmt: skip
SHAPE_TINY = SHAPE_8B | dict(
    vocab_size=500, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16,
)  # fmt: skip


@dataclass
class Setting:
    """Where a part runs, and where its pages go (none on a CPU)."""

    tiny: bool
    out: Path
    repeats: int
    deadline: float  # of time.monotonic()

    @property
    def device(self) -> str:
        return "cpu" if self.tiny else "cuda"

    @property
    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()

    def model(self) -> Any:
        """Llama-3.1-8B's shape in bfloat16, with random weights."""
        torch.manual_seed(0)
        shape = SHAPE_TINY if self.tiny else SHAPE_8B
        with torch.device(self.device):
            model: Any = LlamaForCausalLM._from_config(LlamaConfig(**shape), dtype=torch.bfloat16).eval()
        model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
        return model.requires_grad_(False)

    def lengths(self, wanted: Sequence[int]) -> list[int]:
        """On a CPU the same steps at a 128th of the length."""
        return [n // 128 if self.tiny else n for n in wanted]

    def ids(self, model: Any, tokens: int) -> torch.Tensor:
        """A row of random tokens [1, token]."""
        generator = torch.Generator().manual_seed(0)
        return torch.randint(3, model.config.vocab_size, (1, tokens), generator=generator).to(self.device)

    def seconds(self, act: Callable[[], Any]) -> float:
        self.wait()
        started = time.perf_counter()
        act()
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        if not self.tiny:
            torch.cuda.synchronize()

    def fits(self, act: Callable[[], Any]) -> Any:
        """What `act` returns, None where memory ran out; what it held is given back then."""
        try:
            return act()
        except torch.OutOfMemoryError:
            pass  # the tensors of its frames go with the exception, and that is over only after this block
        torch.cuda.empty_cache()
        return None

    def measured(self, act: Callable[[], Any]) -> tuple[float, float]:
        """Seconds, and the most bytes that torch held meanwhile; nan on a CPU."""
        if self.tiny:
            return self.seconds(act), float("nan")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return self.seconds(act), float(torch.cuda.max_memory_allocated())


@dataclass
class Page:
    """Rows of figures, written anew after each one, so that a run that is cut off leaves what it had."""

    setting: Setting
    part: str
    title: str
    about: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, row: Sequence[str], **facts: Any) -> None:
        self.rows.append(list(row))
        self.facts.append(dict(zip(self.header, row, strict=True)) | facts)
        self.write()

    def note(self, text: str, **facts: Any) -> None:
        self.notes.append(text)
        if facts:
            self.facts.append({"note": text} | facts)
        self.write()

    def fail(self, text: str) -> None:
        """What should not be: said on the page, and the part fails once it has measured the rest."""
        self.failures.append(text)
        self.note(f"**{text}**")

    def check(self, holds: bool, text: str) -> None:
        if not holds:
            self.fail(text)

    def finish(self) -> None:
        """Raises AssertionError with what failed."""
        assert not self.failures, "; ".join(self.failures)

    def write(self) -> None:
        name = "CPU" if self.setting.tiny else torch.cuda.get_device_name()
        lines = [f"# {self.title} on one {name}", "", f"`python benchmarks/gpu.py {self.part}`. {machine()}", ""]
        lines += [self.about, "", table(self.header, self.rows), "", *(f"- {note}" for note in self.notes), ""]
        stem = f"gpu-{self.part}-{name.lower().replace(' ', '-')}"
        write_page(self.setting.out / f"{stem}.md", "\n".join(lines))
        (self.setting.out / f"{stem}.json").write_text(json.dumps(self.facts, indent=1, default=str) + "\n")
