#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>

#include "core/core_lease.h"
#include "core/mutex.h"
#include "core/result.h"
#include "engine/image_encoder.h"
#include "kernels/backend.h"
#include "serve/image_rows_cache.h"
#include "text/tokenizer.h"
#include "vision/find_vision.h"
#include "vision/vision_encoder.h"
#include "weights/checkpoint.h"

namespace commissure {

/// How images stand in the prompts of a family: as transformers' processor writes them. The token is the file's own
/// for image rows where the model has a row for it, else that of padding.
///   n_vocab  rows of the model's vocabulary
ImageMarks image_marks(const Checkpoint& model, const Tokenizer& tokenizer, int n_vocab, VisionFamily family);

/// Whether steps can compute images of up to `n_rows` rows that see each other.
///   window         positions of the model's widest window; 0: it has none
///   max_step_rows  of one step, of which `max_sequences` may be other sequences' next tokens
/// Errors: kInvalidArgument, what to change.
Status check_image_rows(int n_rows, int window, int max_step_rows, int max_sequences);

/// The image encoder of stage A: a CPU backend of its own beside the stage's device, so its threads and the stage's
/// share the cores. Where the stages of the machine take turns (a core lease), so does every piece of an image's work.
class ServedImages final : public ImageEncoder {
 public:
  /// Rows of images that are remembered.
  static constexpr std::size_t kCacheBytes = std::size_t{64} << 20;
  /// Rows that requests have, waiting ones too, with those that are remembered.
  static constexpr std::size_t kMostBytes = std::size_t{512} << 20;

  struct Options {
    CpuOptions cpu;
    std::string lease;           ///< file of the core lease; empty: none
    bool see_each_other = true;  ///< an image's rows do, in some layers at least
  };

  /// Reads no weights. `model` outlives the encoder. Errors: as CoreLease::open.
  static Result<std::shared_ptr<ServedImages>> create(FoundVision vision, const Checkpoint& model, ImageMarks marks,
                                                      Options options);
  ~ServedImages() override;

  const ImageMarks& marks() const override { return marks_; }
  /// Errors: as ImageEncoder says (kResourceExhausted beyond kMostBytes, too); kUnavailable, the stage ends, or the
  /// weights could not be loaded, as the log says.
  Result<std::shared_ptr<const ImageRows>> encode(std::span<const std::byte> file) override;

  /// Loads the weights on a thread of its own, unless that was begun; without it the first image waits for them.
  void begin_load();
  /// Ends the work on images within a piece of it, also that of later calls.
  void stop() { stop_.request_stop(); }

  /// Memory it takes once it is loaded: the weights as stored, and what it computes with.
  std::uint64_t weight_bytes() const { return vision_.weight_bytes; }

 private:
  ServedImages(FoundVision vision, const Checkpoint& model, ImageMarks marks, Options options)
      : model_(model), vision_(std::move(vision)), marks_(std::move(marks)), options_(std::move(options)) {}

  bool is_stopped() const { return stop_.stop_requested(); }
  Status check_running() const;
  Status load() REQUIRES(mutex_);
  Status load_weights() REQUIRES(mutex_);
  Result<std::shared_ptr<const ImageRows>> encode_file(std::span<const std::byte> file) REQUIRES(mutex_);
  Result<std::vector<float>> rows_of(const Image& image) REQUIRES(mutex_);
  std::shared_ptr<const ImageRows> counted(ImageRows rows) const;

  const Checkpoint& model_;
  const FoundVision vision_;
  const ImageMarks marks_;
  const Options options_;
  // Of all rows that somebody has; shared: with rows that outlive the encoder.
  const std::shared_ptr<std::atomic<std::size_t>> n_bytes_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::stop_source stop_;
  std::atomic<bool> is_begun_ = false;
  Mutex mutex_;  // held for whole images: they take turns
  std::unique_ptr<CoreLease> lease_ GUARDED_BY(mutex_);
  std::unique_ptr<Backend> backend_ GUARDED_BY(mutex_);
  std::unique_ptr<VisionEncoder> encoder_ GUARDED_BY(mutex_);  // null until the weights are there
  std::optional<Error> problem_ GUARDED_BY(mutex_);  // why the weights cannot be loaded, however often one tries
  std::string fingerprint_ GUARDED_BY(mutex_);
  ImageRowsCache cache_ GUARDED_BY(mutex_){kCacheBytes};
  std::jthread loading_;
};

}  // namespace commissure
