"""No test waits for a disk: processes are killed here, machines are not, and what the system holds outlives them."""

import os

os.fsync = lambda descriptor: None  # type: ignore[assignment]
