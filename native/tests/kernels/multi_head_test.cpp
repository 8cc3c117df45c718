#include "kernels/multi_head/multi_head.h"

#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

at::Tensor ids(const std::vector<int64_t>& values) { return at::tensor(values, at::TensorOptions().dtype(at::kLong)); }
Function op(const at::Tensor& index) {
  return [=](const Tensors& in) { return Tensors{kernels::multi_head(in[0], index, in[1])}; };
}
Function reference(const at::Tensor& index) {
  return [=](const Tensors& in) { return Tensors{kernels::multi_head_reference(in[0], index, in[1])}; };
}

}  // namespace

TEST_CASE("multi_head: parity and gradient over odd shapes") {
  for (const auto& [tokens, heads, size] : {std::tuple(12, 1, 1), {12, 10, 64}, {12, 3, 19}, {12, 10, 2048}, {12, 1, 300}}) {
    CAPTURE(heads);
    CAPTURE(size);
    // The middle token is read: the twin moves it.
    for (const at::Tensor& index : {ids({6}), ids({0, 6, 11}), ids({11, 6, 6, 0})}) {
      const Tensors in = {normal({tokens, size}, 1), normal({heads, size}, 2)};
      check_parity(op(index), reference(index), in, kParityMatmulFp32);
      check_parity_bf16(op(index), reference(index), in);
    }
  }
}

TEST_CASE("multi_head: gradient of the reference against differences") {
  check_differences(reference(ids({4, 1, 1})), {normal({5, 6}, 1), normal({3, 6}, 2)});
}

TEST_CASE("multi_head: bf16 hidden states under fp32 heads are multiplied in fp32") {
  const at::Tensor hidden = normal({5, 40}, 1).to(at::kBFloat16), weight = normal({3, 40}, 2), index = ids({0, 4});
  CHECK(error_of(kernels::multi_head(hidden, index, weight),
                 kernels::multi_head_reference(hidden.to(at::kFloat), index, weight)) <= kParityMatmulFp32);
}

TEST_CASE("multi_head: wrong arguments are named") {
  CHECK_THROWS_WITH_AS(kernels::multi_head(normal({3, 4}, 1), ids({0, 3}), normal({2, 4}, 2)),
                       "index[1]: expected a number from 0 to 2, received 3", Error);
}

}  // namespace prudent::tests
