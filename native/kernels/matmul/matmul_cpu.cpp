// matmul on vectors: fp32 products of bf16 or fp32 operands (matmul_vectors.h).
#include "kernels/matmul/matmul_exports.h"
