"""GPU kernels in Triton, one file for each operation of `kernels.device`."""
