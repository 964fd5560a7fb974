"""Asking a language model over the network: cached, limited, retried, paid for once."""
