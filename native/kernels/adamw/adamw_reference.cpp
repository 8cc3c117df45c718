#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "kernels/adamw/adamw.h"

namespace prudent::kernels {

void adamw_reference(const std::vector<AdamwParameter>& parameters, const AdamwOptions& options) {
  const c10::AutoGradMode without_grad(false);
  const double correction1 = 1.0 - std::pow(options.beta1, options.step);
  const double correction2 = 1.0 - std::pow(options.beta2, options.step);
  for (const AdamwParameter& entry : parameters) {
    at::Tensor parameter = entry.parameter;
    const bool wide = parameter.scalar_type() == at::kDouble;
    const at::Tensor gradient = entry.gradient.to(wide ? at::kDouble : at::kFloat) * options.gradient_scale;
    const at::Tensor moment1 = entry.moment1, moment2 = entry.moment2;
    moment1.mul_(options.beta1).add_(gradient, 1.0 - options.beta1);
    moment2.mul_(options.beta2).addcmul_(gradient, gradient, 1.0 - options.beta2);
    at::Tensor p = entry.master.defined() ? entry.master : parameter.to(wide ? at::kDouble : at::kFloat);
    p.mul_(1.0 - options.lr * entry.weight_decay);
    const at::Tensor denominator = (moment2.sqrt() / std::sqrt(correction2)).add_(options.eps);
    p.addcdiv_(moment1, denominator, -options.lr / correction1);
    if (!p.is_same(parameter)) parameter.copy_(p);
  }
}

}  // namespace prudent::kernels
