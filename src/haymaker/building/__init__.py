"""Length fitting and building in parts: what build.py rests on."""
