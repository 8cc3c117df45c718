// matmul on AMX tiles: bf16 with fp32 sums, fp32 as six bf16 products (matmul_tiles.h).
#include "kernels/matmul/matmul_exports.h"
