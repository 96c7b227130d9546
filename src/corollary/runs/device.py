"""Which device a run uses, said aloud, and a record of the machine."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numba
import torch

from corollary.errors import ConfigError
from corollary.losses.workspace import Precision
from corollary.messages import Say
from corollary.runs.config import OptimizationConfig


def choose_device(name: str, say: Say) -> torch.device:
    """The device of a run. `auto` is CUDA where there is one, else the CPU; MPS only by name."""
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise ConfigError(f"device {name!r} is not known: use auto, cpu, cuda, cuda:0 or mps")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[kind]:
        raise ConfigError(
            f"device {name!r} is not on this machine; there is {', '.join(k for k in available if available[k])}"
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name!r} is not on this machine: it has {torch.cuda.device_count()} CUDA devices"
        )
    settle_threads()
    what = (
        f"{cpu_kind()}, {torch.get_num_threads()} threads"
        if kind == "cpu"
        else torch_name(kind, int(number or 0))
    )
    say(f"device: {kind} ({what})")
    return torch.device(kind, int(number or 0)) if kind == "cuda" else torch.device(kind)


def choose_precision(config: OptimizationConfig, device: torch.device, say: Say) -> Precision:
    """The type of the factors of matrix products in training. Raises `ConfigError` where the device cannot do it."""
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision fp16 is for CUDA alone; on {device.type} use bf16 or fp32")
    half = _bf16_products(device)
    if config.precision is not None:
        if config.precision == "bf16" and not half:
            raise ConfigError(f"this {device.type} device has no fast bf16 products: use fp32")
        chosen: Precision = config.precision
    elif not config.use_mixed_precision:
        return "fp32"
    else:
        chosen = "bf16" if half else "fp16" if device.type == "cuda" else "fp32"
    reason = "" if chosen != "fp32" else ", for this device has no fast 16-bit products"
    say(f"precision: {chosen}{reason}")
    return chosen


def _bf16_products(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def settle_threads() -> None:
    """Let compiled kernels use as many threads as torch does, and torch as many as before.

    Without this, the first parallel kernel makes torch use NUMBA_NUM_THREADS threads (measured: with
    OMP_NUM_THREADS=1 on two busy cores a training took 17.9 s in place of 2.5 s).
    """
    threads = torch.get_num_threads()
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(threads, most))  # starts its threads, which changes torch's number
    torch.set_num_threads(threads)


def torch_name(kind: str, number: int) -> str:
    """The accelerator's own name."""
    return torch.cuda.get_device_name(number) if kind == "cuda" else "Apple"


def cpu_kind() -> str:
    """What the processor calls itself."""
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(device: torch.device) -> dict[str, Any]:
    """What the bytes of a result depend on besides the configuration."""
    packages = ("corollary", "torch", "numpy", "numba", "duckdb")
    return {
        "device_used": str(device),
        "processor": cpu_kind(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in packages},
    }
