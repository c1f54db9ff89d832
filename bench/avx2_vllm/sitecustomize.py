"""Makes vLLM load its AVX2 kernels on a CPU that has AVX-512: Python imports this at its start where the folder is on PYTHONPATH."""
import torch

torch.cpu._is_avx512_supported = lambda: False
