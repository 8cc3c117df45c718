#include "distributed/gloo_backend.h"

#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <cstdlib>

namespace prudent::distributed {

c10::intrusive_ptr<c10d::Backend> make_gloo_backend(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                                    std::chrono::milliseconds timeout) {
  using Gloo = c10d::ProcessGroupGloo;
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  c10::intrusive_ptr<Gloo::Options> options;
  if (interface != nullptr && *interface != '\0') {
    options = Gloo::Options::create(timeout);
    options->devices.push_back(Gloo::createDeviceForInterface(interface));
  } else {
    options = Gloo::Options::create_default(timeout);
  }
  return c10::make_intrusive<Gloo>(store, rank, size, options);
}

}  // namespace prudent::distributed
