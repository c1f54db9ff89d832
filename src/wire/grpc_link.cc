#include "wire/grpc_link.h"

#include <new>
#include <utility>

#include "core/log.h"
#include "wire/grpc_link_impl.h"

namespace commissure {

void GrpcLink::Impl::start(Sink sink) {
  sink_ = std::move(sink);
  keeper_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Error GrpcLink::Impl::not_ready() const { return last_error_.within(peer_); }

/// Errors: kInvalidArgument, the next stage would refuse the frame, and with it the stream; kResourceExhausted, no
/// memory for it. Only the step fails.
Result<grpc::ByteBuffer> GrpcLink::Impl::encode_step(const StageInput& input) {
  const std::uint64_t step = input.batch.step.value;
  try {
    grpc::ByteBuffer message = encode_frame(input.batch, input.boundary);
    const std::size_t n_header_bytes = message.Length() - input.boundary.values.size_bytes();
    if (message.Length() <= kMaxFrameBytes && n_header_bytes <= kMaxStepHeaderBytes) return message;
    return Error(Code::kInvalidArgument, "step ", step, " is a frame of ", message.Length(), " bytes, ", n_header_bytes,
                 " of them header; at most ", kMaxFrameBytes, " and ", kMaxStepHeaderBytes, " fit");
  } catch (const std::bad_alloc&) {
    return Error(Code::kResourceExhausted, "there is no memory for the frame of step ", step);
  }
}

Status GrpcLink::Impl::submit(StageInput input) {
  grpc::ByteBuffer message = TRY(encode_step(input));
  const MutexLock lock(mutex_);
  if (!wanted_) {
    wanted_ = true;
    changed_.notify_all();
  }
  room_.wait(mutex_, [this]() REQUIRES(mutex_) {
    return stopping_ || !is_open() || std::cmp_less(in_flight_.size(), options_.max_in_flight);
  });
  if (stopping_) return Error(Code::kUnavailable, "the link is stopped");
  if (!is_open()) return as_stream_error(not_ready());
  if (session_.name.empty())
    return Error(Code::kUnavailable, "stage A has not opened a stream since the last one broke");
  TRY(check_sequences(input.batch));
  remember_sequences(input.batch);
  in_flight_.push_back({std::move(input.batch), Clock::now()});
  try {
    sent_steps_.on_step(session_);
    stream_->send(std::move(message));
  } catch (const std::bad_alloc&) {  // not sent, so nobody answers it
    in_flight_.pop_back();
    throw;
  }
  return {};
}

Status GrpcLink::Impl::check_sequences(const StepBatch& batch) const {
  for (const SequenceRows& rows : batch.slices) {
    const bool begins = rows.table_start == 0 && !rows.new_blocks.empty();
    if (!begins && !sequences_.contains(rows.sequence)) {
      return Error(Code::kUnavailable, "sequence ", rows.sequence.value, " was lost with an earlier stream to ",
                   options_.endpoint.target, " and must be recreated");
    }
  }
  return {};
}

void GrpcLink::Impl::remember_sequences(const StepBatch& batch) {
  for (const SequenceId sequence : batch.released) sequences_.erase(sequence);
  for (const SequenceRows& rows : batch.slices) sequences_.insert(rows.sequence);
}

Status GrpcLink::Impl::health() const {
  const MutexLock lock(mutex_);
  if (is_open()) return {};
  return not_ready();
}

void GrpcLink::Impl::connect() {
  const MutexLock lock(mutex_);
  wanted_ = true;
  changed_.notify_all();
}

void GrpcLink::Impl::restart(ChainSession session) {
  const MutexLock lock(mutex_);
  wanted_ = true;
  changed_.notify_all();
  const bool is_another = !session.is_same(session_);
  session_ = std::move(session);
  if (is_another || !is_open()) is_opened_ = false;
  if (is_another || state_ == State::kLeaving) reopen();
}

void GrpcLink::Impl::reopen() {
  if (!stream_ || over_) return;
  state_ = State::kConnecting;  // nothing more is submitted to the old stream
  last_error_ = Error(Code::kUnavailable, "opening a fresh stream");
  restarting_ = true;
  stream_->cancel(last_error_);
  room_.notify_all();
}

bool GrpcLink::Impl::wants_move() const {
  const MutexLock lock(mutex_);
  return state_ == State::kLeaving;
}

void GrpcLink::Impl::move() {
  const MutexLock lock(mutex_);
  if (state_ == State::kLeaving) reopen();
}

void GrpcLink::Impl::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    if (stream_ && !over_) stream_->cancel(stopped_);
    changed_.notify_all();
    room_.notify_all();
  }
  keeper_.request_stop();
  if (keeper_.joinable()) keeper_.join();
}

Status GrpcLink::Impl::on_frame(Frame frame) {
  if (const auto* hello = std::get_if<Hello>(&frame)) return on_hello(*hello);
  if (auto* tokens = std::get_if<SampledTokens>(&frame)) {
    const StepId step = tokens->step;
    return on_answer(step, std::move(*tokens));
  }
  if (auto* error = std::get_if<StepError>(&frame)) return on_answer(error->step, std::move(error->error));
  if (const auto* goodbye = std::get_if<Goodbye>(&frame)) {
    const MutexLock lock(mutex_);
    leave(goodbye->reason);
    return {};
  }
  if (const auto* busy = std::get_if<Busy>(&frame)) {
    on_busy(*busy);
    return {};
  }
  return Error(Code::kDataLoss, "a stage sent a step upstream");
}

/// What may lack memory comes before the step is taken out of those that wait: the end of the stream answers these.
Status GrpcLink::Impl::on_answer(StepId step, Result<SampledTokens> answer) {
  StageOutput output;
  if (answer) output.timings = answer->timings;
  {
    const MutexLock lock(mutex_);
    if (in_flight_.empty() || in_flight_.front().batch.step != step) {
      return Error(Code::kDataLoss, "an answer to step ", step.value, ", which is not the oldest in flight");
    }
    if (answer) {
      sent_steps_.on_answer(session_);
    } else if (is_about_the_stream(answer.error().code())) {
      reopen();  // one further down is lost: only a fresh handshake tells what every stage still has
      is_lost_ = true;
    }
    output.batch = std::move(in_flight_.front().batch);
    last_sign_ = Clock::now();
    ++n_signs_;
    pace_.note(last_sign_ - in_flight_.front().since, output.batch.n_rows());
    in_flight_.pop_front();
    room_.notify_one();
  }
  if (!answer) {
    sink_(std::move(answer).error());
    return {};
  }
  output.value = std::move(*answer);
  sink_(std::move(output));
  return {};
}

void GrpcLink::Impl::on_busy(const Busy& busy) {
  const MutexLock lock(mutex_);
  last_sign_ = Clock::now();
  ++n_signs_;
  if (state_ == State::kConnecting && !restarting_) last_error_ = Error(Code::kUnavailable, busy.reason);
  if (in_flight_.empty() || slow_ == in_flight_.front().batch.step) return;
  slow_ = in_flight_.front().batch.step;
  log_info("a step takes long, the stages are at work", {{"to", options_.endpoint.target},
                                                         {"step", slow_.value},
                                                         {"rows", in_flight_.front().batch.n_rows()},
                                                         {"why", busy.reason}});
}

GrpcLink::GrpcLink(GrpcLinkOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
GrpcLink::~GrpcLink() = default;
void GrpcLink::on_lost(std::function<void(const Error&)> call) { impl_->on_lost_ = std::move(call); }
void GrpcLink::on_leaving(std::function<void(const std::string&)> call) { impl_->on_leaving_ = std::move(call); }
void GrpcLink::start(Sink sink) { impl_->start(std::move(sink)); }
Status GrpcLink::submit(StageInput input) { return impl_->submit(std::move(input)); }
Status GrpcLink::health() const { return impl_->health(); }
bool GrpcLink::wants_move() const { return impl_->wants_move(); }
void GrpcLink::move() { impl_->move(); }
Result<std::uint64_t> GrpcLink::load_adapter(const AdapterSource& source, std::chrono::milliseconds timeout,
                                             const std::stop_token& stop) {
  return impl_->questions_.load_adapter(source, timeout, stop);
}
void GrpcLink::drop_adapter(AdapterId id) { impl_->questions_.drop_adapter(id); }
void GrpcLink::stop() { impl_->stop(); }
void GrpcLink::connect() { impl_->connect(); }
void GrpcLink::restart(ChainSession session) { impl_->restart(std::move(session)); }
StageSpan GrpcLink::lost() const { return impl_->lost(); }
std::vector<StageInfo> GrpcLink::infos() const { return impl_->infos(); }
int GrpcLink::n_streams() const { return impl_->n_streams(); }
std::uint64_t GrpcLink::n_signs() const { return impl_->n_signs(); }

}  // namespace commissure
