#include "api/image_worker.h"

#include <utility>

#include "core/scarce.h"

namespace commissure {

namespace {

bool is_gone(const ImageWorker::Task& task) { return task.is_gone && task.is_gone(); }

Error client_left() { return Error(Code::kCancelled, "the client left before its images were read"); }
Error shutting_down() { return Error(Code::kUnavailable, "the server is shutting down"); }

}  // namespace

Status ImageWorker::submit(Task task) {
  std::vector<Task> gone;
  Status result = runner_.with([&](Runner& runner) -> Status {
    if (runner.is_stopped) return shutting_down();
    const bool is_running = runner.thread.joinable() || done_unless_scarce([&] {
                              runner.thread = std::jthread([this](const std::stop_token& stop) { run(stop); });
                            });
    if (!is_running) {
      return Error(Code::kUnavailable, "the system grants no thread for requests with images; try again later");
    }
    if (tasks_.try_push(std::move(task))) return {};
    gone = take_gone();
    if (tasks_.try_push(std::move(task))) return {};
    return Error(Code::kResourceExhausted, kMaxWaiting, " requests with images wait already; try again later");
  });
  for (const Task& one : gone) refuse(one, client_left());
  return result;
}

void ImageWorker::stop() {
  is_stopping_ = true;
  // Joined at the end, without the lock: the task that runs may take seconds.
  const std::jthread thread = runner_.with([](Runner& runner) {
    runner.is_stopped = true;
    runner.thread.request_stop();
    return std::move(runner.thread);
  });
  while (const auto task = tasks_.try_pop()) refuse(*task, shutting_down());
}

void ImageWorker::run(const std::stop_token& stop) {
  while (const auto task = tasks_.pop(stop)) {
    if (stop.stop_requested()) return refuse(*task, shutting_down());
    is_gone(*task) ? refuse(*task, client_left()) : task->run();
  }
}

void ImageWorker::refuse(const Task& task, const Error& why) {
  if (task.refuse) task.refuse(why);
}

std::vector<ImageWorker::Task> ImageWorker::take_gone() {
  std::vector<Task> gone, kept;
  gone.reserve(kMaxWaiting);
  kept.reserve(kMaxWaiting);
  while (auto task = tasks_.try_pop()) (is_gone(*task) ? gone : kept).push_back(std::move(*task));
  for (Task& task : kept) tasks_.try_push(std::move(task));  // has room: others wait for the lock
  return gone;
}

}  // namespace commissure
