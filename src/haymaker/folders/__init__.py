"""Datasets on disk: folder, layouts, audits, validation, numbers about them."""
