"""The ops as Triton kernels, one module per op under the op's own name.

Each function takes tensors that its op has checked and made contiguous, and fills its outputs.
Arithmetic is float32 without fused multiply-add, so that results agree with the other backends;
tensors may be float32, float16 or bfloat16. Only the ops import these modules, and only when they
run: Triton is optional.
"""
