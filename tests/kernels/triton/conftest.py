"""Where there is no GPU, kernels are interpreted on the CPU."""

import os

import torch

# Before Triton is imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
