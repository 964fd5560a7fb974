"""What heads.py rests on: passes over examples, what was seen of them, and the detectors."""
