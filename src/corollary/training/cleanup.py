"""What memory cleanup does: buffers kept between steps are freed when training makes way for a ranking.

It lowers the peak where training and ranking would otherwise hold their buffers at the same time, and what the
process holds in between. It does nothing within a step: the peak of a step is the plan's, with it or without.
"""

import ctypes
import gc
import sys

import torch


def release_memory(device: torch.device) -> None:
    """Collect garbage, and give free pages back to the system or the accelerator's pool."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)
