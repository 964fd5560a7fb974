"""Planning a row to its length."""
