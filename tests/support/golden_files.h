#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "core/metadata.h"

// For tests only: recorded data and the header keys of real model files.
namespace commissure::testing {

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// The path of a real model file, if this machine has it.
inline std::optional<std::string> model_path(const std::string& name) {
  const char* folder = std::getenv("COMMISSURE_TEST_MODELS");
  if (folder == nullptr) return std::nullopt;
  std::string path = std::string(folder) + "/" + name;
  return std::ifstream(path).good() ? std::optional(path) : std::nullopt;
}

/// Reads the keys of a GGUF file that a test trusts (the room of weights has the reader for all others).
class TrustedGgufKeys {
 public:
  explicit TrustedGgufKeys(const std::string& path) : file_(path, std::ios::binary) {}

  Metadata read() {
    file_.seekg(16);
    Metadata metadata;
    for (auto n_keys = number<std::uint64_t>(); n_keys > 0; --n_keys) {
      std::string key = text();
      const auto type = number<std::uint32_t>();
      metadata.set(std::move(key), type == kArray ? array() : scalar(type));
    }
    return metadata;
  }

 private:
  static constexpr std::uint32_t kArray = 9, kString = 8, kFloat = 6, kBool = 7;

  template <typename T>
  T number() {
    T value{};
    file_.read(reinterpret_cast<char*>(&value), sizeof value);
    return value;
  }

  std::string text() {
    std::string value(number<std::uint64_t>(), '\0');
    file_.read(value.data(), static_cast<std::streamsize>(value.size()));
    return value;
  }

  MetadataValue scalar(std::uint32_t type) {
    switch (type) {
      case 0: return std::int64_t{number<std::uint8_t>()};
      case 4: return std::int64_t{number<std::uint32_t>()};
      case 5: return std::int64_t{number<std::int32_t>()};
      case kFloat: return double{number<float>()};
      case kBool: return number<std::uint8_t>() != 0;
      case kString: return text();
      case 10:
      case 11: return number<std::int64_t>();
      default: std::abort();
    }
  }

  MetadataValue array() {
    const auto type = number<std::uint32_t>();
    const auto n = number<std::uint64_t>();
    std::vector<std::string> texts;
    std::vector<float> floats;
    std::vector<std::int64_t> integers;
    for (std::uint64_t i = 0; i < n; ++i) {
      if (type == kString) {
        texts.push_back(text());
      } else if (type == kFloat) {
        floats.push_back(number<float>());
      } else {
        integers.push_back(number<std::int32_t>());
      }
    }
    if (type == kString) return texts;
    return type == kFloat ? MetadataValue(floats) : MetadataValue(integers);
  }

  std::ifstream file_;
};

}  // namespace commissure::testing
