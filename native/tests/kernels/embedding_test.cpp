#include "kernels/embedding/embedding.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include "kernels/common/gradient_sums.h"
#include "kernels/op_check.h"
#include "support/error_code.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

// Repeated ids, the first and the last row, rows that nobody reads.
at::Tensor ids() { return at::tensor({4, 0, 9, 4, 4, 1, 0, 9, 5}, at::kLong); }

Function op(const at::Tensor& at) {
  return [=](const Tensors& in) { return Tensors{kernels::embedding(in[0], at)}; };
}
Function reference(const at::Tensor& at) {
  return [=](const Tensors& in) { return Tensors{kernels::embedding_reference(in[0], at)}; };
}

}  // namespace

TEST_CASE("embedding: parity and gradient over odd widths") {
  for (const int64_t width : {1, 5, 16, 33, 100}) {
    CAPTURE(width);
    check_parity(op(ids()), reference(ids()), {normal({10, width}, 1)}, kParityFp32);
    check_parity_bf16(op(ids()), reference(ids()), {normal({10, width}, 1)});
  }
}

TEST_CASE("embedding: one token, no token") {
  const at::Tensor one = at::tensor({5}, at::kLong);
  check_parity(op(one), reference(one), {normal({10, 7}, 1)}, kParityFp32);
  const at::Tensor none = one.narrow(0, 0, 0), weight = normal({10, 7}, 1).requires_grad_();
  const at::Tensor y = kernels::embedding(weight, none);
  CHECK(y.size(0) == 0);
  y.sum().backward();
  CHECK(weight.grad().count_nonzero().item<int64_t>() == 0);
}

TEST_CASE("embedding: gradient of the reference against differences") {
  check_differences(reference(ids()), {normal({10, 3}, 1)});
}

TEST_CASE("embedding: a gradient sum gets the rows that were read on top of what it holds") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weight = normal({10, 33}, 1).to(dtype).requires_grad_(), held = normal({10, 33}, 2);
    const at::Tensor grad_y = normal({ids().size(0), 33}, 3).to(dtype);
    kernels::GradientSum sum(weight, at::kFloat);
    sum.add(held);
    const kernels::GradientSums sums{{weight.unsafeGetTensorImpl(), &sum}};
    {
      const kernels::ActiveGradientSums scope(sums);
      kernels::embedding(weight, ids()).backward(grad_y);
    }
    CHECK_FALSE(weight.grad().defined());
    const at::Tensor expected = held.index_add(0, ids(), grad_y.to(at::kFloat));
    CHECK(error_of(sum.values(), expected) < kParityFp32);
    CHECK(error_of(sum.values(), held) > kParityFp32);  // the twin: without them
  }
}

TEST_CASE("embedding: wrong arguments are named") {
  const at::Tensor weight = normal({10, 4}, 1);
  CHECK(error_of([&] { kernels::embedding(weight, at::tensor({10}, at::kLong)); }).code == "E_RANGE");
  CHECK(error_of([&] { kernels::embedding(weight, at::tensor({-1}, at::kLong)); }).code == "E_RANGE");
  CHECK(error_of([&] { kernels::embedding(weight, at::tensor({1}, at::kInt)); }).code == "E_DTYPE");
  CHECK(error_of([&] { kernels::embedding(weight.view({40}), ids()); }).code == "E_SHAPE");
}

}  // namespace prudent::tests
