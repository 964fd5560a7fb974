"""The two axes of realism: how a fact is worded (concept), and what stands around it (context)."""
