#pragma once

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "wire/stage_client.h"

namespace grpc {
class Server;
}

namespace commissure::testing {

/// What happens to one frame.
struct Fault {
  std::string kind;    ///< hello, step, result, error, goodbye
  bool down = true;    ///< the way: to the later stage, or back
  std::string action;  ///< one of fault_actions()
};

/// Every action: what networks do (cut, half_close, delay, throttle, reorder, duplicate, corrupt), and what only a
/// hostile or broken peer does, with a right checksum (foreign, replay, count, nan).
const std::vector<std::string>& fault_actions();

/// A relay between two stages that knows the frames of the boundary stream and spoils the one it is told to. Errors and
/// goodbyes, which a healthy chain does not send, are made up by the relay in place of (or before) the next result.
/// Threading: any thread.
class FaultProxy final {
 public:
  /// Aborts when it cannot listen.
  FaultProxy(const Endpoint& listen, const Endpoint& target);
  ~FaultProxy();

  /// Spoils the next frame of this kind; replaces a fault that has not happened yet.
  void arm(Fault fault);
  bool is_armed() const;
  /// Cuts all streams now.
  void cut();
  int n_streams() const;

 private:
  class Near;
  class Tunnel;
  class Service;
  const std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace commissure::testing
