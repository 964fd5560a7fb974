"""Interventions: what a model answers without some of its heads, or with another model's heads in their place."""
