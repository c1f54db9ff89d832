#include "serve/served_images.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "core/index.h"
#include "core/log.h"
#include "core/scarce.h"
#include "core/sha256.h"
#include "image/image.h"
#include "terminal/progress.h"
#include "vision/vision_weights.h"

namespace commissure {

namespace {

/// What the chat template writes for an image, what its rows are called, and what stands around them.
struct FamilyMarks {
  const char *mark, *before, *token, *after;
};

FamilyMarks marks_of(VisionFamily family) {
  if (family == VisionFamily::kGemma4) return {"<|image|>", "<|image>", "<|image|>", "<image|>"};
  return {"<start_of_image>", "\n\n<start_of_image>", "<image_soft_token>", "<end_of_image>\n\n"};
}

std::string hash_of(std::string_view before, std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(before);
  hash.update(bytes);
  return hash.finish();
}

/// An id of config.json, at its top or in text_config; -1 where it says none.
std::int64_t config_id(const Json& config, const char* name) {
  const Json* text = find_member(config, "text_config");
  for (const Json* object : {&config, text}) {
    const Json* value = object == nullptr ? nullptr : find_member(*object, name);
    if (value != nullptr && value->is_number_integer()) return value->get<std::int64_t>();
  }
  return -1;
}

std::int64_t image_token(const Checkpoint& model, const Tokenizer& tokenizer, const char* text) {
  for (const char* name : {"image_token_index", "image_token_id"}) {
    if (const std::int64_t id = config_id(model.config(), name); id >= 0) return id;
  }
  const auto ids = tokenizer.encode(text, {.add_special = false});
  const bool is_one = ids.size() == 1 && tokenizer.token_text(ids[0]) == text;
  return is_one ? ids[0].value : -1;
}

std::int64_t padding_token(const Checkpoint& model) {
  if (const std::int64_t id = config_id(model.config(), "pad_token_id"); id >= 0) return id;
  return model.metadata().integer("tokenizer.ggml.padding_token_id").value_or(0);
}

}  // namespace

ImageMarks image_marks(const Checkpoint& model, const Tokenizer& tokenizer, int n_vocab, VisionFamily family) {
  const FamilyMarks marks = marks_of(family);
  const auto is_row = [&](std::int64_t id) { return id >= 0 && id < n_vocab; };
  std::int64_t token = image_token(model, tokenizer, marks.token);
  if (!is_row(token)) token = padding_token(model);
  if (!is_row(token)) token = 0;
  return {.mark = marks.mark,
          .before = marks.before,
          .token = TokenId(static_cast<std::int32_t>(token)),
          .after = marks.after};
}

Status check_image_rows(int n_rows, int window, int max_step_rows, int max_sequences) {
  if (n_rows > max_step_rows - max_sequences) {
    return Error(Code::kInvalidArgument, "an image of this model is up to ", n_rows,
                 " rows, which one step has to compute beside the next tokens of ", max_sequences,
                 " sequences: --max-num-batched-tokens is ", max_step_rows, ", must be at least ",
                 n_rows + max_sequences, " (or give a lower --max-num-seqs)");
  }
  if (window > 0 && n_rows > window) {
    return Error(Code::kInvalidArgument, "an image of this model is ", n_rows, " rows, but its layers see windows of ",
                 window, " positions: its rows could not all see each other");
  }
  return {};
}

Result<std::shared_ptr<ServedImages>> ServedImages::create(FoundVision vision, const Checkpoint& model,
                                                           ImageMarks marks, Options options) {
  std::shared_ptr<ServedImages> images(
      new ServedImages(std::move(vision), model, std::move(marks), std::move(options)));
  const MutexLock lock(images->mutex_);
  if (!images->options_.lease.empty()) images->lease_ = TRY(CoreLease::open(images->options_.lease));
  return images;
}

ServedImages::~ServedImages() { stop(); }

void ServedImages::begin_load() {
  if (is_begun_.exchange(true)) return;
  // Where there is no thread for it, or no memory, the first image begins again.
  done_unless_scarce([this] {
    loading_ = std::jthread([this] {
      const MutexLock lock(mutex_);
      const Status loaded =
          unless_scarce([this]() REQUIRES(mutex_) { return load(); }, []() -> Status { return no_memory(); });
      if (!loaded && !is_stopped()) log_error("no images: the encoder was not loaded");
    });
  });
}

Status ServedImages::check_running() const {
  if (is_stopped()) return Error(Code::kUnavailable, "the server is shutting down");
  return {};
}

/// What is wrong with the files is nobody's request's fault, and is not tried again.
Status ServedImages::load() {
  if (encoder_) return {};
  if (!problem_) {
    const Status loaded = load_weights();
    if (loaded) return {};
    TRY(check_running());
    log_error(loaded.error().message());
    if (loaded.error().code() == Code::kUnavailable || loaded.error().code() == Code::kResourceExhausted) return loaded;
    problem_ = loaded.error();
  }
  return Error(Code::kUnavailable, "the image encoder could not be loaded; the log of stage A says why");
}

Status ServedImages::load_weights() {
  const auto begin = std::chrono::steady_clock::now();
  const Checkpoint& checkpoint = vision_.checkpoint(model_);
  auto backend = TRY(make_cpu_backend(options_.cpu));
  VisionWeights weights = TRY(load_vision_weights(*backend, checkpoint, vision_.spec,
                                                  [&](std::uint64_t, std::uint64_t) { return !is_stopped(); }));
  encoder_ = TRY(VisionEncoder::create(*backend, vision_.spec, std::move(weights)));
  backend_ = std::move(backend);
  fingerprint_ = checkpoint.fingerprint();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
  log_info("loaded the image encoder", {{"weights", human_bytes(vision_.weight_bytes)},
                                        {"scratch", human_bytes(VisionEncoder::scratch_bytes(*backend_, vision_.spec))},
                                        {"rows", vision_.spec.most_rows()},
                                        {"ms", ms}});
  return {};
}

Result<std::vector<float>> ServedImages::rows_of(const Image& image) {
  CoreLease::Hold turn;
  const auto take_turn = [&]() REQUIRES(mutex_) -> Status {
    TRY(check_running());
    if (lease_) {
      turn.give_back();  // others wait in line
      turn = TRY(lease_->acquire(stop_.get_token()));
    }
    return {};
  };
  TRY(take_turn());
  return encoder_->encode(image, take_turn);
}

/// The rows, counted in n_bytes_ until the last who has them lets go.
std::shared_ptr<const ImageRows> ServedImages::counted(ImageRows rows) const {
  const std::size_t n_bytes = rows.values.size() * sizeof(bf16);
  auto owned = std::make_unique<const ImageRows>(std::move(rows));
  *n_bytes_ += n_bytes;
  return {owned.release(), [count = n_bytes_, n_bytes](const ImageRows* gone) {
            *count -= n_bytes;
            delete gone;
          }};
}

Result<std::shared_ptr<const ImageRows>> ServedImages::encode_file(std::span<const std::byte> file) {
  TRY(check_running());
  std::string file_hash = hash_of("", file);
  if (auto rows = cache_.of_file(file_hash)) return rows;
  const VisionSpec& spec = vision_.spec;
  Image image = TRY(decode_image(file, ImageLimits()));
  const ImageSides sides = spec.sides_of(image.width, image.height);
  image = resize(image, sides.width, sides.height, spec.filter);
  const int n_rows = spec.n_rows(sides);
  TRY(load());
  // The same pixels may make images of several shapes.
  std::string key =
      hash_of(fmt::format("{} {} x {}", fingerprint_, sides.width, sides.height), std::as_bytes(std::span(image.rgb)));
  std::shared_ptr<const ImageRows> rows = cache_.of_key(key);  // shared: with the cache
  if (rows == nullptr) {
    if (*n_bytes_ + n_elements(n_rows, spec.d_text) * sizeof(bf16) > kMostBytes) {
      return Error(Code::kResourceExhausted, "the images of waiting and running requests take ", human_bytes(*n_bytes_),
                   ", as much as they may: try again later");
    }
    const std::vector<float> values = TRY(rows_of(image));
    std::vector<bf16> rounded(values.size());
    std::ranges::transform(values, rounded.begin(), to_bf16);
    rows = counted({.key = std::move(key),
                    .n_rows = n_rows,
                    .d_model = spec.d_text,
                    .see_each_other = options_.see_each_other,
                    .values = std::move(rounded)});
  }
  cache_.add(std::move(file_hash), rows);
  return rows;
}

Result<std::shared_ptr<const ImageRows>> ServedImages::encode(std::span<const std::byte> file) {
  using Answer = Result<std::shared_ptr<const ImageRows>>;
  const MutexLock lock(mutex_);
  return unless_scarce([&]() REQUIRES(mutex_) -> Answer { return encode_file(file); },
                       []() -> Answer { return no_memory(); });
}

}  // namespace commissure
