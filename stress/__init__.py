"""What runs on the card: workloads, their CUDA kernels and NumPy twins. Imports nothing of the other rooms."""
