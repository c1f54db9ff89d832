// The relay as a program, for whole-program tests: fault_proxy LISTEN TARGET. Reads commands, one a line:
//   KIND down|up ACTION   spoils the next such frame, and answers "done" when that has happened, "late" after 20 s
// For a hello it cuts the streams that are open.

#include <chrono>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>

#include "support/fault_proxy.h"

int main(int argc, char** argv) {
  using namespace commissure;
  if (argc != 3) return 2;
  testing::FaultProxy proxy(parse_endpoint(argv[1]).value(), parse_endpoint(argv[2]).value());
  std::puts("ready");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    testing::Fault fault;
    std::string way;
    words >> fault.kind >> way >> fault.action;
    fault.down = way == "down";
    proxy.arm(fault);
    if (fault.kind == "hello") proxy.cut();  // only a new stream has one
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (proxy.is_armed() && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    std::puts(proxy.is_armed() ? "late" : "done");
    std::fflush(stdout);
  }
  return 0;
}
