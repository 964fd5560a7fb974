"""Language models: loading with verification, context extension, LoRA."""
