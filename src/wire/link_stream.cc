#include "wire/link_stream.h"

#include <utility>

#include "core/scarce.h"
#include "wire/codec.h"

namespace commissure {

LinkStream::LinkStream(const std::shared_ptr<grpc::Channel>& channel, CallQueue& queue, Events& events)
    : events_(events),
      call_(grpc::GenericStub(channel).PrepareCall(&context_, "/commissure.v1.Stage/Open", &queue.outgoing())) {}

void LinkStream::open() { call_->StartCall(&started_); }

void LinkStream::send(grpc::ByteBuffer message) {
  const MutexLock lock(mutex_);
  if (finishing_) return;
  outgoing_.push_back(std::move(message));
  if (!writing_) write_next();
}

void LinkStream::cancel(const Error& why) {
  const MutexLock lock(mutex_);
  if (!why_) why_ = why;
  context_.TryCancel();
}

void LinkStream::write_next() {
  writing_ = true;
  call_->Write(outgoing_.front(), &written_);
}

void LinkStream::on_started(bool ok) {
  const MutexLock lock(mutex_);
  writing_ = false;
  if (!ok) return finish();
  call_->Read(&incoming_, &read_);
  if (!outgoing_.empty()) write_next();
}

/// What there is no memory for ends the stream, so that nobody waits for it.
bool LinkStream::take_frame() {
  const auto take = [&]() -> Status { return events_.on_frame(TRY(decode_frame(incoming_))); };
  return unless_scarce(
      [&] {
        const Status handled = take();
        if (!handled) cancel(handled.error());
        return handled.has_value();
      },
      [&] {
        cancel(no_memory());
        return false;
      });
}

void LinkStream::on_read(bool ok) {
  if (ok) {
    const bool goes_on = take_frame();
    incoming_.Clear();
    if (goes_on) return call_->Read(&incoming_, &read_);
  }
  const MutexLock lock(mutex_);
  finish();
}

void LinkStream::finish() {
  finishing_ = true;
  call_->Finish(&status_, &finished_);
}

void LinkStream::on_written(bool ok) {
  {
    const MutexLock lock(mutex_);
    outgoing_.pop_front();
    writing_ = false;
    if (!ok || finishing_) outgoing_.clear();  // the read side learns why
    if (!outgoing_.empty()) write_next();
  }
  close_when_quiet();
}

void LinkStream::on_finished(bool) {
  {
    const MutexLock lock(mutex_);
    is_over_ = true;
  }
  close_when_quiet();
}

void LinkStream::close_when_quiet() {
  {
    const MutexLock lock(mutex_);
    if (!is_over_ || writing_) return;
  }
  events_.on_closed(unless_scarce([&] { return reason(); }, [] { return no_memory(Code::kUnavailable); }));
}

Error LinkStream::reason() {
  const MutexLock lock(mutex_);
  if (why_) return *why_;
  return status_.ok() ? Error(Code::kUnavailable, "the stage ended the stream") : from_grpc(status_);
}

}  // namespace commissure
