#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "engine/image_encoder.h"

namespace commissure::testing {

/// Gives as many rows as a file's first byte says, '1' to '9', with the file as their key; others are no image.
class FakeImageEncoder final : public ImageEncoder {
 public:
  explicit FakeImageEncoder(ImageMarks marks = {"<image>", "(", TokenId(256), ")"}) : marks_(std::move(marks)) {}

  const ImageMarks& marks() const override { return marks_; }
  Result<std::shared_ptr<const ImageRows>> encode(std::span<const std::byte> file) override {
    ++n_calls_;
    if (before) before();
    std::string text(reinterpret_cast<const char*>(file.data()), file.size());
    if (text == "full") return Error(Code::kResourceExhausted, "no room for rows");
    if (text.empty() || text[0] < '1' || text[0] > '9') return Error(Code::kInvalidArgument, "the file is no image");
    auto rows = std::make_shared<ImageRows>();
    rows->n_rows = text[0] - '0';
    rows->d_model = 1;
    rows->values.resize(static_cast<std::size_t>(rows->n_rows));
    rows->key = std::move(text);
    return rows;
  }
  int n_calls() const { return n_calls_; }

  std::function<void()> before = {};  ///< called in every call

 private:
  const ImageMarks marks_;
  std::atomic<int> n_calls_{0};
};

}  // namespace commissure::testing
