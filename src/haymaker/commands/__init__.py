"""The commands by what they work on: data, models, studies, results."""
