#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime.h>

#include "core/error.h"
#include "kernels/common/cuda_stream.h"

namespace prudent::kernels {

void* current_cuda_stream(const at::Tensor& tensor) { return c10::cuda::getCurrentCUDAStream(tensor.device().index()).stream(); }

void check_cuda_launch(const char* kernel) {
  const cudaError_t status = cudaGetLastError();
  PRUDENT_CHECK(status == cudaSuccess, "E_DEVICE", kernel, "a started kernel", cudaGetErrorString(status));
}

}  // namespace prudent::kernels
