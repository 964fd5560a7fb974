"""Which data to pay for: candidates ranked by a short training with each, beside the baselines that exist."""
