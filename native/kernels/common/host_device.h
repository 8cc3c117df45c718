// Marks functions that CPU and CUDA kernels share (<op>_math.h). On the CPU they have internal linkage and are always inlined:
// a shared symbol compiled for one instruction set could be the copy that the linker keeps for all of them.
#pragma once

#ifdef __CUDACC__
#define PRUDENT_MATH __host__ __device__ __forceinline__
#else
#define PRUDENT_MATH static inline __attribute__((always_inline, unused))
#endif
