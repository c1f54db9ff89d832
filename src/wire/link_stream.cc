#include "wire/link_stream.h"

#include <new>
#include <utility>

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

Status LinkStream::take_frame() {
  try {
    return events_.on_frame(TRY(decode_frame(incoming_)));
  } catch (const std::bad_alloc&) {
    return Error(Code::kResourceExhausted, "no memory for a frame of ", incoming_.Length(), " bytes");
  }
}

void LinkStream::on_read(bool ok) {
  if (ok) {
    const Status handled = take_frame();
    incoming_.Clear();
    if (handled) return call_->Read(&incoming_, &read_);
    cancel(handled.error());
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
  std::optional<Error> why;
  {
    const MutexLock lock(mutex_);
    if (!is_over_ || writing_) return;
    why = why_;
  }
  if (!why) why = status_.ok() ? Error(Code::kUnavailable, "the stage ended the stream") : from_grpc(status_);
  events_.on_closed(*why);
}

}  // namespace commissure
