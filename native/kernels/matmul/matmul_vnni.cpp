// matmul in 8-bit integers on vectors (matmul_int8.h).
#include "kernels/matmul/matmul_product.h"

namespace prudent::kernels::PRUDENT_ISA {

void matmul_run(const MatmulArgs& args) { run(args); }
int64_t matmul_packed_bytes(const MatmulArgs& args) { return packed_bytes(args); }
void matmul_pack_right(const MatmulArgs& args, void* to) { pack_right_whole(args, to); }

}  // namespace prudent::kernels::PRUDENT_ISA
