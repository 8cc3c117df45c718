#include "kernels/adamw/adamw.h"

#include "kernels/common/check.h"

namespace prudent::kernels {

void adamw(const std::vector<AdamwParameter>& parameters, const AdamwOptions& options) { adamw_reference(parameters, options); }

}  // namespace prudent::kernels
