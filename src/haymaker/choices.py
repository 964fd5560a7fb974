"""What a recipe, a study, a flag or a call may choose by name: one table for each kind of thing.

The library, configs, the command line's help and the pages in docs/ take their lists from here. A line is a name, where
the thing loads from, and what it is; nothing is loaded before it is used, so this file needs no torch. Other packages
add to every table but that of settings by entry points (docs/plug-ins.md).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from haymaker.errors import ConfigError
from haymaker.registry import Entry, Registry, judged_by_names, scores_of_share

TASKS = Registry(
    "task",
    {
        "mdqa": ("haymaker.tasks.mdqa", "one document of many holds the answer (Liu et al. 2024)"),
        "musique": ("haymaker.tasks.musique", "two to four hops, each in another document (Trivedi et al. 2022)"),
        "summhay": ("haymaker.tasks.summhay", "cite the documents that carry an insight (Laban et al. 2024)"),
        "niah": ("haymaker.tasks.niah", "a number in a haystack of passages (Kamradt; RULER)"),
        "kv": ("haymaker.tasks.kv", "the value of a key in a JSON object (Liu et al. 2024)"),
        "qa": ("haymaker.tasks.qa", "your own rows: a question over documents or a text"),
    },
    needs=("METRICS", "drafts"),
    border=judged_by_names,
)
READERS = Registry(  # the first whose keys a row has reads it
    "reader",
    {
        "documents": ("haymaker.tasks.own_layouts:DOCUMENTS", "a question over documents, one or more of them gold"),
        "questions": ("haymaker.tasks.own_layouts:QUESTIONS", "several questions over the same documents"),
        "hotpotqa": ("haymaker.tasks.own_benchmarks:HOTPOTQA", "HotpotQA and 2WikiMultihopQA"),
        "mdqa": ("haymaker.tasks.own_benchmarks:MDQA", "lost-in-the-middle and HELMET's RAG"),
        "musique": ("haymaker.tasks.own_benchmarks:MUSIQUE", "MuSiQue"),
        "squad": ("haymaker.tasks.own_benchmarks:SQUAD", "SQuAD's rows on the hub"),
        "squad-file": ("haymaker.tasks.own_benchmarks:SQUAD_FILE", "SQuAD's own files, an article a row"),
        "mrcr": ("haymaker.tasks.own_long_context:MRCR", "OpenAI-MRCR: say a turn of a long conversation again"),
        "ruler": ("haymaker.tasks.own_long_context:RULER", "RULER's jsonl, of any of its tasks"),
        "longbench": ("haymaker.tasks.own_long_context:LONGBENCH", "LongBench's question answering"),
        "longbench-v2": ("haymaker.tasks.own_long_context:LONGBENCH_V2", "LongBench v2's questions of four choices"),
        "babilong": ("haymaker.tasks.own_long_context:BABILONG", "BABILong"),
        "nolima": ("haymaker.tasks.own_long_context:NOLIMA", "NoLiMa's needle sets; the haystack is the pool"),
        "context": ("haymaker.tasks.own_layouts:CONTEXT", "a question over one text"),
        "messages": ("haymaker.tasks.own_layouts:MESSAGES", "OpenAI's chat, the last turn the answer"),
        "sharegpt": ("haymaker.tasks.own_layouts:SHAREGPT", "ShareGPT's conversations"),
        "alpaca": ("haymaker.tasks.own_layouts:ALPACA", "Alpaca's instructions"),
        "prompt-completion": (
            "haymaker.tasks.own_layouts:PROMPT_COMPLETION",
            "a prompt and its completion (TRL)",
        ),
    },
    needs=("keys", "read"),
)
EXPORTS = Registry(
    "export",
    {
        "openai": ("haymaker.data.exports:openai", "chat messages, the answer as the last turn"),
        "sharegpt": ("haymaker.data.exports:sharegpt", "conversations of human and gpt"),
        "alpaca": ("haymaker.data.exports:alpaca", "instruction, input, output"),
        "prompt-completion": ("haymaker.data.exports:prompt_completion", "a prompt and its completion (TRL)"),
        "ruler": ("haymaker.data.exports:ruler", "input and outputs, to evaluate with RULER's tools"),
    },
)

# ---- the two axes of realism: how a fact is said (concept), and what stands around it (context)

CONCEPTS = Registry(
    "concept",
    {
        "real": ("haymaker.realism.wording:RealProse", "as the source says it"),
        "high": ("haymaker.realism.wording:WriterProse", "a writer's text about invented things, else the grammar's"),
        "low": ("haymaker.realism.wording:TemplateProse", 'a template: "The author of Work 417 is Person 288."'),
        "symbolic": ("haymaker.realism.wording:Numbers", "a pair of numbers in a dictionary, or a number in lists"),
    },
)
CONTEXTS = Registry(
    "context",
    {
        "real": ("haymaker.realism.context:varied", "as the source has it"),
        "high": ("haymaker.realism.context:varied", "varied passages of the source"),
        "low": ("haymaker.realism.context:padded", "the same few sentences over and over"),
        "symbolic": ("haymaker.realism.context:numbers", "dictionaries or lists of other numbers"),
    },
)
ALONE = ("real", "symbolic")  # go with themselves only


class Axes(NamedTuple):
    """A choice on both axes, and what rows of it are in a few words."""

    concept: str
    context: str
    about: str = ""


SETTINGS: Mapping[str, Axes] = {
    "real": Axes("real", "real", "real questions and documents"),
    "real-limited": Axes("real", "real", "real, fewer relations"),
    "high-high": Axes("high", "high", "natural facts, varied context"),
    "high-low": Axes("high", "low", "natural facts, filler context"),
    "low-high": Axes("low", "high", "templated facts, varied context"),
    "low-low": Axes("low", "low", "templated facts, filler context"),
    "symbolic": Axes("symbolic", "symbolic", "symbols instead of prose"),
}


def axes_of(setting: str) -> Axes:
    """Concept and context of a setting: one of the table, or `concept-context` of what other packages bring.

    Raises ConfigError for any other name, also for one that can be read as two pairs.
    """
    if setting in SETTINGS:
        return SETTINGS[setting]
    hyphens = [i for i, letter in enumerate(setting) if letter == "-"]
    pairs = [Axes(setting[:i], setting[i + 1 :]) for i in hyphens]
    found = [pair for pair in pairs if pair.concept in CONCEPTS and pair.context in CONTEXTS]
    if len(found) != 1 or found[0].concept in ALONE or found[0].context in ALONE:
        brought = [f"{axis.kind} {name}" for axis in (CONCEPTS, CONTEXTS) for name in axis if name not in axis.own]
        pairs_of = f", and concept-context with {', '.join(brought)}" if brought else ""
        raise ConfigError(f"no setting {setting!r}; there are {', '.join(SETTINGS)}{pairs_of}")
    return found[0]


def is_synthetic(setting: str) -> bool:
    """Whether facts are said otherwise than in real rows, in a setting as it is or with changes behind a colon."""
    try:
        return axes_of(setting.partition(":")[0]).concept != "real"
    except ConfigError:  # an untrained model, or a name of somebody's own
        return False


# ---- prompts: task.style, one a way of laying out documents and question

PROMPTS = Registry(
    "prompt",
    {
        "mdqa.miniature": ("haymaker.tasks.mdqa:MINIATURE", "numbered texts; rows of the miniature world"),
        "mdqa.official": ("haymaker.tasks.mdqa:OFFICIAL", "lost-in-the-middle's prompt, character for character"),
        "mdqa.dictionaries": ("haymaker.tasks.mdqa:DICTIONARIES", "numbered dictionaries; symbolic twins of files"),
        "musique.miniature": ("haymaker.tasks.mdqa:MINIATURE", "numbered texts; rows of the miniature world"),
        "musique.paragraphs": ("haymaker.tasks.musique:PARAGRAPHS", "numbered paragraphs with titles"),
        "musique.dictionaries": ("haymaker.tasks.mdqa:DICTIONARIES", "numbered dictionaries; symbolic twins of files"),
        "summhay.miniature": ("haymaker.tasks.summhay:MINIATURE", "numbered texts; rows of the miniature world"),
        "summhay.haystack": ("haymaker.tasks.summhay:HAYSTACK", "numbered documents, cited like [1][3]"),
        "niah.haystack": ("haymaker.tasks.niah:HAYSTACK", "passages without numbers"),
        "kv.official": ("haymaker.tasks.kv:OFFICIAL", "lost-in-the-middle's JSON object"),
        "qa.documents": ("haymaker.tasks.qa:DOCUMENTS", "numbered documents"),
        "qa.titled": ("haymaker.tasks.qa:TITLED", "numbered documents with titles"),
        "qa.text": ("haymaker.tasks.qa:TEXT", "texts without numbers"),
        "qa.dictionaries": ("haymaker.tasks.mdqa:DICTIONARIES", "numbered dictionaries; symbolic twins of files"),
    },
    needs=("document", "tail"),
)

# ---- scores of answers, 0 to 1

GOLD_OVER_FOIL = "gold_over_foil"  # judges which of two texts a model finds more probable, and no answer

METRICS = Registry(
    "metric",
    {
        name: (f"haymaker.metrics:{name}", about)
        for name, about in {
            "squad_em": "SQuAD 1.1: the normalised answer equals a gold",
            "squad_f1": "SQuAD 1.1: harmonic mean over shared words, best gold",
            "squad_v2_em": "SQuAD 2.0: equal, or both without an answer",
            "squad_v2_f1": "SQuAD 2.0: shared words, or both without an answer",
            "helmet_f1": "SQuAD 1.1's, but 0 where yes or no differs (HELMET)",
            "best_subspan_em": "lost-in-the-middle: the first line holds a gold",
            "best_subspan_em_uncut": "the same of the whole answer",
            "best_subspan_em_words": "the same, whole words only",
            "kv_accuracy": "lost-in-the-middle: the answer holds the value",
            "ruler_all": "RULER: share of the golds that the answer holds",
            "ruler_part": "RULER: the answer holds a gold",
            "longbench_f1": "LongBench: F1 of words",
            "longbench_retrieval": "LongBench: share of the answer's numbers that name the paragraph",
            "longbench_count": "LongBench: share of the answer's numbers that are the gold",
            "longbench_choice": 'LongBench v2: the letter behind "The correct answer is" is the gold\'s',
            "mrcr": "OpenAI-MRCR: likeness to the wanted turn, 0 without the string before it",
            "musique_em": "MuSiQue: equal to the answer or an alias",
            "musique_f1": "MuSiQue: shared words with the answer or an alias",
            "citation_f1": "SummHay: cited documents against those that carry it",
            "citation_f1_lenient": "the same, numbers read in any form",
            GOLD_OVER_FOIL: "the gold is more probable than a wrong answer (base models that do not answer)",
        }.items()
    },
    border=scores_of_share,
)

FORMATS = Registry(  # by the metric's name: the form in which it reads an answer; any text where there is none
    "format",
    dict.fromkeys(
        (
            *("squad_em", "squad_f1", "squad_v2_em", "squad_v2_f1", "helmet_f1", "longbench_f1"),
            *("musique_em", "musique_f1"),
        ),
        ("haymaker.metrics.formats:phrase", "a few words, no sentence"),
    )
    | dict.fromkeys(
        ("longbench_retrieval", "longbench_count"), ("haymaker.metrics.formats:numbered", "a number in digits")
    )
    | {
        "longbench_choice": ("haymaker.metrics.formats:lettered", "The correct answer is (A)"),
        "citation_f1": ("haymaker.metrics.formats:cited", "document numbers in brackets, as [1][3]"),
        "citation_f1_lenient": ("haymaker.metrics.formats:cited_anyhow", "document numbers in any form"),
    },
)

# ---- scores of heads, and what is written over a head's output

DETECTORS = Registry(
    "detector",
    {
        "copy": ("haymaker.heads.detectors:COPY", "share of the needle that the head copies (Wu et al. 2024)"),
        "copy_source": ("haymaker.heads.detectors:COPY_SOURCE", "the same, from the exact source of each token"),
        "copy_previous": ("haymaker.heads.detectors:COPY_PREVIOUS", "the same, looking one token before it"),
        "copy_anywhere": ("haymaker.heads.detectors:COPY_ANYWHERE", "share of the answer that it copies from anywhere"),
        "copy_wu2024": ("haymaker.heads.detectors:COPY_WU2024", "the script of Wu et al. 2024, on own answers"),
        "insight": ("haymaker.heads.detectors:INSIGHT", "looks at the evidence of the document it cites"),
        "mass": ("haymaker.heads.detectors:MASS", "attention on the needle while the answer is produced"),
        "mass_calibrated": ("haymaker.heads.detectors:MASS_CALIBRATED", "the question's attention on it (QRHead)"),
        "write": ("haymaker.heads.detectors:WRITE", "logits that it adds to the answer from the needle (LOCOS)"),
    },
    needs=("score", "needle", "ending"),
)
TRACKER = Entry("haymaker.heads.tracking:HeadTracker", "reads heads while a model is trained")


class Tracker(NamedTuple):
    """Where metrics of training go to: the modules one of which it needs, and the extra that brings them."""

    modules: tuple[str, ...]
    extra: str
    about: str


TRACKERS: Mapping[str, Tracker] = {
    "tensorboard": Tracker(("tensorboard", "tensorboardX"), "track", "event files in the adapter's folder"),
    "trackio": Tracker(("trackio",), "trackio", "a dashboard on this machine, or a Space"),
    "wandb": Tracker(("wandb",), "wandb", "Weights & Biases"),
    "mlflow": Tracker(("mlflow",), "mlflow", "MLflow, a server's or a folder's"),
}


def tracker_of(name: str) -> Tracker:
    """Raises ConfigError for a name that is none."""
    if name not in TRACKERS:
        raise ConfigError(f"expected one of {', '.join(TRACKERS)}, found {name!r}")
    return TRACKERS[name]


EDITS = Registry(
    "edit",
    {
        "Zero": ("haymaker.attention.edit_kinds:Zero", "nothing: removal, equal to zeroed columns of `o_proj`"),
        "Mean": ("haymaker.attention.edit_kinds:Mean", "its mean over a reference set (`hm.mean_outputs` collects it)"),
        "Resample": ("haymaker.attention.edit_kinds:Resample", "what it wrote in another prompt"),
        "Uniform": ("haymaker.attention.edit_kinds:Uniform", "the plain mean of all values it sees: no removal"),
        "Knockout": ("haymaker.attention.edit_kinds:Knockout", "its output without the keys of a span, renormalised"),
        "Patch": ("haymaker.attention.edit_kinds:Patch", "what it wrote in a donor on the same tokens"),
    },
    needs=("compute",),
)


class Device(NamedTuple):
    """What a device reaches: operations a second in products and in attention, bytes a second, bytes in all."""

    products: float
    attention: float
    attention_backward: float
    bandwidth: float
    memory: float
    about: str = ""
    dollars: float | None = None  # an hour of it costs about, rented (2026); None: not known


def reached(peak: float, bandwidth: float, memory: float, about: str, dollars: float | None = None) -> Device:
    """What is reached of a peak: the shares that an H100 gives (700, 600 and 500 of 989 TFLOP/s, 3.0 of 3.35 TB/s)."""
    return Device(0.71 * peak, 0.61 * peak, 0.51 * peak, 0.9 * bandwidth, memory, about, dollars)


# Peaks of dense bfloat16 with sums in float32 in TFLOP/s, and memory's bandwidth in GB/s, by the makers' data sheets:
# NVIDIA A100 (312; 80 GB SXM 2,039, 40 GB 1,555), L40S (362; 864), GeForce RTX 4090 (paper on the Ada architecture:
# 165.2; 1,008), H100 SXM (989; 3,350), H200 SXM (989; 4,800), HGX B200 (2,250; 8,000), Apple M1 Max (10.4; 400; half
# of its 64 GB is left to what else the machine does). Only an H100's seconds were measured (benchmarks/results).
DEVICES: Mapping[str, Device] = {
    "a100-80gb": reached(312e12, 2.039e12, 80e9, "A100 SXM 80 GB, bfloat16", 1.5),
    "a100-40gb": reached(312e12, 1.555e12, 40e9, "A100 40 GB, bfloat16"),
    "l40s": reached(362e12, 0.864e12, 48e9, "L40S 48 GB, bfloat16"),
    "rtx-4090": reached(165e12, 1.008e12, 24e9, "GeForce RTX 4090 24 GB, bfloat16"),
    "h100": Device(700e12, 600e12, 500e12, 3.0e12, 80e9, "H100 SXM 80 GB, bfloat16", 2.5),
    "h200": Device(700e12, 600e12, 500e12, 4.2e12, 141e9, "H200 SXM 141 GB, bfloat16", 3.5),
    "b200": reached(2250e12, 8.0e12, 180e9, "B200 180 GB, bfloat16"),
    "mps": reached(10.4e12, 0.4e12, 32e9, "Apple M1 Max, half of its 64 GB"),
}
CPU = "cpu"  # this machine's processor, measured or known by its instructions
DEVICE_NAMES = (*DEVICES, CPU)
OLD_DEVICES: Mapping[str, str] = {"a100": "a100-80gb"}  # what configs may still say


def named_device(name: str) -> str:
    """A device's name in the table, or "cpu". Raises ConfigError for one that is in neither."""
    found = OLD_DEVICES.get(name.lower(), name.lower())
    if found not in DEVICE_NAMES:
        raise ConfigError(f"device: expected one of {', '.join(DEVICE_NAMES)}, found {name!r}")
    return found


SIZES = (
    *("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim"),
    *("intermediate_size", "vocab_size", "tie_word_embeddings"),
)
MODEL_SHAPES: Mapping[str, Mapping[str, Any]] = {  # as their config.json says, for plans where a model is not at hand
    name: dict(zip(SIZES, sizes, strict=True))
    for name, sizes in {
        "meta-llama-3-8b": (32, 4096, 32, 8, 128, 14336, 128256, False),
        "llama-3.1-8b": (32, 4096, 32, 8, 128, 14336, 128256, False),
        "llama-3.1-70b": (80, 8192, 64, 8, 128, 28672, 128256, False),
        "llama-3.2-1b": (16, 2048, 32, 8, 64, 8192, 128256, True),
        "llama-3.2-3b": (28, 3072, 24, 8, 128, 8192, 128256, True),
        "mistral-7b-instruct-v0.1": (32, 4096, 32, 8, 128, 14336, 32000, False),
        "mistral-7b-v0.1": (32, 4096, 32, 8, 128, 14336, 32000, False),
        "qwen2.5-0.5b": (24, 896, 14, 2, 64, 4864, 151936, True),
        "qwen2.5-1.5b": (28, 1536, 12, 2, 128, 8960, 151936, True),
        "qwen2.5-7b": (28, 3584, 28, 4, 128, 18944, 152064, False),
        "qwen3-8b": (36, 4096, 32, 8, 128, 12288, 151936, False),
        "smollm2-135m": (30, 576, 9, 3, 64, 1536, 49152, True),
    }.items()
}

REGISTRIES = (TASKS, READERS, EXPORTS, CONCEPTS, CONTEXTS, PROMPTS, METRICS, FORMATS, DETECTORS, EDITS)


def plug_ins(chosen: Mapping[str, Any]) -> dict[str, str]:
    """Other packages, with their versions, behind the values of a config: what its results depend on too.

    Read are the keys task, setting, prompt and metric (a detector's name, or several).
    """
    entries: list[Entry] = []
    if task := chosen.get("task"):
        entries.append(TASKS.entry(task))
        if prompt := chosen.get("prompt"):
            entries.append(PROMPTS.entry(f"{task}.{prompt}"))
    if setting := chosen.get("setting"):
        axes = axes_of(setting)
        entries += [CONCEPTS.entry(axes.concept), CONTEXTS.entry(axes.context)]
    if metric := chosen.get("metric"):
        entries.append(DETECTORS.entry(metric))
    return {entry.package: entry.version for entry in entries if entry.package != "haymaker"}
