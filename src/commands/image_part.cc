#include "commands/image_part.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>

#include "core/base64.h"
#include "image/image.h"
#include "image/image_type.h"

namespace commissure {

Result<Json> image_part(const std::string& path) {
  const std::size_t most = ImageLimits{}.max_bytes;
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string bytes;
  if (file) {
    bytes.resize(most + 1);
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<std::size_t>(file.gcount()));
  }
  if (!file.is_open() || file.bad()) {
    return Error(Code::kNotFound, "cannot read the image ", path, ": ",
                 errno != 0 ? std::strerror(errno) : "it is no file");
  }
  if (bytes.size() > most) {
    return Error(Code::kInvalidArgument, "the image ", path, " has more than ", most, " bytes; make it smaller");
  }
  const auto span = std::as_bytes(std::span(bytes));
  const std::string_view type = image_type(span);
  if (type.empty()) {
    return Error(Code::kInvalidArgument, path, " is no JPEG, PNG, WebP, GIF or BMP image; convert it to one of these");
  }
  return Json{{"type", "image_url"},
              {"image_url", {{"url", fmt::format("data:{};base64,{}", type, encode_base64(span))}}}};
}

Json user_message(const std::string& text, const Json& images) {
  if (images.empty()) return {{"role", "user"}, {"content", text}};
  Json parts = images;
  parts.push_back({{"type", "text"}, {"text", text}});
  return {{"role", "user"}, {"content", std::move(parts)}};
}

}  // namespace commissure
