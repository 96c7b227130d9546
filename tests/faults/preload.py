"""What the server of processes imports, so that no life has to."""

import matplotlib.figure  # noqa: F401
import torch  # noqa: F401
