// c10d's Gloo backend, made by its exported constructor: the one place that sees ProcessGroupGloo.hpp.
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>

namespace prudent::distributed {

// Connects to all other ranks through `store`. The network interface is GLOO_SOCKET_IFNAME's, where that is set, else the one of
// this machine's name.
c10::intrusive_ptr<c10d::Backend> make_gloo_backend(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                                    std::chrono::milliseconds timeout);

}  // namespace prudent::distributed
