// Several ranks in one process: a thread each, which meet on a free port of this machine.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "distributed/process_group.h"

namespace prudent::tests {

inline int free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(descriptor);
  return ntohs(address.sin_port);
}

using RankBody = std::function<void(const std::shared_ptr<distributed::ProcessGroup>&)>;

// Runs `body` on every rank; throws what the first of them threw.
inline void run_ranks(int size, const RankBody& body) {
  const int port = free_port();
  std::vector<std::exception_ptr> failures(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      std::shared_ptr<distributed::ProcessGroup> group;
      try {
        group = distributed::ProcessGroup::connect(
            {.rank = rank, .size = size, .address = "127.0.0.1", .port = port, .timeout = std::chrono::seconds(60)});
        body(group);
      } catch (...) {
        failures[static_cast<size_t>(rank)] = std::current_exception();
        if (group) group->leave("a failed test");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace prudent::tests
