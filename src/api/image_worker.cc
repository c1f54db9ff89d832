#include "api/image_worker.h"

#include <utility>

#include "core/scarce.h"

namespace commissure {

Status ImageWorker::submit(Task task) {
  const bool is_running = done_unless_scarce([this] {
    thread_.with([this](std::jthread& thread) {
      if (thread.joinable()) return;
      thread = std::jthread([this](const std::stop_token& stop) {
        while (auto next = tasks_.pop(stop)) {
          if (stop.stop_requested()) return;
          (*next)();
        }
      });
    });
  });
  if (!is_running) {
    return Error(Code::kUnavailable, "the system grants no thread for requests with images; try again later");
  }
  if (tasks_.try_push(std::move(task))) return {};
  return Error(Code::kResourceExhausted, kMaxWaiting, " requests with images wait already; try again later");
}

ImageWorker::~ImageWorker() { tasks_.close(); }

}  // namespace commissure
